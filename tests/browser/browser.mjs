// Chromium, what every page must be, and small words for waiting.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

// scripts/test.sh puts the libraries into .test/, so that the tree stays free of them.
const fromTest = createRequire(new URL("../../.test/package.json", import.meta.url));
const { chromium } = fromTest("playwright-core");
const { AxeBuilder } = fromTest("@axe-core/playwright");

export const PATIENCE_MS = 60_000;
const POLL_MS = 250;
// Debian's Chromium, without the services of its maker, which a closed network refuses.
const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function repositoryRoot() {
  return fileURLToPath(new URL("../../", import.meta.url));
}

export function chromiumPath() {
  const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const found = candidates.find((path) => path && existsSync(path));
  if (!found) throw new Error("no Chromium is here; scripts/test.sh installs it, or name one in CHROMIUM");
  return found;
}

/** A browser with one page. Faults of scripts and refused contents are collected in `faults`. */
export async function openBrowser() {
  const browser = await chromium.launch({
    executablePath: chromiumPath(),
    headless: true,
    // Chromium's own sandbox cannot be had as root, as in most containers.
    chromiumSandbox: process.getuid() !== 0,
    args: FLAGS,
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: "light" });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(`${page.url()}: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(`${page.url()}: ${message.text()}`);
  });
  return { browser, page, faults };
}

/** Waits until `look` gives something true, and gives that. */
export async function eventually(what, look, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`in ${patience / 1000} s this did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** No serious fault that axe can find, in light and in dark. */
export async function isAccessible(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await new AxeBuilder({ page }).analyze();
    const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    const told = serious.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.map((n) => n.target.join(" ")).join("\n  ")}`);
    assert.equal(told.length, 0, `${name}, ${colorScheme}:\n${told.join("\n")}`);
  }
  await page.emulateMedia({ colorScheme: "light" });
}

/** Nothing is wider than the screen of a phone. */
export async function fitsAPhone(page, name) {
  const before = page.viewportSize();
  for (const width of [360, 390]) {
    await page.setViewportSize({ width, height: 800 });
    const widest = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(widest <= width, `${name} is ${widest} pixels wide on a screen of ${width}`);
  }
  await page.setViewportSize(before);
}
