/** Instants in the exchange's time, spans in words. */

const formats = new Map<string, Intl.DateTimeFormat>();

function formatter(zone: string, fields: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const name = `${zone}${JSON.stringify(fields)}`;
  let made = formats.get(name);
  if (!made) {
    made = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...fields });
    formats.set(name, made);
  }
  return made;
}

const CLOCK = { hour: "2-digit", minute: "2-digit" } as const;
const DATE = { day: "numeric", month: "numeric", year: "numeric" } as const;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function dayOf(instant: number, zone: string): { day: string; month: string; year: string } {
  const parts = Object.fromEntries(formatter(zone, DATE).formatToParts(instant).map(({ type, value }) => [type, value]));
  return { day: String(Number(parts.day)), month: MONTHS[Number(parts.month) - 1] ?? "", year: parts.year ?? "" };
}

function parsed(time: string | null | undefined): number | null {
  const instant = time ? Date.parse(time) : NaN;
  return Number.isNaN(instant) ? null : instant;
}

/** 4 Mar 2026 */
export function date(time: string | null | undefined, zone: string): string {
  const instant = parsed(time);
  if (instant === null) return "–";
  const { day, month, year } = dayOf(instant, zone);
  return `${day} ${month} ${year}`;
}

/** 15:59 */
export function clock(time: string | null | undefined, zone: string): string {
  const instant = parsed(time);
  return instant === null ? "–" : formatter(zone, CLOCK).format(instant);
}

/** 4 Mar 2026, 15:59 */
export function moment(time: string | null | undefined, zone: string): string {
  const instant = parsed(time);
  return instant === null ? "–" : `${date(time, zone)}, ${clock(time, zone)}`;
}

/** The time of day where it is the same day as `now`, the date and the time otherwise. */
export function brief(time: string | null | undefined, now: string | null | undefined, zone: string): string {
  const instant = parsed(time);
  if (instant === null) return "–";
  if (date(time, zone) === date(now, zone)) return clock(time, zone);
  const { day, month } = dayOf(instant, zone);
  return `${day} ${month}, ${clock(time, zone)}`;
}

/** What a zone is called at an instant: EST. */
export function zoneName(time: string | null | undefined, zone: string): string {
  const instant = parsed(time) ?? Date.now();
  const named = new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: "short" }).formatToParts(instant);
  return named.find((part) => part.type === "timeZoneName")?.value ?? zone;
}

/** 2026-03-04 20:59:00 UTC: what is stored, shown on hover. */
export function utc(time: string | null | undefined): string {
  const instant = parsed(time);
  return instant === null ? "" : `${new Date(instant).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** A span in words of one or two units: 3 s, 14 min, 2 h 05 min, 3 d 4 h. */
export function span(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
