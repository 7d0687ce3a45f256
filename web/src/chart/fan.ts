/**
 * The geometry of a quantile fan, in bars ahead and prices: nothing of pixels, nothing of a library.
 *
 * A forecast says quantiles at a few horizons. Between them the fan is drawn along the square root of time in log
 * price, as a diffusion would spread; the horizons themselves are marked, for only they are forecast.
 */
import type { HorizonForecast, ModelForecast } from "../api/shapes";

/** The bands that are drawn, widest first, by the levels that bound them. */
export const BANDS = [
  [0.05, 0.95],
  [0.25, 0.75],
] as const;

export interface Knot {
  /** Bars ahead of the close that the forecast was made at. */
  ahead: number;
  /** Prices by level. */
  prices: Map<number, number>;
}

export interface Point {
  ahead: number;
  price: number;
}

export interface Band {
  levels: readonly [number, number];
  /** Outline: along the low side, back along the high side. */
  outline: Point[];
}

export interface Fan {
  close: number;
  knots: Knot[];
  bands: Band[];
  median: Point[];
}

/** Steps drawn between two horizons. */
const STEPS = 8;

/** Return the knots of a forecast by rising horizon; prices that are missing stay missing. */
export function knotsOf(forecast: ModelForecast): Knot[] {
  return Object.entries(forecast.horizons)
    .map(([bars, horizon]) => ({ ahead: Number(bars), prices: pricesOf(horizon) }))
    .filter((knot) => knot.ahead > 0 && knot.prices.size > 0)
    .sort((a, b) => a.ahead - b.ahead);
}

function pricesOf(horizon: HorizonForecast): Map<number, number> {
  const prices = new Map<number, number>();
  horizon.levels.forEach((level, index) => {
    const price = horizon.prices[index];
    if (price !== null && price !== undefined && price > 0) prices.set(level, price);
  });
  return prices;
}

/** Return the path of one level from the close through the horizons that have it. */
export function pathOf(close: number, knots: readonly Knot[], level: number): Point[] {
  const path: Point[] = [{ ahead: 0, price: close }];
  for (const knot of knots) {
    const price = knot.prices.get(level);
    const from = path.at(-1);
    if (price === undefined || !from) continue;
    for (let step = 1; step <= STEPS; step++) path.push(between(from, { ahead: knot.ahead, price }, step / STEPS));
  }
  return path;
}

/** Return the point at a share of the way: even in bars, and in log price along the square root of bars. */
function between(from: Point, to: Point, share: number): Point {
  const ahead = from.ahead + share * (to.ahead - from.ahead);
  const root = (Math.sqrt(ahead) - Math.sqrt(from.ahead)) / (Math.sqrt(to.ahead) - Math.sqrt(from.ahead));
  const price = share === 1 ? to.price : from.price * Math.exp(root * Math.log(to.price / from.price));
  return { ahead, price };
}

/** Return a fan, or null where there is nothing to draw. */
export function fanOf(close: number | null, forecast: ModelForecast | null | undefined): Fan | null {
  if (close === null || close <= 0 || !forecast) return null;
  const knots = knotsOf(forecast);
  if (!knots.length) return null;
  const bands = BANDS.flatMap((levels) => {
    const [low, high] = levels.map((level) => pathOf(close, knots, level)) as [Point[], Point[]];
    return low.length > 1 && low.length === high.length ? [{ levels, outline: [...low, ...high.toReversed()] }] : [];
  });
  return { close, knots, bands, median: pathOf(close, knots, 0.5) };
}

/** Return the lowest and the highest price of a fan. */
export function reach(fan: Fan): [number, number] {
  const prices = [fan.close, ...fan.median.map((p) => p.price), ...fan.bands.flatMap((b) => b.outline.map((p) => p.price))];
  return [Math.min(...prices), Math.max(...prices)];
}

/** Where a price came to lie in a horizon's quantiles: below, inside the narrowest band that has it, or above. */
export type Place = "below" | "above" | readonly [number, number];

export function placeOf(price: number, knot: Knot): Place | null {
  const found = BANDS.toReversed().find(([low, high]) => {
    const [bottom, top] = [knot.prices.get(low), knot.prices.get(high)];
    return bottom !== undefined && top !== undefined && price >= bottom && price <= top;
  });
  if (found) return found;
  const [low, high] = BANDS[0];
  const [bottom, top] = [knot.prices.get(low), knot.prices.get(high)];
  if (bottom === undefined || top === undefined) return null;
  return price < bottom ? "below" : "above";
}

/** How often outcomes fell inside a band, of all that are known. */
export interface Tally {
  inside: number;
  known: number;
}

/** Count, over past forecasts of one horizon, how many closes came to lie inside a band. */
export function tally(
  forecasts: readonly { time: string; fan: ModelForecast | null | undefined }[],
  indexOf: ReadonlyMap<number, number>,
  closes: readonly (number | null)[],
  ahead: number,
  [low, high]: readonly [number, number],
): Tally {
  const counted = { inside: 0, known: 0 };
  for (const { time, fan } of forecasts) {
    const at = indexOf.get(Date.parse(time));
    const outcome = at === undefined ? undefined : closes[at + ahead];
    const horizon = fan?.horizons[String(ahead)];
    if (outcome === undefined || outcome === null || !horizon) continue;
    const prices = pricesOf(horizon);
    const [bottom, top] = [prices.get(low), prices.get(high)];
    if (bottom === undefined || top === undefined) continue;
    counted.known += 1;
    if (outcome >= bottom && outcome <= top) counted.inside += 1;
  }
  return counted;
}
