/** What an order ticket works out: shares, the stop to begin with, and what is wrong with what was typed. */
import type { Ticket } from "../api/shapes";
import { percent, price as priced } from "../format/numbers";

export type Side = "BUY" | "SELL";

export interface Typed {
  side: Side;
  /** Per cent of equity. */
  size: number | null;
  stop: number | null;
  target: number | null;
}

/** Read a number as people type it; null where there is none. */
export function typedNumber(text: string): number | null {
  const value = Number(text.replaceAll(",", "").replace("%", "").trim() || NaN);
  return Number.isFinite(value) ? value : null;
}

/** Return how many shares a size is at a price. */
export function sharesOf(ticket: Ticket, size: number | null, at: number | null): number | null {
  if (size === null || !at || ticket.equity === null) return null;
  const shares = ((size / 100) * ticket.equity) / at;
  return ticket.fractional_shares ? Math.trunc(shares * 1e6) / 1e6 : Math.trunc(shares);
}

/** Return the stop that a ticket begins with. */
export function firstStop(ticket: Ticket, side: Side): number | null {
  if (ticket.price === null || ticket.stop_distance === null) return null;
  const at = ticket.price * (1 - (side === "BUY" ? 1 : -1) * ticket.stop_distance);
  return Number(at.toFixed(ticket.price < 1 ? 4 : 2));
}

/** Return what is wrong with an order, in words; empty where nothing is. The server judges again. */
export function faultOf(ticket: Ticket, { side, size, stop, target }: Typed): string {
  const { price, weight_max: most } = ticket;
  const sign = side === "BUY" ? 1 : -1;
  const [below, above] = sign > 0 ? ["below", "above"] : ["above", "below"];
  if (price === null) return "There is no price yet.";
  if (ticket.halted) return `Trading is halted: ${ticket.halted}. What is held can be closed.`;
  if (side === "SELL" && !ticket.short_allowed) return "This account opens no shorts; to sell what is held, close it.";
  if (size === null || size <= 0) return "Say how much of the equity is to be held.";
  if (size / 100 > most + 1e-12) return `One position may be ${percent(most)} of equity at most.`;
  if (stop === null || stop <= 0 || sign * (price - stop) <= 0) return `The stop must lie ${below} the last price, ${priced(price)}.`;
  if (sign < 0 && stop >= 2 * price) return "The stop is farther away than the price itself.";
  if (target !== null && (target <= 0 || sign * (target - price) <= 0)) return `The target must lie ${above} the last price, ${priced(price)}.`;
  return "";
}
