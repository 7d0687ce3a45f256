/**
 * The one WebSocket: subscribes, resumes where it was, comes back by itself, and knows how old what it shows is.
 */
import type { ServerMessage } from "../api/shapes";
import type { Store } from "./store";

/** Without a word from the server for so long, what is shown is called stale. */
export const STALE_MS = 5_000;
/** And after so long the connection is given up and made anew. */
export const DEAD_MS = 15_000;

export type Phase = "connecting" | "live" | "stale" | "offline" | "unauthorised";

export interface ConnectionState {
  phase: Phase;
  /** When the server was last heard, on this machine's clock; null before the first word. */
  heard: number | null;
  /** When the next try is, where it is offline. */
  retryAt: number | null;
  /** The server's clock minus this machine's, in milliseconds. */
  ahead: number;
  /** Events that this page was too slow for, as the server counts them. */
  dropped: number;
  version: string;
  problem: string;
}

/** As much of a WebSocket as is used. */
export interface Socket {
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(text: string): void;
  close(): void;
}

export interface Surroundings {
  open: () => Socket;
  now: () => number;
  later: (run: () => void, ms: number) => unknown;
  cancel: (timer: unknown) => void;
  random: () => number;
}

/** Return how long to wait before try number `tries`: doubling to ten seconds, with chance so that many pages spread. */
export function backOff(tries: number, random: number): number {
  return Math.min(10_000, 500 * 2 ** tries) * (0.75 + 0.5 * random);
}

const AT_FIRST: ConnectionState = {
  phase: "connecting",
  heard: null,
  retryAt: null,
  ahead: 0,
  dropped: 0,
  version: "",
  problem: "",
};

export class Connection {
  state: ConnectionState = AT_FIRST;
  #socket: Socket | null = null;
  #readers = new Set<() => void>();
  #tries = 0;
  #retry: unknown = null;
  #watchdog: unknown = null;
  #stopped = true;

  constructor(
    private readonly store: Store,
    private readonly around: Surroundings,
  ) {}

  subscribe = (tell: () => void): (() => void) => {
    this.#readers.add(tell);
    return () => this.#readers.delete(tell);
  };

  start(): void {
    this.#stopped = false;
    this.#connect();
  }

  stop(): void {
    this.#stopped = true;
    this.around.cancel(this.#retry);
    this.around.cancel(this.#watchdog);
    this.#leave();
  }

  /** Try now: a person asked, the network came back, or a token was typed. */
  retryNow = (): void => {
    if (this.#stopped || this.state.phase === "live") return;
    this.around.cancel(this.#retry);
    this.#tries = 0;
    this.#connect();
  };

  #connect(): void {
    this.#leave();
    this.around.cancel(this.#watchdog);
    const socket = this.around.open();
    this.#socket = socket;
    this.#change({ phase: this.state.heard === null ? "connecting" : this.state.phase, retryAt: null });
    socket.onmessage = (event) => this.#hear(socket, String(event.data));
    socket.onclose = (event) => this.#closed(socket, event.code);
    this.#watchdog = this.around.later(() => this.#closed(socket, 1006), DEAD_MS);
  }

  #leave(): void {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #hear(socket: Socket, text: string): void {
    if (socket !== this.#socket) return;
    const message = parse(text);
    if (message === null) return;
    const heard = this.around.now();
    switch (message.type) {
      case "hello":
        this.#greet(socket, message.session);
        this.#change({ version: message.version, heard });
        break;
      case "snapshot":
        this.store.snapshot(message.seq, message.events);
        this.#alive(heard);
        break;
      case "delta":
        this.store.delta(message.events);
        this.#alive(heard);
        break;
      case "heartbeat":
        this.#alive(heard, { dropped: message.dropped, ahead: Date.parse(message.at) - heard });
        break;
      case "error":
        this.#change({ problem: [message.detail, message.hint].filter(Boolean).join(" → ") });
        break;
    }
    this.#watch();
  }

  #greet(socket: Socket, session: string): void {
    const known = this.store.session !== "";
    const resume = known && this.store.epoch > 0 ? { resume: this.store.seq, session: this.store.session } : { resume: null, session: null };
    this.store.hello(session);
    socket.send(JSON.stringify({ type: "subscribe", topics: [], symbols: null, ...resume }));
  }

  #alive(heard: number, change: Partial<ConnectionState> = {}): void {
    this.#tries = 0;
    const fresh = this.state.phase !== "live" || this.state.problem !== "";
    const state = { ...this.state, phase: "live" as const, retryAt: null, problem: "", heard, ...change };
    // A delta many times a second must not wake the readers of a state that stays what it was.
    if (fresh || change.ahead !== undefined) this.#change(state);
    else this.state = state;
  }

  /** Without a word for a while, say stale; for much longer, begin anew. */
  #watch(): void {
    this.around.cancel(this.#watchdog);
    this.#watchdog = this.around.later(() => {
      if (this.state.phase === "live") this.#change({ phase: "stale" });
      this.#watchdog = this.around.later(() => this.#closed(this.#socket, 1006), DEAD_MS - STALE_MS);
    }, STALE_MS);
  }

  #closed(socket: Socket | null, code: number): void {
    if (socket !== this.#socket || this.#stopped) return;
    this.around.cancel(this.#watchdog);
    this.#leave();
    if (code === 4401) {
      this.#change({ phase: "unauthorised", retryAt: null });
      return;
    }
    const wait = backOff(this.#tries++, this.around.random());
    this.#change({ phase: "offline", retryAt: this.around.now() + wait });
    this.#retry = this.around.later(() => this.#connect(), wait);
  }

  #change(change: Partial<ConnectionState>): void {
    this.state = { ...this.state, ...change };
    for (const tell of this.#readers) tell();
  }
}

function parse(text: string): ServerMessage | null {
  try {
    return JSON.parse(text) as ServerMessage;
  } catch {
    return null; // not ours: a proxy's word, or half a message
  }
}
