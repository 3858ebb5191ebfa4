import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Everything that differs between installations. Read once at start and passed on. */
export interface Config {
  port: number;
  currency: string;
  delivery: { feeCents: number; freeFromCents: number };
  search: { pageSize: number };
  session: { cookieName: string; secureCookie: boolean };
}

type Json = Record<string, unknown>;

function read(file: string): Json {
  return JSON.parse(readFileSync(file, "utf8")) as Json;
}

/** The values of `over` on top of those of `base`, object by object. */
export function merge(base: Json, over: Json): Json {
  const result: Json = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const below = result[key];
    result[key] = isObject(below) && isObject(value) ? merge(below, value) : value;
  }
  return result;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function section(json: Json, name: string): Json {
  const value = json[name];
  if (!isObject(value)) throw new Error(`config: "${name}" must be an object`);
  return value;
}

function whole(json: Json, name: string, least: number): number {
  const value = json[name];
  if (typeof value !== "number" || !Number.isInteger(value) || value < least) {
    throw new Error(`config: "${name}" must be a whole number of at least ${least}`);
  }
  return value;
}

function text(json: Json, name: string): string {
  const value = json[name];
  if (typeof value !== "string" || value === "") throw new Error(`config: "${name}" must be a text`);
  return value;
}

/** Checks every value; the error names the first that is wrong. */
export function parse(json: Json): Config {
  const delivery = section(json, "delivery");
  const search = section(json, "search");
  const session = section(json, "session");
  return {
    port: whole(json, "port", 1),
    currency: text(json, "currency"),
    delivery: {
      feeCents: whole(delivery, "feeCents", 0),
      freeFromCents: whole(delivery, "freeFromCents", 0),
    },
    search: { pageSize: whole(search, "pageSize", 1) },
    session: {
      cookieName: text(session, "cookieName"),
      secureCookie: session["secureCookie"] === true,
    },
  };
}

/** The settings of `folder`: default.json, with production.json on top where `production` is set. */
export function load(folder: string, production: boolean): Config {
  const base = read(join(folder, "default.json"));
  return parse(production ? merge(base, read(join(folder, "production.json"))) : base);
}
