export interface Request {
  method: string;
  path: string;
  query: URLSearchParams;
  cookies: string | undefined;
  body: unknown;
}

export interface Response {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

export type Handler = (request: Request, parameter: string) => Response;

interface Route {
  method: string;
  prefix: string;
  handler: Handler;
}

/** Finds the handler with the longest matching prefix; the rest of the path is its parameter. */
export class Router {
  private readonly routes: Route[] = [];

  on(method: string, prefix: string, handler: Handler): this {
    this.routes.push({ method, prefix, handler });
    this.routes.sort((a, b) => b.prefix.length - a.prefix.length);
    return this;
  }

  handle(request: Request): Response {
    const matching = this.routes.filter((route) => belongs(request.path, route.prefix));
    const route = matching.find((candidate) => candidate.method === request.method);
    if (route) {
      const parameter = decodeURIComponent(request.path.slice(route.prefix.length + 1));
      return route.handler(request, parameter);
    }
    return matching.length > 0
      ? { status: 405, body: { error: "method not allowed" } }
      : { status: 404, body: { error: "not found" } };
  }
}

function belongs(path: string, prefix: string): boolean {
  return path === prefix || path.startsWith(`${prefix}/`);
}
