/** The value of the cookie `name` in a Cookie header. */
export function cookie(header: string | undefined, name: string): string | undefined {
  for (const part of (header ?? "").split(";")) {
    const [key, ...rest] = part.trim().split("=");
    if (key === name) return decodeURIComponent(rest.join("="));
  }
  return undefined;
}

/** A Set-Cookie header for the session. `maxAgeSeconds` is what browsers expect in Max-Age. */
export function sessionCookie(
  settings: { cookieName: string; secureCookie: boolean },
  value: string,
  maxAgeSeconds: number,
): string {
  const secure = settings.secureCookie ? "; Secure" : "";
  const name = settings.cookieName;
  return `${name}=${encodeURIComponent(value)}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${maxAgeSeconds}${secure}`;
}
