import { describe, expect, it } from "vitest";
import type { ModelForecast } from "../../src/api/shapes";
import { fanOf, knotsOf, pathOf, placeOf, reach, tally } from "../../src/chart/fan";

const LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95];
const Z = [-1.645, -0.674, 0, 0.674, 1.645];

/** A diffusion without drift: its quantiles spread with the square root of time. */
function diffusion(close: number, sigma: number, horizons: number[]): ModelForecast {
  const at = (bars: number) => ({ time: null, levels: LEVELS, prices: Z.map((z) => close * Math.exp(z * sigma * Math.sqrt(bars))) });
  return { model_id: "m", version: "1", calibrated: true, p_up: 0.5, horizons: Object.fromEntries(horizons.map((bars) => [String(bars), at(bars)])) };
}

describe("a fan", () => {
  it("begins at the close and goes through every horizon that is forecast", () => {
    const forecast = diffusion(100, 0.01, [20, 1, 5]);
    const fan = fanOf(100, forecast);
    expect(fan?.knots.map((knot) => knot.ahead)).toEqual([1, 5, 20]);
    const low = pathOf(100, knotsOf(forecast), 0.05);
    expect(low[0]).toEqual({ ahead: 0, price: 100 });
    for (const bars of [1, 5, 20]) expect(low.find((point) => point.ahead === bars)?.price).toBe(forecast.horizons[String(bars)]?.prices[0]);
  });

  it("is exact between horizons for a diffusion", () => {
    const path = pathOf(100, knotsOf(diffusion(100, 0.01, [1, 16])), 0.95);
    for (const { ahead, price } of path) expect(price).toBeCloseTo(100 * Math.exp(1.645 * 0.01 * Math.sqrt(ahead)), 9);
  });

  it("has its narrow band inside its wide one, everywhere", () => {
    const fan = fanOf(50, diffusion(50, 0.02, [1, 5, 20]));
    const [wide, inner] = fan?.bands ?? [];
    const half = (wide?.outline.length ?? 0) / 2;
    for (let at = 1; at < half; at++) {
      expect(wide?.outline[at]?.price).toBeLessThan(inner?.outline[at]?.price ?? 0);
      const back = (wide?.outline.length ?? 0) - 1 - at;
      expect(wide?.outline[back]?.price).toBeGreaterThan(inner?.outline[back]?.price ?? Infinity);
      expect(wide?.outline[back]?.ahead).toBe(wide?.outline[at]?.ahead);
    }
  });

  it("reaches from its lowest to its highest quantile", () => {
    const forecast = diffusion(100, 0.01, [1, 5]);
    expect(reach(fanOf(100, forecast) as never)).toEqual([forecast.horizons["5"]?.prices[0], forecast.horizons["5"]?.prices[4]]);
  });

  it("scales with the price", () => {
    const [one, ten] = [fanOf(10, diffusion(10, 0.01, [5])), fanOf(100, diffusion(100, 0.01, [5]))];
    one?.median.forEach((point, at) => expect(point.price * 10).toBeCloseTo(ten?.median[at]?.price ?? 0, 9));
  });

  it("is nothing where there is nothing", () => {
    expect(fanOf(null, diffusion(1, 0.1, [1]))).toBeNull();
    expect(fanOf(100, null)).toBeNull();
    expect(fanOf(100, { ...diffusion(100, 0.1, []), horizons: {} })).toBeNull();
    const missing = diffusion(100, 0.01, [1]);
    missing.horizons["1"] = { time: null, levels: LEVELS, prices: [null, null, null, null, null] };
    expect(fanOf(100, missing)).toBeNull();
  });

  it("leaves a band out that lacks a side, rather than inventing it", () => {
    const half = diffusion(100, 0.01, [1]);
    half.horizons["1"] = { time: null, levels: LEVELS, prices: [null, 99, 100, 101, 102] };
    expect(fanOf(100, half)?.bands.map((band) => band.levels)).toEqual([[0.25, 0.75]]);
  });
});

describe("what became of a forecast", () => {
  /** Said in either spelling of UTC. */
  const at = (minute: number) => new Date(minute * 60_000).toISOString().replace("Z", minute % 2 ? "+00:00" : "Z");
  const [knot] = knotsOf(diffusion(100, 0.01, [1]));

  it("lies in the narrowest band that has it", () => {
    expect(placeOf(100.2, knot as never)).toEqual([0.25, 0.75]);
    expect(placeOf(101.2, knot as never)).toEqual([0.05, 0.95]);
    expect(placeOf(90, knot as never)).toBe("below");
    expect(placeOf(110, knot as never)).toBe("above");
  });

  it("is counted only once it is known", () => {
    const closes = [100, 100.1, 105, 100];
    const indexOf = new Map(closes.map((_, index) => [index * 60_000, index]));
    const forecasts = closes.map((close, index) => ({ time: at(index), fan: diffusion(close, 0.01, [1]) }));
    // made at t0: inside; at t1: above; at t2: below; at t3: not known yet
    expect(tally(forecasts, indexOf, closes, 1, [0.05, 0.95])).toEqual({ inside: 1, known: 3 });
  });

  it("agrees with a Gaussian world about how often it should happen", () => {
    let state = 42;
    const uniform = () => (state = (state * 16807) % 2147483647) / 2147483647;
    const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    const closes = [100];
    for (let bar = 0; bar < 4000; bar++) closes.push((closes.at(-1) ?? 0) * Math.exp(0.01 * normal()));
    const indexOf = new Map(closes.map((_, index) => [index * 60_000, index]));
    const made = closes.map((close, index) => ({ time: at(index), fan: diffusion(close, 0.01, [1]) }));
    const { inside, known } = tally(made, indexOf, closes, 1, [0.05, 0.95]);
    expect(known).toBe(4000);
    expect(inside / known).toBeGreaterThan(0.885);
    expect(inside / known).toBeLessThan(0.915);
  });
});
