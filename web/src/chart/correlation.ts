/** How much names moved together, from the bars that both have. */
import type { Bar } from "../api/shapes";

/** Fewer common returns than this say nothing. */
export const LEAST_RETURNS = 20;

/** Return log returns by time. */
export function returnsOf(bars: readonly Bar[]): Map<string, number> {
  const returns = new Map<string, number>();
  bars.forEach((bar, index) => {
    const [from, to] = [bars[index - 1]?.close ?? 0, bar.close ?? 0];
    if (from > 0 && to > 0) returns.set(bar.time, Math.log(to / from));
  });
  return returns;
}

/** Return Pearson's correlation of returns at common times; null where there are too few, or one does not move. */
export function correlation(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number | null {
  const pairs = [...a].flatMap(([time, x]) => (b.has(time) ? [[x, b.get(time) ?? 0] as const] : []));
  if (pairs.length < LEAST_RETURNS) return null;
  const n = pairs.length;
  const [meanX, meanY] = [0, 1].map((side) => pairs.reduce((sum, pair) => sum + (pair[side] ?? 0), 0) / n) as [number, number];
  let [xy, xx, yy] = [0, 0, 0];
  for (const [x, y] of pairs) {
    xy += (x - meanX) * (y - meanY);
    xx += (x - meanX) ** 2;
    yy += (y - meanY) ** 2;
  }
  return xx > 0 && yy > 0 ? xy / Math.sqrt(xx * yy) : null;
}
