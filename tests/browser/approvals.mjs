// What waits for people, as they meet it: the card, the inbox, a no, a yes, a broken glass.
//
//   node tests/browser/approvals.mjs [--binary PATH] [--screenshots FOLDER]
import assert from "node:assert/strict";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { eventually, fitsAPhone, isAccessible, openBrowser, repositoryRoot } from "./browser.mjs";
import { startDemo, temporaryFolder } from "./program.mjs";
import { gallery, perform } from "./steps.mjs";

const ASKS = "Add a lint step to azure-pipelines.yml.";
const REASON = "The build is down and customers wait.";

const { values: options } = parseArgs({
  options: {
    binary: { type: "string", default: join(repositoryRoot(), "target/debug/ado-coworker") },
    screenshots: { type: "string" },
  },
});
const { pictures } = gallery(options.screenshots);

const at = (demo, path) => new URL(path, demo.page).href;
/** The newest card that waits. */
const open = (page) => page.getByRole("article").filter({ has: page.getByText("Waits for approval", { exact: true }) }).first();

async function ask(page, demo) {
  await page.goto(demo.page);
  await page.getByLabel("Instruction").fill(ASKS);
  await page.getByRole("button", { name: "Send" }).click();
  await page.waitForURL("**/runs/*");
  await open(page).waitFor();
}

async function endsAs(page, words) {
  const status = page.locator("#run-status");
  await eventually(`the run is ${words}`, async () => (await status.getAttribute("data-words")) === words);
}

const steps = {
  async "the card shows exactly what would be done, and who may not decide"(page, demo) {
    await ask(page, demo);
    const card = open(page);
    const text = await card.innerText();
    assert.match(text, /Rule build-definition/);
    assert.match(text, /ordered by bob/);
    assert.match(text, /npm run lint/);
    assert.match(text, /Changes what build machines do/);
    assert.match(text, /You cannot decide on this/);
    assert.equal(await card.getByRole("button", { name: "Approve" }).count(), 0);
    await isAccessible(page, "a run that asks");
    await fitsAPhone(page, "a run that asks");
    await pictures(page, "approval-run", { fullPage: true });
  },

  async "one click makes alice of you, and the inbox has the card"(page, demo) {
    await open(page).getByRole("link", { name: "Sign in as alice" }).click();
    await page.waitForURL("**/approvals/*");
    assert.match(await page.getByRole("banner").innerText(), /You are Alice Martin/);
    await isAccessible(page, "card");
    await fitsAPhone(page, "card");
    await pictures(page, "approval-card", { fullPage: true });
    await page.goto(at(demo, "/approvals"));
    await open(page).waitFor();
    await isAccessible(page, "inbox");
    await fitsAPhone(page, "inbox");
    await pictures(page, "approval-inbox", { fullPage: true });
  },

  async "a no needs a reason, and reaches the run"(page) {
    await open(page).getByRole("button", { name: "Deny" }).click();
    await page.getByRole("alert").getByText("A reason is needed").waitFor();
    await open(page).getByLabel(/^Reason/).fill("Not before the release.");
    await open(page).getByRole("button", { name: "Deny" }).click();
    await page.waitForURL("**/runs/*");
    await endsAs(page, "Done");
    assert.match(await page.getByRole("main").innerText(), /Alice Martin denied .*Not before the release/);
  },

  async "her own order is for somebody else to decide"(page, demo) {
    await ask(page, demo);
    assert.match(await open(page).innerText(), /nobody approves their own work/);
    await page.getByRole("button", { name: "Stop" }).click();
    await endsAs(page, "Stopped");
  },

  async "bob orders again, alice changes the title and says yes, with the keyboard alone"(page, demo) {
    await page.getByRole("button", { name: "Sign out" }).click();
    await ask(page, demo);
    await open(page).getByRole("link", { name: "Sign in as alice" }).click();
    await page.waitForURL("**/approvals/*");
    const card = open(page);
    await card.getByText("Change it before approving").focus();
    await page.keyboard.press("Enter");
    await card.getByLabel("Approve with these changes").focus();
    await page.keyboard.press("Space");
    await card.getByLabel("Title").fill("Lint in the build");
    await pictures(page, "approval-edit", { fullPage: true });
    await card.getByRole("button", { name: "Approve", exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.waitForURL("**/runs/*");
    await endsAs(page, "Done");
    const main = await page.getByRole("main").innerText();
    assert.match(main, /Alice Martin approved/);
    assert.match(main, /Budget: \d+% used/);
    await page.getByText(/^Budget:/).click();
    await isAccessible(page, "a run with its budget open");
    await fitsAPhone(page, "a run with its budget open");
    await pictures(page, "budget", { fullPage: true });
  },

  async "a broken glass is red, and asks for its review"(page, demo) {
    await page.getByRole("button", { name: "Sign out" }).click();
    await ask(page, demo);
    const path = await open(page).getByRole("link", { name: "Sign in as alice" }).getAttribute("href");
    const id = path.split("/").at(-1);
    await page.goto(at(demo, path));
    const digest = await open(page).locator('input[name="digest"]').first().getAttribute("value");
    const body = { decision: "approve", digest, ticket: "INC-7", reason: REASON };
    const answer = await page.request.post(at(demo, `/api/approvals/${id}/decision`), { data: body });
    assert.equal(answer.status(), 200, await answer.text());
    await page.goto(at(demo, `/approvals/${id}`));
    await page.getByText("The glass was broken for this, ticket INC-7").waitFor();
    await isAccessible(page, "broken glass");
    await pictures(page, "broken-glass", { fullPage: true });
    await page.getByRole("link", { name: "The run that asks" }).click();
    await endsAs(page, "Done");
    const made = page.getByRole("list", { name: "Made in this run" }).getByRole("link");
    await page.goto(await made.filter({ hasText: "Review of" }).getAttribute("href"));
    assert.match(await page.getByRole("main").innerHTML(), /Review the broken glass/);
  },
};

async function main() {
  const { folder, remove } = await temporaryFolder();
  const { browser, page, faults } = await openBrowser();
  let demo;
  try {
    demo = await startDemo({ binary: options.binary, data: folder, pace: 0 });
    for (const [name, step] of Object.entries(steps)) await perform(name, step, page, demo);
    await page.goto("about:blank");
    // A form that is refused is answered with the page and the status of what went wrong.
    const unexpected = faults.filter((fault) => !/status of 422/.test(fault));
    assert.deepEqual(unexpected, [], "the pages had faults");
    const how = await demo.stop();
    assert.equal(how, 0, "it did not end well after SIGTERM");
    demo = undefined;
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
