// plumb up, as a newcomer starts it: what it prints is all that is known of it.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const plumb = process.env.PLUMB ?? fileURLToPath(new URL("../../../bin/plumb", import.meta.url));
// How long a start may take on a busy machine.
const within = 80_000;
const author = ["-c", "user.name=Ann Lee", "-c", "user.email=ann@example.org"];

export interface Up {
  console: string; // its address
  password: string; // of admin
  repository: Repository;
  stop: () => Promise<void>;
}

export interface Repository {
  url: string; // by which the cluster reads it
  edit: (file: string, from: string | RegExp, to: string) => void;
  write: (file: string, text: string) => void;
  move: (from: string, to: string) => void;
  remove: (file: string) => void;
  commit: (message: string) => void;
  revert: () => void;
}

// startUp starts a cluster with the sample repository in a directory of its own,
// and waits until it says where the console is.
export async function startUp(): Promise<Up> {
  const home = mkdtempSync(join(tmpdir(), "plumb-e2e-"));
  const child = spawn(plumb, ["up", "--data-dir", home], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  const ended = new Promise<void>((done) => child.once("exit", () => done()));
  const stop = async () => {
    child.kill("SIGINT");
    await ended;
    rmSync(home, { recursive: true, force: true });
  };
  const found = await new Promise<{ console: string; password: string; directory: string; url: string }>((ready, failed) => {
    const hear = (text: Buffer) => {
      said += text.toString();
      const console = /^ *Console +(\S+)/m.exec(said)?.[1];
      const password = /with the password (\S+)/.exec(said)?.[1];
      const directory = /^Commit to (\S+) \(branch/m.exec(said)?.[1];
      const url = /serving \S+ at (\S+)/.exec(said)?.[1];
      if (console && password && directory && url) ready({ console, password, directory, url });
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.once("error", failed);
    setTimeout(() => failed(new Error(`plumb up did not say where the console is:\n${said}`)), within).unref();
    child.once("exit", () => failed(new Error(`plumb up ended:\n${said}`)));
  }).catch(async (error: unknown) => {
    if (child.exitCode === null && child.pid) await stop();
    throw error;
  });
  return { console: found.console, password: found.password, repository: repositoryIn(found.directory, found.url), stop };
}

function repositoryIn(directory: string, url: string): Repository {
  const git = (...args: string[]) => void execFileSync("git", ["-C", directory, ...author, ...args], { stdio: "pipe" });
  const make = (file: string) => mkdirSync(dirname(join(directory, file)), { recursive: true });
  return {
    url,
    edit(file, from, to) {
      const path = join(directory, file);
      const before = readFileSync(path, "utf8");
      const after = before.replace(from, to);
      if (after === before) throw new Error(`${file} has nothing like ${from}`);
      writeFileSync(path, after);
    },
    write(file, text) {
      make(file);
      writeFileSync(join(directory, file), text);
    },
    move(from, to) {
      make(to);
      git("mv", from, to);
    },
    remove: (file) => git("rm", "--quiet", file),
    commit(message) {
      git("add", "--all");
      git("commit", "--message", message);
    },
    revert: () => git("revert", "--no-edit", "HEAD"),
  };
}
