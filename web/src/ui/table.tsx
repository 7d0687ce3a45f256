/** A table that sorts, can be walked with j and k, and can be taken away as CSV. */
import { memo, useMemo, useState } from "react";
import type { ReactNode } from "react";
import { download, toCsv } from "../format/csv";
import type { Cell } from "../format/csv";
import { NONE } from "../format/numbers";

export interface Column<R> {
  id: string;
  title: string;
  /** What the title means, on hover. */
  hint?: string;
  /** The value: what is sorted by, and what the CSV has. */
  value: (row: R) => Cell;
  /** How it is shown; the value as it is where there is none. */
  show?: (row: R) => ReactNode;
  /** Numbers stand at the right. */
  number?: boolean;
  /** Not shown where there is little room: `phone` is the narrowest. */
  roomy?: "phone" | "tablet";
  /** Holds buttons and no value: it is not sorted by, and the CSV leaves it out. */
  control?: boolean;
}

export interface Sort {
  id: string;
  down: boolean;
}

interface Props<R> {
  caption: string;
  columns: readonly Column<R>[];
  rows: readonly R[];
  keyOf: (row: R) => string;
  /** File name of the CSV, without its ending; none where there is nothing to take away. */
  csv?: string;
  sort?: Sort;
  /** Rows shown before one asks for more. */
  most?: number;
  /** Heading of the group that a row belongs to. */
  groupOf?: (row: R) => string;
  groups?: readonly string[];
  empty?: ReactNode;
  dense?: boolean;
}

/** Missing values last, whichever way it is sorted. */
export function compare(a: Cell, b: Cell, down: boolean): number {
  if (a === b) return 0;
  if (a === null || a === undefined || a === "") return 1;
  if (b === null || b === undefined || b === "") return -1;
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
  return down ? -order : order;
}

export function sorted<R>(rows: readonly R[], columns: readonly Column<R>[], sort: Sort | undefined): readonly R[] {
  const column = columns.find((known) => known.id === sort?.id);
  if (!column || !sort) return rows;
  return rows
    .map((row) => ({ row, value: column.value(row) }))
    .sort((a, b) => compare(a.value, b.value, sort.down))
    .map(({ row }) => row);
}

export function DataTable<R>(props: Props<R>) {
  const { caption, columns, rows, csv, empty, most = 200, dense = false } = props;
  const valued = columns.filter((column) => !column.control);
  const [sort, setSort] = useState(props.sort);
  const [all, setAll] = useState(false);
  const ordered = useMemo(() => sorted(rows, columns, sort), [rows, columns, sort]);
  const shown = all ? ordered : ordered.slice(0, most);
  if (!rows.length) return <>{empty}</>;
  const turn = (id: string, number: boolean) => setSort({ id, down: sort?.id === id ? !sort.down : number });
  return (
    <div className="table">
      <div className="scroll" role="group" aria-label={caption} tabIndex={0}>
        <table className={dense ? "dense" : ""} data-list="">
          <caption className="unseen">{caption}</caption>
          <thead>
            <tr>
              {columns.map((column) => (
                <Head key={column.id} column={column} sort={sort} turn={turn} />
              ))}
            </tr>
          </thead>
          <Bodies {...props} shown={shown} />
        </table>
      </div>
      <div className="under">
        {shown.length < ordered.length && (
          <button type="button" className="quiet" onClick={() => setAll(true)}>
            Show all {ordered.length}
          </button>
        )}
        {csv && (
          <button
            type="button"
            className="quiet csv"
            aria-label={`${caption} as CSV`}
            onClick={() => download(`${csv}.csv`, toCsv(valued.map((c) => c.id), ordered.map((row) => valued.map((c) => c.value(row)))))}
          >
            <span aria-hidden="true">↓</span> CSV
          </button>
        )}
      </div>
    </div>
  );
}

function Bodies<R>({ columns, keyOf, shown, groupOf, groups }: Props<R> & { shown: readonly R[] }) {
  const line = (row: R) => <Row key={keyOf(row)} row={row} columns={columns as readonly Column<unknown>[]} />;
  if (!groupOf) return <tbody>{shown.map(line)}</tbody>;
  const names = groups ?? [...new Set(shown.map(groupOf))].sort();
  return names.map((name) => {
    const members = shown.filter((row) => groupOf(row) === name);
    if (!members.length) return null;
    return (
      <tbody key={name}>
        <tr className="group">
          <th scope="rowgroup" colSpan={columns.length}>
            {name} <span className="soft">{members.length}</span>
          </th>
        </tr>
        {members.map(line)}
      </tbody>
    );
  });
}

const Row = memo(function Row({ row, columns }: { row: unknown; columns: readonly Column<unknown>[] }) {
  return (
    <tr>
      {columns.map((column, index) => {
        const shown = column.show ? column.show(row) : (column.value(row) ?? NONE);
        return index === 0 ? (
          <th key={column.id} scope="row" className={classOf(column)}>
            {shown}
          </th>
        ) : (
          <td key={column.id} className={classOf(column)}>
            {shown}
          </td>
        );
      })}
    </tr>
  );
});

function classOf<R>(column: Column<R>): string {
  return [column.number ? "number" : "", column.roomy ? `roomy-${column.roomy}` : ""].filter(Boolean).join(" ");
}

interface HeadProps<R> {
  column: Column<R>;
  sort: Sort | undefined;
  turn: (id: string, number: boolean) => void;
}

function Head<R>({ column, sort, turn }: HeadProps<R>) {
  const chosen = sort?.id === column.id;
  if (column.control) {
    return (
      <th scope="col" className={classOf(column)}>
        <span className="unseen">{column.title}</span>
      </th>
    );
  }
  return (
    <th scope="col" className={classOf(column)} aria-sort={chosen ? (sort.down ? "descending" : "ascending") : "none"}>
      <button type="button" title={column.hint} onClick={() => turn(column.id, column.number === true)}>
        {column.title}
        <span className="order" aria-hidden="true">
          {chosen ? (sort.down ? "↓" : "↑") : ""}
        </span>
      </button>
    </th>
  );
}
