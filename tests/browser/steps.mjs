// Steps of a story, and pictures of what a person sees at them.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { repositoryRoot } from "./browser.mjs";

/** Takes pictures into `folder`; none where there is none. */
export function gallery(folder) {
  async function picture(page, name, options = {}) {
    if (!folder) return;
    await mkdir(folder, { recursive: true });
    await page.screenshot({ path: join(folder, `${name}.png`), ...options });
  }

  /** The same page in light, in dark and on a phone. */
  async function pictures(page, name, options = {}) {
    if (!folder) return;
    await page.evaluate(() => scrollTo({ top: 0, behavior: "instant" }));
    for (const colorScheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme });
      await picture(page, `${name}-${colorScheme}`, options);
    }
    const before = page.viewportSize();
    await page.setViewportSize({ width: 390, height: 844 });
    await picture(page, `${name}-phone`, options);
    await page.setViewportSize(before);
  }

  return { picture, pictures };
}

/** Does a step; where it fails, tells what the page showed. */
export async function perform(name, step, page, demo) {
  const began = Date.now();
  try {
    await step(page, demo);
  } catch (error) {
    const shot = join(repositoryRoot(), ".test/failure.png");
    await page.screenshot({ path: shot, fullPage: true }).catch(() => {});
    const text = await page.getByRole("main").innerText().catch(() => "");
    console.error(`FAILED ${name}\n  at ${page.url()}, picture in ${shot}\n${text.slice(0, 4000)}`);
    throw error;
  }
  console.log(`ok ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
}
