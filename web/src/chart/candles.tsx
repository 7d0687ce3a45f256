/** The price chart as a component: loads the library when first shown, and moves with ticks without rendering anew. */
import { useEffect, useRef, useState } from "react";
import type { Bar } from "../api/shapes";
import { price } from "../format/numbers";
import { useLive } from "../live/use";
import { onColours } from "../settings";
import { useZone } from "../ui/zone";
import type { Point } from "./fan";
import type { DrawnFan } from "./fan-primitive";
import type { Line, PriceChart } from "./price-chart";

interface Props {
  symbol: string;
  bars: readonly Bar[];
  daily: boolean;
  fans: readonly DrawnFan[];
  /** Index of the bar that the fans begin at. */
  origin: number;
  /** Whether that is the newest bar: then ticks wander into the fan. */
  now: boolean;
  lines: readonly Line[];
  barMs: number;
  label: string;
  onBar: (bar: Bar | null) => void;
}

/** Ticks kept of the open bar. */
const TRAIL = 240;

export function Candles(props: Props) {
  const { symbol, bars, daily, onBar } = props;
  const zone = useZone();
  const container = useRef<HTMLDivElement>(null);
  const [chart, setChart] = useState<PriceChart | null>(null);
  useEffect(() => {
    let made: PriceChart | null = null;
    let gone = false;
    void import("./price-chart").then((module) => {
      if (gone || !container.current) return;
      made = new module.PriceChart(container.current, zone, daily, onBar);
      setChart(made);
    });
    return () => {
      gone = true;
      setChart(null);
      made?.destroy();
    };
  }, [symbol, zone, daily, onBar]);
  useEffect(() => (chart ? onColours(() => requestAnimationFrame(() => chart.paint())) : undefined), [chart]);
  useEffect(() => chart?.setBars(bars), [chart, bars]);
  useScene(chart, props);
  return <div className="candles" ref={container} role="img" aria-label={props.label} data-ready={chart && bars.length ? "" : undefined} />;
}

/** Keep fans, lines and the trail of ticks as they are. */
function useScene(chart: PriceChart | null, { symbol, bars, fans, origin, now, lines, barMs }: Props): void {
  const { store } = useLive();
  const trail = useRef<{ since: string; points: Point[] }>({ since: "", points: [] });
  useEffect(() => {
    const last = bars.at(-1);
    if (!chart || !last) return;
    const draw = () => {
      const newest = store.get("price", symbol);
      const open = Date.parse(newest?.time ?? "") - Date.parse(last.time);
      if (trail.current.since !== last.time) trail.current = { since: last.time, points: last.close === null ? [] : [{ ahead: 0, price: last.close }] };
      const { points } = trail.current;
      if (newest && open > 0) points.push({ ahead: Math.min(0.98, open / barMs), price: newest.price });
      if (points.length > TRAIL) points.splice(1, points.length - TRAIL);
      chart.setScene({ fans, origin, label: now ? "now" : "then", trail: now && points.length > 1 ? points : [] });
      const live: Line[] = newest ? [{ name: "last", price: newest.price }] : [];
      chart.setLines([...lines, ...live]);
    };
    draw();
    return store.subscribe("price", symbol, draw);
  }, [chart, store, symbol, bars, fans, origin, now, lines, barMs]);
  useEffect(() => {
    if (chart && !now && origin >= 0) chart.reveal(origin, fans[0]?.fan.knots.at(-1)?.ahead ?? 5);
  }, [chart, origin, now, fans]);
}

/** Say in words what the chart shows. */
export function chartWords(symbol: string, bars: readonly Bar[], fan: DrawnFan | undefined, ahead: number): string {
  const last = bars.at(-1);
  if (!last) return `${symbol}: no bars yet`;
  const knot = fan?.fan.knots.find((known) => known.ahead === ahead) ?? fan?.fan.knots.at(-1);
  const [low, median, high] = [0.05, 0.5, 0.95].map((level) => price(knot?.prices.get(level)));
  const said = knot ? `; in ${knot.ahead} bars between ${low} and ${high} with a promise of 90 %, median ${median}` : "; no forecast";
  return `${symbol}: ${bars.length} candles, last close ${price(last.close)}${said}`;
}
