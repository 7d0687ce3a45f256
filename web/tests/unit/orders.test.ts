import { describe, expect, it } from "vitest";
import type { ManualOrder, Ticket } from "../../src/api/shapes";
import { newId } from "../../src/api/http";
import { refusalOf } from "../../src/ui/permitted";
import { wordsOf } from "../../src/views/ordering";
import { faultOf, firstStop, sharesOf, typedNumber } from "../../src/views/sizing";

const TICKET: Ticket = { symbol: "A", price: 100, equity: 50_000, shares: 0, weight_max: 0.1, short_allowed: true, fractional_shares: false, stop_distance: 0.025, next_close: "2023-09-12T14:05:00Z", halted: null };
const BUY = { side: "BUY" as const, size: 5, stop: 97.5, target: null };

describe("an order ticket", () => {
  it("reads numbers as people type them", () => {
    expect(["1,234.5", " 5 % ", "-3", "", "x", "Infinity"].map(typedNumber)).toEqual([1234.5, 5, -3, null, null, null]);
  });

  it("counts shares that exist", () => {
    expect(sharesOf(TICKET, 5, 300)).toBe(8);
    expect(sharesOf({ ...TICKET, fractional_shares: true }, 5, 300)).toBe(8.333333);
    expect([sharesOf(TICKET, null, 100), sharesOf(TICKET, 5, null), sharesOf({ ...TICKET, equity: null }, 5, 100)]).toEqual([null, null, null]);
  });

  it("begins with a stop on the losing side", () => {
    expect([firstStop(TICKET, "BUY"), firstStop(TICKET, "SELL")]).toEqual([97.5, 102.5]);
    expect(firstStop({ ...TICKET, price: 0.8 }, "BUY")).toBe(0.78);
    expect(firstStop({ ...TICKET, stop_distance: null }, "BUY")).toBeNull();
  });

  it("says what cannot be meant, and nothing where all is well", () => {
    expect(faultOf(TICKET, BUY)).toBe("");
    expect(faultOf(TICKET, { ...BUY, side: "SELL", stop: 102.5, target: 95 })).toBe("");
    const wrong = [
      [{ ...TICKET, price: null }, BUY, "no price"],
      [{ ...TICKET, halted: "kill switch" }, BUY, "Trading is halted: kill switch"],
      [{ ...TICKET, short_allowed: false }, { ...BUY, side: "SELL" as const, stop: 103 }, "no shorts"],
      [TICKET, { ...BUY, size: 0 }, "how much"],
      [TICKET, { ...BUY, size: 10.1 }, "10.0\u00a0% of equity at most"],
      [TICKET, { ...BUY, stop: null }, "below the last price"],
      [TICKET, { ...BUY, stop: 100 }, "below the last price"],
      [TICKET, { ...BUY, side: "SELL" as const, stop: 99 }, "above the last price"],
      [TICKET, { ...BUY, side: "SELL" as const, stop: 200 }, "farther away"],
      [TICKET, { ...BUY, target: 99 }, "target must lie above"],
      [TICKET, { ...BUY, side: "SELL" as const, stop: 103, target: 101 }, "target must lie below"],
    ] as const;
    for (const [ticket, typed, said] of wrong) expect(faultOf(ticket, typed)).toContain(said);
  });

  it("is said in words", () => {
    const order: ManualOrder = { id: "1", symbol: "A", side: "BUY", weight: 0.05, stop: 97.5, target: 110, reason: "r", by: "ann", asked_at: "", state: "waiting", why: null, effective: null, orders: [] };
    expect(wordsOf(order)).toBe("buy A, 5.0\u00a0% of equity, stop 97.50, target 110.00");
    expect(wordsOf({ ...order, side: "SELL", target: null }, false)).toBe("sell short, 5.0\u00a0% of equity, stop 97.50");
    expect(wordsOf({ ...order, side: "CLOSE", weight: null, stop: null, target: null })).toBe("close A");
  });

  it("has a name of its own", () => {
    const names = Array.from({ length: 100 }, newId);
    expect(new Set(names).size).toBe(100);
    for (const name of names) expect(name).toMatch(/^[0-9a-f]{24}$/);
  });
});

describe("roles", () => {
  it("refuse what is above them, and nobody who is not known", () => {
    expect(refusalOf(undefined, "admin")).toBe("");
    expect(refusalOf({ name: "ann", role: "trade" }, "trade")).toBe("");
    expect(refusalOf({ name: "ann", role: "admin" }, "trade")).toBe("");
    expect(refusalOf({ name: "ann", role: "trade" }, "admin")).toBe("This needs a token with the role admin; yours (ann) has the role trade.");
  });
});
