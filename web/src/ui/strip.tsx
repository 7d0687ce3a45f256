import type { ReactNode } from "react";

export interface Fact {
  name: string;
  value: ReactNode;
  note?: ReactNode;
  hint?: string;
}

/** Figures side by side, each under its name. */
export function Strip({ facts, label }: { facts: readonly Fact[]; label: string }) {
  return (
    <dl className="strip" aria-label={label}>
      {facts.map(({ name, value, note, hint }) => (
        <div key={name} title={hint}>
          <dt>{name}</dt>
          <dd>{value}</dd>
          {note !== undefined && <dd className="note">{note}</dd>}
        </div>
      ))}
    </dl>
  );
}
