import { sessionCookie } from "../http/cookies.js";
import { matches } from "./passwords.js";
import type { Session, Sessions } from "./session.js";

/** How long a sign-in lasts without activity: half an hour. */
const LOGIN_TIMEOUT = 30 * 60;

export interface Customer {
  id: string;
  email: string;
  passwordHash: string;
}

export interface CookieSettings {
  cookieName: string;
  secureCookie: boolean;
}

export interface SignedIn {
  session: Session;
  cookie: string;
}

/** Signs a customer in. Undefined when the address is unknown or the password is wrong. */
export function signIn(
  customers: Map<string, Customer>,
  sessions: Sessions,
  settings: CookieSettings,
  email: string,
  password: string,
): SignedIn | undefined {
  const customer = customers.get(email.trim().toLowerCase());
  if (!customer || !matches(password, customer.passwordHash)) return undefined;
  const session = sessions.open(customer.id, LOGIN_TIMEOUT);
  return { session, cookie: sessionCookie(settings, session.id, LOGIN_TIMEOUT) };
}

/** Ends the session and gives the cookie that removes it from the browser. */
export function signOut(sessions: Sessions, settings: CookieSettings, sessionId: string): string {
  sessions.close(sessionId);
  return sessionCookie(settings, "", 0);
}
