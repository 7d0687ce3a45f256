/** How a person wants the page: kept in this browser, nowhere else. */
import { useSyncExternalStore } from "react";

export interface Settings {
  theme: "auto" | "light" | "dark";
  /** Colours of up and down. */
  palette: "teal-red" | "blue-orange" | "red-green";
  time: "exchange" | "local" | "utc";
}

const NAME = "tradewind.settings";
const AT_FIRST: Settings = { theme: "auto", palette: "teal-red", time: "exchange" };
const readers = new Set<() => void>();
let current = stored();

function stored(): Settings {
  try {
    return { ...AT_FIRST, ...(JSON.parse(localStorage.getItem(NAME) ?? "{}") as Partial<Settings>) };
  } catch {
    return AT_FIRST;
  }
}

export function changeSettings(change: Partial<Settings>): void {
  current = { ...current, ...change };
  try {
    localStorage.setItem(NAME, JSON.stringify(current));
  } catch {
    // no storage: the choice lasts until the page is closed
  }
  applySettings();
  for (const tell of readers) tell();
}

/** Put the chosen colours on the page. */
export function applySettings(): void {
  const { dataset } = document.documentElement;
  if (current.theme === "auto") delete dataset.theme;
  else dataset.theme = current.theme;
  dataset.palette = current.palette;
}

function subscribe(tell: () => void): () => void {
  readers.add(tell);
  return () => readers.delete(tell);
}

export function useSettings(): Settings {
  return useSyncExternalStore(subscribe, () => current);
}

const dark = typeof matchMedia === "function" ? matchMedia("(prefers-color-scheme: dark)") : null;

/** Be told when colours may have changed, by choice or by the system. */
export function onColours(tell: () => void): () => void {
  readers.add(tell);
  dark?.addEventListener("change", tell);
  return () => {
    readers.delete(tell);
    dark?.removeEventListener("change", tell);
  };
}
