/** Find a symbol or a view by typing. */
import { useId, useState } from "react";
import type { KeyboardEvent } from "react";
import { useCollection } from "../live/use";
import { navigate, symbolPath, VIEWS } from "../route";
import { Dialog } from "./dialog";

interface Found {
  path: string;
  title: string;
  note: string;
}

const MOST = 10;

/** Return what begins with the typed letters, before what merely has them. */
export function search(typed: string, all: readonly Found[]): Found[] {
  const wanted = typed.trim().toLowerCase();
  const rank = ({ title, note }: Found) => {
    const name = title.toLowerCase();
    return name === wanted ? 0 : name.startsWith(wanted) ? 1 : name.includes(wanted) ? 2 : note.toLowerCase().includes(wanted) ? 3 : 4;
  };
  return all
    .map((found) => ({ found, order: rank(found) }))
    .filter(({ order }) => order < 4)
    .sort((a, b) => a.order - b.order)
    .slice(0, MOST)
    .map(({ found }) => found);
}

export function Search({ onClose }: { onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const id = useId();
  const symbols = useCollection("symbol").items.map(({ symbol, sector }) => ({ path: symbolPath(symbol), title: symbol, note: sector ?? "" }));
  const found = search(typed, [...symbols, ...VIEWS.map(({ path, title }) => ({ path, title, note: "view" }))]);
  const open = (path: string | undefined) => {
    if (path === undefined) return;
    onClose();
    navigate(path);
  };
  const press = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setAt((at + step + found.length) % Math.max(1, found.length));
    else if (event.key === "Enter") open(found[at]?.path);
    else return;
    event.preventDefault();
  };
  return (
    <Dialog title="Search" onClose={onClose} className="search">
      <input
        type="text"
        role="combobox"
        aria-label="symbol or view"
        aria-expanded="true"
        aria-controls={id}
        aria-activedescendant={found[at] ? `${id}-${at}` : undefined}
        placeholder="Symbol, sector or view"
        autoComplete="off"
        spellCheck={false}
        value={typed}
        onChange={(event) => {
          setTyped(event.target.value);
          setAt(0);
        }}
        onKeyDown={press}
      />
      <ul id={id} role="listbox" aria-label="found">
        {found.map(({ path, title, note }, index) => (
          <li key={path} id={`${id}-${index}`} role="option" aria-selected={index === at} onClick={() => open(path)} onMouseMove={() => setAt(index)}>
            <b>{title}</b> <span className="soft">{note}</span>
          </li>
        ))}
        {!found.length && <li role="option" aria-selected="false" className="soft">nothing of that name</li>}
      </ul>
    </Dialog>
  );
}
