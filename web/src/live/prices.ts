/** The newest price of a symbol and what it has done since the session before. */

export interface Price {
  symbol: string;
  time: string;
  /** The exchange's date of `time`. */
  day: string;
  price: number;
  /** The last price of the session before, null where it is not known. */
  reference: number | null;
  /** Fraction since `reference`. */
  change: number | null;
  /** Sign of the last move, for an arrow. */
  moved: number;
}

export function changeOf(price: number, reference: number | null): number | null {
  return reference === null || reference === 0 ? null : price / reference - 1;
}

const HOUR = 3_600_000;
const offsets = new Map<string, number>();

/** Return how far a zone is from UTC at an instant, in milliseconds. Asked thousands of times a second: kept by the hour. */
export function offsetOf(zone: string, instant: number): number {
  const name = `${zone}/${Math.floor(instant / HOUR)}`;
  let offset = offsets.get(name);
  if (offset === undefined) {
    offset = measureOffset(zone, Math.floor(instant / HOUR) * HOUR);
    if (offsets.size > 20_000) offsets.clear();
    offsets.set(name, offset);
  }
  return offset;
}

const clocks = new Map<string, Intl.DateTimeFormat>();

function measureOffset(zone: string, instant: number): number {
  const clock = clocks.get(zone) ?? clockOf(zone);
  clocks.set(zone, clock);
  const part = Object.fromEntries(clock.formatToParts(instant).map(({ type, value }) => [type, Number(value)]));
  const { year = 0, month = 1, day = 0, hour = 0, minute = 0, second = 0 } = part;
  return Date.UTC(year, month - 1, day, hour, minute, second) - instant;
}

function clockOf(zone: string): Intl.DateTimeFormat {
  const fields = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" } as const;
  return new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...fields });
}

/** Return the date that the exchange's calendar shows at an instant. */
export function dayIn(zone: string, time: string): string {
  const instant = Date.parse(time);
  if (Number.isNaN(instant)) return "";
  return new Date(instant + offsetOf(zone, instant)).toISOString().slice(0, 10);
}
