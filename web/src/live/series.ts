/** Series that grow at their end. Instants are compared as such: `Z` and `+00:00` are one. */
import type { Bar } from "../api/shapes";

/** Return an instant as a number. */
export function instant(time: string): number {
  return Date.parse(time);
}

/** Return the bars with one more at its place; a bar of the same time is replaced; at most `kept`, the newest. */
export function mergeBar(bars: readonly Bar[], bar: Bar, kept: number): readonly Bar[] {
  const last = bars.at(-1);
  const time = instant(bar.time);
  if (!last || time > instant(last.time)) return [...bars, bar].slice(-kept);
  if (time === instant(last.time)) return [...bars.slice(0, -1), bar];
  const at = bars.findIndex((other) => instant(other.time) >= time);
  const same = instant(bars[at]?.time ?? "") === time;
  return [...bars.slice(0, at), bar, ...bars.slice(at + (same ? 1 : 0))].slice(-kept);
}

/** Return both, by time; where both have something of one time, what was heard. */
export function joined<T extends { time: string }>(known: readonly T[], heard: readonly T[]): readonly T[] {
  if (!heard.length) return known;
  const all = new Map([...known, ...heard].map((item) => [instant(item.time), item]));
  return [...all].sort(([a], [b]) => a - b).map(([, item]) => item);
}
