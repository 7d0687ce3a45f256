/** Whether all of it works, and the switch that stops it. */
import { useState } from "react";
import type { Health, Job, Playbook, Report, Service, Status } from "../api/shapes";
import { ApiError, command } from "../api/http";
import { count, decimal, percent, words } from "../format/numbers";
import { span } from "../format/time";
import { useCollection, useConnection, useEntry, useItems, useLive, useNow } from "../live/use";
import { Card, Empty, Failed, Waiting, Warnings } from "../ui/card";
import { ConfirmDialog } from "../ui/confirm";
import { Evidence } from "../ui/evidence";
import { Time } from "../ui/figures";
import { freshness } from "../ui/freshness";
import { CommandButton } from "../ui/permitted";
import { Strip } from "../ui/strip";
import { DataTable } from "../ui/table";
import type { Column } from "../ui/table";
import { Alerts } from "./alerts";

export default function System() {
  const { items, loading } = useCollection("health");
  const status = useEntry("status", "status");
  const health = items[0];
  return (
    <>
      <div className="headline">
        <h1>System</h1>
        <p>{status ? `${status.playbook} on ${status.source}, bars of ${status.timeframe}, up for ${span(health?.uptime_seconds)}.` : "Nothing heard yet."}</p>
      </div>
      <div className="columns even">
        <KillSwitch status={status} />
        <ReplayCard status={status} />
      </div>
      {health ? <HealthCards health={health} /> : loading.error ? <Failed error={loading.error} /> : <Waiting lines={8} />}
      <div className="columns even">
        <Jobs />
        <Card title="Alerts" aside={<TestAlert />}>
          <Alerts most={50} />
        </Card>
      </div>
      <div className="columns wide-left">
        <Runs />
        <Sentiment status={status} />
      </div>
    </>
  );
}

function KillSwitch({ status }: { status: Status | undefined }) {
  const [asked, setAsked] = useState(false);
  const halted = status?.halted ?? null;
  return (
    <Card title="Kill switch" className={halted ? "alarming" : ""} aside={<span className={`level-word ${halted ? "bad" : "good"}`}>{halted ? "■ halted" : "✓ trading is allowed"}</span>}>
      <p>
        {halted ? (
          <>
            Halted since <Time at={halted.since} full /> by {halted.by}: {halted.reasons.join("; ")}. It lasts, restarts included, until somebody releases it.
          </>
        ) : (
          "A halt stops all new orders at once and lasts, restarts included, until somebody releases it. Positions stay, and so do their stops."
        )}
      </p>
      <p>
        <CommandButton role="trade" className={halted ? "primary" : "danger"} not={status ? "" : "Nothing was heard yet."} onClick={() => setAsked(true)}>
          {halted ? "Release…" : "Halt trading…"}
        </CommandButton>
      </p>
      <Warnings warnings={status?.warnings} />
      {asked && !halted && <ConfirmDialog title="Halt trading" what="No new orders from now on." path="/control/halt" verb="Halt" word="HALT" reason onClose={() => setAsked(false)} />}
      {asked && halted && <ConfirmDialog title="Release trading" what="Orders are sent again from the next bar on. Look at the account first." path="/control/release" verb="Release" word="RELEASE" reason onClose={() => setAsked(false)} />}
    </Card>
  );
}

const SPEEDS = [1, 12, 60, 600] as const;

function ReplayCard({ status }: { status: Status | undefined }) {
  const [error, setError] = useState<Error | null>(null);
  const replay = status?.replay;
  if (!replay) {
    return (
      <Card title="Clock">
        <Strip
          label="clock"
          facts={[
            { name: "Mode", value: status?.mode ?? "–" },
            { name: "Market", value: status?.market_open == null ? "–" : status.market_open ? "open" : "closed" },
            { name: "Newest bar", value: <Time at={status?.as_of} full /> },
            { name: "Started", value: <Time at={status?.started} full /> },
          ]}
        />
      </Card>
    );
  }
  const set = (speed: number | "max") => command("/replay/speed", { speed }).then(() => setError(null), (refused: unknown) => setError(refused as Error));
  const share = replay.bars_total ? Math.min(1, replay.bars_done / replay.bars_total) : 0;
  return (
    <Card title="Replay" aside={<span className="soft">{replay.done ? "has ended" : `${count(replay.bars_done)} of ${count(replay.bars_total)} bars`}</span>}>
      <p>
        Stored days from <Time at={replay.from} full /> to <Time at={replay.to} full />, at {replay.speed === "max" ? "full speed" : `${decimal(replay.speed, 0)}× the clock`}.
      </p>
      <div className="progress" role="progressbar" aria-label="replay" aria-valuenow={Math.round(share * 100)} aria-valuemin={0} aria-valuemax={100}>
        <span style={{ width: `${share * 100}%` }} />
      </div>
      <div className="buttons start" role="group" aria-label="speed of the replay">
        {SPEEDS.map((speed) => (
          <button key={speed} type="button" className="quiet" aria-pressed={Number(replay.speed) === speed} onClick={() => void set(speed)}>
            {speed}×
          </button>
        ))}
        <button type="button" className="quiet" aria-pressed={replay.speed === "max"} onClick={() => void set("max")}>
          as fast as it goes
        </button>
      </div>
      {error && <Failed error={error} />}
    </Card>
  );
}

const STATES: Record<Service["state"], { text: string; sign: string; tone: string }> = {
  ok: { text: "works", sign: "✓", tone: "good" },
  starting: { text: "starting", sign: "…", tone: "soft" },
  retrying: { text: "tries again", sign: "!", tone: "amber" },
  open: { text: "given up for now", sign: "‼", tone: "bad" },
  stopped: { text: "stopped", sign: "■", tone: "soft" },
};

const SERVICES: readonly Column<Service>[] = [
  { id: "name", title: "Service", value: (s) => s.name, show: (s) => words(s.name) },
  {
    id: "state",
    title: "State",
    value: (s) => s.state,
    show: (s) => (
      <span className={`level-word ${STATES[s.state].tone}`}>
        <span aria-hidden="true">{STATES[s.state].sign}</span> {STATES[s.state].text}
      </span>
    ),
  },
  { id: "last_success", title: "Last success", number: true, value: (s) => s.last_success, show: (s) => <Ago at={s.last_success} />, roomy: "phone" },
  { id: "heartbeat", title: "Heartbeat", number: true, value: (s) => s.heartbeat, show: (s) => <Ago at={s.heartbeat} />, roomy: "phone" },
  { id: "failures", title: "Failures", number: true, value: (s) => s.failures, show: (s) => count(s.failures) },
  { id: "last_error", title: "Last error", value: (s) => s.last_error, show: (s) => s.last_error ?? <span className="soft">none</span>, roomy: "tablet" },
];

function Ago({ at }: { at: string | null }) {
  const ahead = useConnection().ahead;
  const now = useNow();
  const replayed = useEntry("status", "status")?.mode === "REPLAY"; // its services live on its clock
  if (at && replayed) return <Time at={at} />;
  if (!at) return <span className="soft">never</span>;
  return <time dateTime={at} title={at}>{span((now + ahead - Date.parse(at)) / 1000)} ago</time>;
}

function HealthCards({ health }: { health: Health }) {
  const connection = useConnection();
  const status = useEntry("status", "status");
  const now = useNow();
  const { latency_ms: latency, machine, freshness: fresh } = health;
  const ms = (value: number | null) => (value === null ? "–" : `${decimal(value, value < 10 ? 1 : 0)} ms`);
  return (
    <>
      <Card title="Health">
        <Strip
          label="health"
          facts={[
            { name: "This page", value: freshness(connection, status, now).words, note: `${count(connection.dropped)} events dropped` },
            { name: "Data", value: fresh.seconds === null ? "none yet" : `${span(fresh.seconds)} old`, note: fresh.stale ? "‼ too old" : fresh.limit === null ? "" : `fine below ${span(fresh.limit)}` },
            { name: "Bar to page, median", value: ms(latency.p50), note: `${count(latency.bars)} bars` },
            { name: "95 %", value: ms(latency.p95), note: "promised below 3 s" },
            { name: "99 %", value: ms(latency.p99) },
            { name: "Errors", value: count(health.errors), note: typeof health.error_rate === "number" ? `${percent(health.error_rate, 2)} of the newest` : "since the start" },
            { name: "Listeners", value: count(health.listeners), note: `${count(health.dropped)} dropped` },
            { name: "Processor", value: `${decimal(machine.cpu_percent, 0)} %` },
            { name: "Memory", value: `${decimal(machine.memory_percent, 0)} %`, note: machine.rss_mb === null ? "" : `this process ${count(machine.rss_mb)} MB` },
            { name: "Disk", value: `${decimal(machine.disk_percent, 0)} %` },
            ...(health.backup ? [{ name: "Backup", value: `${span(health.backup.age_hours * 3600)} old`, note: health.backup.unreadable ? `‼ ${count(health.backup.unreadable)} newer cannot be read` : "readable", hint: health.backup.file }] : []),
          ]}
        />
      </Card>
      {health.checks && health.checks.length > 0 && (
        <Card title="Checks">
          <ul className="checks">
            {health.checks.map(({ name, ok, detail }) => (
              <li key={name}>
                <span className={`level-word ${ok === null ? "soft" : ok ? "good" : "bad"}`}>
                  <span aria-hidden="true">{ok === null ? "?" : ok ? "✓" : "✕"}</span>
                  <span className="unseen">{ok === null ? "not known" : ok ? "well" : "not well"}</span>
                </span>
                <b>{words(name)}</b> <span className="soft">{detail}</span>
              </li>
            ))}
          </ul>
        </Card>
      )}
      {latency.stages && <Stages stages={latency.stages} />}
      <Card title="Services">
        <DataTable caption="services" columns={SERVICES} rows={health.services} keyOf={(s) => s.name} csv="services" empty={<Empty what="No services yet." />} />
      </Card>
    </>
  );
}

type Stage = NonNullable<Health["latency_ms"]["stages"]>[string];

const STAGES: readonly Column<[string, Stage]>[] = [
  { id: "stage", title: "Stage", value: ([name]) => name, show: ([name]) => words(name) },
  { id: "count", title: "Times", number: true, value: ([, stage]) => stage.count, show: ([, stage]) => count(stage.count) },
  { id: "mean_ms", title: "Mean, ms", number: true, value: ([, stage]) => mean(stage), show: ([, stage]) => decimal(mean(stage)) },
  { id: "p50", title: "Median, ms", number: true, value: ([, stage]) => stage.p50, show: ([, stage]) => decimal(stage.p50), roomy: "phone" },
  { id: "p95", title: "95 %, ms", number: true, value: ([, stage]) => stage.p95, show: ([, stage]) => decimal(stage.p95) },
  { id: "p99", title: "99 %, ms", number: true, value: ([, stage]) => stage.p99, show: ([, stage]) => decimal(stage.p99), roomy: "phone" },
];

function mean(stage: Stage): number | null {
  return stage.count ? stage.sum_ms / stage.count : null;
}

function Stages({ stages }: { stages: Record<string, Stage> }) {
  return (
    <Card title="Stages of a bar" lead="From the arrival of a bar to its push.">
      <DataTable caption="stages of a bar" columns={STAGES} rows={Object.entries(stages)} keyOf={([name]) => name} csv="stages" dense />
    </Card>
  );
}

const JOBS: readonly Column<Job>[] = [
  { id: "kind", title: "Job", value: (j) => j.kind, show: (j) => words(j.kind) },
  { id: "status", title: "Status", value: (j) => j.status, show: (j) => <JobStatus job={j} /> },
  { id: "started", title: "Started", number: true, value: (j) => j.started, show: (j) => <Time at={j.started} /> },
  { id: "finished", title: "Finished", number: true, value: (j) => j.finished, show: (j) => <Time at={j.finished} />, roomy: "phone" },
  { id: "outcome", title: "Outcome", value: (j) => j.error ?? JSON.stringify(j.result ?? {}), show: (j) => <Outcome job={j} />, roomy: "tablet" },
];

function JobStatus({ job }: { job: Job }) {
  const { tone, sign } = { running: { tone: "soft", sign: "…" }, done: { tone: "good", sign: "✓" }, failed: { tone: "bad", sign: "✕" } }[job.status];
  return (
    <span className={`level-word ${tone}`}>
      <span aria-hidden="true">{sign}</span> {job.status}
      {job.status === "running" && job.progress && <span className="soft"> {job.progress.phase}, {job.progress.done} of {job.progress.total}</span>}
    </span>
  );
}

function Outcome({ job }: { job: Job }) {
  if (job.error) return <span className="bad">{job.error}</span>;
  if (!job.result) return null;
  const decision = job.result.decision;
  return (
    <details>
      <summary>{typeof decision === "string" ? words(decision) : "Result"}</summary>
      <Evidence value={job.result} />
    </details>
  );
}

function Jobs() {
  const { items, loading } = useCollection("job");
  return (
    <Card title="Jobs">
      <DataTable
        caption="jobs"
        columns={JOBS}
        rows={items}
        keyOf={(j) => j.id}
        csv="jobs"
        most={20}
        sort={{ id: "started", down: true }}
        empty={loading.done ? <Empty what="No jobs yet." mend="They run on schedule, or now:" command="tradewind retrain dual-model" /> : <Waiting />}
      />
    </Card>
  );
}

function TestAlert() {
  const [said, setSaid] = useState("");
  const { loader } = useLive();
  const test = () =>
    command("/alerts/test").then(
      () => {
        setSaid("sent");
        void loader.load("alert");
      },
      (error: unknown) => setSaid(error instanceof ApiError ? error.message : "not sent"),
    );
  return (
    <>
      <span className="soft" role="status">
        {said}
      </span>
      <button type="button" className="quiet" onClick={() => void test()}>
        Send a test
      </button>
    </>
  );
}

function Sentiment({ status }: { status: Status | undefined }) {
  const known = status?.available.sentiment === true;
  return (
    <Card title="Sentiment" aside={<span className={`level-word ${known ? "good" : "soft"}`}>{known ? "✓ available" : "– not available"}</span>}>
      <p className="soft">
        {known
          ? "The heat map by sector is on the Watchlist. Sentiment is noisy: it is one input of many."
          : "No source of texts is set for this playbook, so nothing here rests on sentiment, and none is invented."}
      </p>
    </Card>
  );
}

function Runs() {
  const reports = useItems<Report>("/reports");
  const playbooks = useItems<Playbook>("/playbooks");
  return (
    <Card title="Playbooks and reports">
      {playbooks.error && <Failed error={playbooks.error} />}
      <ul className="runs">
        {playbooks.items.map((playbook) => (
          <li key={playbook.name}>
            <b>{playbook.name}</b> {playbook.running && <span className="level-word good">✓ running</span>}
            <span className="soft">{playbook.description}</span>
          </li>
        ))}
      </ul>
      {reports.error && <Failed error={reports.error} />}
      {reports.done && !reports.items.length && <Empty what="No finished runs." mend="Make one:" command="tradewind backtest" />}
      <ul className="runs">
        {reports.items.slice(0, 12).map((report) => (
          <li key={report.id}>
            {report.verb} of {report.playbook}
            <span className="soft">
              <Time at={report.started} full />, {span(report.seconds)}
            </span>
          </li>
        ))}
      </ul>
    </Card>
  );
}
