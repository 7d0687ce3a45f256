/** Row D10: a person orders, closes and takes back; said in words before, done at the next close, on paper. */
import { useState } from "react";
import type { ReactNode } from "react";
import type { ManualOrder, Position, Status, Ticket } from "../api/shapes";
import { newId, withdraw } from "../api/http";
import { change, percent, price, shares } from "../format/numbers";
import { moment, zoneName } from "../format/time";
import { useCollection, useEntry, useTicket } from "../live/use";
import { Card, Failed, Waiting } from "../ui/card";
import { ConfirmDialog } from "../ui/confirm";
import { Change, Time } from "../ui/figures";
import { CommandButton } from "../ui/permitted";
import { Segments } from "../ui/segments";
import { useZone } from "../ui/zone";
import { SymbolLink } from "./columns";
import { faultOf, firstStop, sharesOf, typedNumber } from "./sizing";
import type { Side } from "./sizing";

const SIDES: readonly (readonly [Side, string])[] = [
  ["BUY", "▲ Buy"],
  ["SELL", "▼ Sell short"],
];
const SIZE = 5;

/** Return why no order can be applied any more. */
function over(status: Status | undefined): string {
  return status?.replay?.done ? "The replay has ended: no close is left at which an order could be applied." : "";
}

/** Return the order of a symbol that waits. */
export function useWaiting(symbol: string): ManualOrder | undefined {
  return useCollection("manual_order").items.find((order) => order.symbol === symbol && order.state === "waiting");
}

export function OrderTicket({ symbol }: { symbol: string }) {
  const { found: ticket, error } = useTicket(symbol);
  const waiting = useWaiting(symbol);
  return (
    <Card title="Order by hand" aside={<span className="soft">on paper</span>}>
      {waiting && <WaitingOrder order={waiting} />}
      {ticket ? <TicketForm ticket={ticket} waiting={waiting} /> : error ? <Failed error={error} /> : <Waiting lines={3} />}
    </Card>
  );
}

function TicketForm({ ticket, waiting }: { ticket: Ticket; waiting: ManualOrder | undefined }) {
  const status = useEntry("status", "status");
  const [side, setSide] = useState<Side>("BUY");
  const [size, setSize] = useState(() => String(Math.min(SIZE, ticket.weight_max * 100)));
  const [stop, setStop] = useState<string | null>(null);
  const [target, setTarget] = useState("");
  const [asked, setAsked] = useState<string | null>(null);
  const begun = firstStop(ticket, side);
  const typed = { side, size: typedNumber(size), stop: stop === null ? begun : typedNumber(stop), target: target.trim() ? (typedNumber(target) ?? NaN) : null };
  const fault = over(status) || (Number.isNaN(typed.target) ? "The target is no number." : faultOf(ticket, typed));
  const many = sharesOf(ticket, typed.size, ticket.price);
  const away = (at: number | null) => (at === null || !ticket.price || !Number.isFinite(at) ? null : at / ticket.price - 1);
  const turn = (to: Side) => {
    setSide(to);
    setStop(null);
    setTarget("");
  };
  return (
    <div className="ticket" role="group" aria-label={`order of ${ticket.symbol}`}>
      <Segments label="side" choices={SIDES} chosen={side} choose={turn} />
      <div className="fields">
        <Field name="Size, %" value={size} set={setSize} note={`${many === null ? "–" : shares(many)} shares`} />
        <Field name="Stop" value={stop ?? (begun === null ? "" : String(begun))} set={setStop} note={<Change value={away(typed.stop)} />} />
        <Field name="Target" value={target} set={setTarget} note={typed.target === null ? "may be none" : <Change value={away(typed.target)} />} />
      </div>
      <p className={fault ? "fault" : "soft"} role="status">
        {fault || `Size is that of the position after it, in % of equity, at most ${percent(ticket.weight_max, 0)}; ${ticket.shares ? `${shares(ticket.shares)} shares are held now` : "nothing is held now"}.`}
      </p>
      <div className="buttons">
        <CloseButton symbol={ticket.symbol} held={ticket.shares} />
        <CommandButton role="trade" className="primary" not={fault} onClick={() => setAsked(newId())}>
          {side === "BUY" ? "Buy…" : "Sell short…"}
        </CommandButton>
      </div>
      {asked && (
        <ConfirmDialog
          title={`${side === "BUY" ? "Buy" : "Sell short"} ${ticket.symbol}, on paper`}
          what={
            <Meant ticket={ticket} replaces={waiting}>
              {ticket.symbol} is then held {side === "BUY" ? "long" : "short"} with {percent((typed.size ?? 0) / 100)} of equity, about {shares(many)} shares at {price(ticket.price)}
              {ticket.shares !== 0 && many !== null && `, where ${shares(ticket.shares)} are held now: ${moved((side === "BUY" ? many : -many) - ticket.shares)}`}. Its stop lies {change(away(typed.stop), 1)} from the entry, at about {price(typed.stop)}
              {typed.target !== null && `, its target ${change(away(typed.target), 1)}, at about ${price(typed.target)}`}. Limits may make it smaller. Stop, target or you close it, or a new BUY or SELL of the rule; the signal that the rule gives now does not.
            </Meant>
          }
          path="/orders"
          body={{ id: asked, symbol: ticket.symbol, side, weight: (typed.size ?? 0) / 100, stop: typed.stop, target: typed.target }}
          verb={side === "BUY" ? "Buy at the next close" : "Sell at the next close"}
          reason
          ready={!fault}
          onClose={() => setAsked(null)}
        />
      )}
    </div>
  );
}

function Field({ name, value, set, note }: { name: string; value: string; set: (text: string) => void; note: ReactNode }) {
  return (
    <label>
      {name}
      <input type="text" inputMode="decimal" autoComplete="off" value={value} onChange={(event) => set(event.target.value)} />
      <small>{note}</small>
    </label>
  );
}

/** When it happens, and what. */
function Meant({ ticket, replaces, children }: { ticket: Ticket; replaces?: ManualOrder | undefined; children: ReactNode }) {
  const zone = useZone();
  const replay = useEntry("status", "status")?.replay;
  const at = ticket.next_close;
  return (
    <div className="stack">
      <p>
        <b>
          At the next close{replay ? " of the replay" : ""}, {at ? `${moment(at, zone)} ${zoneName(at, zone)}` : "whenever it comes"}, you decide in the rule’s place; filled at the open of the bar after it, on paper.
        </b>
      </p>
      <p>{children}</p>
      {replaces && <p>It takes the place of your order that waits: {wordsOf(replaces)}.</p>}
    </div>
  );
}

/** Say what is traded to get from one position to another. */
function moved(change: number): string {
  return change === 0 ? "nothing is traded" : `about ${shares(Math.abs(change))} are ${change > 0 ? "bought" : "sold"}`;
}

const VERBS: Record<ManualOrder["side"], string> = { BUY: "buy", SELL: "sell short", CLOSE: "close" };

/** Return an order in a few words, with or without its symbol. */
export function wordsOf({ side, symbol, weight, stop, target }: ManualOrder, named = true): string {
  const what = named ? `${VERBS[side]} ${symbol}` : VERBS[side];
  if (side === "CLOSE") return what;
  return `${what}, ${percent(weight)} of equity, stop ${price(stop)}${target === null ? "" : `, target ${price(target)}`}`;
}

/** Close what is held of a symbol; where that waits already, take it back. */
export function CloseButton({ symbol, held, not = "" }: { symbol: string; held: number; not?: string }) {
  const [asked, setAsked] = useState<string | null>(null);
  const status = useEntry("status", "status");
  const waiting = useWaiting(symbol);
  if (waiting?.side === "CLOSE") return <CancelButton order={waiting}>Closing: cancel</CancelButton>;
  return (
    <>
      <CommandButton role="trade" label={`Close ${symbol}…`} not={not || over(status) || (held ? "" : `Nothing is held of ${symbol}.`)} onClick={() => setAsked(newId())}>
        Close…
      </CommandButton>
      {asked && <CloseDialog id={asked} symbol={symbol} waiting={waiting} onClose={() => setAsked(null)} />}
    </>
  );
}

function CloseDialog({ id, symbol, waiting, onClose }: { id: string; symbol: string; waiting: ManualOrder | undefined; onClose: () => void }) {
  const { found: ticket, error } = useTicket(symbol);
  const held = ticket?.shares ?? 0;
  return (
    <ConfirmDialog
      title={`Close ${symbol}, on paper`}
      what={
        ticket ? (
          <Meant ticket={ticket} replaces={waiting}>
            All {shares(Math.abs(held))} shares of {symbol} that are held {held < 0 ? "short are bought back" : "are sold"}, last at {price(ticket.price)}. The rule opens it again only with a new signal, not with the one that it gives now.
          </Meant>
        ) : error ? (
          <Failed error={error} />
        ) : (
          <Waiting lines={2} />
        )
      }
      path={`/positions/${encodeURIComponent(symbol)}/close`}
      body={{ id }}
      verb="Close at the next close"
      reason
      ready={ticket !== null}
      onClose={onClose}
    />
  );
}

function CancelButton({ order, children }: { order: ManualOrder; children: ReactNode }) {
  const [error, setError] = useState<Error | null>(null);
  const act = () => withdraw(`/orders/${encodeURIComponent(order.id)}`).then(() => setError(null), (refused: unknown) => setError(refused as Error));
  return (
    <>
      <CommandButton role="trade" label={`Cancel: ${wordsOf(order)}`} onClick={() => void act()}>
        {children}
      </CommandButton>
      {error && <Failed error={error} />}
    </>
  );
}

function WaitingOrder({ order }: { order: ManualOrder }) {
  return (
    <div className="waits">
      <p>
        <b>Waits for the next close:</b> {wordsOf(order)} <span className="soft">ordered by {order.by}: {order.reason}</span>
      </p>
      <CancelButton order={order}>Cancel</CancelButton>
    </div>
  );
}

const STATES: Record<ManualOrder["state"], { text: string; sign: string; tone: string }> = {
  waiting: { text: "waits", sign: "…", tone: "amber" },
  applied: { text: "applied", sign: "✓", tone: "good" },
  cancelled: { text: "cancelled", sign: "–", tone: "soft" },
  refused: { text: "refused", sign: "✕", tone: "bad" },
};
const SHOWN = 8;

/** What persons ordered: what waits, and on Portfolio what became of the rest. */
export function ManualOrders({ past = false }: { past?: boolean }) {
  const { items } = useCollection("manual_order");
  const shown = [...items].filter((order) => past || order.state === "waiting").sort((a, b) => Number(b.state === "waiting") - Number(a.state === "waiting") || b.asked_at.localeCompare(a.asked_at));
  if (!shown.length) return null;
  return (
    <Card title="Ordered by hand">
      <ul className="by-hand">
        {shown.slice(0, SHOWN).map((order) => (
          <li key={order.id}>
            <span className={`level-word ${STATES[order.state].tone}`}>
              <span aria-hidden="true">{STATES[order.state].sign}</span> {STATES[order.state].text}
            </span>
            <span>
              <SymbolLink symbol={order.symbol} /> {wordsOf(order, false)}
              <small>
                ordered by {order.by}: {order.reason}, <Time at={order.asked_at} full />
                {order.effective && (
                  <>
                    ; applied at the close of <Time at={order.effective} full />
                    {order.orders.length ? "" : ": nothing had to be traded, or a limit left no room"}
                  </>
                )}
                {order.why && `; ${order.why}`}
              </small>
            </span>
            {order.state === "waiting" && <CancelButton order={order}>Cancel</CancelButton>}
          </li>
        ))}
      </ul>
    </Card>
  );
}

const SHARED = "Several timeframes share this account: nothing is ordered in it by hand yet.";

/** The column of a table of positions that closes them. */
export const CLOSING = {
  id: "close",
  title: "Close",
  control: true,
  value: () => null,
  show: ({ symbol, shares: held, timeframe }: Position) => <CloseButton symbol={symbol} held={held} not={timeframe === null ? "" : SHARED} />,
};
