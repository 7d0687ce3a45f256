/** Row B13: one symbol, its past, its ticks, and where it is expected. */
import { useCallback, useEffect, useMemo, useState } from "react";
import type { ReactNode } from "react";
import type { Bar, Forecast, ModelForecast, News, Signal } from "../api/shapes";
import { Candles, chartWords } from "../chart/candles";
import type { FanHue } from "../chart/colours";
import type { DrawnFan } from "../chart/fan-primitive";
import { fanOf, knotsOf, placeOf, tally } from "../chart/fan";
import type { Line } from "../chart/price-chart";
import { change, compact, count, decimal, percent, price, shares, words } from "../format/numbers";
import { instant, joined } from "../live/series";
import { useBars, useCollection, useEntry, useHeard, useItems } from "../live/use";
import { navigate, symbolPath } from "../route";
import { Card, Empty, Failed, Waiting, Warnings } from "../ui/card";
import { ActionBadge, Change, Confidence, LiveChange, LivePrice, Time } from "../ui/figures";
import { Segments } from "../ui/segments";
import { Scrubber } from "../ui/scrubber";
import { OrderTicket } from "./ordering";
import { surest } from "./today";

const BARS = 600;
const HUES: readonly FanHue[] = ["violet", "orange"];
const EVERY = "compare";
const TOGETHER = "combined";

export default function SymbolView({ symbol }: { symbol: string }) {
  const signals = useCollection("signal").items;
  const symbols = useCollection("symbol").items;
  const chosen = symbol || (surest(signals, 1)[0]?.symbol ?? symbols[0]?.symbol ?? "");
  if (!chosen) return <Nothing />;
  return <One key={chosen} symbol={chosen} names={symbols.map((item) => item.symbol)} />;
}

function Nothing() {
  const { loading } = useCollection("symbol");
  return (
    <>
      <h1>Symbol</h1>
      <Card title="No symbol yet">
        {loading.error ? <Failed error={loading.error} /> : loading.done ? <Empty what="The universe is empty." mend="Is there data?" command="tradewind doctor" /> : <Waiting />}
      </Card>
    </>
  );
}

function One({ symbol, names }: { symbol: string; names: readonly string[] }) {
  const signal = useCollection("signal").items.find((known) => known.symbol === symbol);
  const status = useEntry("status", "status");
  useNeighbours(symbol, names);
  return (
    <div className="symbol-view">
      <Names symbol={symbol} />
      <div className="middle">
        <Heading symbol={symbol} signal={signal} names={names} />
        <Chart symbol={symbol} signal={signal} />
      </div>
      <div className="right">
        <Card title="Signal" aside={signal && <Time at={signal.as_of} />}>
          {signal ? <SignalFacts signal={signal} /> : <Empty what="No signal yet: it comes with the next closed bar." />}
          <Warnings warnings={status?.warnings} />
        </Card>
        <OrderTicket symbol={symbol} />
        {signal && <Reasons signal={signal} />}
        {status?.available.news && <NewsCard symbol={symbol} />}
      </div>
    </div>
  );
}

/** [ and ] go to the symbol before and after. */
function useNeighbours(symbol: string, names: readonly string[]): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const step = { "[": -1, "]": 1 }[event.key];
      if (!step || document.querySelector("dialog[open]") || event.target instanceof HTMLInputElement) return;
      const next = names[(names.indexOf(symbol) + step + names.length) % names.length];
      if (next) navigate(symbolPath(next));
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [symbol, names]);
}

/** The watch-list beside the chart. */
function Names({ symbol }: { symbol: string }) {
  const { items } = useCollection("symbol");
  const signals = useCollection("signal").items;
  const bySymbol = useMemo(() => new Map(signals.map((s) => [s.symbol, s])), [signals]);
  return (
    <nav className="names card" aria-label="symbols">
      <ul data-list="">
        {items.map((item) => (
          <li key={item.symbol} className={item.symbol === symbol ? "chosen" : ""}>
            <a
              href={symbolPath(item.symbol)}
              aria-current={item.symbol === symbol ? "page" : undefined}
              onClick={(event) => {
                if (event.metaKey || event.ctrlKey || event.shiftKey) return;
                event.preventDefault();
                navigate(symbolPath(item.symbol));
              }}
            >
              <b>{item.symbol}</b>
              <LivePrice symbol={item.symbol} known={item.price} />
              <ActionBadge action={bySymbol.get(item.symbol)?.action ?? item.action} />
              <LiveChange symbol={item.symbol} known={item.change} />
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

function Heading({ symbol, signal, names }: { symbol: string; signal: Signal | undefined; names: readonly string[] }) {
  const item = useEntry("symbol", symbol);
  return (
    <header className="symbol-head">
      <h1>{symbol}</h1>
      <span className="big">
        <LivePrice symbol={symbol} known={item?.price} />
      </span>
      <LiveChange symbol={symbol} known={item?.change} />
      <ActionBadge action={signal?.action ?? item?.action} />
      <span className="soft">{[item?.sector, item?.tier && `${item.tier} price tier`].filter(Boolean).join(" · ")}</span>
      <label className="choose">
        <span className="unseen">symbol</span>
        <select value={symbol} onChange={(event) => navigate(symbolPath(event.target.value))}>
          {(names.includes(symbol) ? names : [symbol, ...names]).map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
    </header>
  );
}

/** Return the model that a choice means, of one forecast. */
function fanChosen(forecast: Forecast | undefined, choice: string): ModelForecast | null {
  return (choice === TOGETHER ? forecast?.combined : forecast?.models[choice]) ?? null;
}

/** Return the fans that a choice draws, the most important first. */
function fansDrawn(forecast: Forecast | undefined, choice: string): DrawnFan[] {
  if (!forecast) return [];
  const seats = Object.entries(forecast.models).map(([name, model], index) => ({ name, model, hue: HUES[index % HUES.length] ?? "violet" }));
  const all = [{ name: TOGETHER, model: forecast.combined, hue: "blue" as FanHue }, ...seats];
  const compared = choice === EVERY;
  return all
    .filter(({ name }) => compared || name === choice)
    .flatMap(({ name, model, hue }) => {
      const fan = fanOf(forecast.close, model);
      return fan ? [{ fan, hue, outline: compared && name !== TOGETHER }] : [];
    });
}

const TIMEFRAMES: Record<string, number> = { s: 1e3, sec: 1e3, m: 6e4, min: 6e4, h: 36e5, d: 864e5, w: 6048e5 };

/** Return how long a bar of a timeframe lasts. */
export function barLength(timeframe: string): number {
  const [, number = "1", unit = "d"] = /^(\d+)\s*([a-z]+)/i.exec(timeframe) ?? [];
  return Number(number) * (TIMEFRAMES[unit.toLowerCase()] ?? 864e5);
}

const DAY_MS = 864e5;

function Chart({ symbol, signal }: { symbol: string; signal: Signal | undefined }) {
  const status = useEntry("status", "status");
  const answer = useBars(symbol, BARS);
  const past = useForecasts(symbol);
  const [choice, setChoice] = useState<string>(TOGETHER);
  const [back, setBack] = useState(0);
  const [hovered, setHovered] = useState<Bar | null>(null);
  const bars = answer.items;
  const indexOf = useMemo(() => new Map(bars.map((bar, index) => [instant(bar.time), index])), [bars]);
  const known = useMemo(() => past.items.filter((forecast) => indexOf.has(instant(forecast.time))), [past.items, indexOf]);
  const forecast = known[known.length - 1 - Math.min(back, known.length - 1)];
  const choices = useMemo(() => choicesOf(known.at(-1)), [known]);
  const seen = choices.some(([value]) => value === choice) ? choice : (choices[0]?.[0] ?? TOGETHER);
  const fans = useMemo(() => fansDrawn(forecast, seen), [forecast, seen]);
  const lines = useMemo(() => (back === 0 && signal ? linesOf(signal) : []), [signal, back]);
  const barMs = barLength(status?.timeframe ?? "1d");
  const hear = useCallback((bar: Bar | null) => setHovered(bar), []);
  if (answer.error && !bars.length) return <Card title="Price"><Failed error={answer.error} /></Card>;
  const origin = forecast ? (indexOf.get(instant(forecast.time)) ?? -1) : bars.length - 1;
  const figures = fanChosen(forecast, seen === EVERY ? TOGETHER : seen);
  return (
    <>
      <section className="card chart" aria-label="price and forecast">
        <header>
          <Segments label="forecast of" choices={choices} chosen={seen} choose={setChoice} />
          <BarFigures bar={hovered ?? bars.at(-1)} />
        </header>
        {answer.done && !bars.length ? (
          <Empty what={`No bars of ${symbol} yet.`} mend="Fetch them:" command={`tradewind sync ${status?.playbook ?? ""}`} />
        ) : (
          <Candles
            symbol={symbol}
            bars={bars}
            daily={barMs >= DAY_MS}
            fans={fans}
            origin={origin}
            now={back === 0}
            lines={lines}
            barMs={barMs}
            label={chartWords(symbol, bars, fans[0], signal?.horizon_bars ?? 0)}
            onBar={hear}
          />
        )}
        <Scrubber most={Math.max(0, known.length - 1)} back={back} setBack={setBack} time={forecast?.time} />
        <Legend fans={fans} choices={choices} seen={seen} />
      </section>
      {past.error && !known.length && <Failed error={past.error} />}
      {figures && forecast && (
        <Figures symbol={symbol} forecast={forecast} model={figures} name={seen === EVERY ? TOGETHER : seen} past={known} bars={bars} indexOf={indexOf} origin={origin} />
      )}
    </>
  );
}

/** Return the forecasts of a symbol, those since included. */
function useForecasts(symbol: string) {
  const known = useItems<Forecast>(`/symbols/${encodeURIComponent(symbol)}/forecasts?limit=400`);
  const heard = useHeard("forecast", symbol, 400);
  const items = useMemo(() => joined(known.items, heard).slice(-800), [known.items, heard]);
  return { ...known, items };
}

function choicesOf(forecast: Forecast | undefined): (readonly [string, string])[] {
  if (!forecast) return [];
  const seats = Object.keys(forecast.models).map((name) => [name, name] as const);
  const together = forecast.combined ? [[TOGETHER, "Combined"] as const] : [];
  return [...together, ...seats, ...(seats.length > 1 ? [[EVERY, "Compare"] as const] : [])];
}

function linesOf(signal: Signal): Line[] {
  if (signal.action === "HOLD") return [];
  const { entry, target, stop } = signal;
  return Object.entries({ entry, target, stop }).flatMap(([name, at]) => (at === null ? [] : [{ name: name as Line["name"], price: at }]));
}

function BarFigures({ bar }: { bar: Bar | undefined | null }) {
  if (!bar) return null;
  const facts = { O: bar.open, H: bar.high, L: bar.low, C: bar.close };
  return (
    <p className="bar-figures">
      <Time at={bar.time} />
      {Object.entries(facts).map(([name, value]) => (
        <span key={name}>
          <span className="soft">{name}</span> {price(value)}
        </span>
      ))}
      <span>
        <span className="soft">V</span> {compact(bar.volume)}
      </span>
    </p>
  );
}

function Legend({ fans, choices, seen }: { fans: readonly DrawnFan[]; choices: readonly (readonly [string, string])[]; seen: string }) {
  if (!fans.length) return <p className="legend soft">No forecast for these bars.</p>;
  const seats = choices.filter(([value]) => value !== TOGETHER && value !== EVERY);
  const [hue] = fans.map((drawn) => drawn.hue);
  return (
    <p className="legend">
      <span>
        <i className={`key band inner ${hue}`} /> 25–75 %
      </span>
      <span>
        <i className={`key band wide ${hue}`} /> 5–95 %
      </span>
      <span>
        <i className={`key line ${hue}`} /> median
      </span>
      {seen === EVERY &&
        seats.map(([value, text], index) => (
          <span key={value}>
            <i className={`key dashed ${HUES[index % HUES.length]}`} /> {text}
          </span>
        ))}
      <span>
        <i className={`key knot ${hue}`} /> horizons that are forecast; between them the fan follows √time
      </span>
    </p>
  );
}

interface FiguresProps {
  symbol: string;
  forecast: Forecast;
  model: ModelForecast;
  name: string;
  past: readonly Forecast[];
  bars: readonly Bar[];
  indexOf: ReadonlyMap<number, number>;
  origin: number;
}

/** The fan in figures, and whether past ones have kept their word. */
function Figures({ symbol, forecast, model, name, past, bars, indexOf, origin }: FiguresProps) {
  const closes = useMemo(() => bars.map((bar) => bar.close), [bars]);
  const fans = useMemo(() => past.map((made) => ({ time: made.time, fan: fanChosen(made, name) })), [past, name]);
  const knots = knotsOf(model);
  const levels = [0.05, 0.25, 0.5, 0.75, 0.95];
  return (
    <Card
      className="last"
      title="Forecast in figures"
      aside={<span className="soft">{model.calibrated ? "calibrated" : "not calibrated"}</span>}
      lead={<>{name}, made at <Time at={forecast.time} full /> at {price(forecast.close)}. On the right: of the past forecasts shown here, how many closes came to lie inside.</>}
    >
      <div className="scroll" role="group" aria-label={`forecast of ${symbol}`} tabIndex={0}>
        <table>
          <caption className="unseen">quantiles by horizon</caption>
          <thead>
            <tr>
              <th scope="col">Bars ahead</th>
              {levels.map((level) => (
                <th scope="col" className="number" key={level}>
                  {level === 0.5 ? "median" : `${Math.round(level * 100)} %`}
                </th>
              ))}
              <th scope="col">It became</th>
              <th scope="col" className="number" title="of past closes, inside 25–75 %; promised 50 %">
                Inside 50 %
              </th>
              <th scope="col" className="number" title="of past closes, inside 5–95 %; promised 90 %">
                Inside 90 %
              </th>
            </tr>
          </thead>
          <tbody>
            {knots.map((knot) => {
              const outcome = origin >= 0 ? closes[origin + knot.ahead] : undefined;
              const [half, most] = ([[0.25, 0.75], [0.05, 0.95]] as const).map((band) => tally(fans, indexOf, closes, knot.ahead, band));
              return (
                <tr key={knot.ahead}>
                  <th scope="row">{count(knot.ahead)}</th>
                  {levels.map((level) => (
                    <td className="number" key={level}>
                      {price(knot.prices.get(level))}
                    </td>
                  ))}
                  <td>{outcome === undefined ? <span className="soft">not yet</span> : outcome === null ? <span className="soft">no price</span> : <Became at={outcome} place={placeOf(outcome, knot)} />}</td>
                  <Share {...half} />
                  <Share {...most} />
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

function Became({ at, place }: { at: number; place: ReturnType<typeof placeOf> }) {
  const said = place === null ? "" : typeof place === "string" ? `${place} the fan` : place[0] === 0.25 ? "in the dark band" : "in the light band";
  return (
    <span className={typeof place === "string" ? "outside" : ""}>
      {price(at)} <span className="soft">{said}</span>
    </span>
  );
}

function Share({ inside = 0, known = 0 }: { inside?: number; known?: number }) {
  return (
    <td className="number">
      {known ? percent(inside / known, 0) : "–"} <span className="soft">of {count(known)}</span>
    </td>
  );
}

function SignalFacts({ signal }: { signal: Signal }) {
  const { entry, target, stop, weight } = signal;
  const away = (at: number | null) => (at === null || !entry ? null : at / entry - 1);
  const ratio = Math.abs((away(target) ?? 0) / (away(stop) ?? NaN));
  return (
    <>
      <div className="verdict">
        <ActionBadge action={signal.action} />
        <Confidence value={signal.confidence} />
        <span className="soft">
          calibrated P({words(signal.event)}) over {signal.horizon_bars} bars{signal.style && `, ${words(signal.style)}`}
        </span>
      </div>
      <dl className="facts">
        <Fact name="Size" note={signal.bound_by ? `bound by ${words(signal.bound_by)}` : ""}>
          {weight ? change(weight, 1) : "no trade"} {weight ? <span className="soft">= {shares(signal.shares)} shares</span> : null}
        </Fact>
        <Fact name={signal.action === "HOLD" ? "Close" : "Entry"} note={signal.action === "HOLD" ? "" : signal.entry_note}>
          {price(entry)}
        </Fact>
        {signal.action !== "HOLD" && (
          <>
            <Fact name="Target" note={signal.target_note}>
              {price(target)} <Change value={away(target)} />
            </Fact>
            <Fact name="Stop" note={signal.stop_note}>
              {price(stop)} <Change value={away(stop)} />
            </Fact>
            {Number.isFinite(ratio) && (
              <Fact name="Reward to risk" note="target's distance over the stop's">
                {decimal(ratio)}
              </Fact>
            )}
          </>
        )}
      </dl>
    </>
  );
}

function Fact({ name, note, children }: { name: string; note?: string | null; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {children}
        {note && <small>{note}</small>}
      </dd>
    </div>
  );
}

function Reasons({ signal }: { signal: Signal }) {
  const opinions = Object.entries(signal.agreement);
  const sides = new Set(opinions.map(([, { action }]) => action?.replace("STRONG_", "")));
  return (
    <Card title="Why" aside={opinions.length > 1 && <span className={sides.size === 1 ? "agreed" : "soft"}>{sides.size === 1 ? "✓ models agree" : "≠ models differ"}</span>}>
      {opinions.length > 0 && (
        <ul className="opinions">
          {opinions.map(([name, { action, probability }]) => (
            <li key={name}>
              <b>{name}</b>
              <ActionBadge action={action} />
              <Confidence value={probability} />
            </li>
          ))}
        </ul>
      )}
      <ul className="reasons">
        {signal.reasons.map((reason) => (
          <li key={reason}>{reason}</li>
        ))}
      </ul>
    </Card>
  );
}

function NewsCard({ symbol }: { symbol: string }) {
  const { items, done, error } = useItems<News>(`/symbols/${encodeURIComponent(symbol)}/news?limit=8`);
  return (
    <Card title="News">
      {error ? <Failed error={error} /> : !items.length && <Empty what={done ? `No news of ${symbol}.` : "Asking for news…"} />}
      <ul className="news">
        {items.map((item) => (
          <li key={item.time + item.title}>
            {item.url && /^https?:/.test(item.url) ? (
              <a href={item.url} rel="noreferrer noopener" target="_blank">
                {item.title}
              </a>
            ) : (
              item.title
            )}
            <span className="soft">
              {item.source}, <Time at={item.time} />
              {item.sentiment !== null && `, sentiment ${Math.round(item.sentiment)} of 100`}
            </span>
          </li>
        ))}
      </ul>
    </Card>
  );
}
