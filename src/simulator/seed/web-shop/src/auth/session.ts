import { randomUUID } from "node:crypto";

export interface Session {
  id: string;
  customerId: string;
  lifetimeMs: number;
  endsAtMs: number;
}

/** Sessions in memory; see docs/sessions.md. Times come from `now`, in milliseconds as Date.now gives them. */
export class Sessions {
  private readonly open_ = new Map<string, Session>();

  constructor(private readonly now: () => number = Date.now) {}

  /** Opens a session that ends after `lifetimeMs` without use. */
  open(customerId: string, lifetimeMs: number): Session {
    this.removeEnded();
    const session = { id: randomUUID(), customerId, lifetimeMs, endsAtMs: this.now() + lifetimeMs };
    this.open_.set(session.id, session);
    return session;
  }

  /** The session with this id when it has not ended. Using it starts its lifetime again. */
  use(id: string): Session | undefined {
    const session = this.open_.get(id);
    if (!session || session.endsAtMs <= this.now()) return undefined;
    session.endsAtMs = this.now() + session.lifetimeMs;
    return session;
  }

  close(id: string): void {
    this.open_.delete(id);
  }

  get size(): number {
    return this.open_.size;
  }

  private removeEnded(): void {
    for (const session of this.open_.values()) {
      if (session.endsAtMs <= this.now()) this.open_.delete(session.id);
    }
  }
}
