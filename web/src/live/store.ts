/**
 * Everything that the page knows, fed by snapshots and deltas, read in slices.
 *
 * A slice is a topic, or one key of it. Readers of a slice are told once a frame, however much was said meanwhile, so
 * that two hundred symbols that tick cost what the screen shows, not what the network sends.
 */
import type { Caller, Event, Listed, Status, Topic, Topics } from "../api/shapes";
import { changeOf, dayIn } from "./prices";
import type { Price } from "./prices";

/** What the page keeps besides the topics of the bus: the watch-list, the newest price of each symbol, and who asks. */
export interface Slices extends Topics {
  caller: Caller;
  symbol: Listed;
  price: Price;
}
export type Slice = keyof Slices;

interface Entry<T> {
  data: T;
  /** Number of the event that said it, or that was the last when REST was asked; of a process that is gone: GONE. */
  seq: number;
}

/** What a process said that runs no more: shown until there is something newer, and newer than nothing. */
const GONE = -1;

type Table<S extends Slice> = Map<string, Entry<Slices[S]>>;
type Tell = () => void;
type Watch<T extends Topic> = (data: Topics[T], key: string) => void;

/** Runs a flush soon: at the next frame, or within a second where the page is not looked at. */
export type Schedule = (flush: () => void) => void;

/** Whether a process has read its bars: before, it answers with little or nothing. */
function isWarm(status: Status | undefined): boolean {
  return typeof status?.as_of === "string" && status.progress === null;
}

/** How many things of a slice are kept; the ones heard of first go first. */
export const KEPT = 5_000;

export const everyFrame: Schedule = (flush) => {
  if (document.visibilityState === "hidden") setTimeout(flush, 1000);
  else requestAnimationFrame(flush);
};

export class Store {
  #tables = new Map<Slice, Table<Slice>>();
  #lists = new Map<Slice, readonly unknown[]>();
  #readers = new Map<string, Set<Tell>>();
  #watchers = new Map<Topic, Set<Watch<Topic>>>();
  #dirty = new Set<string>();
  #flushing = false;
  /** The number of the last event that was heard. */
  seq = 0;
  /** Rises with every snapshot, and when a process has warmed up: what REST said is old then. */
  epoch = 0;
  #session = "";

  constructor(private readonly schedule: Schedule = everyFrame) {}

  // -- reading -------------------------------------------------------------------------------------------------

  get<S extends Slice>(slice: S, key: string): Slices[S] | undefined {
    return this.#table(slice).get(key)?.data;
  }

  /** Return everything of a slice; the same array until something of it changes. */
  all<S extends Slice>(slice: S): readonly Slices[S][] {
    const known = this.#lists.get(slice) as readonly Slices[S][] | undefined;
    if (known) return known;
    const made = [...this.#table(slice).values()].map((entry) => entry.data);
    this.#lists.set(slice, made);
    return made;
  }

  /** Be told, at most once a frame, when a slice (or one key of it) has changed. */
  subscribe(slice: Slice | "epoch", key: string | null, tell: Tell): () => void {
    const name = key === null ? slice : `${slice}/${key}`;
    const readers = this.#readers.get(name) ?? new Set();
    readers.add(tell);
    this.#readers.set(name, readers);
    return () => {
      readers.delete(tell);
      if (!readers.size && this.#readers.get(name) === readers) this.#readers.delete(name);
    };
  }

  /** Hear every event of a topic, at once and unbatched: for series, which must not lose a bar. */
  watch<T extends Topic>(topic: T, hear: Watch<T>): () => void {
    const watchers = this.#watchers.get(topic) ?? new Set();
    watchers.add(hear as Watch<Topic>);
    this.#watchers.set(topic, watchers);
    return () => watchers.delete(hear as Watch<Topic>);
  }

  // -- hearing -------------------------------------------------------------------------------------------------

  /** A process says who it is. Another than before: its numbers begin anew. */
  hello(session: string): void {
    if (session === this.#session) return;
    this.#session = session;
    this.seq = 0;
    for (const table of this.#tables.values()) for (const entry of table.values()) entry.seq = GONE;
  }

  get session(): string {
    return this.#session;
  }

  /** Take the newest of everything. */
  snapshot(seq: number, events: readonly Event[]): void {
    const before = this.get("status", "status")?.playbook;
    const now = events.find((event) => event.topic === "status");
    if (before !== undefined && now && now.data.playbook !== before) this.#forget();
    this.delta(events);
    this.seq = seq;
    this.#renew();
  }

  /** Take what was said since; what was heard already is passed over. */
  delta(events: readonly Event[]): void {
    for (const event of events) {
      if (event.seq <= this.seq) continue;
      this.seq = event.seq;
      this.#put(event.topic, event.key, event.data, event.seq);
      this.#derive(event);
      this.#watchers.get(event.topic)?.forEach((hear) => hear(event.data, event.key));
    }
  }

  /**
   * Take what REST answered to a question asked when `asked` was the last event: what was said after that is newer
   * and stays; what REST does not know any more goes.
   */
  load<S extends Slice>(slice: S, items: readonly Slices[S][], keyOf: (item: Slices[S]) => string, asked: number): void {
    const table = this.#table(slice);
    const known = new Set(items.map(keyOf));
    for (const [key, entry] of table) if (!known.has(key) && entry.seq <= asked) this.#drop(slice, key);
    for (const item of items) {
      const key = keyOf(item);
      if ((table.get(key)?.seq ?? -1) <= asked) this.#put(slice, key, item, asked);
    }
    if (slice === "symbol") for (const item of items as readonly Listed[]) this.#priceOfListed(item);
  }

  // -- parts ---------------------------------------------------------------------------------------------------

  #table<S extends Slice>(slice: S): Table<S> {
    let table = this.#tables.get(slice);
    if (!table) {
      table = new Map();
      this.#tables.set(slice, table);
    }
    return table as Table<S>;
  }

  #put<S extends Slice>(slice: S, key: string, data: Slices[S], seq: number): void {
    if (slice === "position" && (data as Slices["position"]).shares === 0) {
      this.#drop(slice, key);
      return;
    }
    const table = this.#table(slice);
    if (slice === "status" && !isWarm(table.get(key)?.data as Status) && isWarm(data as Status)) this.#renew();
    table.set(key, { data, seq });
    const [oldest] = table.keys();
    if (table.size > KEPT && oldest !== undefined) this.#drop(slice, oldest);
    this.#mark(slice, key);
  }

  #drop(slice: Slice, key: string): void {
    if (this.#table(slice).delete(key)) this.#mark(slice, key);
  }

  #forget(): void {
    for (const [slice, table] of this.#tables) for (const key of [...table.keys()]) this.#drop(slice, key);
  }

  #derive(event: Event): void {
    if (event.topic === "tick") this.#price(event.key, event.data.time, event.data.price);
    if (event.topic === "bar") this.#price(event.key, event.data.time, event.data.close);
  }

  /** Note a price: the last one of an earlier day is what today's change is counted from. */
  #price(symbol: string, time: string, value: number | null): void {
    const last = this.#lastPrice(symbol);
    if (value === null || (last && Date.parse(time) < Date.parse(last.time))) return;
    const zone = this.get("status", "status")?.zone ?? "America/New_York";
    const day = dayIn(zone, time);
    const reference = last && last.day !== "" && day > last.day ? last.price : (last?.reference ?? null);
    const moved = last && value !== last.price ? Math.sign(value - last.price) : (last?.moved ?? 0);
    this.#put("price", symbol, { symbol, time, day, price: value, reference, moved, change: changeOf(value, reference) }, this.seq);
  }

  /** Return the newest price that this process said: another one may live in another time, as a replay does. */
  #lastPrice(symbol: string): Price | undefined {
    const known = this.#table("price").get(symbol);
    return known && known.seq > GONE ? known.data : undefined;
  }

  #priceOfListed(item: Listed): void {
    const last = this.#lastPrice(item.symbol);
    const zone = this.get("status", "status")?.zone ?? "America/New_York";
    if (item.price === null || item.time === null) return;
    const reference = item.change === null ? null : item.price / (1 + item.change);
    const day = dayIn(zone, item.time);
    const later = last !== undefined && Date.parse(last.time) > Date.parse(item.time);
    if (later && last.day !== day) return;
    const newer = later ? last : { ...item, price: item.price, time: item.time, moved: 0 };
    const { price, time, moved } = newer;
    this.#put("price", item.symbol, { symbol: item.symbol, time, day, price, reference, moved, change: changeOf(price, reference) }, this.seq);
  }

  /** What REST said is old: it is to be asked again. */
  #renew(): void {
    this.epoch += 1;
    this.#mark("epoch", null);
  }

  #mark(slice: Slice | "epoch", key: string | null): void {
    if (slice !== "epoch") this.#lists.delete(slice);
    this.#dirty.add(slice);
    if (key !== null) this.#dirty.add(`${slice}/${key}`);
    if (this.#flushing) return;
    this.#flushing = true;
    this.schedule(() => this.#flush());
  }

  #flush(): void {
    this.#flushing = false;
    const names = this.#dirty;
    this.#dirty = new Set();
    for (const name of names) for (const tell of this.#readers.get(name) ?? []) tell();
  }
}
