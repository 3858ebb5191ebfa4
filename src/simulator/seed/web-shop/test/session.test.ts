import assert from "node:assert/strict";
import { test } from "node:test";
import { Sessions } from "../src/auth/session.js";

test("a session ends after its lifetime", () => {
  let now = 0;
  const sessions = new Sessions(() => now);
  const { id } = sessions.open("c1", 1000);
  now = 999;
  assert.equal(sessions.use(id)?.customerId, "c1");
  now = 999 + 1000;
  assert.equal(sessions.use(id), undefined);
});

test("sessions that have ended are removed", () => {
  let now = 0;
  const sessions = new Sessions(() => now);
  sessions.open("c1", 1000);
  now = 2000;
  sessions.open("c2", 1000);
  assert.equal(sessions.size, 1);
});
