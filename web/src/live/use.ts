/** What components read: slices of the store, the state of the connection, and questions to REST. */
import { createContext, useCallback, useContext, useEffect, useMemo, useState, useSyncExternalStore } from "react";
import type { Bar, Ticket, Topic, Topics } from "../api/shapes";
import { getItems, getOne } from "../api/http";
import type { Loaded, Loader, Loading } from "./collections";
import type { Connection, ConnectionState } from "./connection";
import { joined } from "./series";
import type { Slice, Slices, Store } from "./store";

export interface Live {
  store: Store;
  loader: Loader;
  connection: Connection;
}

export const LiveContext = createContext<Live | null>(null);

export function useLive(): Live {
  const live = useContext(LiveContext);
  if (!live) throw new Error("nothing live around this component");
  return live;
}

/** Return one thing, and again when it changes. */
export function useEntry<S extends Slice>(slice: S, key: string): Slices[S] | undefined {
  const { store } = useLive();
  const subscribe = useCallback((tell: () => void) => store.subscribe(slice, key, tell), [store, slice, key]);
  return useSyncExternalStore(subscribe, () => store.get(slice, key));
}

/** Return everything of a slice, without asking REST for it. */
export function useSlice<S extends Slice>(slice: S): readonly Slices[S][] {
  const { store } = useLive();
  const subscribe = useCallback((tell: () => void) => store.subscribe(slice, null, tell), [store, slice]);
  return useSyncExternalStore(subscribe, () => store.all(slice));
}

/** Return a collection, loaded from REST and kept up by the bus, and how the loading went. */
export function useCollection<S extends Loaded>(name: S): { items: readonly Slices[S][]; loading: Loading } {
  const { loader } = useLive();
  const epoch = useEpoch();
  useEffect(() => loader.ensure(name), [loader, name, epoch]);
  const loading = useSyncExternalStore(loader.subscribe, () => loader.state(name));
  return { items: useSlice(name), loading };
}

/** Return a number that changes when a snapshot came: what REST said before is old then. */
export function useEpoch(): number {
  const { store } = useLive();
  const subscribe = useCallback((tell: () => void) => store.subscribe("epoch", null, tell), [store]);
  return useSyncExternalStore(subscribe, () => store.epoch);
}

export function useConnection(): ConnectionState {
  const { connection } = useLive();
  return useSyncExternalStore(connection.subscribe, () => connection.state);
}

export interface Answer<T> {
  items: readonly T[];
  done: boolean;
  error: Error | null;
}

/** Ask REST for a list; again for another path, after a snapshot, and when `again` changes. What was known stays meanwhile. */
export function useItems<T>(path: string | null, again: unknown = 0): Answer<T> {
  const epoch = useEpoch();
  const [answer, setAnswer] = useState<Answer<T> & { path: string | null }>({ items: [], done: false, error: null, path });
  useEffect(() => {
    if (path === null) return;
    let current = true;
    getItems<T>(path).then(
      (items) => current && setAnswer({ items, done: true, error: null, path }),
      (error: unknown) => current && setAnswer((known) => ({ ...known, done: known.path === path && known.done, error: error as Error, path })),
    );
    return () => {
      current = false;
    };
  }, [path, epoch, again]);
  return answer.path === path ? answer : { items: [], done: false, error: null };
}

/** Ask what may be ordered of a symbol; again with every bar. What was known of the symbol stays meanwhile. */
export function useTicket(symbol: string): { found: Ticket | null; error: Error | null } {
  const bar = useEntry("status", "status")?.as_of;
  const [answer, setAnswer] = useState<{ of: string; found: Ticket | null; error: Error | null }>({ of: symbol, found: null, error: null });
  useEffect(() => {
    let current = true;
    getOne<Ticket>(`/symbols/${encodeURIComponent(symbol)}/ticket`).then(
      (found) => current && setAnswer({ of: symbol, found, error: null }),
      (error: unknown) => current && setAnswer((known) => ({ of: symbol, found: known.of === symbol ? known.found : null, error: error as Error })),
    );
    return () => {
      current = false;
    };
  }, [symbol, bar]);
  return answer.of === symbol ? answer : { found: null, error: null };
}

/** Return everything that was said of a key since this process is heard, oldest first: a restart may go back in time. */
export function useHeard<T extends Topic>(topic: T, key: string, kept: number): readonly Topics[T][] {
  const { store } = useLive();
  useEpoch();
  const whose = `${store.session}/${key}`;
  const [heard, setHeard] = useState<{ whose: string; items: readonly Topics[T][] }>({ whose, items: [] });
  useEffect(
    () =>
      store.watch(topic, (data, said) => {
        if (said !== key) return;
        const now = `${store.session}/${key}`;
        setHeard((before) => ({ whose: now, items: [...(before.whose === now ? before.items : []), data].slice(-kept) }));
      }),
    [store, topic, key, kept],
  );
  return heard.whose === whose ? heard.items : (NOTHING as readonly Topics[T][]);
}

const NOTHING: readonly unknown[] = [];

/** Bars that are kept of the symbol that is looked at. */
const KEPT_BARS = 5_000;

/** Return the bars of a symbol: those that REST knows, and every one since. */
export function useBars(symbol: string, limit: number): Answer<Bar> {
  const lost = useConnection().dropped;
  const known = useItems<Bar>(symbol ? `/symbols/${encodeURIComponent(symbol)}/bars?limit=${limit}` : null, Math.ceil(lost / 500));
  const heard = useHeard("bar", symbol, KEPT_BARS);
  return { ...known, items: useMemo(() => joined(known.items, heard), [known.items, heard]) };
}

/** Return the time of this machine, again every so often: for ages that are shown. */
export function useNow(everyMs = 1000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
