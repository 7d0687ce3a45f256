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
export type ManualOrder = Schemas["ManualOrder"];
export type NewOrder = Schemas["NewOrder"];
export type Ticket = Schemas["Ticket"];
export type Caller = Schemas["Caller"];
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

/** One numbered event of the WebSocket; a newer one of the same topic and key takes its place. */
export type Event = Exclude<ServerMessage, { type: "hello" | "heartbeat" | "error" }>["events"][number];
export type ServerMessage = Schemas["ServerMessage"];

export type Topic = Event["topic"];
/** What is said, by topic. */
export type Topics = { [T in Topic]: Extract<Event, { topic: T }>["data"] };
