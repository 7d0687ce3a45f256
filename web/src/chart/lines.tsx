/** Small charts in SVG: drawn by the page itself, sharp at any size, read by a style sheet. */
import type { ReactNode } from "react";
import { extent, path, scale } from "./paths";

/** A line without axes, to be read with the number beside it. */
export function Sparkline({ values, label }: { values: readonly number[]; label: string }) {
  if (values.length < 2) return null;
  const [x, y] = [scale([0, values.length - 1], [1, 119]), scale(extent(values), [27, 3])];
  const points = values.map((value, index) => ({ x: x(index), y: y(value) }));
  return (
    <svg className="sparkline" viewBox="0 0 120 30" role="img" aria-label={label} preserveAspectRatio="none">
      <path className="area" d={`${path(points)}L119 30L1 30Z`} />
      <path className="line" d={path(points)} />
    </svg>
  );
}

interface PlotProps {
  label: string;
  /** Values at the left edge and right edge, with the words of the axis. */
  x: readonly [number, number];
  y: readonly [number, number];
  xTicks: readonly { at: number; text: string }[];
  yTicks: readonly { at: number; text: string }[];
  height?: number;
  width?: number;
  children: (x: (value: number) => number, y: (value: number) => number) => ReactNode;
}

/** A small plot with axes. */
export function Plot({ label, x, y, xTicks, yTicks, width = 320, height = 180, children }: PlotProps) {
  const [left, right, top, bottom] = [40, width - 10, 8, height - 22];
  const [toX, toY] = [scale(x, [left, right]), scale(y, [bottom, top])];
  return (
    <svg className="plot" viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>
      {yTicks.map(({ at, text }) => (
        <g key={text}>
          <line className="grid" x1={left} x2={right} y1={toY(at)} y2={toY(at)} />
          <text className="tick" x={left - 6} y={toY(at)} dy="0.35em" textAnchor="end">
            {text}
          </text>
        </g>
      ))}
      {xTicks.map(({ at, text }) => (
        <text
          key={text}
          className="tick"
          x={toX(at)}
          y={height - 6}
          textAnchor={at <= x[0] ? "start" : at >= x[1] ? "end" : "middle"}
        >
          {text}
        </text>
      ))}
      {children(toX, toY)}
    </svg>
  );
}
