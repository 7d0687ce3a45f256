/** Numbers to lengths and paths: the arithmetic of small charts. */

export interface Xy {
  x: number;
  y: number;
}

/** Return a function from values to a length; a span of nothing is widened. */
export function scale([low, high]: readonly [number, number], [from, to]: readonly [number, number]): (value: number) => number {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

/** Return an SVG path through points. */
export function path(points: readonly Xy[]): string {
  return points.map(({ x, y }, index) => `${index ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join("");
}

/** Return the lowest and highest of values. */
export function extent(values: readonly number[]): [number, number] {
  return values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
}

/** Return round values within a span, about as many as wanted: steps of 1, 2 or 5. */
export function ticksOf([low, high]: readonly [number, number], about: number): number[] {
  const rough = (high - low) / about;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * ([1, 2, 5, 10].find((times) => times * size >= rough * (1 - 1e-9)) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const many = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: Math.max(0, many) }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}
