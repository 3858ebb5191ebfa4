import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { parseProducts } from "./catalogue/products.js";
import { load } from "./config.js";
import { shop } from "./shop.js";

const MOST_BODY_BYTES = 64 * 1024;

const config = load("config", process.env["NODE_ENV"] === "production");
const router = shop(config, parseProducts(readFileSync("data/products.csv", "utf8")), new Map());

createServer((incoming, outgoing) => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  incoming.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MOST_BODY_BYTES) incoming.destroy();
    else chunks.push(chunk);
  });
  incoming.on("end", () => {
    const url = new URL(incoming.url ?? "/", "http://shop");
    let body: unknown = {};
    try {
      if (bytes > 0) body = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    } catch {
      outgoing.writeHead(400).end();
      return;
    }
    const response = router.handle({
      method: incoming.method ?? "GET",
      path: url.pathname,
      query: url.searchParams,
      cookies: incoming.headers.cookie,
      body,
    });
    outgoing.writeHead(response.status, { "Content-Type": "application/json", ...response.headers });
    outgoing.end(JSON.stringify(response.body));
  });
}).listen(config.port, () => console.log(`shop listens on port ${config.port}`));
