/** Figures: what is shown of numbers, times and actions, everywhere the same. */
import type { Action } from "../api/shapes";
import { arrow, change, gain, NONE, percent, price, tone } from "../format/numbers";
import { brief, moment, utc } from "../format/time";
import { useEntry } from "../live/use";
import { useZone } from "./zone";

type Maybe = number | null | undefined;

/** A fraction since before, with an arrow and a sign: colour only repeats them. */
export function Change({ value, decimals = 2 }: { value: Maybe; decimals?: number }) {
  return (
    <span className={`figure ${tone(value)}`}>
      <span className="arrow" aria-hidden="true">
        {arrow(value)}
      </span>
      {change(value, decimals)}
    </span>
  );
}

/** Money gained or lost. */
export function Gain({ value }: { value: Maybe }) {
  return (
    <span className={`figure ${tone(value)}`}>
      <span className="arrow" aria-hidden="true">
        {arrow(value)}
      </span>
      {gain(value)}
    </span>
  );
}

/** The newest price of a symbol; only this re-renders when it ticks. */
export function LivePrice({ symbol, known }: { symbol: string; known?: Maybe }) {
  const newest = useEntry("price", symbol);
  const moved = newest?.moved ?? 0;
  return (
    <span className={`figure live ${tone(moved)}`} data-price={symbol}>
      <span className="arrow" aria-hidden="true">
        {arrow(moved)}
      </span>
      {price(newest?.price ?? known)}
    </span>
  );
}

/** The change of a symbol since the session before, as it ticks. */
export function LiveChange({ symbol, known }: { symbol: string; known?: Maybe }) {
  const newest = useEntry("price", symbol);
  return <Change value={newest?.change ?? known} />;
}

const ACTIONS: Record<Action, { text: string; sign: string; tone: string }> = {
  STRONG_BUY: { text: "Strong buy", sign: "▲▲", tone: "up strong" },
  BUY: { text: "Buy", sign: "▲", tone: "up" },
  HOLD: { text: "Hold", sign: "–", tone: "flat" },
  SELL: { text: "Sell", sign: "▼", tone: "down" },
  STRONG_SELL: { text: "Strong sell", sign: "▼▼", tone: "down strong" },
};

/** What is recommended: sign and words, colour besides. */
export function ActionBadge({ action }: { action: string | null | undefined }) {
  const known = action && action in ACTIONS ? ACTIONS[action as Action] : null;
  if (!known) return <span className="soft">{NONE}</span>;
  return (
    <span className={`action ${known.tone}`}>
      <span className="sign" aria-hidden="true">
        {known.sign}
      </span>
      {known.text}
    </span>
  );
}

/** Probabilities that the bar reaches from and to: a coin, and what no honest forecast of prices exceeds. */
const BAR = [0.5, 0.75] as const;

/** A probability as a number, and as a bar from one half to three quarters. */
export function Confidence({ value }: { value: Maybe }) {
  const share = Math.max(0, Math.min(1, ((value ?? BAR[0]) - BAR[0]) / (BAR[1] - BAR[0])));
  return (
    <span className="confidence">
      <span className="track" aria-hidden="true" title="from 50 % to 75 %">
        <span className="fill" style={{ width: `${share * 100}%` }} />
      </span>
      {percent(value)}
    </span>
  );
}

/** An instant in the exchange's time; UTC on hover. */
export function Time({ at, full = false }: { at: string | null | undefined; full?: boolean }) {
  const zone = useZone();
  const status = useEntry("status", "status");
  if (!at) return <span className="soft">{NONE}</span>;
  return (
    <time dateTime={at} title={utc(at)}>
      {full ? moment(at, zone) : brief(at, status?.as_of ?? status?.now, zone)}
    </time>
  );
}
