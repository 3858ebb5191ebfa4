import assert from "node:assert/strict";
import { test } from "node:test";
import { Cart } from "../src/cart/cart.js";
import { format, total } from "../src/cart/prices.js";

const mug = { sku: "MUG-001", name: "Stoneware mug", priceCents: 1290, stock: 48 };
const spoon = { sku: "SPN-003", name: "Measuring spoon", priceCents: 450, stock: 0 };
const delivery = { feeCents: 490, freeFromCents: 5000 };

test("delivery is charged below the limit and free from it on", () => {
  const cart = new Cart();
  cart.add(mug, 3);
  assert.deepEqual(total(cart.lines, delivery), { goodsCents: 3870, deliveryCents: 490, totalCents: 4360 });
  cart.add(mug, 1);
  assert.equal(total(cart.lines, delivery).deliveryCents, 0);
});

test("what is not in stock cannot be added", () => {
  assert.throws(() => new Cart().add(spoon, 1), /only 0 of Measuring spoon in stock/);
});

test("an amount is written with two decimals", () => {
  assert.equal(format(1290, "EUR"), "12.90 EUR");
});
