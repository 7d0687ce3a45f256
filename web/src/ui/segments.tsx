import { useId } from "react";

interface Props<V extends string> {
  label: string;
  choices: readonly (readonly [V, string])[];
  chosen: V;
  choose: (value: V) => void;
}

/** One of a few, all of them seen: radio buttons in a row. */
export function Segments<V extends string>({ label, choices, chosen, choose }: Props<V>) {
  const name = useId();
  return (
    <fieldset className="segments">
      <legend className="unseen">{label}</legend>
      {choices.map(([value, text]) => (
        <label key={value}>
          <input type="radio" name={name} checked={value === chosen} onChange={() => choose(value)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}
