import { describe, expect, it } from "vitest";
import { toCsv } from "../../src/format/csv";
import { arrow, change, compact, figures, gain, money, named, percent, price, shares, tone, words } from "../../src/format/numbers";
import { brief, date, moment, span, utc, zoneName } from "../../src/format/time";

/** A sign stays with its number: said with a space that does not break. */
const joined = (text: string) => text.replaceAll(" ", "\u00a0");

describe("numbers", () => {
  it("separate thousands and have a true minus", () => {
    expect(money(-1234567.891)).toBe("−1,234,567.89");
    expect(gain(1234.5)).toBe("+1,234.50");
    expect(gain(0)).toBe("0.00");
    expect(change(-0.0123)).toBe(joined("−1.23 %"));
    expect(change(0.0123)).toBe(joined("+1.23 %"));
  });

  it("have a dash where there is none, never a zero", () => {
    for (const missing of [null, undefined, NaN, Infinity]) {
      expect([money, price, percent, change, shares, compact, figures].map((show) => show(missing))).toEqual(Array(7).fill("–"));
    }
  });

  it("do not show a negative zero", () => {
    expect(change(-0.00001)).toBe(joined("0.00 %"));
    expect(money(-0.001)).toBe("0.00");
  });

  it("have decimals as their size wants", () => {
    expect([price(0.12345), price(3.5), price(498.321)]).toEqual(["0.1235", "3.50", "498.32"]);
    expect([shares(120), shares(1.5), shares(0.123456789)]).toEqual(["120", "1.50", "0.123457"]);
    expect([compact(1_240_000), compact(55_700), compact(312), compact(-2e9)]).toEqual(["1.24 M", "55.70 K", "312", "−2.00 B"].map(joined));
    expect([figures(0.003), figures(2.97), figures(3200), figures(0.0000123), figures(12345.678)]).toEqual(["0.003", "2.97", "3,200", "1.23e−5", "12,346"]);
  });

  it("are percentages where their name says they are shares", () => {
    expect([named("coverage_80", 0.812), named("p_value", 0.003), named("gain", 12)]).toEqual(["81.2 %", "0.003", "12"].map(joined));
  });

  it("never speak by colour alone", () => {
    expect([arrow(1), arrow(-1), arrow(0), arrow(null)]).toEqual(["▲", "▼", "", ""]);
    expect([tone(1), tone(-1), tone(0), tone(undefined)]).toEqual(["up", "down", "flat", "flat"]);
  });

  it("words", () => expect(words("position_max")).toBe("position max"));
});

describe("times", () => {
  const at = "2023-03-10T21:00:00Z";
  const zone = "America/New_York";

  it("are the exchange's, in winter and in summer", () => {
    expect(moment(at, zone)).toBe("10 Mar 2023, 16:00");
    expect(moment("2023-09-12T20:00:00Z", zone)).toBe("12 Sep 2023, 16:00");
    expect([zoneName(at, zone), zoneName("2023-09-12T20:00:00Z", zone)]).toEqual(["EST", "EDT"]);
    expect(date("2023-03-11T02:00:00Z", zone)).toBe("10 Mar 2023");
  });

  it("leave the date out on the same day only", () => {
    expect(brief(at, "2023-03-10T21:30:00Z", zone)).toBe("16:00");
    expect(brief(at, "2023-03-13T21:30:00Z", zone)).toBe("10 Mar, 16:00");
  });

  it("are UTC on hover", () => expect(utc(at)).toBe("2023-03-10 21:00:00 UTC"));

  it("missing or broken is a dash", () => {
    expect([moment(null, zone), date("soon", zone), utc("soon")]).toEqual(["–", "–", ""]);
  });

  it("spans have one or two units", () => {
    expect([0, 59, 60, 3599, 3660, 90_061].map(span)).toEqual(["0 s", "59 s", "1 min", "59 min", "1 h 01 min", "1 d 1 h"]);
    expect(span(null)).toBe("–");
  });
});

describe("CSV", () => {
  it("quotes what needs it, and keeps numbers as they are", () => {
    expect(toCsv(["a", "b"], [[1.5, 'say "hi", twice'], [null, true]])).toBe('a,b\r\n1.5,"say ""hi"", twice"\r\n,true\r\n');
  });

  it("does not let a spreadsheet run text", () => {
    expect(toCsv(["x"], [["=1+1"], ["-2"], [-2]])).toBe("x\r\n'=1+1\r\n'-2\r\n-2\r\n");
  });
});
