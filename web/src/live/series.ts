/** Series that grow at their end. Instants are compared as such: `Z` and `+00:00` are one. */

/** Return an instant as a number. */
export function instant(time: string): number {
  return Date.parse(time);
}

/** Return both, by time; where both have something of one time, what was heard. */
export function joined<T extends { time: string }>(known: readonly T[], heard: readonly T[]): readonly T[] {
  if (!heard.length) return known;
  const all = new Map([...known, ...heard].map((item) => [instant(item.time), item]));
  return [...all].sort(([a], [b]) => a - b).map(([, item]) => item);
}
