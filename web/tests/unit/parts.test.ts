import { describe, expect, it } from "vitest";
import type { Bar, Listed, Signal, Status } from "../../src/api/shapes";
import { correlation, LEAST_RETURNS, returnsOf } from "../../src/chart/correlation";
import { path, scale, ticksOf } from "../../src/chart/paths";
import type { ConnectionState } from "../../src/live/connection";
import { dayIn, offsetOf } from "../../src/live/prices";
import { joined } from "../../src/live/series";
import { routeOf, symbolPath, VIEWS } from "../../src/route";
import { freshness } from "../../src/ui/freshness";
import { outlookOf } from "../../src/ui/outlook";
import { search } from "../../src/ui/search";
import { compare, sorted } from "../../src/ui/table";
import { barLength } from "../../src/views/symbol";
import { surest } from "../../src/views/today";
import { matches } from "../../src/views/watchlist";

const bar = (time: string, close: number): Bar => ({ symbol: "A", time, open: close, high: close, low: close, close, volume: null });

/** A minute of a day, in either spelling of UTC. */
const at = (minute: number, zone = "Z") => `2023-09-12T14:0${minute}:00${zone}`;
describe("series", () => {
  it("join what REST knows with what was heard", () => {
    expect(joined([bar(at(1), 1), bar(at(2), 2)], [bar(at(2, "+00:00"), 8), bar(at(3), 3)]).map((b) => b.close)).toEqual([1, 8, 3]);
    expect(joined([bar(at(1), 1), bar(at(3), 3)], [bar(at(2), 2)]).map((b) => b.close)).toEqual([1, 2, 3]);
  });
});

describe("zones", () => {
  it("know summer time", () => {
    expect(offsetOf("America/New_York", Date.parse("2023-01-10T15:00:00Z"))).toBe(-5 * 3_600_000);
    expect(offsetOf("America/New_York", Date.parse("2023-07-10T15:00:00Z"))).toBe(-4 * 3_600_000);
    expect(dayIn("America/New_York", "2023-07-10T03:00:00Z")).toBe("2023-07-09");
    expect(dayIn("UTC", "nonsense")).toBe("");
  });
});

describe("routes", () => {
  it("lead to views and back", () => {
    for (const { id, path: at } of VIEWS) expect(routeOf(at)).toEqual({ view: id, symbol: "" });
    expect(routeOf(symbolPath("BRK/B"))).toEqual({ view: "symbol", symbol: "BRK/B" });
    expect(routeOf("/symbol/%E0%A4%A")).toEqual({ view: "symbol", symbol: "%E0%A4%A" });
    expect(routeOf("/nowhere").view).toBe("unknown");
    expect(routeOf("/models/x").view).toBe("unknown");
  });
});

describe("sorting", () => {
  it("puts what is missing last, whichever way", () => {
    const rows = [{ v: null }, { v: 2 }, { v: 1 }];
    const columns = [{ id: "v", title: "v", value: (row: { v: number | null }) => row.v }];
    expect(sorted(rows, columns, { id: "v", down: true }).map((row) => row.v)).toEqual([2, 1, null]);
    expect(sorted(rows, columns, { id: "v", down: false }).map((row) => row.v)).toEqual([1, 2, null]);
    expect(compare("b", "a", false)).toBeGreaterThan(0);
  });

  it("has the surest trades first and HOLDs after them", () => {
    const signal = (symbol: string, action: string, confidence: number | null) => ({ symbol, action, confidence }) as Signal;
    const all = [signal("A", "HOLD", 0.9), signal("B", "BUY", 0.6), signal("C", "SELL", 0.7), signal("D", "HOLD", null)];
    expect(surest(all, 3).map((s) => s.symbol)).toEqual(["C", "B", "A"]);
  });
});

describe("finding", () => {
  const all = ["AMD", "AMZN", "Watchlist"].map((title) => ({ path: `/${title}`, title, note: title === "AMD" ? "Technology" : "" }));
  it("has exact names before beginnings before parts", () => {
    expect(search("am", all).map((f) => f.title)).toEqual(["AMD", "AMZN"]);
    expect(search("amzn", all)[0]?.title).toBe("AMZN");
    expect(search("techno", all).map((f) => f.title)).toEqual(["AMD"]);
    expect(search("zzz", all)).toEqual([]);
  });
  it("filters the watch-list by any of its words", () => {
    const item = { symbol: "AMD", sector: "Technology", tier: "high", action: "STRONG_BUY" } as Listed;
    expect(["amd", "tech", "high", "strong buy", ""].every((typed) => matches(item, typed))).toBe(true);
    expect(matches(item, "energy")).toBe(false);
  });
});

describe("freshness", () => {
  const connection = { phase: "live", heard: 10_000, retryAt: null, ahead: 0 } as ConnectionState;
  const status = { as_of: "x", mode: "PAPER", stale: false, fresh_seconds: 4, now: new Date(8_000).toISOString(), replay: null } as unknown as Status;
  const say = (change: Partial<ConnectionState>, more: Partial<Status> | null = {}, now = 10_000) => freshness({ ...connection, ...change }, more ? { ...status, ...more } : undefined, now);

  it("says how old the data is", () => {
    expect(say({})).toEqual({ state: "fresh", words: "fresh, 6 s" });
    expect(say({}, { stale: true, fresh_seconds: 900 })).toEqual({ state: "old", words: "data is 15 min old" });
    expect(say({}, { as_of: null })).toEqual({ state: "waiting", words: "no data yet" });
    expect(say({ ahead: 60_000 })).toEqual({ state: "fresh", words: "fresh, 1 min" });
  });

  it("says that nothing is heard before it says that all is well", () => {
    expect(say({ phase: "stale" }, {}, 17_000)).toEqual({ state: "stale", words: "stale: silent for 7 s" });
    expect(say({ phase: "offline", retryAt: 12_500 }, {}, 12_000).words).toBe("offline for 2 s, next try in 1 s");
    expect(say({ phase: "connecting" }, null).state).toBe("waiting");
    expect(say({ phase: "unauthorised" }).words).toBe("token needed");
  });
});

describe("an outlook", () => {
  const signal = { symbol: "A", horizon_bars: 5, entry: 100, intervals: { "5": { median: 100, 50: [99, 101], 90: [98, 102] } } } as unknown as Signal;
  it("is centred on now", () => {
    const seen = outlookOf(signal);
    expect(seen?.median).toBe(50);
    expect(seen?.reach).toBe(0.02);
    seen?.wide?.forEach((at, side) => expect(at).toBeCloseTo(100 * side, 9));
    expect(seen?.inner?.map((at) => at?.toFixed(6))).toEqual(["25.000000", "75.000000"]);
  });
  it("is nothing without a forecast", () => expect(outlookOf({ ...signal, intervals: {} })).toBeNull());
});

describe("small charts", () => {
  it("scale values to lengths", () => {
    expect(scale([0, 10], [100, 0])(2.5)).toBe(75);
    expect(path([{ x: 0, y: 1 }, { x: 2, y: 3 }])).toBe("M0.00 1.00L2.00 3.00");
  });
  it("have round ticks inside their span", () => {
    expect(ticksOf([0.41, 0.59], 4)).toEqual([0.45, 0.5, 0.55]);
    expect(ticksOf([0, 1], 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(ticksOf([0.7, 0.9], 4)).toEqual([0.7, 0.75, 0.8, 0.85, 0.9]);
  });
  it("know how long a bar lasts", () => {
    expect(["1min", "5m", "15min", "1h", "1d", "1w"].map(barLength)).toEqual([6e4, 3e5, 9e5, 36e5, 864e5, 6048e5]);
  });
});

describe("correlation", () => {
  const walk = (seed: number) => {
    let [state, close] = [seed, 100];
    return Array.from({ length: 200 }, (_, at) => bar(String(at).padStart(3, "0"), (close *= 1 + (((state = (state * 16807) % 2147483647) / 2147483647) - 0.5) / 50)));
  };
  const [a, b] = [returnsOf(walk(7)), returnsOf(walk(77))];
  it("is one with itself, minus one with its mirror, small with a stranger, and symmetric", () => {
    expect(correlation(a, a)).toBeCloseTo(1, 12);
    expect(correlation(a, new Map([...a].map(([time, r]) => [time, -r])))).toBeCloseTo(-1, 12);
    expect(Math.abs(correlation(a, b) ?? 1)).toBeLessThan(0.25);
    expect(correlation(a, b)).toBeCloseTo(correlation(b, a) ?? 0, 12);
  });
  it("says nothing of too little, or of what stands still", () => {
    const few = new Map([...a].slice(0, LEAST_RETURNS - 1));
    expect(correlation(few, b)).toBeNull();
    expect(correlation(new Map([...a].map(([time]) => [time, 0])), b)).toBeNull();
  });
});
