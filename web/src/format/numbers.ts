/** Numbers as they are shown: separated thousands, a true minus, a dash where there is none. */

export const NONE = "–";

/** Keeps a sign with its number at the end of a line. */
const JOIN = "\u00a0";

const formats = new Map<string, Intl.NumberFormat>();

function format(value: number, decimals: number, signed = false): string {
  const name = `${decimals}${signed}`;
  let made = formats.get(name);
  if (!made) {
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    made = new Intl.NumberFormat("en-US", { ...digits, signDisplay: signed ? "exceptZero" : "negative" });
    formats.set(name, made);
  }
  return made.format(value).replace("-", "−");
}

type Maybe = number | null | undefined;

function known(value: Maybe): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** A price: four decimals below one, two otherwise. */
export function price(value: Maybe): string {
  return known(value) ? format(value, Math.abs(value) < 1 ? 4 : 2) : NONE;
}

export function money(value: Maybe): string {
  return known(value) ? format(value, 2) : NONE;
}

/** Money gained or lost, with its sign. */
export function gain(value: Maybe): string {
  return known(value) ? format(value, 2, true) : NONE;
}

/** Shares: whole where they are whole. */
export function shares(value: Maybe): string {
  if (!known(value)) return NONE;
  return format(value, Number.isInteger(value) ? 0 : Math.abs(value) < 1 ? 6 : 2);
}

export function count(value: Maybe): string {
  return known(value) ? format(value, 0) : NONE;
}

/** A fraction as a percentage. */
export function percent(value: Maybe, decimals = 1): string {
  return known(value) ? `${format(value * 100, decimals)}${JOIN}%` : NONE;
}

/** A fraction gained or lost, with its sign. */
export function change(value: Maybe, decimals = 2): string {
  return known(value) ? `${format(value * 100, decimals, true)}${JOIN}%` : NONE;
}

export function decimal(value: Maybe, decimals = 2): string {
  return known(value) ? format(value, decimals) : NONE;
}

/** At most four significant figures, for numbers of any size. */
export function figures(value: Maybe): string {
  if (!known(value)) return NONE;
  if (value === 0 || Number.isInteger(value)) return format(value, 0);
  const size = Math.floor(Math.log10(Math.abs(value)));
  if (size < -4) return value.toExponential(2).replaceAll("-", "−");
  return format(value, Math.max(0, Math.min(6, 3 - size))).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

const UNITS: [number, string][] = [
  [1e12, "T"],
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "K"],
];

/** A large number in few figures: 1.24 M. */
export function compact(value: Maybe): string {
  if (!known(value)) return NONE;
  const [size, unit] = UNITS.find(([least]) => Math.abs(value) >= least) ?? [1, ""];
  return unit ? `${format(value / size, 2)}${JOIN}${unit}` : format(value, 0);
}

/** Which way a number points, in a sign that needs no colour. */
export function arrow(value: Maybe): string {
  return !known(value) || value === 0 ? "" : value > 0 ? "▲" : "▼";
}

/** The role of a number: what its colour is. */
export function tone(value: Maybe): "up" | "down" | "flat" {
  return !known(value) || value === 0 ? "flat" : value > 0 ? "up" : "down";
}

/** A figure under a name that says what it is: shares of something as percentages. */
export function named(name: string, value: Maybe): string {
  return /coverage|rate|skill|share|gain|margin|weight|return/.test(name) && known(value) && Math.abs(value) <= 1 ? percent(value) : figures(value);
}

/** A word of the API as prose: `price_limit` is "price limit". */
export function words(value: string | null | undefined): string {
  return value ? value.replaceAll("_", " ") : NONE;
}
