import { useState } from "react";
import type { SyntheticEvent } from "react";
import { token } from "../api/http";
import { useLive } from "../live/use";
import { Dialog } from "./dialog";

/** Ask for the token; it stays in this tab. */
export function TokenDialog({ onClose }: { onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const { connection, loader } = useLive();
  const use = (event: SyntheticEvent) => {
    event.preventDefault();
    token.set(typed.trim());
    onClose();
    loader.again();
    connection.retryNow();
  };
  return (
    <Dialog title="This server wants a token" onClose={onClose}>
      <form onSubmit={use} className="stack">
        <p className="lead">
          It is kept until this tab is closed, and sent to this server only. <code>tradewind live</code> says where tokens are set.
        </p>
        <label>
          Token
          <input type="password" autoComplete="off" required value={typed} onChange={(event) => setTyped(event.target.value)} />
        </label>
        <div className="buttons">
          <button type="submit" className="primary">
            Use it
          </button>
        </div>
      </form>
    </Dialog>
  );
}
