import { createRoot } from "react-dom/client";
import { token, unauthorised } from "./api/http";
import { App } from "./app";
import { Loader } from "./live/collections";
import { Connection } from "./live/connection";
import type { Socket } from "./live/connection";
import { Store } from "./live/store";
import { applySettings } from "./settings";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/parts.css";
import "./styles/views.css";

/** The token travels as a sub-protocol: an address would end up in logs. */
function open(): Socket {
  const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
  const secret = token.get();
  return new WebSocket(address, secret ? ["tradewind", `bearer.${secret}`] : ["tradewind"]) as unknown as Socket;
}

applySettings();
const store = new Store();
const loader = new Loader(store);
const connection = new Connection(store, {
  open,
  now: () => Date.now(),
  later: (run, ms) => setTimeout(run, ms),
  cancel: (timer) => clearTimeout(timer as number),
  random: () => Math.random(),
});
connection.subscribe(() => {
  if (connection.state.phase === "unauthorised") unauthorised();
});
addEventListener("online", connection.retryNow);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") connection.retryNow();
});
connection.start();

const root = document.getElementById("root");
if (root) createRoot(root).render(<App live={{ store, loader, connection }} />);
