/**
 * The server that the page is tested against: the stand-in, or a real one.
 *
 *     TRADEWIND_WEB_URL      where a real server answers, http://127.0.0.1:8399
 *     TRADEWIND_WEB_COMMAND  how to start it, so that it can be killed and started again; without it those tests are skipped
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

const WEB = fileURLToPath(new URL("../../", import.meta.url));
const START_MS = 180_000;

export const REAL = process.env.TRADEWIND_WEB_URL;
const COMMAND = process.env.TRADEWIND_WEB_COMMAND;

/** Return a port that nobody listens on. */
async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no port was given");
  return address.port;
}

export class Server {
  readonly url: string;
  #process: ChildProcess | null = null;

  private constructor(
    url: string,
    private readonly command: string | null,
    private readonly folder = `${WEB}/..`,
  ) {
    this.url = url;
  }

  /** The server that most tests ask. */
  static async main(): Promise<Server> {
    return REAL === undefined ? Server.standIn() : new Server(REAL, COMMAND ?? null);
  }

  /** An invented market of its own, whatever else is tested. */
  static async standIn(...options: string[]): Promise<Server> {
    const port = await freePort();
    return new Server(`http://127.0.0.1:${port}`, `exec node dev/stand-in.mjs --port ${port} --hz 4 --bar-seconds 3 ${options.join(" ")}`, WEB);
  }

  /** Whether it can be killed and started again. */
  get ours(): boolean {
    return this.command !== null;
  }

  async start(): Promise<void> {
    if (this.command !== null) {
      const ours = spawn("sh", ["-c", this.command], { cwd: this.folder, stdio: ["ignore", "ignore", "inherit"], detached: true });
      this.#process = ours;
    }
    const deadline = Date.now() + START_MS;
    for (;;) {
      if (typeof this.#process?.exitCode === "number") throw new Error(`the server ended with ${this.#process.exitCode}: ${this.command ?? ""}`);
      if (await this.#answers()) return;
      if (Date.now() > deadline) throw new Error(`${this.url} did not answer within ${START_MS / 1000} s`);
      await new Promise((wake) => setTimeout(wake, 100));
    }
  }

  /** Send a signal to the server and all that it started. */
  signal(name: NodeJS.Signals): void {
    if (this.#process?.pid) process.kill(-this.#process.pid, name);
  }

  async kill(): Promise<void> {
    const ours = this.#process;
    if (ours?.exitCode !== null || ours.signalCode !== null) return;
    const gone = new Promise((resolve) => ours.once("exit", resolve));
    this.signal("SIGKILL");
    await gone;
    this.#process = null;
  }

  async get<T>(path: string): Promise<T> {
    return (await (await fetch(`${this.url}/api/v1${path}`)).json()) as T;
  }

  async #answers(): Promise<boolean> {
    try {
      return (await fetch(`${this.url}/healthz`)).ok;
    } catch {
      return false;
    }
  }
}
