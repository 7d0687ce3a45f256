/** Statistics of any shape: names and numbers, inner ones indented. */
import { figures, named, words } from "../format/numbers";

export function Evidence({ value }: { value: Record<string, unknown> }) {
  return (
    <dl className="evidence">
      {Object.entries(value).map(([name, inner]) => (
        <div key={name}>
          <dt>{words(name)}</dt>
          <dd>{inside(name, inner)}</dd>
        </div>
      ))}
    </dl>
  );
}

function inside(name: string, value: unknown) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return named(name, value);
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map((item) => (typeof item === "number" ? figures(item) : typeof item === "string" ? item : JSON.stringify(item))).join(", ");
  return <Evidence value={value as Record<string, unknown>} />;
}
