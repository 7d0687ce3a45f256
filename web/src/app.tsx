import { lazy, StrictMode, Suspense } from "react";
import { Card, Empty, Waiting } from "./ui/card";
import { Boundary } from "./ui/boundary";
import { Link } from "./ui/link";
import { Shell } from "./ui/shell";
import { LiveContext } from "./live/use";
import type { Live } from "./live/use";
import { routeOf, usePath } from "./route";
import type { Route } from "./route";
import Today from "./views/today";

const SymbolView = lazy(() => import("./views/symbol"));
const Watchlist = lazy(() => import("./views/watchlist"));
const Portfolio = lazy(() => import("./views/portfolio"));
const Models = lazy(() => import("./views/models"));
const System = lazy(() => import("./views/system"));

export function App({ live }: { live: Live }) {
  const path = usePath();
  const route = routeOf(path);
  return (
    <StrictMode>
      <LiveContext value={live}>
        <Shell route={route}>
          <Boundary key={path}>
            <Suspense fallback={<Waiting lines={10} />}>
              <View route={route} />
            </Suspense>
          </Boundary>
        </Shell>
      </LiveContext>
    </StrictMode>
  );
}

function View({ route }: { route: Route }) {
  switch (route.view) {
    case "today":
      return <Today />;
    case "symbol":
      return <SymbolView symbol={route.symbol} />;
    case "watchlist":
      return <Watchlist />;
    case "portfolio":
      return <Portfolio />;
    case "models":
      return <Models />;
    case "system":
      return <System />;
    case "unknown":
      return (
        <>
          <h1>Not found</h1>
          <Card title="There is no such page">
            <Empty what="The address may be old." />
            <Link to="/">To Today</Link>
          </Card>
        </>
      );
  }
}
