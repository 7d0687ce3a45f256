/** What moves together in the book: correlations of what is held, from bars that the page asks for. */
import { useEffect, useState } from "react";
import type { Bar } from "../api/shapes";
import { getItems } from "../api/http";
import { correlation, returnsOf } from "../chart/correlation";
import { decimal } from "../format/numbers";
import { useEpoch } from "../live/use";
import { Card, Empty, Waiting } from "../ui/card";
import { HeatMap } from "../ui/heat-map";

const BARS = 121;
/** More names than this cannot be read. */
const MOST = 14;

type Returns = ReadonlyMap<string, ReadonlyMap<string, number>>;

export function Correlations({ symbols }: { symbols: readonly string[] }) {
  const shown = symbols.slice(0, MOST);
  const returns = useReturns(shown.join(","));
  const value = (a: string, b: string) => (a === b ? 1 : correlation(returns?.get(a) ?? new Map(), returns?.get(b) ?? new Map()));
  return (
    <Card title="What moves together" lead={`Correlation of log returns over the last ${BARS - 1} bars, of what is held${symbols.length > MOST ? ` (the first ${MOST})` : ""}; centred on zero.`}>
      {shown.length < 2 ? (
        <Empty what="Fewer than two names are held." />
      ) : returns ? (
        <HeatMap caption="correlation of returns" rows={shown} columns={shown} value={value} full={1} show={(v) => decimal(v)} />
      ) : (
        <Waiting />
      )}
    </Card>
  );
}

function useReturns(names: string): Returns | null {
  const [returns, setReturns] = useState<Returns | null>(null);
  const epoch = useEpoch();
  useEffect(() => {
    let current = true;
    const ask = async (symbol: string) => [symbol, returnsOf(await getItems<Bar>(`/symbols/${encodeURIComponent(symbol)}/bars?limit=${BARS}`).catch(() => []))] as const;
    void Promise.all(names.split(",").filter(Boolean).map(ask)).then((known) => current && setReturns(new Map(known)));
    return () => {
      current = false;
    };
  }, [names, epoch]);
  return returns;
}
