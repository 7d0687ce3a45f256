/** Which view is shown: the address is the only state of it. */
import { useSyncExternalStore } from "react";

export const VIEWS = [
  { id: "today", path: "/", title: "Today", key: "t" },
  { id: "symbol", path: "/symbol", title: "Symbol", key: "s" },
  { id: "watchlist", path: "/watchlist", title: "Watchlist", key: "w" },
  { id: "portfolio", path: "/portfolio", title: "Portfolio", key: "p" },
  { id: "models", path: "/models", title: "Models", key: "m" },
  { id: "system", path: "/system", title: "System", key: "y" },
] as const;

export type ViewId = (typeof VIEWS)[number]["id"];

export interface Route {
  view: ViewId | "unknown";
  /** The symbol of the Symbol view. */
  symbol: string;
}

/** Return what a path shows. */
export function routeOf(path: string): Route {
  const [first = "", second = "", ...more] = path.split("/").filter(Boolean);
  const view = VIEWS.find((known) => known.path === `/${first}`)?.id ?? (first === "today" ? "today" : "unknown");
  const known = more.length === 0 && (second === "" || view === "symbol");
  return { view: known ? view : "unknown", symbol: known ? decoded(second) : "" };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function symbolPath(symbol: string): string {
  return `/symbol/${encodeURIComponent(symbol)}`;
}

const readers = new Set<() => void>();

function tellAll(): void {
  for (const tell of readers) tell();
}

export function navigate(path: string): void {
  if (path !== location.pathname) history.pushState(null, "", path);
  tellAll();
  scrollTo(0, 0);
}

function subscribe(tell: () => void): () => void {
  readers.add(tell);
  addEventListener("popstate", tell);
  return () => {
    readers.delete(tell);
    removeEventListener("popstate", tell);
  };
}

/** Return the path that is shown. */
export function usePath(): string {
  return useSyncExternalStore(subscribe, () => location.pathname);
}
