/** Keys: `g` and a letter goes to a view, j and k walk a list, / searches, ? helps. */
import { useEffect } from "react";
import { navigate, VIEWS } from "../route";

interface Actions {
  search: () => void;
  help: () => void;
}

/** How long `g` waits for its letter. */
const PATIENCE_MS = 1500;

export function useKeyboard({ search, help }: Actions): void {
  useEffect(() => {
    let going = 0;
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return;
      const view = event.timeStamp - going < PATIENCE_MS ? VIEWS.find(({ key }) => key === event.key) : undefined;
      going = event.key === "g" ? event.timeStamp : 0;
      if (view) navigate(view.path);
      else if (event.key === "/") search();
      else if (event.key === "?") help();
      else if (event.key === "j" || event.key === "k") walk(event.key === "j" ? 1 : -1);
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [search, help]);
}

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) && (target as HTMLInputElement).type !== "range";
}

/** Move the focus to the next row's link: in the list that has it, or else in the first one. */
function walk(step: number): void {
  const list = document.activeElement?.closest("[data-list]") ?? document.querySelector("main [data-list]:has(a)");
  const links = [...(list?.querySelectorAll<HTMLAnchorElement>("tr > th a, li > a") ?? [])];
  const at = links.findIndex((link) => link === document.activeElement);
  const next = links[at === -1 ? (step > 0 ? 0 : links.length - 1) : Math.max(0, Math.min(links.length - 1, at + step))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}
