import assert from "node:assert/strict";
import { test } from "node:test";
import { signIn, signOut, type Customer } from "../src/auth/login.js";
import { hash } from "../src/auth/passwords.js";
import { Sessions } from "../src/auth/session.js";

const settings = { cookieName: "shop_session", secureCookie: true };
const customers = new Map<string, Customer>([
  ["ada@example.com", { id: "c1", email: "ada@example.com", passwordHash: hash("teapot") }],
]);

test("the right password signs in", () => {
  const sessions = new Sessions(() => 0);
  const signedIn = signIn(customers, sessions, settings, " Ada@Example.com", "teapot");
  assert.equal(signedIn?.session.customerId, "c1");
  assert.match(signedIn?.cookie ?? "", /Max-Age=1800; Secure$/);
});

test("a wrong password does not", () => {
  assert.equal(signIn(customers, new Sessions(), settings, "ada@example.com", "coffee"), undefined);
});

test("signing out ends the session", () => {
  const sessions = new Sessions(() => 0);
  const signedIn = signIn(customers, sessions, settings, "ada@example.com", "teapot");
  const id = signedIn?.session.id ?? "";
  assert.match(signOut(sessions, settings, id), /Max-Age=0/);
  assert.equal(sessions.use(id), undefined);
});
