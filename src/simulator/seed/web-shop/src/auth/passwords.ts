import { randomBytes, scryptSync, timingSafeEqual } from "node:crypto";

const KEY_BYTES = 32;
const SALT_BYTES = 16;

/** A salted hash of `password`, as `salt:key` in hexadecimal. */
export function hash(password: string): string {
  const salt = randomBytes(SALT_BYTES);
  return `${salt.toString("hex")}:${scryptSync(password, salt, KEY_BYTES).toString("hex")}`;
}

/** Whether `password` is the one that `stored` was made from. */
export function matches(password: string, stored: string): boolean {
  const [salt, key] = stored.split(":");
  if (!salt || !key) return false;
  const expected = Buffer.from(key, "hex");
  const actual = scryptSync(password, Buffer.from(salt, "hex"), KEY_BYTES);
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}
