/** Columns that several views share. */
import type { Fill, Listed, Order, Position, Signal } from "../api/shapes";
import { change, count, decimal, money, NONE, percent, price, shares, words } from "../format/numbers";
import { symbolPath } from "../route";
import { ActionBadge, Change, Confidence, Gain, LiveChange, LivePrice, Time } from "../ui/figures";
import { Link } from "../ui/link";
import { Outlook } from "../ui/outlook";
import type { Column } from "../ui/table";

export function SymbolLink({ symbol }: { symbol: string }) {
  return (
    <Link to={symbolPath(symbol)} className="symbol">
      {symbol}
    </Link>
  );
}

export const SIGNALS: readonly Column<Signal>[] = [
  { id: "symbol", title: "Symbol", value: (s) => s.symbol, show: (s) => <SymbolLink symbol={s.symbol} /> },
  { id: "action", title: "Signal", value: (s) => s.action, show: (s) => <ActionBadge action={s.action} /> },
  {
    id: "confidence",
    title: "Confidence",
    hint: "calibrated probability of the event that the rule is about",
    number: true,
    value: (s) => s.confidence,
    show: (s) => <Confidence value={s.confidence} />,
  },
  { id: "agreement", title: "Models", hint: "what each model says alone", value: agreed, show: (s) => <Agreement signal={s} />, roomy: "phone" },
  { id: "outlook", title: "Forecast", hint: "5–95 % and 25–75 % of the price at the horizon, the median, and now", value: median, show: (s) => <Outlook signal={s} />, roomy: "phone" },
  { id: "horizon_bars", title: "Bars", hint: "horizon in bars", number: true, value: (s) => s.horizon_bars, show: (s) => count(s.horizon_bars), roomy: "tablet" },
  { id: "entry", title: "Entry", hint: "reference close; the order fills at the next open", number: true, value: (s) => s.entry, show: (s) => price(s.entry), roomy: "phone" },
  { id: "target", title: "Target", number: true, value: (s) => s.target, show: (s) => (traded(s) ? price(s.target) : NONE), roomy: "tablet" },
  { id: "stop", title: "Stop", number: true, value: (s) => s.stop, show: (s) => (traded(s) ? price(s.stop) : NONE), roomy: "tablet" },
  { id: "weight", title: "Size", hint: "share of equity that a new position would get", number: true, value: (s) => s.weight, show: (s) => size(s.weight) },
  { id: "bound_by", title: "Bound by", hint: "the step or limit that set the size", value: (s) => s.bound_by, show: (s) => words(s.bound_by), roomy: "tablet" },
];

/** A size of nothing is no size. */
function size(weight: number | null | undefined): string {
  return weight ? change(weight, 1) : NONE;
}

/** Target and stop are of a trade: a HOLD has none. */
function traded(signal: Signal): boolean {
  return signal.action !== "HOLD";
}

function median(signal: Signal): number | null {
  return signal.intervals[String(signal.horizon_bars)]?.median ?? null;
}

function agreed(signal: Signal): string {
  return Object.entries(signal.agreement)
    .map(([name, opinion]) => `${name} ${opinion.action}`)
    .join("; ");
}

/** One sign for each model. */
function Agreement({ signal }: { signal: Signal }) {
  return (
    <span className="agreement">
      {Object.entries(signal.agreement).map(([name, { action, probability }]) => {
        const side = action?.includes("BUY") ? "up" : action?.includes("SELL") ? "down" : "flat";
        return (
          <span key={name} className={side} title={`${name}: ${words(action).toLowerCase()}, ${percent(probability)}`}>
            <span aria-hidden="true">{{ up: "▲", down: "▼", flat: "–" }[side]}</span>
            <span className="unseen">
              {name} {words(action)}
            </span>
          </span>
        );
      })}
    </span>
  );
}

export const POSITIONS: readonly Column<Position>[] = [
  { id: "symbol", title: "Symbol", value: (p) => p.symbol, show: (p) => <SymbolLink symbol={p.symbol} /> },
  { id: "timeframe", title: "System", hint: "timeframe that holds it", value: (p) => p.timeframe, roomy: "tablet" },
  { id: "shares", title: "Shares", number: true, value: (p) => p.shares, show: (p) => shares(p.shares) },
  { id: "entry_price", title: "Entry", number: true, value: (p) => p.entry_price, show: (p) => price(p.entry_price), roomy: "phone" },
  { id: "price", title: "Price", number: true, value: (p) => p.price, show: (p) => <LivePrice symbol={p.symbol} known={p.price} />, roomy: "phone" },
  { id: "value", title: "Value", number: true, value: (p) => p.value, show: (p) => money(p.value), roomy: "tablet" },
  { id: "weight", title: "Weight", hint: "share of equity", number: true, value: (p) => p.weight, show: (p) => change(p.weight, 1), roomy: "phone" },
  { id: "profit", title: "P&L", number: true, value: (p) => p.profit, show: (p) => <Gain value={p.profit} /> },
  { id: "profit_pct", title: "P&L %", number: true, value: (p) => p.profit_pct, show: (p) => <Change value={p.profit_pct} /> },
  { id: "stop", title: "Stop", number: true, value: (p) => p.stop, show: (p) => price(p.stop), roomy: "tablet" },
  { id: "opened", title: "Opened", number: true, value: (p) => p.opened, show: (p) => <Time at={p.opened} />, roomy: "tablet" },
];

export const WATCHED: readonly Column<Listed & { signal: Signal | undefined }>[] = [
  { id: "symbol", title: "Symbol", value: (l) => l.symbol, show: (l) => <SymbolLink symbol={l.symbol} /> },
  { id: "sector", title: "Sector", value: (l) => l.sector, roomy: "tablet" },
  { id: "tier", title: "Tier", hint: "price tier", value: (l) => l.tier, roomy: "tablet" },
  { id: "price", title: "Price", number: true, value: (l) => l.price, show: (l) => <LivePrice symbol={l.symbol} known={l.price} /> },
  { id: "change", title: "Change", hint: "since the session before", number: true, value: (l) => l.change, show: (l) => <LiveChange symbol={l.symbol} known={l.change} /> },
  { id: "action", title: "Signal", value: (l) => l.action, show: (l) => <ActionBadge action={l.signal?.action ?? l.action} /> },
  { id: "confidence", title: "Confidence", number: true, value: (l) => l.confidence, show: (l) => <Confidence value={l.signal?.confidence ?? l.confidence} />, roomy: "phone" },
  { id: "outlook", title: "Forecast", hint: "5–95 % and 25–75 % of the price at the horizon, the median, and now", value: (l) => (l.signal ? median(l.signal) : null), show: (l) => (l.signal ? <Outlook signal={l.signal} /> : null), roomy: "phone" },
  { id: "median_change", title: "Median", hint: "median forecast at the horizon, from the last close", number: true, value: (l) => medianChange(l.signal), show: (l) => <Change value={medianChange(l.signal)} />, roomy: "phone" },
  { id: "weight", title: "Size", number: true, value: (l) => l.signal?.weight, show: (l) => size(l.signal?.weight), roomy: "tablet" },
];

function medianChange(signal: Signal | undefined): number | null {
  const middle = signal ? median(signal) : null;
  return middle === null || !signal?.entry ? null : middle / signal.entry - 1;
}

export const ORDERS: readonly Column<Order>[] = [
  { id: "decided_at", title: "Decided", value: (o) => o.decided_at, show: (o) => <Time at={o.decided_at} /> },
  { id: "symbol", title: "Symbol", value: (o) => o.symbol, show: (o) => <SymbolLink symbol={o.symbol} /> },
  { id: "side", title: "Side", value: (o) => o.side, show: (o) => <Side side={o.side} /> },
  { id: "quantity", title: "Quantity", number: true, value: (o) => o.quantity, show: (o) => shares(o.quantity) },
  { id: "filled", title: "Filled", number: true, value: (o) => o.filled, show: (o) => shares(o.filled), roomy: "phone" },
  { id: "kind", title: "Kind", value: (o) => o.kind, show: (o) => `${words(o.kind)}, ${words(o.time_in_force)}`, roomy: "tablet" },
  { id: "status", title: "Status", value: (o) => o.status, show: (o) => words(o.status) },
  { id: "reason", title: "Reason", value: (o) => o.reason, show: (o) => words(o.reason), roomy: "tablet" },
  { id: "id", title: "Id", value: (o) => o.id, show: (o) => <code>{o.id}</code>, roomy: "tablet" },
];

export const FILLS: readonly Column<Fill>[] = [
  { id: "time", title: "Time", value: (f) => f.time, show: (f) => <Time at={f.time} /> },
  { id: "symbol", title: "Symbol", value: (f) => f.symbol, show: (f) => <SymbolLink symbol={f.symbol} /> },
  { id: "side", title: "Side", value: (f) => (f.quantity > 0 ? "buy" : "sell"), show: (f) => <Side side={f.quantity > 0 ? "buy" : "sell"} /> },
  { id: "quantity", title: "Quantity", number: true, value: (f) => f.quantity, show: (f) => shares(Math.abs(f.quantity)) },
  { id: "price", title: "Price", number: true, value: (f) => f.price, show: (f) => price(f.price) },
  { id: "fee", title: "Costs", number: true, value: (f) => f.fee, show: (f) => decimal(f.fee, 2), roomy: "phone" },
  { id: "order_id", title: "Order", value: (f) => f.order_id, show: (f) => <code>{f.order_id ?? "–"}</code>, roomy: "tablet" },
];

function Side({ side }: { side: string }) {
  const buys = /buy/i.test(side);
  return (
    <span className={buys ? "up" : "down"}>
      <span aria-hidden="true">{buys ? "▲" : "▼"}</span> {words(side)}
    </span>
  );
}
