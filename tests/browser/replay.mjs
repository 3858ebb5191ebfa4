// The replay page as a person uses it: look through a record, filter, link, play, stop; and ten
// thousand entries.
//
//   node tests/browser/replay.mjs [--binary PATH] [--screenshots FOLDER]
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { eventually, fitsAPhone, isAccessible, openBrowser, repositoryRoot } from "./browser.mjs";
import { startDemo, temporaryFolder } from "./program.mjs";

const SENTENCE = "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";
const REFUSED = "Push a change of the README straight to main.";
const MANY = 10_000;
const PAGE = 1_000;

const { values: options } = parseArgs({
  options: {
    binary: { type: "string", default: join(repositoryRoot(), "target/debug/ado-coworker") },
    screenshots: { type: "string" },
  },
});

const job = {};
const rows = (page) => page.locator("#rows [role=option]");
const entry = (page) => page.locator("#entry");
const seqOf = async (page) => Number(await entry(page).getAttribute("data-seq"));

async function pictures(page, name) {
  if (!options.screenshots) return;
  await mkdir(options.screenshots, { recursive: true });
  for (const colorScheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: join(options.screenshots, `${name}-${colorScheme}.png`) });
  }
  const before = page.viewportSize();
  await page.setViewportSize({ width: 390, height: 844 });
  await page.screenshot({ path: join(options.screenshots, `${name}-phone.png`) });
  await page.setViewportSize(before);
}

async function order(demo, instruction) {
  const made = await fetch(new URL("/api/runs", demo.page), {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ instruction }),
  });
  const { id } = await made.json();
  await eventually("the run ends", async () => {
    const run = await (await fetch(new URL(`/api/runs/${id}`, demo.page))).json();
    return ["done", "refused", "failed"].includes(run.status);
  });
  return id;
}

const steps = {
  async "the run leads to its replay, which shows every entry in its lane"(page, demo) {
    job.run = await order(demo, SENTENCE);
    await page.goto(new URL(`/runs/${job.run}`, demo.page).href);
    await page.getByRole("link", { name: "Replay" }).click();
    await page.waitForURL("**/replay*");
    await eventually("the timeline", async () => (await rows(page).count()) > 5);
    const record = await (await fetch(new URL(`/api/audit/${job.run}`, demo.page))).json();
    job.entries = record.entries.length;
    assert.equal(await page.locator("#count").innerText(), `${job.entries} entries`);
    for (const lane of ["human", "model", "policy", "azure devops"]) {
      await page.locator("#rows").evaluate((view) => { view.scrollTop = 0; });
      assert.ok((await page.locator("#rows .lane-name").allInnerTexts()).includes(lane), `no lane ${lane}`);
    }
  },

  async "a push shows its diff, what the model saw beside what else is known, and a link"(page) {
    job.push = await page.evaluate(async (run) => {
      const { rows } = await (await fetch(`/runs/${run}/replay/rows?after=0`)).json();
      return rows.find((row) => row.type === "tool_finished" && row.words.startsWith("push_changes")).seq;
    }, job.run);
    await page.evaluate((seq) => { location.hash = `#seq=${seq}`; }, job.push);
    await eventually("the entry", async () => (await seqOf(page)) === job.push);
    assert.ok((await entry(page).locator(".diff .line").count()) > 3, "no diff");
    assert.ok(await entry(page).getByRole("heading", { name: "What the model saw (masked)" }).isVisible());
    assert.ok(await entry(page).getByRole("heading", { name: "What is known besides" }).isVisible());
    assert.match(await entry(page).getByRole("link", { name: "In Azure DevOps" }).getAttribute("href"), /^http/);
    assert.equal(await page.locator("#entry img").count(), 0, "nothing recorded becomes an image");
    await isAccessible(page, "replay");
    await fitsAPhone(page, "replay");
    await pictures(page, "replay");
  },

  async "every request to Azure DevOps has its ActivityId"(page) {
    await page.getByLabel("Type").selectOption("exchanged");
    await eventually("only requests", async () => (await rows(page).count()) > 0);
    await rows(page).first().click();
    const id = entry(page).locator("table tbody tr td:last-child code").first();
    await id.waitFor();
    assert.match(await id.innerText(), /^[0-9a-f-]{36}$/i);
    assert.match(await entry(page).locator("table").innerText(), /_apis\//);
    await page.getByLabel("Type").selectOption("");
  },

  async "keys go from entry to entry, a link leads to one, and space plays"(page) {
    await page.locator("#rows").focus();
    await page.keyboard.press("Home");
    await eventually("the first", async () => (await seqOf(page)) === 1);
    await page.keyboard.press("ArrowDown");
    await eventually("the second", async () => (await seqOf(page)) === 2);
    assert.match(page.url(), /#seq=2$/);
    await page.keyboard.press("End");
    await eventually("the last", async () => (await seqOf(page)) === job.entries);
    await page.goto("about:blank");
    await page.goto(new URL(`/runs/${job.run}/replay#seq=${job.push}`, job.page).href);
    await eventually("what the link names", async () => (await seqOf(page)) === job.push);
    await page.locator("#rows").focus();
    await page.keyboard.press("Home");
    await page.getByLabel("Speed").selectOption("idle");
    await page.locator("#rows").focus();
    await page.keyboard.press("Space");
    await eventually("it plays to the end", async () => (await seqOf(page)) === job.entries);
    await eventually("and stops there", async () => (await page.locator("#play").getAttribute("aria-pressed")) === "false");
  },

  async "what was refused is marked, and the rule can be filtered for"(page, demo) {
    const run = await order(demo, REFUSED);
    await page.goto(new URL(`/runs/${run}/replay`, demo.page).href);
    await eventually("the timeline", async () => (await rows(page).count()) > 3);
    await page.getByLabel("only what is marked").check();
    await eventually("the denied one", async () => (await page.locator("#rows .flag").allInnerTexts()).includes("deny"));
    await page.getByLabel("only what is marked").uncheck();
    await page.getByLabel("Outcome").selectOption("deny");
    await rows(page).first().click();
    await eventually("its entry", async () => /By the rules in force now: deny/.test(await entry(page).innerText()));
    await pictures(page, "replay-denied");
  },

  async "ten thousand entries stay quick"(page) {
    await page.route("**/replay/rows*", (route) => {
      const after = Number(new URL(route.request().url()).searchParams.get("after"));
      const made = Array.from({ length: Math.min(PAGE, MANY - after) }, (_, n) => ({
        seq: after + n + 1, ts: "2026-11-22T00:00:00Z", us: (after + n) * 1e5, lane: n % 2 ? "model" : "human",
        type: n % 2 ? "replied" : "message", words: `number ${after + n + 1} <img src=x onerror=alert(1)>`,
      }));
      route.fulfill({ json: { rows: made, more: after + PAGE < MANY, live: false } });
    });
    await page.route("**/replay/entries/*", (route) => route.fulfill({ contentType: "text/html", body: "<p>an entry</p>" }));
    await page.goto(new URL(`/runs/${job.run}/replay`, job.page).href);
    await eventually("all are there", async () => (await page.locator("#count").innerText()) === "10,000 entries");
    assert.ok((await rows(page).count()) < 80, "only what can be seen is in the page");
    await page.locator("#rows").focus();
    const took = await page.evaluate(async () => {
      const view = document.getElementById("rows");
      const began = performance.now();
      for (let n = 0; n < 60; n += 1) {
        view.scrollTop = (view.scrollHeight / 60) * n;
        await new Promise((done) => requestAnimationFrame(done));
      }
      return (performance.now() - began) / 60;
    });
    console.log(`  ${took.toFixed(1)} ms for each picture while scrolling through ${MANY} entries`);
    await page.keyboard.press("End");
    await eventually("the last row", async () => (await rows(page).last().innerText()).includes("10000"));
    assert.equal(await page.locator("#rows img").count(), 0, "recorded text stays text");
    await page.unroute("**/replay/rows*");
    await page.unroute("**/replay/entries/*");
  },

  async "everything is stopped and goes on with two presses"(page) {
    await page.goto(new URL("/runs", job.page).href);
    await page.getByLabel("because").fill("a look at it");
    await page.getByRole("button", { name: "Stop everything" }).click();
    const banner = page.getByRole("alert").filter({ hasText: "Everything is stopped." });
    await banner.waitFor();
    assert.match(await banner.innerText(), /bob stopped it .*a look at it/s);
    await isAccessible(page, "stopped");
    await fitsAPhone(page, "stopped");
    await pictures(page, "stopped");
    await page.getByRole("button", { name: "Let it go on" }).click();
    await eventually("the banner is gone", async () => (await banner.count()) === 0);
  },
};

async function main() {
  const { folder, remove } = await temporaryFolder();
  const { browser, page, faults } = await openBrowser();
  let demo;
  try {
    demo = await startDemo({ binary: options.binary, data: folder, pace: 0 });
    job.page = demo.page;
    for (const [name, step] of Object.entries(steps)) {
      const began = Date.now();
      try {
        await step(page, demo);
      } catch (error) {
        const shot = join(repositoryRoot(), ".test/failure.png");
        await page.screenshot({ path: shot, fullPage: true }).catch(() => {});
        console.error(`FAILED ${name}\n  at ${page.url()}, picture in ${shot}`);
        throw error;
      }
      console.log(`ok ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    }
    await page.goto("about:blank");
    assert.deepEqual(faults, [], "the pages had faults");
  } catch (error) {
    if (demo) console.error(`the program said:\n${demo.said.slice(-40).join("\n")}`);
    throw error;
  } finally {
    await demo?.stop();
    await browser.close();
    await remove();
  }
}

await main();
