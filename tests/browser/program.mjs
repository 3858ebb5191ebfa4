// Starts the built program as a person would, and ends it again.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const START_MS = 60_000;
const STOP_MS = 40_000;

/** A folder for one test, and how to take it away. */
export async function temporaryFolder() {
  const folder = await mkdtemp(join(tmpdir(), "ado-coworker-browser-"));
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** A running `demo` on free ports. Its working folder is `data`, so no `.env` of ours is read. */
export async function startDemo({ binary, data, pace }) {
  const arguments_ = ["demo", "--port", "0", "--simulator-port", "0", "--data", data, "--pace", String(pace)];
  const { PATH, HOME } = process.env;
  const child = spawn(binary, arguments_, { cwd: data, env: { PATH, HOME }, stdio: ["ignore", "pipe", "pipe"] });
  const said = [];
  const ended = new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(signal ?? code));
  });
  createInterface({ input: child.stderr }).on("line", (line) => said.push(line));
  const found = {};
  const ready = new Promise((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      said.push(line);
      const [, name, url] = line.match(/^(ready|organisation) (http\S+)/) ?? [];
      if (name) found[name] = url;
      if (found.ready && found.organisation) resolve();
    });
  });
  const late = new Promise((_, reject) => setTimeout(reject, START_MS, new Error("it was not ready in time")).unref());
  const early = ended.then((how) => { throw new Error(`it ended (${how}) before it was ready`); });
  early.catch(() => {});
  try {
    await Promise.race([ready, late, early]);
  } catch (error) {
    child.kill("SIGKILL");
    throw new Error(`${error.message}; it said:\n${said.join("\n")}`);
  }
  return {
    page: found.ready,
    organization: found.organisation,
    said,
    /** Ends it as a system does, and gives its exit status. */
    async stop() {
      child.kill("SIGTERM");
      const hard = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
      const how = await ended;
      clearTimeout(hard);
      return how;
    },
  };
}
