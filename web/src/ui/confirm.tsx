/** Commands that change something: said in full before, refused in the server's words, done only when meant. */
import { useState } from "react";
import type { ReactNode, SyntheticEvent } from "react";
import { command } from "../api/http";
import { Failed } from "./card";
import { Dialog } from "./dialog";

interface Props {
  title: string;
  what: ReactNode;
  path: string;
  body?: Record<string, unknown>;
  verb: string;
  /** What has to be typed, for what must not happen by a slip. */
  word?: string;
  /** Whether a reason is asked for, which is recorded. */
  reason?: boolean;
  /** Whether all is known that it says. */
  ready?: boolean;
  onClose: () => void;
}

export function ConfirmDialog({ title, what, path, body = {}, verb, word, reason = false, ready = true, onClose }: Props) {
  const [typed, setTyped] = useState("");
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const meant = ready && (word === undefined || typed.trim() === word) && (!reason || why.trim() !== "");
  const act = (event: SyntheticEvent) => {
    event.preventDefault();
    if (!meant || busy) return;
    setBusy(true);
    command(path, reason ? { ...body, reason: why.trim() } : body).then(onClose, (refused: unknown) => {
      setError(refused as Error);
      setBusy(false);
    });
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={act} className="stack">
        {typeof what === "string" ? <p>{what}</p> : what}
        {reason && (
          <label>
            Reason, which is recorded
            <input type="text" required maxLength={200} value={why} onChange={(event) => setWhy(event.target.value)} />
          </label>
        )}
        {word && (
          <label>
            <span>
              Type <b>{word}</b> to confirm
            </span>
            <input type="text" required autoComplete="off" spellCheck={false} value={typed} onChange={(event) => setTyped(event.target.value)} />
          </label>
        )}
        {error && <Failed error={error} />}
        <div className="buttons">
          <button type="button" className="quiet" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className={word ? "danger" : "primary"} disabled={!meant || busy}>
            {busy ? "…" : verb}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
