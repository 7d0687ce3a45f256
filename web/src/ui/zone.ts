import { useEntry } from "../live/use";
import { useSettings } from "../settings";

const EXCHANGE = "America/New_York";

/** Return the time zone that instants are shown in. */
export function useZone(): string {
  const chosen = useSettings().time;
  const exchange = useEntry("status", "status")?.zone ?? EXCHANGE;
  if (chosen === "utc") return "UTC";
  return chosen === "local" ? Intl.DateTimeFormat().resolvedOptions().timeZone : exchange;
}
