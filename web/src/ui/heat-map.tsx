/** A diverging heat map, centred on zero; each cell has its number, its sign and a colour that repeats them. */
import type { CSSProperties } from "react";
import { NONE, tone } from "../format/numbers";

interface Props {
  caption: string;
  rows: readonly string[];
  columns: readonly string[];
  value: (row: string, column: string) => number | null;
  show: (value: number) => string;
  /** The value at which colours are at their fullest. */
  full: number;
}

export function HeatMap({ caption, rows, columns, value, show, full }: Props) {
  return (
    <div className="scroll" role="group" aria-label={caption} tabIndex={0}>
      <table className="heat-map">
        <caption className="unseen">{caption}</caption>
        <thead>
          <tr>
            <td />
            {columns.map((column) => (
              <th scope="col" key={column}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row}>
              <th scope="row">{row}</th>
              {columns.map((column) => (
                <Cell key={column} value={value(row, column)} show={show} full={full} />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Cell({ value, show, full }: { value: number | null; show: (value: number) => string; full: number }) {
  if (value === null) return <td className="soft">{NONE}</td>;
  const depth = Math.min(1, Math.abs(value) / full) * 55;
  return (
    <td className={`heat ${tone(value)}`} style={{ "--depth": `${depth.toFixed(0)}%` } as CSSProperties}>
      {show(value)}
    </td>
  );
}
