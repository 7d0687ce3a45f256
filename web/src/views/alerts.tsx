import type { Alert } from "../api/shapes";
import { useCollection, useLive } from "../live/use";
import { Empty, Failed, Waiting } from "../ui/card";
import { Time } from "../ui/figures";

const SIGNS: Record<Alert["level"], string> = { info: "i", warning: "!", critical: "‼" };

/** Alerts, the newest first; level in word, sign and colour. */
export function Alerts({ most }: { most: number }) {
  const { items, loading } = useCollection("alert");
  const { loader } = useLive();
  if (loading.error && !items.length) return <Failed error={loading.error} retry={() => void loader.load("alert")} />;
  if (!loading.done && !items.length) return <Waiting />;
  if (!items.length) return <Empty what="No alerts." mend="To try the way they take:" command="tradewind alerts test" />;
  const newest = [...items].sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : b.id.localeCompare(a.id, "en", { numeric: true }))).slice(0, most);
  return (
    <ul className="alerts">
      {newest.map((alert) => (
        <li key={alert.id} className={alert.level}>
          <span className="level">
            <span aria-hidden="true">{SIGNS[alert.level]}</span>
            <span className="unseen">{alert.level}</span>
          </span>
          <span className="what">{alert.what}</span>
          <Time at={alert.at} />
        </li>
      ))}
    </ul>
  );
}
