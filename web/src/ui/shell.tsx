/** What is around every view: the top bar, the ways between views, banners and dialogs. */
import { useCallback, useEffect, useRef, useState } from "react";
import type { ReactNode } from "react";
import { onUnauthorised } from "../api/http";
import { useCollection, useEntry } from "../live/use";
import { VIEWS } from "../route";
import type { Route } from "../route";
import { Link } from "./link";
import { FreshnessDot, Banners } from "./freshness";
import { Time } from "./figures";
import { zoneName } from "../format/time";
import { Help } from "./help";
import { Icon } from "./icon";
import { useKeyboard } from "./keyboard";
import { Search } from "./search";
import { SettingsDialog } from "./settings-dialog";
import { TokenDialog } from "./token-dialog";
import { useZone } from "./zone";

type Open = "search" | "help" | "settings" | "token" | null;

export function Shell({ route, children }: { route: Route; children: ReactNode }) {
  useCollection("status");
  const [open, setOpen] = useState<Open>(null);
  const close = useCallback(() => setOpen(null), []);
  const search = useCallback(() => setOpen("search"), []);
  const help = useCallback(() => setOpen("help"), []);
  useKeyboard({ search, help });
  useEffect(() => onUnauthorised(() => setOpen("token")), []);
  useTitle(route);
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useEffect(() => {
    if (!first.current) main.current?.focus({ preventScroll: true });
    first.current = false;
  }, [route.view, route.symbol]);
  return (
    <>
      <a className="skip" href="#main">
        To the content
      </a>
      <TopBar route={route} open={setOpen} />
      <Banners />
      <main id="main" ref={main} tabIndex={-1}>
        {children}
      </main>
      <Foot />
      <Ways route={route} className="below" />
      {open === "search" && <Search onClose={close} />}
      {open === "help" && <Help onClose={close} />}
      {open === "settings" && <SettingsDialog onClose={close} />}
      {open === "token" && <TokenDialog onClose={close} />}
    </>
  );
}

function useTitle({ view, symbol }: Route): void {
  const playbook = useEntry("status", "status")?.playbook;
  const title = VIEWS.find((known) => known.id === view)?.title ?? "Not found";
  useEffect(() => {
    document.title = [symbol || title, playbook, "Tradewind"].filter(Boolean).join(" · ");
  }, [title, symbol, playbook]);
}

function TopBar({ route, open }: { route: Route; open: (what: Open) => void }) {
  const status = useEntry("status", "status");
  const zone = useZone();
  return (
    <header className="top">
      <Link to="/" className="brand" aria-label="Tradewind, to Today">
        <Icon name="wind" />
        <span>Tradewind</span>
      </Link>
      <span className="playbook" title={status?.description}>
        {status?.playbook ?? "…"}
      </span>
      <Ways route={route} className="beside" />
      <span className="as-of">
        <span className="soft">as of</span> <Time at={status?.as_of} full /> {status?.as_of && <span className="soft">{zoneName(status.as_of, zone)}</span>}
      </span>
      {status && <MarketWord open={status.market_open} />}
      {status && <ModeBadge mode={status.mode} />}
      <FreshnessDot />
      <span className="tools">
        <button type="button" className="icon" aria-label="search a symbol or view" title="Search ( / )" onClick={() => open("search")}>
          <Icon name="search" />
        </button>
        <button type="button" className="icon" aria-label="settings" title="Settings" onClick={() => open("settings")}>
          <Icon name="settings" />
        </button>
        <button type="button" className="icon roomy-phone" aria-label="help" title="Help ( ? )" onClick={() => open("help")}>
          <Icon name="help" />
        </button>
      </span>
    </header>
  );
}

function MarketWord({ open }: { open: boolean | null }) {
  if (open === null) return null;
  return <span className="market soft">market {open ? "open" : "closed"}</span>;
}

const MEANING: Record<string, string> = {
  BACKTEST: "history, computed at once",
  REPLAY: "stored days played again: nothing here happens now",
  PAPER: "live prices, invented money",
  LIVE: "live prices, real money",
};

export function ModeBadge({ mode }: { mode: string }) {
  return (
    <span className={`mode ${mode.toLowerCase()}`} title={MEANING[mode]} data-mode={mode}>
      {mode}
    </span>
  );
}

function Ways({ route, className }: { route: Route; className: string }) {
  return (
    <nav className={`ways ${className}`} aria-label={className === "beside" ? "views" : "views, below"}>
      {VIEWS.map(({ id, path, title, key }) => (
        <Link key={id} to={path} title={`g ${key}`} aria-current={route.view === id ? "page" : undefined}>
          <Icon name={id} />
          <span>{title}</span>
        </Link>
      ))}
    </nav>
  );
}

function Foot() {
  const status = useEntry("status", "status");
  return (
    <footer className="foot">
      <span>Tradewind {status?.version ?? ""}</span>
      <span>Not financial advice.</span>
      <span className="keys">
        Press <kbd>?</kbd> for keys
      </span>
      <span>
        Charts: <a href="https://www.tradingview.com/" rel="noreferrer noopener" target="_blank">TradingView Lightweight Charts™</a>, © 2025 TradingView, Inc.
      </span>
    </footer>
  );
}
