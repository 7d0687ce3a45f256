/** Who forecasts, whether it keeps its word, and what the gate has decided. */
import { useState } from "react";
import type { Drift, GateDecision, Model, ModelVersion } from "../api/shapes";
import { Plot } from "../chart/lines";
import { extent, path, ticksOf } from "../chart/paths";
import { change, count, decimal, named, NONE, percent, words } from "../format/numbers";
import { clock, date } from "../format/time";
import { useCollection, useEntry, useLive } from "../live/use";
import { Card, Empty, Failed, Waiting } from "../ui/card";
import { ConfirmDialog } from "../ui/confirm";
import { Evidence } from "../ui/evidence";
import { Time } from "../ui/figures";
import { CommandButton } from "../ui/permitted";
import { Strip } from "../ui/strip";
import { DataTable } from "../ui/table";
import type { Column } from "../ui/table";
import { useZone } from "../ui/zone";
import { barLength } from "./symbol";

export default function Models() {
  const { items, loading } = useCollection("model");
  const drifts = useCollection("drift").items;
  const { loader } = useLive();
  const seats = [...items].sort((a, b) => a.seat.localeCompare(b.seat));
  return (
    <>
      <div className="headline">
        <h1>Models</h1>
        <p>{seats.length ? seats.map(({ seat, live }) => `${seat}: ${percent(live.coverage_80)} inside intervals that promise 80 %`).join("; ") : "No models yet"}.</p>
      </div>
      {loading.error && !items.length && <Failed error={loading.error} retry={() => void loader.load("model")} />}
      {!items.length && !loading.error && (loading.done ? <Empty what="No model has a seat yet." mend="Train them:" command="tradewind retrain dual-model" /> : <Waiting lines={10} />)}
      {seats.map((model) => (
        <Stopped key={model.seat} model={model} />
      ))}
      <div className="columns even tall">
        {seats.map((model) => (
          <Seat key={model.seat} model={model} drift={drifts.find(({ seat }) => seat === model.seat)} />
        ))}
      </div>
    </>
  );
}

function Seat({ model, drift }: { model: Model; drift: Drift | undefined }) {
  return (
    <div className="seat">
      <Standing model={model} />
      <KeptWord model={model} />
      {drift && <DriftCard drift={drift} />}
      <Decisions model={model} />
    </div>
  );
}

/** That drift has stopped what a seat recommends, and the way out of it. */
function Stopped({ model }: { model: Model }) {
  const [asked, setAsked] = useState(false);
  const status = useEntry("status", "status");
  if (model.key === null || !status?.stopped_seats?.includes(model.key)) return null;
  const halted = status.halted ? " Trading is halted too, and is released with it." : "";
  return (
    <Card title="Recommendations are stopped" of={model.seat} className="alarming" aside={<span className="level-word bad">■ drift</span>}>
      <p>The forecasts of {model.seat} have drifted, and nobody was better. Everything is HOLD, through restarts, until a person releases it or another model sits down.</p>
      <p>
        <CommandButton role="trade" className="primary" onClick={() => setAsked(true)}>
          Release…
        </CommandButton>
      </p>
      {asked && <ConfirmDialog title={`Release ${model.seat}`} what={`It is recommended and traded again from the next bar on, all stopped seats together, though the drift may last.${halted}`} path="/control/release" verb="Release" reason onClose={() => setAsked(false)} />}
    </Card>
  );
}

function Standing({ model }: { model: Model }) {
  const { live } = model;
  const tried = `of ${count(live.resolved)} forecasts whose outcome is known`;
  return (
    <Card title={model.seat} aside={<SeatActions model={model} />} lead={model.model === null || model.model === model.seat ? undefined : `model: ${model.model}`}>
      <dl className="facts">
        <Version name="Champion" version={model.champion} none="none yet" />
        <Version name="Challenger" version={model.challenger} none="none is waiting" />
        <div>
          <dt>Champions before</dt>
          <dd>{model.champions_before.length ? model.champions_before.map((id) => <code key={id}>{id} </code>) : <span className="soft">none</span>}</dd>
        </div>
      </dl>
      <Strip
        label={`${model.seat} live`}
        facts={[
          { name: "Coverage", value: percent(live.coverage_80), note: "promised 80 %", hint: `outcomes inside the 80 % interval, ${tried}` },
          { name: "Skill", value: change(live.pinball_skill), note: "of the naive loss", hint: `1 − pinball loss / that of the naive forecast, ${tried}` },
          { name: "Brier", value: decimal(live.brier, 4), note: "a coin has 0.25", hint: `mean squared error of P(up), ${tried}` },
          { name: "Hit rate", value: percent(live.hit_rate), note: "of directions", hint: tried },
          { name: "Calibration", value: percent(live.calibration_error, 1), note: "error, 0 is best", hint: "mean distance of what happened from what was said" },
          { name: "Known", value: count(live.resolved), note: `of ${count(live.forecasts)} made` },
        ]}
      />
      <Measured name="regime" rows={live.by_regime} />
      <MoreOfIt live={live} />
    </Card>
  );
}

function Version({ name, version, none }: { name: string; version: ModelVersion | null; none: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {version ? (
          <>
            <code>{version.id}</code> {version.version && <span className="soft" title={version.version}>version {version.version.slice(0, 8)}</span>}
            <small>
              trained until <Time at={version.trained_until} full />, made <Time at={version.made} full />
            </small>
          </>
        ) : (
          <span className="soft">{none}</span>
        )}
      </dd>
    </div>
  );
}

/** The same record, cut otherwise. */
function MoreOfIt({ live }: { live: Model["live"] }) {
  const cuts = { horizon: live.by_horizon, symbol: live.by_symbol, model: live.by_model };
  const { coverage, direction } = live;
  if (!coverage && !direction && !Object.values(cuts).some((cut) => cut && Object.keys(cut).length)) return null;
  return (
    <details>
      <summary>By direction, horizon, symbol and model</summary>
      {coverage && <p className="lead">Inside, against promised: {Object.entries(coverage).map(([promised, kept]) => `${percent(kept)} of ${promised} %`).join(", ")}.</p>}
      {direction && <Measured name="direction" rows={direction} />}
      {Object.entries(cuts).map(([name, rows]) => rows && <Measured key={name} name={name} rows={rows} />)}
    </details>
  );
}

/** What is measured by something: any figures, one line for each; single figures as they are. */
function Measured({ name, rows: measured }: { name: string; rows: Record<string, unknown> }) {
  const single = Object.fromEntries(Object.entries(measured).filter(([, value]) => typeof value !== "object" || value === null));
  return (
    <>
      <MeasuredTable name={name} measured={measured} />
      {Object.keys(single).length > 0 && <Evidence value={single} />}
    </>
  );
}

function MeasuredTable({ name, measured: all }: { name: string; measured: Record<string, unknown> }) {
  const rows = Object.entries(all).filter((entry): entry is [string, Record<string, number | null>] => typeof entry[1] === "object" && entry[1] !== null);
  const names = [...new Set(rows.flatMap(([, measured]) => Object.keys(measured)))];
  if (!rows.length) return null;
  return (
    <div className="scroll" role="group" aria-label={`by ${name}`} tabIndex={0}>
      <table className="dense">
        <caption className="unseen">live record by {name}</caption>
        <thead>
          <tr>
            <th scope="col">{name.charAt(0).toUpperCase() + name.slice(1)}</th>
            {names.map((column) => (
              <th scope="col" className="number" key={column}>
                {words(column)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([row, measured]) => (
            <tr key={row}>
              <th scope="row">{words(row)}</th>
              {names.map((column) => (
                <td className="number" key={column}>
                  {typeof measured[column] === "object" ? NONE : named(column, measured[column])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const PROMISED = 0.8;

function KeptWord({ model }: { model: Model }) {
  return (
    <Card title="Does it keep its word?" of={model.seat}>
      <div className="pair">
        <Coverage model={model} />
        <Reliability model={model} />
      </div>
    </Card>
  );
}

function Coverage({ model }: { model: Model }) {
  const zone = useZone();
  const status = useEntry("status", "status");
  const points = model.live.coverage_rolling.filter((point) => point.value !== null);
  if (points.length < 2) return <Empty what="Coverage over time: too few outcomes yet." />;
  const daily = barLength(status?.timeframe ?? "1d") >= 864e5;
  const [low, high] = extent([...points.map((point) => point.value ?? 0), PROMISED - 0.1, PROMISED + 0.1]);
  const ticks = ticksOf([low, high], 4).map((at) => ({ at, text: percent(at, 0) }));
  const ends = [0, points.length - 1].map((at) => ({ at, text: (daily ? date : clock)(points[at]?.time, zone) }));
  const last = points.at(-1);
  return (
    <figure>
      <figcaption>Inside 80 % intervals, over time</figcaption>
      <Plot label={`rolling coverage of ${model.seat}: now ${percent(last?.value)}, promised 80 %`} x={[0, points.length - 1]} y={[low, high]} xTicks={ends} yTicks={ticks}>
        {(x, y) => (
          <>
            <line className="promise" x1={x(0)} x2={x(points.length - 1)} y1={y(PROMISED)} y2={y(PROMISED)} />
            <path className="line" d={path(points.map((point, index) => ({ x: x(index), y: y(point.value ?? 0) })))} />
            <circle className="end" cx={x(points.length - 1)} cy={y(last?.value ?? 0)} r="3" />
          </>
        )}
      </Plot>
    </figure>
  );
}

/** Return a span with some room around values that are probabilities. */
function around(values: readonly number[]): readonly [number, number] {
  const [low, high] = extent(values);
  const room = Math.max((high - low) * 0.08, 0.004);
  return [Math.max(0, low - room), Math.min(1, high + room)];
}

function Reliability({ model }: { model: Model }) {
  const points = model.reliability.flatMap(({ probability, happened, n }) => (happened === null ? [] : [{ probability, happened, n }]));
  points.sort((a, b) => a.probability - b.probability);
  if (points.length < 2) return <Empty what="Reliability: too few outcomes yet." />;
  const said = around(points.map(({ probability }) => probability));
  const happened = around(points.flatMap((point) => [point.probability, point.happened]));
  const marks = (span: readonly [number, number]) => ticksOf(span, 4).map((at) => ({ at, text: percent(at, span[1] - span[0] < 0.04 ? 1 : 0) }));
  const most = Math.max(...points.map(({ n }) => n), 1);
  return (
    <figure>
      <figcaption>Said and happened: on the diagonal is right</figcaption>
      <Plot label={`reliability of ${model.seat}: ${points.map((p) => `said ${percent(p.probability, 0)}, happened ${percent(p.happened, 0)} of ${p.n}`).join("; ")}`} x={said} y={happened} xTicks={marks(said)} yTicks={marks(happened)}>
        {(x, y) => (
          <>
            <line className="promise" x1={x(said[0])} x2={x(said[1])} y1={y(said[0])} y2={y(said[1])} />
            <path className="line" d={path(points.map((p) => ({ x: x(p.probability), y: y(p.happened) })))} />
            {points.map((p) => (
              <circle key={p.probability} className="bubble" cx={x(p.probability)} cy={y(p.happened)} r={2 + 5 * Math.sqrt(p.n / most)}>
                <title>{`said ${percent(p.probability)}, happened ${percent(p.happened)}, ${count(p.n)} times`}</title>
              </circle>
            ))}
          </>
        )}
      </Plot>
    </figure>
  );
}

const LEVELS: Record<Drift["level"], { text: string; sign: string; tone: string }> = {
  ok: { text: "no drift", sign: "✓", tone: "good" },
  watch: { text: "watched", sign: "!", tone: "amber" },
  drift: { text: "drift", sign: "‼", tone: "bad" },
};

type Feature = Drift["data"]["features"][number];

const FEATURES: readonly Column<Feature>[] = [
  { id: "name", title: "Feature", value: (f) => f.name, show: (f) => words(f.name) },
  { id: "psi", title: "PSI", hint: "population stability index against the training data", number: true, value: (f) => f.psi, show: (f) => <Reading feature={f} /> },
  { id: "js", title: "JS", hint: "Jensen–Shannon distance", number: true, value: (f) => f.js, show: (f) => decimal(f.js, 3) },
  { id: "ks_p", title: "KS p", hint: "p-value of Kolmogorov and Smirnov's test, after false-discovery control", number: true, value: (f) => f.ks_p, show: (f) => decimal(f.ks_p, 3) },
  { id: "wasserstein", title: "W₁", hint: "Wasserstein distance, in training deviations", number: true, value: (f) => f.wasserstein, show: (f) => decimal(f.wasserstein, 3) },
  { id: "drifted", title: "Drifted", value: (f) => f.drifted, show: (f) => (f.drifted ? <b className="amber">! {f.silent ? "fell silent" : "yes"}</b> : <span className="soft">no</span>) },
];

/** A reading beside its threshold. */
function Reading({ feature: { psi, threshold, drifted } }: { feature: Feature }) {
  const share = psi === null || threshold === null || threshold <= 0 || psi <= 0 ? 0 : Math.min(1, psi / (2 * threshold));
  return (
    <span className="measured" title={`threshold ${decimal(threshold, 3)}`}>
      <span className="track" aria-hidden="true">
        <span className={`fill ${drifted ? "amber" : ""}`} style={{ width: `${share * 100}%` }} />
      </span>
      {decimal(psi, 3)}
    </span>
  );
}

function DriftCard({ drift }: { drift: Drift }) {
  const { concept, data, persistence } = drift;
  const level = LEVELS[drift.level];
  return (
    <Card
      title="Drift"
      of={drift.seat}
      aside={
        <span className={`level-word ${level.tone}`}>
          <span aria-hidden="true">{level.sign}</span> {level.text}
        </span>
      }
      lead={drift.what}
    >
      <Strip
        label="drift"
        facts={[
          { name: "Features", value: percent(data.share_drifted, 0), note: "have drifted" },
          { name: "Coverage", value: percent(concept.coverage), note: `expected ${percent(concept.coverage_expected, 0)}` },
          { name: "Brier", value: decimal(concept.brier, 4), note: `expected ${decimal(concept.brier_expected, 4)}` },
          { name: "Hit rate", value: percent(concept.hit_rate), note: `expected ${percent(concept.hit_rate_expected)}` },
          { name: "Loss", value: `${decimal(concept.loss_ratio, 3)}×`, note: concept.adwin ? "‼ has changed" : "of what training saw", hint: "ADWIN says whether it has changed" },
          {
            name: "Lasting",
            value: `${count(persistence.bars)} / ${count(persistence.needed)}`,
            note: drift.action ? words(drift.action) : "bars before a reaction",
            hint: drift.since ? `since ${drift.since}` : "nothing lasts",
          },
        ]}
      />
      {drift.triggers && drift.triggers.length > 0 && (
        <p>
          <b className="amber">A challenger is called for:</b> {drift.triggers.map(words).join("; ")}.
        </p>
      )}
      <DataTable caption={`drift of ${drift.seat} by feature`} columns={FEATURES} rows={data.features} keyOf={(f) => f.name} csv={`drift-${drift.seat}`} most={8} dense />
    </Card>
  );
}

const SAID: Record<GateDecision["decision"], { text: string; sign: string }> = {
  promoted: { text: "Promoted", sign: "↑" },
  kept: { text: "Champion kept", sign: "=" },
  rolled_back: { text: "Rolled back", sign: "↩" },
  first: { text: "First champion", sign: "★" },
};

function Decisions({ model }: { model: Model }) {
  const newest = [...model.decisions].sort((a, b) => (a.at < b.at ? 1 : -1));
  return (
    <Card title="Decisions of the gate" of={model.seat} lead="A challenger is promoted only with evidence on data that neither has seen, and a margin.">
      {!newest.length && <Empty what="Nothing was decided yet." mend="A retraining brings a challenger:" command="tradewind retrain dual-model" />}
      <ol className="decisions">
        {newest.map((decision) => (
          <li key={decision.at + decision.decision}>
            <p>
              <span className="sign" aria-hidden="true">
                {SAID[decision.decision].sign}
              </span>
              <b>{SAID[decision.decision].text}</b>
              <code>{decision.decision === "kept" ? decision.challenger : decision.champion}</code>
              {decision.decision === "kept" && <span className="soft">was refused</span>}
              <span className="when">
                {decision.by && `by ${words(decision.by)}, `}
                <Time at={decision.at} full />
              </span>
            </p>
            <ul>
              {decision.reasons.map((reason) => (
                <li key={reason}>{reason}</li>
              ))}
            </ul>
            {Object.keys(decision.evidence).length > 0 && (
              <details>
                <summary>Evidence</summary>
                <Evidence value={decision.evidence} />
              </details>
            )}
          </li>
        ))}
      </ol>
    </Card>
  );
}

/** Retrain; promote and roll back only where a manual override is switched on. */
function SeatActions({ model }: { model: Model }) {
  const [asked, setAsked] = useState<"retrain" | "promote" | "rollback" | null>(null);
  const override = useEntry("status", "status")?.available.manual_override === true;
  const seat = `/models/${encodeURIComponent(model.seat)}`;
  const close = () => setAsked(null);
  return (
    <>
      <CommandButton role="admin" onClick={() => setAsked("retrain")}>
        Retrain…
      </CommandButton>
      {override && model.challenger && (
        <CommandButton role="admin" onClick={() => setAsked("promote")}>
          Promote…
        </CommandButton>
      )}
      {override && model.champions_before.length > 0 && (
        <CommandButton role="admin" onClick={() => setAsked("rollback")}>
          Roll back…
        </CommandButton>
      )}
      {asked === "retrain" && <ConfirmDialog title={`Retrain ${model.seat}`} what="A challenger is trained and judged by the gate; the champion goes on meanwhile." path={`${seat}/retrain`} verb="Retrain" onClose={close} />}
      {asked === "promote" && model.challenger && (
        <ConfirmDialog title={`Promote ${model.challenger.id}`} what="You overrule the gate. That is recorded with your reason." path={`${seat}/promote`} body={{ model: model.challenger.id }} verb="Promote" word="PROMOTE" reason onClose={close} />
      )}
      {asked === "rollback" && <ConfirmDialog title={`Roll ${model.seat} back`} what={`Back to ${model.champions_before[0] ?? ""}. You overrule the gate; that is recorded with your reason.`} path={`${seat}/rollback`} verb="Roll back" word="ROLL BACK" reason onClose={close} />}
    </>
  );
}
