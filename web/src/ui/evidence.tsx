/** Statistics of any shape: names and numbers side by side, what is inside of something folded away under its name. */
import { figures, named, words } from "../format/numbers";

type Inner = Record<string, unknown>;

function isInner(value: unknown): value is Inner {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Leaves on one line fit beside their name: { champion: 0.41, challenger: 0.43 }. */
function isFlat(value: Inner): boolean {
  const inside = Object.values(value);
  return inside.length <= 4 && inside.every((leaf) => !isInner(leaf) && !Array.isArray(leaf));
}

export function Evidence({ value }: { value: Inner }) {
  const entries = Object.entries(value);
  const deep = entries.filter((entry): entry is [string, Inner] => isInner(entry[1]) && !isFlat(entry[1]));
  const plain = entries.filter(([, inner]) => !isInner(inner) || isFlat(inner));
  return (
    <div className="evidence">
      {plain.length > 0 && (
        <dl>
          {plain.map(([name, inner]) => (
            <div key={name}>
              <dt>{words(name)}</dt>
              <dd>{isInner(inner) ? line(inner) : leaf(name, inner)}</dd>
            </div>
          ))}
        </dl>
      )}
      {deep.map(([name, inner]) => (
        <details key={name}>
          <summary>{words(name)}</summary>
          <Evidence value={inner} />
        </details>
      ))}
    </div>
  );
}

function line(value: Inner): string {
  return Object.entries(value)
    .map(([name, inner]) => `${words(name)} ${leaf(name, inner)}`)
    .join(", ");
}

function leaf(name: string, value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return named(name, value);
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map((item) => (typeof item === "number" ? figures(item) : typeof item === "string" ? item : JSON.stringify(item))).join(", ");
  return JSON.stringify(value);
}
