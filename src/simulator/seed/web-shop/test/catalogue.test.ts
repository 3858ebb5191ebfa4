import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseProducts } from "../src/catalogue/products.js";
import { search } from "../src/catalogue/search.js";

const products = parseProducts(readFileSync("data/products.csv", "utf8"));

test("the export of purchasing can be read", () => {
  assert.equal(products.length, 8);
  assert.equal(products[0]?.sku, "MUG-001");
});

test("search wants every word and puts what is in stock first", () => {
  assert.deepEqual(search(products, "100 g", 1, 20).items.map((product) => product.sku), ["TEA-010", "TEA-011"]);
  assert.equal(search(products, "", 1, 20).items.at(-1)?.sku, "SPN-003");
});

test("a page past the end is the last page", () => {
  const page = search(products, "", 9, 3);
  assert.equal(page.page, 3);
  assert.equal(page.items.length, 2);
});
