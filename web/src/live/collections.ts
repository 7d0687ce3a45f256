/** Where each slice begins: what REST knows of it, before and besides what the bus says. */
import { getItems, getOne } from "../api/http";
import type { Slice, Slices, Store } from "./store";

interface Collection<S extends Slice> {
  path: string;
  keyOf: (item: Slices[S]) => string;
  single?: boolean;
}

const COLLECTIONS = {
  status: { path: "/status", keyOf: () => "status", single: true },
  account: { path: "/account", keyOf: () => "account", single: true },
  health: { path: "/health", keyOf: () => "health", single: true },
  symbol: { path: "/symbols", keyOf: (item) => item.symbol },
  signal: { path: "/signals?limit=2000", keyOf: (item) => item.symbol },
  position: { path: "/positions", keyOf: (item) => item.symbol },
  order: { path: "/orders?limit=500", keyOf: (item) => item.id },
  manual_order: { path: "/orders/manual?limit=200", keyOf: (item) => item.id },
  caller: { path: "/caller", keyOf: () => "caller", single: true },
  fill: { path: "/fills?limit=500", keyOf: (item) => item.id },
  alert: { path: "/alerts?limit=200", keyOf: (item) => item.id },
  model: { path: "/models", keyOf: (item) => item.seat },
  drift: { path: "/drift", keyOf: (item) => item.seat },
  job: { path: "/jobs?limit=50", keyOf: (item) => item.id },
} as const satisfies { [S in Slice]?: Collection<S> };

export type Loaded = keyof typeof COLLECTIONS;

export interface Loading {
  done: boolean;
  error: Error | null;
}

const WAITING: Loading = { done: false, error: null };

/** Asks REST for each collection once for every process that is heard, and again on demand. */
export class Loader {
  #states = new Map<Loaded, Loading>();
  #asked = new Map<Loaded, number>();
  #readers = new Set<() => void>();

  constructor(private readonly store: Store) {}

  state(name: Loaded): Loading {
    return this.#states.get(name) ?? WAITING;
  }

  subscribe = (tell: () => void): (() => void) => {
    this.#readers.add(tell);
    return () => this.#readers.delete(tell);
  };

  /** Load a collection, unless it has been since the last snapshot. */
  ensure(name: Loaded): void {
    if (this.#asked.get(name) !== this.store.epoch) void this.load(name);
  }

  /** Ask for everything that was asked for, once more. */
  again(): void {
    for (const name of this.#asked.keys()) void this.load(name);
  }

  async load(name: Loaded): Promise<void> {
    this.#asked.set(name, this.store.epoch);
    const { path, keyOf, single } = COLLECTIONS[name] as Collection<Loaded>;
    const asked = this.store.seq;
    try {
      const items = single ? [await getOne<Slices[Loaded]>(path)] : await getItems<Slices[Loaded]>(path);
      this.store.load(name, items, keyOf, asked);
      this.#note(name, { done: true, error: null });
    } catch (error) {
      this.#note(name, { done: this.state(name).done, error: error as Error });
    }
  }

  #note(name: Loaded, state: Loading): void {
    this.#states.set(name, state);
    for (const tell of this.#readers) tell();
  }
}
