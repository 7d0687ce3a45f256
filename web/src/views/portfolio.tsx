/** The account: what it has become, what it holds, how it is exposed, what it did. */
import { useEffect, useMemo, useRef, useState } from "react";
import type { Account, EquityPoint, Position } from "../api/shapes";
import type { EquityChart } from "../chart/equity-chart";
import { change, count, decimal, words } from "../format/numbers";
import type { Loading } from "../live/collections";
import { joined } from "../live/series";
import { useCollection, useEntry, useHeard, useItems } from "../live/use";
import { onColours } from "../settings";
import { Card, Empty, Failed, Waiting, Warnings } from "../ui/card";
import { HeatMap } from "../ui/heat-map";
import { DataTable } from "../ui/table";
import type { Column } from "../ui/table";
import { useZone } from "../ui/zone";
import { AccountStrip } from "./account";
import { FILLS, ORDERS } from "./columns";
import { Correlations } from "./correlations";
import { ManualOrders } from "./ordering";
import { Positions } from "./positions";
import { barLength } from "./symbol";
import { TIERS } from "./today";

export default function Portfolio() {
  const account = useEntry("account", "account");
  const status = useEntry("status", "status");
  return (
    <>
      <div className="headline">
        <h1>Portfolio</h1>
        <p>{account ? `${account.account}, ${words(account.mode).toLowerCase()}` : "No account yet."}</p>
      </div>
      <Card title="Account">
        <AccountStrip full />
        {account && <Limits account={account} />}
        <Warnings warnings={status?.warnings} />
      </Card>
      <Equity />
      <Exposure />
      <Tables />
    </>
  );
}

function Limits({ account }: { account: Account }) {
  const bound = Object.entries(account.limits).filter(([, times]) => times > 0);
  return (
    <p className="lead">
      {bound.length ? "Limits that bound orders so far: " : "No limit has bound an order so far."}
      {bound.map(([name, times]) => `${words(name)} ${count(times)}×`).join(", ")}
    </p>
  );
}

const POINTS = 5000;

function Equity() {
  const answer = useItems<EquityPoint>(`/account/equity?limit=${POINTS}`);
  const account = useEntry("account", "account");
  const status = useEntry("status", "status");
  const heard = useHeard("account", "account", POINTS);
  const points = useMemo(() => joined(answer.items, heard.flatMap(({ time, equity, drawdown }) => (time === null ? [] : [{ time, equity, drawdown }]))), [answer.items, heard]);
  const last = points.at(-1);
  const words = last ? `equity from ${decimal(points[0]?.equity)} to ${decimal(last.equity)}, drawdown now ${change(last.drawdown)}` : "no equity yet";
  return (
    <Card title="Equity over drawdown" lead="Above: equity, against the dashed capital at the start. Below: how far under its highest it is.">
      {answer.error && !points.length ? (
        <Failed error={answer.error} />
      ) : answer.done && points.length < 2 ? (
        <Empty what="No equity yet: a point comes with every closed bar." />
      ) : (
        <EquityPlot points={points} capital={account?.start_capital ?? points[0]?.equity ?? 0} daily={barLength(status?.timeframe ?? "1d") >= 864e5} label={words} />
      )}
    </Card>
  );
}

interface PlotProps {
  points: readonly EquityPoint[];
  capital: number;
  daily: boolean;
  label: string;
}

function EquityPlot({ points, capital, daily, label }: PlotProps) {
  const zone = useZone();
  const container = useRef<HTMLDivElement>(null);
  const [chart, setChart] = useState<EquityChart | null>(null);
  useEffect(() => {
    let made: EquityChart | null = null;
    let gone = false;
    void import("../chart/equity-chart").then((module) => {
      if (gone || !container.current) return;
      made = new module.EquityChart(container.current, zone, daily, capital);
      setChart(made);
    });
    return () => {
      gone = true;
      setChart(null);
      made?.destroy();
    };
  }, [zone, daily, capital]);
  useEffect(() => chart?.setPoints(points), [chart, points]);
  useEffect(() => (chart ? onColours(() => requestAnimationFrame(() => chart.paint())) : undefined), [chart]);
  return <div className="equity" ref={container} role="img" aria-label={label} data-ready={chart && points.length ? "" : undefined} />;
}

function Exposure() {
  const { items: positions } = useCollection("position");
  const symbols = useCollection("symbol").items;
  const bySymbol = useMemo(() => new Map(symbols.map((item) => [item.symbol, item])), [symbols]);
  const sectorOf = (p: Position) => bySymbol.get(p.symbol)?.sector ?? "sector not known";
  const tierOf = (p: Position) => bySymbol.get(p.symbol)?.tier ?? "tier not known";
  if (!positions.length) return null;
  const sectors = [...new Set(positions.map(sectorOf))].sort();
  const tiers = [...TIERS, "tier not known"].filter((tier) => positions.some((p) => tierOf(p) === tier));
  const net = (inside: (p: Position) => boolean) => {
    const members = positions.filter(inside);
    return members.length ? members.reduce((sum, p) => sum + (p.weight ?? 0), 0) : null;
  };
  const columns = [...tiers, "all"];
  const value = (sector: string, tier: string) => net((p) => (sector === "all" || sectorOf(p) === sector) && (tier === "all" || tierOf(p) === tier));
  return (
    <div className="columns even">
      <Card title="Exposure" lead="Net weight by sector and price tier, of equity: ▲ long, ▼ short; colours are centred on zero.">
        <HeatMap caption="net exposure" rows={[...sectors, "all"]} columns={columns} value={value} full={0.2} show={(v) => change(v, 1)} />
      </Card>
      <Correlations symbols={positions.map((p) => p.symbol).sort()} />
    </div>
  );
}

function Tables() {
  const orders = useCollection("order");
  const fills = useCollection("fill");
  return (
    <>
      <ManualOrders past />
      <Positions />
      <div className="columns even">
        <Newest title="Trades" columns={FILLS} known={fills} by="time" none="No trades yet." mend="An order fills at the next bar's open at the earliest." />
        <Newest title="Orders" columns={ORDERS} known={orders} by="decided_at" none="No orders yet." mend="They follow signals that are not HOLD, and what is ordered by hand." />
      </div>
    </>
  );
}

interface NewestProps<R> {
  title: string;
  columns: readonly Column<R>[];
  known: { items: readonly R[]; loading: Loading };
  by: string;
  none: string;
  mend: string;
}

/** A table of what happened, the newest first. */
function Newest<R extends { id: string }>({ title, columns, known: { items, loading }, by, none, mend }: NewestProps<R>) {
  const name = title.toLowerCase();
  return (
    <Card title={title}>
      <DataTable caption={name} columns={columns} rows={items} keyOf={(row) => row.id} csv={name} most={25} sort={{ id: by, down: true }} empty={loading.done ? <Empty what={none} mend={mend} /> : <Waiting />} />
    </Card>
  );
}
