/** Every symbol, by sector or price tier, sorted and filtered as one likes. */
import { useMemo, useState } from "react";
import type { Listed, Signal } from "../api/shapes";
import { percent } from "../format/numbers";
import { useCollection, useEntry, useLive } from "../live/use";
import { Card, Empty, Failed, Waiting, Warnings } from "../ui/card";
import { Segments } from "../ui/segments";
import { DataTable } from "../ui/table";
import { SymbolLink, WATCHED } from "./columns";
import { TIERS } from "./today";

type Grouping = "none" | "sector" | "tier";
type Row = Listed & { signal: Signal | undefined };

const GROUPINGS = [
  ["none", "Ungrouped"],
  ["sector", "By sector"],
  ["tier", "By tier"],
] as const;

/** Return whether a symbol is what was typed: part of its name, sector, tier or signal. */
export function matches(item: Listed, typed: string): boolean {
  const wanted = typed.trim().toLowerCase();
  const action = (item.action ?? "").toLowerCase().replace("_", " ");
  return [item.symbol, item.sector ?? "", item.tier ?? "", action].some((text) => text.toLowerCase().includes(wanted));
}

export default function Watchlist() {
  const [typed, setTyped] = useState("");
  const [grouping, setGrouping] = useState<Grouping>("sector");
  const { items, loading } = useCollection("symbol");
  const signals = useCollection("signal").items;
  const status = useEntry("status", "status");
  const { loader } = useLive();
  const rows = useMemo(() => joined(items, signals).filter((row) => matches(row, typed)), [items, signals, typed]);
  const group = grouping === "sector" ? (row: Row) => row.sector ?? "sector not known" : grouping === "tier" ? (row: Row) => row.tier ?? "tier not known" : undefined;
  return (
    <>
      <div className="headline">
        <h1>Watchlist</h1>
        <div className="controls">
          <input type="search" aria-label="filter" placeholder="Filter: symbol, sector, tier, signal" value={typed} onChange={(event) => setTyped(event.target.value)} />
          <Segments label="group" choices={GROUPINGS} chosen={grouping} choose={setGrouping} />
        </div>
      </div>
      <Card title="Symbols" lead={rows.length === items.length ? `${items.length} symbols` : `${rows.length} of ${items.length} symbols`}>
        {loading.error && !items.length ? (
          <Failed error={loading.error} retry={() => void loader.load("symbol")} />
        ) : !loading.done && !items.length ? (
          <Waiting lines={12} />
        ) : (
          <DataTable
            caption="watchlist"
            columns={WATCHED}
            rows={rows}
            keyOf={(row) => row.symbol}
            csv="watchlist"
            sort={{ id: "symbol", down: false }}
            {...(group && { groupOf: group })}
            {...(grouping === "tier" && { groups: [...TIERS, "tier not known"] })}
            empty={typed ? <Empty what={`Nothing matches “${typed}”.`} /> : <Empty what="No symbols." mend="The playbook names its universe:" command={`tradewind config show ${status?.playbook ?? ""}`} />}
          />
        )}
        <Warnings warnings={status?.warnings} />
      </Card>
      <Sentiment items={items} />
    </>
  );
}

/** A row stays the same object while nothing of it has changed, so that it is not drawn anew. */
const rowsKnown = new WeakMap<Listed, Row>();

function joined(items: readonly Listed[], signals: readonly Signal[]): Row[] {
  const bySymbol = new Map(signals.map((signal) => [signal.symbol, signal]));
  return items.map((item) => {
    const signal = bySymbol.get(item.symbol);
    const known = rowsKnown.get(item);
    if (known && known.signal === signal) return known;
    const row = { ...item, action: signal?.action ?? item.action, confidence: signal?.confidence ?? item.confidence, signal };
    rowsKnown.set(item, row);
    return row;
  });
}

/** Sentiment by sector, only where there is any. */
function Sentiment({ items }: { items: readonly Listed[] }) {
  const known = items.filter((item) => typeof item.sentiment === "number");
  if (!known.length) return null;
  const sectors = [...new Set(known.map((item) => item.sector ?? "sector not known"))].sort();
  return (
    <Card title="Sentiment by sector" lead="0 is bad, 50 is neither, 100 is good; colours are centred on 50. Sentiment is noisy.">
      {sectors.map((sector) => (
        <section key={sector} className="heat-row" aria-label={sector}>
          <h3>{sector}</h3>
          <ul>
            {known.filter((item) => (item.sector ?? "sector not known") === sector).map((item) => {
              const centred = ((item.sentiment ?? 50) - 50) / 50;
              return (
                <li key={item.symbol} className={`heat ${centred < 0 ? "down" : "up"}`} style={{ "--depth": percent(Math.abs(centred) * 0.6, 0).replace(" ", "") } as object}>
                  <SymbolLink symbol={item.symbol} /> {Math.round(item.sentiment ?? 0)}
                </li>
              );
            })}
          </ul>
        </section>
      ))}
    </Card>
  );
}
