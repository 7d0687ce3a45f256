/** The account in figures: shown on Today in short, on Portfolio in full. */
import type { Account } from "../api/shapes";
import { change, count, decimal, money, percent } from "../format/numbers";
import { useCollection } from "../live/use";
import { Failed, Waiting } from "../ui/card";
import { Change, Gain } from "../ui/figures";
import { Strip } from "../ui/strip";
import type { Fact } from "../ui/strip";

export function AccountStrip({ full = false }: { full?: boolean }) {
  const { items, loading } = useCollection("account");
  const account = items[0];
  if (!account) return loading.error ? <Failed error={loading.error} /> : <Waiting lines={2} />;
  return <Strip label="account" facts={full ? [...facts(account), ...more(account)] : facts(account)} />;
}

/** Profit as a share of what it is counted from; null where that is not known. */
function share(part: number | null, whole: number | null): number | null {
  return part === null || whole === null || whole === 0 ? null : part / whole;
}

function facts(account: Account): Fact[] {
  const { equity, profit, profit_today: today, start_capital: start } = account;
  const before = equity === null || today === null ? null : equity - today;
  return [
    { name: "Equity", value: money(equity), note: account.account },
    { name: "Today", value: <Gain value={today} />, note: <Change value={share(today, before)} /> },
    { name: "Since the start", value: <Gain value={profit} />, note: <Change value={share(profit, start)} /> },
    { name: "Drawdown", value: change(account.drawdown), note: `from ${money(account.high_water)}`, hint: "equity below its highest" },
    { name: "Exposure", value: percent(account.gross, 0), note: `net ${change(account.net, 0)}`, hint: "gross: long plus short, of equity; net: long minus short" },
    { name: "Positions", value: count(account.positions), note: `${count(account.open_orders)} open orders` },
  ];
}

function more(account: Account): Fact[] {
  const { performance } = account;
  const [low, high] = performance?.sharpe_interval ?? [null, null];
  return [
    { name: "Cash", value: money(account.cash), note: `start ${money(account.start_capital)}` },
    {
      name: "Sharpe",
      value: decimal(performance?.sharpe),
      note: performance?.sharpe == null ? `too few sessions (${count(performance?.sessions)})` : `95 %: ${decimal(low)} to ${decimal(high)}, ${count(performance.sessions)} sessions`,
      hint: "annual, of daily returns",
    },
  ];
}
