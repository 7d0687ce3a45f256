/** Row A12 on one page: what is recommended, what is held, what needs a person. */
import { useMemo } from "react";
import type { EquityPoint, Listed, Signal } from "../api/shapes";
import { change, money } from "../format/numbers";
import { useCollection, useEntry, useItems, useLive } from "../live/use";
import { Sparkline } from "../chart/lines";
import { Card, Empty, Failed, Waiting, Warnings } from "../ui/card";
import { LiveChange, LivePrice } from "../ui/figures";
import { Link } from "../ui/link";
import { DataTable } from "../ui/table";
import { AccountStrip } from "./account";
import { Alerts } from "./alerts";
import { SIGNALS, SymbolLink } from "./columns";
import { ManualOrders } from "./ordering";
import { Positions } from "./positions";

const TOP = 10;
export const TIERS = ["penny", "low", "mid", "high", "mega"] as const;

/** Return the surest signals that are not HOLD, and then HOLDs, at most `most`. */
export function surest(signals: readonly Signal[], most: number): Signal[] {
  return [...signals]
    .sort((a, b) => Number(a.action === "HOLD") - Number(b.action === "HOLD") || (b.confidence ?? 0) - (a.confidence ?? 0) || a.symbol.localeCompare(b.symbol))
    .slice(0, most);
}

export default function Today() {
  return (
    <>
      <Headline />
      <AccountCard />
      <div className="columns wide-left">
        <TopSignals />
        <Card title="Alerts" aside={<Link to="/system">All</Link>}>
          <Alerts most={8} />
        </Card>
      </div>
      <ManualOrders />
      <Positions />
      <Tiers />
    </>
  );
}

/** The day in one sentence. */
function Headline() {
  const signals = useCollection("signal").items;
  const account = useEntry("account", "account");
  const buys = signals.filter((s) => s.action.endsWith("BUY")).length;
  const sells = signals.filter((s) => s.action.endsWith("SELL")).length;
  const today = account?.profit_today;
  return (
    <div className="headline">
      <h1>Today</h1>
      <p>
        {signals.length ? `${buys} of ${signals.length} to buy, ${sells} to sell` : "No signals yet"}
        {account && today != null && `; the account stands at ${money(account.equity)}, ${change(today / ((account.equity ?? 0) - today))} today`}.
      </p>
    </div>
  );
}

function AccountCard() {
  const points = useItems<EquityPoint>("/account/equity?limit=400");
  const newest = useEntry("account", "account");
  const values = useMemo(() => [...points.items.map((p) => p.equity), newest?.equity].filter((value) => typeof value === "number"), [points.items, newest]);
  return (
    <Card title="Account" className="account" aside={<Link to="/portfolio">Portfolio</Link>}>
      <AccountStrip />
      <Sparkline values={values} label={`equity over the last ${values.length} bars`} />
    </Card>
  );
}

function TopSignals() {
  const { items, loading } = useCollection("signal");
  const { loader } = useLive();
  const status = useEntry("status", "status");
  const rows = useMemo(() => surest(items, TOP), [items]);
  return (
    <Card title="Top signals" aside={<Link to="/watchlist">All {items.length || ""}</Link>} lead="The surest first, by calibrated probability.">
      {loading.error && !rows.length ? (
        <Failed error={loading.error} retry={() => void loader.load("signal")} />
      ) : !rows.length && !loading.done ? (
        <Waiting lines={8} />
      ) : (
        <DataTable
          caption="top signals"
          columns={SIGNALS}
          rows={rows}
          keyOf={(s) => s.symbol}
          csv="signals"
          empty={<NoSignals />}
        />
      )}
      <Warnings warnings={status?.warnings} />
    </Card>
  );
}

function NoSignals() {
  const status = useEntry("status", "status");
  if (status?.progress) return <Empty what={`No signals yet: ${status.progress.phase}, ${status.progress.done} of ${status.progress.total}.`} />;
  return <Empty what="No signals yet: they come with the first closed bar." mend="Is there data?" command="tradewind doctor" />;
}

function Tiers() {
  const { items } = useCollection("symbol");
  const known = TIERS.map((tier) => ({ tier, members: items.filter((item) => item.tier === tier) })).filter(({ members }) => members.length);
  if (!known.length) return null;
  return (
    <Card title="Stocks by price tier" lead="What a share costs changes what one may do with it: stops, sizes and holding times differ by tier.">
      <div className="tiers">
        {known.map(({ tier, members }) => (
          <Tier key={tier} tier={tier} members={members} />
        ))}
      </div>
    </Card>
  );
}

const RANGES: Record<(typeof TIERS)[number], string> = { penny: "below 5", low: "5 to 25", mid: "25 to 100", high: "100 to 500", mega: "from 500" };
const SHOWN = 12;

function Tier({ tier, members }: { tier: (typeof TIERS)[number]; members: readonly Listed[] }) {
  return (
    <section aria-label={`tier ${tier}`}>
      <h3>
        {tier} <span className="soft">{RANGES[tier]}</span>
      </h3>
      <ul data-list="">
        {members.slice(0, SHOWN).map((item) => (
          <li key={item.symbol}>
            <SymbolLink symbol={item.symbol} />
            <LivePrice symbol={item.symbol} known={item.price} />
            <LiveChange symbol={item.symbol} known={item.change} />
          </li>
        ))}
      </ul>
      {members.length > SHOWN && <Link to="/watchlist">and {members.length - SHOWN} more</Link>}
    </section>
  );
}
