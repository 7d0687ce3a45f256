/** The shapes that the API speaks, under the names that the page uses. */
import type { components } from "./types";

type Schemas = components["schemas"];

export type Status = Schemas["Status"];
export type Bar = Schemas["Bar"];
export type Tick = Schemas["Tick"];
export type Forecast = Schemas["Forecast"];
export type ModelForecast = Schemas["ModelForecast"];
export type HorizonForecast = Schemas["HorizonForecast"];
export type Signal = Schemas["Signal"];
export type Account = Schemas["Account"];
export type EquityPoint = Schemas["EquityPoint"];
export type Position = Schemas["Position"];
export type Order = Schemas["Order"];
export type Fill = Schemas["Fill"];
export type Alert = Schemas["Alert"];
export type Model = Schemas["Model"];
export type ModelVersion = Schemas["ModelVersion"];
export type GateDecision = Schemas["GateDecision"];
export type Drift = Schemas["Drift"];
export type Health = Schemas["Health"];
export type Service = Schemas["Service"];
export type Job = Schemas["Job"];
export type Playbook = Schemas["Playbook"];
export type Report = Schemas["Report"];
export type Listed = Schemas["Symbol"];
export type News = Schemas["News"];
export type Problem = Schemas["Problem"];

export type Action = Signal["action"];
export type Mode = Status["mode"];

/** What is said on the WebSocket, by topic. */
export interface Topics {
  status: Status;
  bar: Bar;
  tick: Tick;
  forecast: Forecast;
  signal: Signal;
  account: Account;
  position: Position;
  order: Order;
  fill: Fill;
  alert: Alert;
  model: Model;
  drift: Drift;
  health: Health;
  job: Job;
}
export type Topic = keyof Topics;

/** One numbered event; a newer one of the same topic and key takes its place. */
export type Event = {
  [T in Topic]: { seq: number; topic: T; key: string; at: string; data: Topics[T]; correlation?: string };
}[Topic];

export type ServerMessage =
  | { type: "hello"; session: string; seq: number; version: string }
  | { type: "snapshot"; seq: number; events: Event[] }
  | { type: "delta"; events: Event[] }
  | { type: "heartbeat"; seq: number; at: string; dropped: number }
  | { type: "error"; detail: string; hint?: string }
  | { type: "pong" };
