import { describe, expect, it } from "vitest";
import type { Bar, Event, Fill, Listed, Position, Status } from "../../src/api/shapes";
import { KEPT, Store } from "../../src/live/store";

const AT = "2023-09-12T14:31:00Z";

/** A store whose flushes are made by hand. */
function held() {
  const waiting: (() => void)[] = [];
  const store = new Store((flush) => waiting.push(flush));
  return { store, flush: () => waiting.splice(0).forEach((run) => run()), scheduled: () => waiting.length };
}

function tick(seq: number, symbol: string, price: number, time = AT): Event {
  return { seq, topic: "tick", key: symbol, at: AT, correlation: "", data: { symbol, time, price } };
}

function bar(seq: number, symbol: string, close: number, time = AT): Event {
  const data: Bar = { symbol, time, open: close, high: close, low: close, close, volume: 1 };
  return { seq, topic: "bar", key: symbol, at: AT, correlation: "", data };
}

const position = (symbol: string, shares: number) => ({ symbol, shares }) as Position;
const status = (playbook: string, zone = "America/New_York") => ({ playbook, zone }) as Status;
const listed = (symbol: string, price: number, change: number, time = AT) => ({ symbol, price, change, time }) as Listed;

describe("hearing", () => {
  it("keeps the newest of each topic and key", () => {
    const { store } = held();
    store.delta([tick(1, "A", 10), tick(2, "B", 20), tick(3, "A", 11)]);
    expect(store.get("tick", "A")?.price).toBe(11);
    expect(store.get("tick", "B")?.price).toBe(20);
    expect(store.seq).toBe(3);
  });

  it("passes over what was heard already, and takes gaps", () => {
    const { store } = held();
    store.delta([tick(5, "A", 10)]);
    store.delta([tick(4, "A", 9), tick(5, "A", 8), tick(9, "A", 12)]);
    expect(store.get("tick", "A")?.price).toBe(12);
    expect(store.seq).toBe(9);
  });

  it("begins to count anew with another process, and not with the same", () => {
    const { store } = held();
    store.hello("one");
    store.delta([tick(500, "A", 10)]);
    store.hello("one");
    expect(store.seq).toBe(500);
    store.hello("two");
    store.snapshot(3, [tick(2, "A", 11)]);
    expect(store.get("tick", "A")?.price).toBe(11);
    expect(store.seq).toBe(3);
  });

  it("forgets everything where another playbook runs now", () => {
    const { store } = held();
    store.snapshot(2, [{ seq: 1, topic: "status", key: "status", at: AT, correlation: "", data: status("one") }, tick(2, "A", 10)]);
    store.hello("two");
    store.snapshot(2, [{ seq: 1, topic: "status", key: "status", at: AT, correlation: "", data: status("two") }, tick(2, "B", 20)]);
    expect(store.get("tick", "A")).toBeUndefined();
    expect(store.get("status", "status")?.playbook).toBe("two");
  });

  it("calls what REST said old with every snapshot, and once a process has warmed up", () => {
    const { store } = held();
    const say = (seq: number, as_of: string | null, busy: boolean): Event => {
      const data = { ...status("p"), as_of, progress: busy ? { phase: "training", done: 1, total: 2 } : null };
      return { seq, topic: "status", key: "status", at: AT, correlation: "", data };
    };
    store.snapshot(1, [say(1, null, true)]);
    const cold = store.epoch;
    store.delta([say(2, AT, true)]);
    expect(store.epoch).toBe(cold);
    store.delta([say(3, AT, false), say(4, AT, false)]);
    expect(store.epoch).toBe(cold + 1);
    store.snapshot(4, []);
    expect(store.epoch).toBe(cold + 2);
  });

  it("drops a position of no shares", () => {
    const { store } = held();
    store.delta([{ seq: 1, topic: "position", key: "A", at: AT, correlation: "", data: position("A", 5) }]);
    expect(store.all("position")).toHaveLength(1);
    store.delta([{ seq: 2, topic: "position", key: "A", at: AT, correlation: "", data: position("A", 0) }]);
    expect(store.all("position")).toHaveLength(0);
  });

  it("keeps a bounded number of things, the newest", () => {
    const { store } = held();
    const fill = (seq: number): Event => ({ seq, topic: "fill", key: `f${seq}`, at: AT, correlation: "", data: { id: `f${seq}` } as Fill });
    store.delta(Array.from({ length: KEPT + 10 }, (_, index) => fill(index + 1)));
    expect(store.all("fill")).toHaveLength(KEPT);
    expect(store.get("fill", "f10")).toBeUndefined();
    expect(store.get("fill", "f11")).toBeDefined();
  });
});

describe("telling", () => {
  it("tells readers of a slice once a frame, however much was said", () => {
    const { store, flush, scheduled } = held();
    let [one, all, other] = [0, 0, 0];
    store.subscribe("tick", "A", () => (one += 1));
    store.subscribe("tick", null, () => (all += 1));
    store.subscribe("tick", "B", () => (other += 1));
    for (let seq = 1; seq <= 100; seq++) store.delta([tick(seq, "A", seq)]);
    expect([one, scheduled()]).toEqual([0, 1]);
    flush();
    expect([one, all, other]).toEqual([1, 1, 0]);
  });

  it("tells nobody who has left", () => {
    const { store, flush } = held();
    let told = 0;
    store.subscribe("tick", "A", () => (told += 1))();
    store.delta([tick(1, "A", 10)]);
    flush();
    expect(told).toBe(0);
  });

  it("gives watchers every bar at once, so that a series loses none", () => {
    const { store } = held();
    const closes: (number | null)[] = [];
    const leave = store.watch("bar", (data) => closes.push(data.close));
    store.delta([bar(1, "A", 1), bar(2, "A", 2), bar(3, "A", 3)]);
    leave();
    store.delta([bar(4, "A", 4)]);
    expect(closes).toEqual([1, 2, 3]);
  });

  it("returns the same list until something of it changes", () => {
    const { store } = held();
    store.delta([tick(1, "A", 10)]);
    const before = store.all("tick");
    store.delta([bar(2, "A", 10)]);
    expect(store.all("tick")).toBe(before);
    store.delta([tick(3, "A", 11)]);
    expect(store.all("tick")).not.toBe(before);
  });
});

describe("loading from REST", () => {
  const keyOf = (p: Position) => p.symbol;

  it("lets what was said after the question stand", () => {
    const { store } = held();
    store.delta([{ seq: 7, topic: "position", key: "A", at: AT, correlation: "", data: position("A", 5) }]);
    store.load("position", [position("A", 3), position("B", 1)], keyOf, 6);
    expect(store.get("position", "A")?.shares).toBe(5);
    expect(store.get("position", "B")?.shares).toBe(1);
  });

  it("drops what REST does not know any more, but not what was said since", () => {
    const { store } = held();
    store.load("position", [position("A", 1), position("B", 1)], keyOf, 0);
    store.delta([{ seq: 4, topic: "position", key: "C", at: AT, correlation: "", data: position("C", 2) }]);
    store.load("position", [position("B", 1)], keyOf, 3);
    expect(store.all("position").map(keyOf).sort()).toEqual(["B", "C"]);
  });

  it("takes an answer of an older process's number for old after a restart", () => {
    const { store } = held();
    store.hello("one");
    store.delta([{ seq: 900, topic: "position", key: "A", at: AT, correlation: "", data: position("A", 5) }]);
    store.hello("two");
    store.load("position", [position("B", 1)], keyOf, 0);
    expect(store.all("position").map(keyOf)).toEqual(["B"]);
  });
});

describe("prices", () => {
  it("counts the change from the last price of the day before", () => {
    const { store } = held();
    store.delta([bar(1, "A", 100, "2023-09-12T20:00:00Z"), tick(2, "A", 110, "2023-09-13T14:00:00Z")]);
    expect(store.get("price", "A")?.change).toBeCloseTo(0.1, 12);
    store.delta([tick(3, "A", 95, "2023-09-13T14:01:00Z")]);
    expect(store.get("price", "A")).toMatchObject({ price: 95, reference: 100, moved: -1 });
  });

  it("knows no change before a day has ended, rather than inventing one", () => {
    const { store } = held();
    store.delta([tick(1, "A", 100), tick(2, "A", 101)]);
    expect(store.get("price", "A")?.change).toBeNull();
  });

  it("takes the session before from the watch-list, and keeps a newer price", () => {
    const { store } = held();
    store.delta([tick(1, "A", 103, "2023-09-12T14:32:00Z")]);
    store.load("symbol", [listed("A", 102, 0.02)], (item) => item.symbol, 0);
    expect(store.get("price", "A")?.price).toBe(103);
    expect(store.get("price", "A")?.change).toBeCloseTo(0.03, 12);
  });

  it("does not go back to an older price", () => {
    const { store } = held();
    store.delta([tick(1, "A", 103, "2023-09-12T14:32:00Z"), bar(2, "A", 99, "2023-09-12T14:31:00Z")]);
    expect(store.get("price", "A")?.price).toBe(103);
  });

  it("believes another process that lives in an earlier time, as a replay that begins again does", () => {
    const { store } = held();
    store.hello("one");
    store.delta([bar(1, "A", 100, "2023-09-12T20:00:00Z"), tick(2, "A", 110, "2023-09-13T14:00:00Z")]);
    store.hello("two");
    expect(store.get("price", "A")?.price).toBe(110);
    store.snapshot(1, [tick(1, "A", 90, "2023-09-11T14:00:00Z")]);
    expect(store.get("price", "A")).toMatchObject({ price: 90, reference: null, change: null });
    store.load("symbol", [listed("A", 88, -0.02, "2023-09-11T13:59:00Z")], (item) => item.symbol, 1);
    expect(store.get("price", "A")).toMatchObject({ price: 90, time: "2023-09-11T14:00:00Z" });
    expect(store.get("price", "A")?.change).toBeCloseTo(90 / (88 / 0.98) - 1, 12);
  });

  it("counts days in the exchange's calendar", () => {
    const { store } = held();
    store.snapshot(1, [{ seq: 1, topic: "status", key: "status", at: AT, correlation: "", data: status("p", "Australia/Sydney") }]);
    // 13:59 and 14:01 UTC: before and after midnight in Sydney
    store.delta([tick(2, "A", 100, "2023-07-12T13:59:00Z"), tick(3, "A", 102, "2023-07-12T14:01:00Z")]);
    expect(store.get("price", "A")?.change).toBeCloseTo(0.02, 12);
  });
});
