// The main job as a person does it: the sentence, the pull request, a review comment, a restart.
//
//   node tests/browser/main_job.mjs [--binary PATH] [--screenshots FOLDER] [--pace MS]
import assert from "node:assert/strict";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { eventually, fitsAPhone, isAccessible, openBrowser, repositoryRoot } from "./browser.mjs";
import { startDemo, temporaryFolder } from "./program.mjs";
import { gallery, perform } from "./steps.mjs";

const SENTENCE = "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";
const COMMENT = "make the timeout configurable";
const AGENT = "ado-coworker@contoso.example";

const { values: options } = parseArgs({
  options: {
    binary: { type: "string", default: join(repositoryRoot(), "target/debug/ado-coworker") },
    screenshots: { type: "string" },
    pace: { type: "string", default: "0" },
  },
});

/** What one step leaves for the next. */
const job = {};

const { picture, pictures } = gallery(options.screenshots);

/** The pictures in README.md: how the run begins, and from the push to the answer. */
async function picturesOfTheWork(page) {
  if (!options.screenshots) return;
  const before = page.viewportSize();
  await page.setViewportSize({ width: 1120, height: 960 });
  await page.evaluate(() => scrollTo({ top: 0, behavior: "instant" }));
  await picture(page, "page");
  const top = await card(page, "Push a commit").evaluate((push) => push.getBoundingClientRect().top + scrollY);
  const foot = await page.locator("#run-foot").evaluate((end) => end.getBoundingClientRect().bottom + scrollY);
  const clip = { x: 130, y: top - 24, width: 860, height: foot - top + 32 };
  await page.screenshot({ path: join(options.screenshots, "work.png"), fullPage: true, clip });
  await page.setViewportSize(before);
}

/** The card of a tool call, by the words in its heading. */
const card = (page, words) => page.getByRole("article").filter({ has: page.getByRole("heading", { name: words, exact: true }) });

async function endsWell(page) {
  const status = page.locator("#run-status");
  await eventually("the run ends", async () => (await status.getAttribute("data-live")) === "false");
  const words = await status.getAttribute("data-words");
  assert.equal(words, "Done", await page.getByRole("main").innerText());
}

const steps = {
  async "the page says what is simulated, who you are and who the co-worker is"(page, demo) {
    await page.goto(demo.page);
    const banner = await page.getByRole("complementary", { name: "Notice" }).innerText();
    assert.match(banner, /simulated/);
    assert.match(banner, /scripted stand-in, not an AI/);
    await eventually("the co-worker's identity is verified", async () => {
      await page.reload();
      return (await page.getByRole("banner").innerText()).includes(AGENT);
    });
    assert.match(await page.getByRole("banner").innerText(), /You are bob/);
  },

  async "the sentence is in the box; the page is for everybody"(page) {
    assert.equal(await page.getByLabel("Instruction").inputValue(), SENTENCE);
    await isAccessible(page, "home");
    await fitsAPhone(page, "home");
    await pictures(page, "home");
  },

  async "send: cards appear as the work is done"(page) {
    await page.getByRole("button", { name: "Send" }).click();
    await page.waitForURL("**/runs/*");
    job.run = new URL(page.url()).pathname;
    for (const words of ["Create a work item", "Read a file", "Push a commit", "Open a pull request"]) {
      await card(page, words).first().waitFor();
    }
    const push = card(page, "Push a commit");
    await push.getByText("login.ts", { exact: false }).first().waitFor();
    assert.ok((await push.locator(".line").count()) > 3, "the push shows no diff");
    await endsWell(page);
  },

  async "the answer links to what was made"(page) {
    const made = page.getByRole("list", { name: "Made in this run" }).getByRole("link");
    job.links = await made.evaluateAll((links) => links.map((link) => ({ text: link.innerText, url: link.href })));
    const urls = job.links.map(({ url }) => url);
    job.pullRequest = urls.find((url) => /\/pullrequest\/\d+$/.test(url));
    assert.ok(job.pullRequest, `no pull request in ${urls}`);
    assert.ok(urls.some((url) => /\/_workitems\/edit\/\d+$/.test(url)), `no work item in ${urls}`);
    assert.ok(urls.some((url) => url.includes("version=GBagent")), `no branch in ${urls}`);
    const answered = await page.locator("#run-foot, #timeline").getByRole("link").evaluateAll((links) => links.map((link) => link.href));
    assert.ok(answered.includes(job.pullRequest), "the answer does not link to the pull request");
    await isAccessible(page, "run");
    await fitsAPhone(page, "run");
    await pictures(page, "run");
    await picturesOfTheWork(page);
  },

  async "the work item and the pull request stand in the organisation, made by the co-worker"(page) {
    await page.goto(job.links.find(({ url }) => url.includes("/_workitems/edit/")).url);
    assert.match(await page.getByRole("main").innerHTML(), /Fix login timeout/);
    await page.goto(job.pullRequest);
    const main = page.getByRole("main");
    assert.match(await main.innerText(), /Fix login timeout/);
    assert.ok(await main.getByText("Draft", { exact: true }).first().isVisible());
    assert.ok(await main.getByText("ado-coworker").first().isVisible());
    assert.equal(await main.getByText("Nobody was asked.").count(), 0, "no reviewer was asked");
    assert.ok(await main.getByRole("link", { name: /^\d+: Fix login timeout$/ }).isVisible(), "no work item is linked");
    await isAccessible(page, "pull request");
    await fitsAPhone(page, "pull request");
    await pictures(page, "pull-request");
  },

  async "alice posts the suggested comment on the selected line"(page) {
    const box = page.getByLabel(/^Comment on line \d+ as alice/i);
    assert.equal((await box.inputValue()).trim(), COMMENT);
    await page.locator("form").filter({ has: box }).getByRole("button", { name: "Comment" }).click();
    await page.waitForURL(/[?&]told=\d+/);
    job.thread = new URL(page.url()).searchParams.get("told");
  },

  async "the co-worker wakes, pushes, replies in the thread and settles it"(page) {
    const thread = () => page.getByRole("region", { name: `Thread ${job.thread}`, exact: true });
    const seen = await eventually("a reply and the state Resolved in the thread", async () => {
      // The page's own refresh ends with the reply; the state comes a moment later.
      await page.goto(`${job.pullRequest}?told=${job.thread}`);
      const text = await thread().textContent();
      const authors = await thread().locator("article header").allTextContents();
      const state = await thread().locator("summary").first().innerText();
      return authors.some((author) => author.includes("ado-coworker")) && /Resolved/.test(state) && { text };
    });
    assert.match(seen.text, /configurable/);
    const commits = page.locator("aside section").filter({ has: page.getByRole("heading", { name: "Commits" }) });
    assert.equal(await commits.getByRole("listitem").count(), 2, "there is no follow-up commit");
    await picture(page, "thread");
  },

  async "the organisation's page leads to the run that woke"(page, demo) {
    // Deliveries are shown newest first, and the co-worker's own reply was delivered too.
    const link = page.getByRole("link", { name: "see the run" }).last();
    job.event = await link.getAttribute("href");
    assert.ok(job.event.startsWith(demo.page), `${job.event} is not on the co-worker's page`);
    await page.goto(job.event);
    await page.waitForURL("**/runs/*");
    job.woken = new URL(page.url()).pathname;
    assert.notEqual(job.woken, job.run);
    await endsWell(page);
    await card(page, "Push a commit").first().waitFor();
    await card(page, "Reply in a review thread").first().waitFor();
  },

  async "its own comment wakes nobody"(page, demo) {
    await page.goto(new URL("/events", demo.page).href);
    await eventually("the co-worker's own reply came in and was ignored", async () => {
      await page.reload();
      return (await page.getByRole("main").innerText()).includes("The co-worker wrote it itself.");
    });
    await isAccessible(page, "events");
    await fitsAPhone(page, "events");
    await pictures(page, "events");
    await page.goto(new URL("/runs", demo.page).href);
    const runs = await page.getByRole("main").locator('a[href^="/runs/"]').evaluateAll((links) => links.map((link) => link.getAttribute("href")));
    assert.deepEqual([...runs].sort(), [job.run, job.woken].sort());
    await fitsAPhone(page, "runs");
    await pictures(page, "runs");
    for (const name of ["policy", "doctor", "identity", "approvals"]) {
      await page.goto(new URL(`/${name}`, demo.page).href);
      await isAccessible(page, name);
      await fitsAPhone(page, name);
      await pictures(page, name);
    }
  },

  async "Ctrl+Enter sends"(page, demo) {
    await page.goto(demo.page);
    await page.getByLabel("Instruction").fill("List the open work items.");
    await page.keyboard.press("Control+Enter");
    await page.waitForURL("**/runs/*");
    await endsWell(page);
    job.listed = new URL(page.url()).pathname;
  },
};

const stepsAfterRestart = {
  async "old runs are there after a restart"(page, demo) {
    await page.goto(new URL("/runs", demo.page).href);
    for (const run of [job.run, job.woken, job.listed]) {
      assert.equal(await page.locator(`a[href="${run}"]`).count(), 1, `${run} is gone`);
    }
    await page.goto(new URL(job.run, demo.page).href);
    await endsWell(page);
    await card(page, "Open a pull request").waitFor();
    assert.equal(await page.getByRole("list", { name: "Made in this run" }).getByRole("link").count(), job.links.length);
  },

  async "an old run goes on with a further message"(page) {
    await page.getByLabel("Message to this run").fill("List the open work items.");
    await page.getByRole("button", { name: "Send" }).click();
    await card(page, "Find work items").waitFor();
    await endsWell(page);
  },
};

async function main() {
  const { folder, remove } = await temporaryFolder();
  const { browser, page, faults } = await openBrowser();
  let demo;
  try {
    for (const part of [steps, stepsAfterRestart]) {
      demo = await startDemo({ binary: options.binary, data: folder, pace: options.pace });
      for (const [name, step] of Object.entries(part)) await perform(name, step, page, demo);
      // What is still open would end with an error of the connection, which is not a fault.
      await page.goto("about:blank");
      assert.deepEqual(faults, [], "the pages had faults");
      const how = await demo.stop();
      assert.equal(how, 0, "it did not end well after SIGTERM");
      demo = undefined;
    }
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
