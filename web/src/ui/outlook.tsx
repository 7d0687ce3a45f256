/** A forecast in one line of a table: two bands, the median, and where the price is now; the scale is named on hover. */
import type { Signal } from "../api/shapes";
import { change, price } from "../format/numbers";

/** Half of the width, in shares of the price: round, so that names of like volatility have the same. */
const REACH = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

/** Return the places of a forecast on a scale of 0 to 100, now at 50; null where there is none. */
export function outlookOf(signal: Signal) {
  const interval = signal.intervals[String(signal.horizon_bars)];
  const close = signal.entry;
  if (!interval || !close || interval.median === null) return null;
  const [wide, inner] = [interval["90"], interval["50"]].map((pair) => [pair?.[0] ?? null, pair?.[1] ?? null] as const);
  const most = Math.max(...[...(wide ?? []), ...(inner ?? []), interval.median].map((at) => (at === null ? 0 : Math.abs(at / close - 1))));
  const reach = REACH.find((known) => known >= most * (1 - 1e-9)) ?? most;
  const place = (at: number | null) => (at === null ? null : 50 + ((at / close - 1) / reach) * 50);
  return { wide: wide?.map(place), inner: inner?.map(place), median: place(interval.median) ?? 50, reach, interval };
}

export function Outlook({ signal }: { signal: Signal }) {
  const seen = outlookOf(signal);
  if (!seen) return <span className="soft">no forecast</span>;
  const [low, high] = seen.interval["90"] ?? [null, null];
  const words = `median ${price(seen.interval.median)}, 90 %: ${price(low)} to ${price(high)}; scale ${change(-seen.reach, 1)} to ${change(seen.reach, 1)}`;
  return (
    <svg className="outlook" viewBox="0 0 100 14" preserveAspectRatio="none" role="img" aria-label={words}>
      <title>{words}</title>
      <line className="axis" x1="0" x2="100" y1="7" y2="7" />
      <Band className="wide" ends={seen.wide} y={3.5} height={7} />
      <Band className="inner" ends={seen.inner} y={2.5} height={9} />
      <line className="now" x1="50" x2="50" y1="0" y2="14" />
      <rect className="median" x={seen.median - 0.8} width="1.6" y="1" height="12" />
    </svg>
  );
}

function Band({ ends, y, height, className }: { ends: (number | null)[] | undefined; y: number; height: number; className: string }) {
  const [low, high] = ends ?? [];
  if (low === undefined || low === null || high === undefined || high === null) return null;
  return <rect className={className} x={low} width={Math.max(0.5, high - low)} y={y} height={height} />;
}
