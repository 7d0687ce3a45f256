/** How old what one sees is: a dot with words, and a banner where it is too old. */
import type { Status } from "../api/shapes";
import { span } from "../format/time";
import type { ConnectionState } from "../live/connection";
import { useConnection, useEntry, useLive, useNow } from "../live/use";
import { Time } from "./figures";

export type Freshness = "fresh" | "waiting" | "old" | "stale" | "offline";

export interface Said {
  state: Freshness;
  words: string;
}

/** Say how fresh the page is, from the connection first and then from the age of the data. */
export function freshness(connection: ConnectionState, status: Status | undefined, now: number): Said {
  const { phase, heard, retryAt } = connection;
  const silent = heard === null ? null : (now - heard) / 1000;
  if (phase === "unauthorised") return { state: "offline", words: "token needed" };
  if (phase === "offline") {
    const retry = retryAt === null ? "trying" : `next try in ${span((retryAt - now) / 1000 + 1)}`;
    return { state: "offline", words: silent === null ? `offline, ${retry}` : `offline for ${span(silent)}, ${retry}` };
  }
  if (phase === "connecting") return { state: "waiting", words: "connecting" };
  if (phase === "stale") return { state: "stale", words: `stale: silent for ${span(silent)}` };
  if (!status?.as_of) return { state: "waiting", words: "no data yet" };
  const age = status.fresh_seconds === null ? null : status.fresh_seconds + Math.max(0, (now + connection.ahead - Date.parse(status.now)) / 1000);
  if (status.stale) return { state: "old", words: age === null ? "data is old" : `data is ${span(age)} old` };
  if (status.replay?.done) return { state: "fresh", words: "replay has ended" };
  if (status.mode === "REPLAY" || age === null) return { state: "fresh", words: status.mode === "REPLAY" ? "replaying" : "fresh" };
  return { state: "fresh", words: `fresh, ${span(age)}` };
}

export function FreshnessDot() {
  const said = freshness(useConnection(), useEntry("status", "status"), useNow());
  return (
    <span className={`freshness ${said.state}`} role="status" data-freshness={said.state}>
      <span className="dot" aria-hidden="true" />
      {said.words}
    </span>
  );
}

/** What must not be overlooked: trading is halted, or the page shows the past. */
export function Banners() {
  const { connection } = useLive();
  const status = useEntry("status", "status");
  const said = freshness(useConnection(), status, useNow());
  const past = said.state === "stale" || said.state === "offline" || said.state === "old";
  return (
    <>
      {status?.halted && (
        <div className="banner halted" role="alert">
          <strong>
            <span aria-hidden="true">■ </span>Trading is halted
          </strong>
          <span>
            since <Time at={status.halted.since} full /> by {status.halted.by}: {status.halted.reasons.join("; ")}
          </span>
        </div>
      )}
      {past && (
        <div className="banner past" role="status">
          <strong>
            <span aria-hidden="true">◷ </span>
            {said.words}
          </strong>
          <span>
            What you see is as of <Time at={status?.as_of} full />
            {said.state === "old" && ": the source delivers nothing newer; see System"}
          </span>
          {said.state === "offline" && (
            <button type="button" className="quiet" onClick={connection.retryNow}>
              Try now
            </button>
          )}
        </div>
      )}
    </>
  );
}
