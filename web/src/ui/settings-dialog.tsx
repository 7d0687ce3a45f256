import { changeSettings, useSettings } from "../settings";
import type { Settings } from "../settings";
import { Dialog } from "./dialog";

type Choices<K extends keyof Settings> = readonly (readonly [Settings[K], string])[];

const THEMES: Choices<"theme"> = [
  ["auto", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"],
];
const PALETTES: Choices<"palette"> = [
  ["teal-red", "▲ teal, ▼ red"],
  ["blue-orange", "▲ blue, ▼ orange"],
  ["red-green", "▲ red, ▼ green"],
];
const TIMES: Choices<"time"> = [
  ["exchange", "Exchange"],
  ["local", "This place"],
  ["utc", "UTC"],
];

export function SettingsDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Settings" onClose={onClose}>
      <Choice name="theme" title="Light or dark" choices={THEMES} />
      <Choice name="palette" title="Colours of up and down" choices={PALETTES} />
      <Choice name="time" title="Times" choices={TIMES} />
      <p className="lead">Kept in this browser only.</p>
    </Dialog>
  );
}

function Choice<K extends keyof Settings>({ name, title, choices }: { name: K; title: string; choices: Choices<K> }) {
  const chosen = useSettings()[name];
  return (
    <fieldset className="choice">
      <legend>{title}</legend>
      {choices.map(([value, text]) => (
        <label key={value} className={`swatch ${value}`}>
          <input type="radio" name={name} checked={chosen === value} onChange={() => changeSettings({ [name]: value })} />
          {text}
        </label>
      ))}
    </fieldset>
  );
}
