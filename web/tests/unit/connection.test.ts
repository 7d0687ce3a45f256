import { beforeEach, describe, expect, it } from "vitest";
import { backOff, Connection, DEAD_MS, STALE_MS } from "../../src/live/connection";
import type { Socket } from "../../src/live/connection";
import { Store } from "../../src/live/store";

class FakeSocket implements Socket {
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  sent: Record<string, unknown>[] = [];
  closed = false;

  send(text: string) {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close() {
    this.closed = true;
  }

  say(message: object) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

/** A world whose clock moves only when it is told to. */
class Clock {
  now = 0;
  #timers: { at: number; run: () => void }[] = [];

  later = (run: () => void, ms: number) => {
    const timer = { at: this.now + ms, run };
    this.#timers.push(timer);
    return timer;
  };

  cancel = (timer: unknown) => {
    this.#timers = this.#timers.filter((known) => known !== timer);
  };

  pass(ms: number) {
    const end = this.now + ms;
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.cancel(next);
      this.now = next.at;
      next.run();
    }
    this.now = end;
  }
}

const heartbeat = { type: "heartbeat", seq: 1, at: new Date(0).toISOString(), dropped: 0 };
const hello = (session: string) => ({ type: "hello", session, seq: 0, version: "1" });
const snapshot = (seq: number) => ({ type: "snapshot", seq, events: [] });

let clock: Clock;
let sockets: FakeSocket[];
let store: Store;
let connection: Connection;
function newest(): FakeSocket {
  const socket = sockets.at(-1);
  if (!socket) throw new Error("nothing was opened");
  return socket;
}

beforeEach(() => {
  clock = new Clock();
  sockets = [];
  store = new Store(() => undefined);
  const open = () => {
    const socket = new FakeSocket();
    sockets.push(socket);
    return socket;
  };
  connection = new Connection(store, { open, now: () => clock.now, later: clock.later, cancel: clock.cancel, random: () => 0.5 });
  connection.start();
});

function live(session = "one", seq = 5) {
  newest().say(hello(session));
  newest().say(snapshot(seq));
}

describe("subscribing", () => {
  it("asks for everything at first", () => {
    newest().say(hello("one"));
    expect(newest().sent).toEqual([{ type: "subscribe", topics: [], symbols: null, resume: null, session: null }]);
    expect(connection.state.phase).toBe("connecting");
    newest().say(snapshot(5));
    expect(connection.state.phase).toBe("live");
  });

  it("resumes where it was, naming the process that it heard", () => {
    live("one", 41);
    newest().onclose?.({ code: 1006 });
    clock.pass(600);
    newest().say(hello("one"));
    expect(newest().sent[0]).toMatchObject({ resume: 41, session: "one" });
  });

  it("names the old process to a new one, which answers with a snapshot that is believed", () => {
    live("one", 41);
    newest().onclose?.({ code: 1006 });
    clock.pass(600);
    newest().say(hello("two"));
    expect(newest().sent[0]).toMatchObject({ resume: 41, session: "one" });
    newest().say({ type: "snapshot", seq: 2, events: [{ seq: 2, topic: "tick", key: "A", at: "", correlation: "", data: { symbol: "A", time: "2023-09-12T14:31:00Z", price: 1 } }] });
    expect([store.seq, store.get("tick", "A")?.price]).toEqual([2, 1]);
  });

  it("is not broken by words that are not ours", () => {
    live();
    newest().onmessage?.({ data: "<html>" });
    expect(connection.state.phase).toBe("live");
  });

  it("shows what the server refuses, until it speaks again", () => {
    live();
    newest().say({ type: "error", detail: "no such topic", hint: "topics are …" });
    expect(connection.state.problem).toBe("no such topic → topics are …");
    newest().say(heartbeat);
    expect(connection.state.problem).toBe("");
  });
});

describe("growing old", () => {
  it("is stale after five silent seconds, and not before", () => {
    live();
    clock.pass(STALE_MS - 1);
    expect(connection.state.phase).toBe("live");
    clock.pass(1);
    expect(connection.state.phase).toBe("stale");
    newest().say(heartbeat);
    expect(connection.state.phase).toBe("live");
  });

  it("stays live as long as it hears heartbeats", () => {
    live();
    for (let second = 0; second < 60; second++) {
      clock.pass(1000);
      newest().say(heartbeat);
    }
    expect(connection.state).toMatchObject({ phase: "live", heard: clock.now });
  });

  it("gives a dead connection up and makes another", () => {
    live();
    clock.pass(DEAD_MS);
    expect(connection.state.phase).toBe("offline");
    expect(sockets[0]?.closed).toBe(true);
    clock.pass(1000);
    expect(sockets).toHaveLength(2);
  });

  it("gives a connection up that never says hello", () => {
    clock.pass(DEAD_MS + 1000);
    expect(sockets.length).toBeGreaterThan(1);
  });

  it("knows how far the server's clock is ahead", () => {
    live();
    clock.now = 1_000;
    newest().say({ ...heartbeat, at: new Date(61_000).toISOString() });
    expect(connection.state.ahead).toBe(60_000);
  });
});

describe("coming back", () => {
  it("waits longer each time, at most some ten seconds, and begins anew after a success", () => {
    const waits = Array.from({ length: 8 }, (_, tries) => backOff(tries, 0.5));
    expect(waits.slice(0, 3)).toEqual([500, 1000, 2000]);
    expect(Math.max(...waits)).toBe(10_000);
    newest().onclose?.({ code: 1006 });
    clock.pass(500);
    newest().onclose?.({ code: 1006 });
    clock.pass(500);
    expect(sockets).toHaveLength(2);
    clock.pass(500);
    expect(sockets).toHaveLength(3);
    live();
    newest().onclose?.({ code: 1006 });
    clock.pass(500);
    expect(sockets).toHaveLength(4);
  });

  it("spreads many pages by chance", () => {
    expect(backOff(0, 0)).toBeLessThan(backOff(0, 1));
  });

  it("ignores the last words of a connection that it has left", () => {
    live();
    const old = newest();
    const [hear, close] = [old.onmessage, old.onclose];
    close?.({ code: 1006 });
    clock.pass(500);
    hear?.({ data: JSON.stringify(heartbeat) });
    close?.({ code: 1006 });
    expect(connection.state.phase).toBe("offline");
    expect(sockets).toHaveLength(2);
  });

  it("asks for a token instead of trying for ever", () => {
    newest().onclose?.({ code: 4401 });
    clock.pass(60_000);
    expect(connection.state.phase).toBe("unauthorised");
    expect(sockets).toHaveLength(1);
    connection.retryNow();
    expect(sockets).toHaveLength(2);
  });

  it("tries no more once it is stopped", () => {
    live();
    connection.stop();
    clock.pass(60_000);
    expect(sockets).toHaveLength(1);
  });
});
