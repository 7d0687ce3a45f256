import { VIEWS } from "../route";
import { Dialog } from "./dialog";

const KEYS: [string[], string][] = [
  ...VIEWS.map(({ key, title }): [string[], string] => [["g", key], title]),
  [["/"], "search a symbol or view"],
  [["j"], "next row of a list"],
  [["k"], "row before"],
  [["↵"], "open it"],
  [["[", "]"], "symbol before, symbol after"],
  [["?"], "this help"],
  [["Esc"], "close"],
];

export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keys and signs" onClose={onClose}>
      <dl className="keys">
        {KEYS.map(([keys, what]) => (
          <div key={what}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p className="lead">
        ▲ up and ▼ down come with every colour. A fan shows where the price is expected: the dark band with a promise of 50 %, the light one of
        90 %, the line is the median; only the marked horizons are forecast. Times are the exchange&rsquo;s, UTC on hover.
      </p>
    </Dialog>
  );
}
