/** What is held, on Today and on Portfolio. */
import { useCollection } from "../live/use";
import { Card, Empty, Failed, Waiting } from "../ui/card";
import { DataTable } from "../ui/table";
import { POSITIONS } from "./columns";
import { CLOSING } from "./ordering";

const COLUMNS = [...POSITIONS, CLOSING];

export function Positions() {
  const { items, loading } = useCollection("position");
  if (loading.error && !items.length) return <Card title="Positions"><Failed error={loading.error} /></Card>;
  return (
    <Card title="Positions">
      <DataTable
        caption="positions"
        columns={COLUMNS}
        rows={items}
        keyOf={(p) => p.symbol}
        csv="positions"
        sort={{ id: "profit", down: true }}
        empty={loading.done ? <Empty what="Nothing is held." mend="Positions open at the bar after a signal or an order." /> : <Waiting />}
      />
    </Card>
  );
}
