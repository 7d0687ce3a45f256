/** Series that grow at their end. */
import type { Bar } from "../api/shapes";

/** Return the bars with one more at its place; a bar of the same time is replaced; at most `kept`, the newest. */
export function mergeBar(bars: readonly Bar[], bar: Bar, kept: number): readonly Bar[] {
  const last = bars.at(-1);
  if (!last || bar.time > last.time) return [...bars, bar].slice(-kept);
  if (bar.time === last.time) return [...bars.slice(0, -1), bar];
  const at = bars.findIndex((other) => other.time >= bar.time);
  const same = bars[at]?.time === bar.time;
  return [...bars.slice(0, at), bar, ...bars.slice(at + (same ? 1 : 0))].slice(-kept);
}

/** Return both, by time; where both have a bar of one time, the one that was heard. */
export function joinBars(known: readonly Bar[], heard: readonly Bar[]): readonly Bar[] {
  if (!heard.length) return known;
  const bars = new Map([...known, ...heard].map((bar) => [bar.time, bar]));
  return [...bars.values()].sort((a, b) => (a.time < b.time ? -1 : 1));
}
