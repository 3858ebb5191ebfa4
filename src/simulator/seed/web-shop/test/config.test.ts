import assert from "node:assert/strict";
import { test } from "node:test";
import { load, merge } from "../src/config.js";

test("production values stand on top of the defaults", () => {
  const config = load("config", true);
  assert.equal(config.port, 80);
  assert.equal(config.session.secureCookie, true);
  assert.equal(config.session.cookieName, "shop_session");
});

test("objects are merged, other values replaced", () => {
  assert.deepEqual(merge({ a: { b: 1, c: 2 }, d: 1 }, { a: { c: 3 }, d: 2 }), { a: { b: 1, c: 3 }, d: 2 });
});
