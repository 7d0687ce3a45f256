/** The page's colours for what is drawn on a canvas, which cannot read a style sheet. */
export interface Colours {
  ink: string;
  soft: string;
  grid: string;
  card: string;
  up: string;
  down: string;
  upRgb: string;
  downRgb: string;
  upInk: string;
  downInk: string;
  blue: string;
  orange: string;
  violet: string;
  fan: Record<FanHue, string>;
  font: string;
}

/** Whose fan it is: all together, the first seat, the second. */
export type FanHue = "blue" | "violet" | "orange";

export function colours(): Colours {
  const style = getComputedStyle(document.documentElement);
  const read = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: read("ink"),
    soft: read("soft"),
    grid: read("grid"),
    card: read("card"),
    up: read("up"),
    down: read("down"),
    upRgb: read("up-rgb"),
    downRgb: read("down-rgb"),
    upInk: read("up-ink"),
    downInk: read("down-ink"),
    blue: read("blue"),
    orange: read("orange"),
    violet: read("violet"),
    fan: { blue: read("blue-rgb"), violet: read("violet-rgb"), orange: read("orange-rgb") },
    font: getComputedStyle(document.body).fontFamily,
  };
}
