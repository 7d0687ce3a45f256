/**
 * A server that speaks the API's contract over an invented market: to develop the page, and to test it, without Python.
 *
 *     npm run stand-in -- --port 8321 --symbols 20 --hz 2 --bar-seconds 5 [--token T] [--empty] [--sentiment] [--override] [--role R] [--stopped]
 */
import { randomUUID } from "node:crypto";
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { WebSocketServer } from "ws";
import { SEATS, World } from "./world.mjs";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "8321" },
    symbols: { type: "string", default: "20" },
    hz: { type: "string", default: "1" },
    "bar-seconds": { type: "string", default: "5" },
    token: { type: "string", default: "" },
    page: { type: "string", default: fileURLToPath(new URL("../../src/tradewind/server/page", import.meta.url)) },
    empty: { type: "boolean", default: false },
    sentiment: { type: "boolean", default: false },
    override: { type: "boolean", default: false },
    role: { type: "string", default: "admin" },
    stopped: { type: "boolean", default: false },
  },
});

const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const TYPES = /** @type {Record<string, string>} */ ({ ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json" });
const KEPT = 20_000;

const world = new World({ symbols: Number(values.symbols), empty: values.empty, sentiment: values.sentiment, override: values.override, stopped: values.stopped });
const session = randomUUID();
let seq = 0;
/** @typedef {{seq: number, topic: string, key: string, at: string, data: object, correlation: string}} Event */
/** @type {Event[]} */
let ring = [];
/** @type {Map<string, Event>} */
const newest = new Map();

/** @param {string} topic @param {string} key @param {object} data */
function publish(topic, key, data) {
  seq += 1;
  const event = { seq, topic, key, at: new Date().toISOString(), data, correlation: "" };
  newest.set(`${topic}/${key}`, event);
  ring.push(event);
  if (ring.length > 2 * KEPT) ring = ring.slice(-KEPT);
  return event;
}

// -- REST --------------------------------------------------------------------------------------------------------

class Refusal extends Error {
  /** @param {number} status @param {string} title @param {string} detail @param {string} hint */
  constructor(status, title, detail, hint = "") {
    super(detail);
    this.problem = { type: "about:blank", title, status, detail, instance: "", hint };
  }
}

/** @template T @param {readonly T[]} items @param {URLSearchParams} query */
const newestOf = (items, query) => items.slice(-Number(query.get("limit") ?? 200));

/** @param {string} symbol */
function known(symbol) {
  if (!world.bars.has(symbol)) throw new Refusal(404, "unknown symbol", `${symbol} is not traded here`, "GET /api/v1/symbols lists what is");
  return symbol;
}

/** @type {[RegExp, (query: URLSearchParams, ...parts: string[]) => unknown][]} */
const QUESTIONS = [
  [/^\/status$/, () => world.status()],
  [/^\/symbols$/, () => ({ items: world.symbols() })],
  [/^\/symbols\/([^/]+)\/bars$/, (q, symbol) => ({ items: newestOf(world.bars.get(known(symbol)) ?? [], q) })],
  [/^\/symbols\/([^/]+)\/forecasts$/, (q, symbol) => ({ items: newestOf(world.forecasts.get(known(symbol)) ?? [], q) })],
  [/^\/symbols\/([^/]+)\/news$/, (_, symbol) => ({ items: known(symbol) && world.news() })],
  [/^\/signals$/, () => ({ items: [...world.signals.values()] })],
  [/^\/account$/, () => world.account()],
  [/^\/account\/equity$/, (q) => ({ items: newestOf(world.equity, q) })],
  [/^\/positions$/, () => ({ items: [...world.positions.keys()].map((symbol) => world.position(symbol)) })],
  [/^\/orders$/, (q) => ({ items: newestOf(world.orders, q).toReversed() })],
  [/^\/orders\/manual$/, (q) => ({ items: newestOf(world.manual, q).toReversed() })],
  [/^\/symbols\/([^/]+)\/ticket$/, (_, symbol) => world.ticket(known(symbol))],
  [/^\/caller$/, () => ({ name: values.role, role: values.role })],
  [/^\/fills$/, (q) => ({ items: newestOf(world.fills, q).toReversed() })],
  [/^\/alerts$/, (q) => ({ items: newestOf(world.alerts, q).toReversed() })],
  [/^\/models$/, () => ({ items: values.empty ? [] : SEATS.map((seat, n) => world.model(seat, n)) })],
  [/^\/drift$/, () => ({ items: values.empty ? [] : SEATS.map((seat, n) => world.drift(seat, n)) })],
  [/^\/health$/, () => world.health(bus())],
  [/^\/jobs$/, () => ({ items: world.jobs })],
  [/^\/playbooks$/, () => ({ items: [{ name: "dual-model", description: world.status().description, running: true }, { name: "sample", description: "Real daily bars, offline", running: false }] })],
  [/^\/reports$/, () => ({ items: [{ id: "r1", verb: "backtest", playbook: "dual-model", started: "2023-09-11T18:00:00Z", seconds: 84.2 }] })],
];

/** @type {[RegExp, (body: Record<string, any>, ...parts: string[]) => unknown][]} */
const COMMANDS = [
  [/^\/control\/halt$/, ({ reason }) => halt({ since: new Date().toISOString(), reasons: [reason], by: "page" }, "critical", `trading was halted: ${reason}`)],
  [/^\/control\/release$/, ({ reason }) => release(reason)],
  [/^\/orders$/, (body) => order(body)],
  [/^\/positions\/([^/]+)\/close$/, ({ id, reason }, symbol) => order({ id, reason, symbol, side: "CLOSE" })],
  [/^\/replay\/speed$/, ({ speed }) => { world.speed = speed; publish("status", "status", world.status()); return { speed }; }],
  [/^\/alerts\/test$/, () => alert("info", "test", "a test: alerts reach you")],
  [/^\/models\/([^/]+)\/(retrain|promote|rollback)$/, (_, seat, verb) => job(`${verb} ${seat}`)],
];

/** @param {NonNullable<import("../src/api/shapes").Status["halted"]> | null} state @param {"info" | "critical"} level @param {string} what */
function halt(state, level, what) {
  world.halted = state;
  publish("status", "status", world.status());
  publish("account", "account", world.account());
  alert(level, "halt", what);
  return { halted: state !== null };
}

/** @param {string} reason */
function release(reason) {
  if (!world.halted && !world.stopped.length) throw new Refusal(409, "not halted", "trading is not halted", "`tradewind halt` stops it");
  world.stopped = [];
  return halt(null, "info", `trading was released: ${reason}`);
}

/** @param {Record<string, any>} asked */
function order({ id, symbol, side, weight = null, stop = null, target = null, reason }) {
  const before = world.manual.find((known) => known.id === id);
  if (before) return { order: before };
  const { price } = world.ticket(known(symbol));
  if (side === "CLOSE" && !world.positions.get(symbol)?.shares) throw new Refusal(422, "Unprocessable Entity", `nothing is held of ${symbol}`);
  if (side !== "CLOSE" && (side === "BUY") !== stop < (price ?? 0)) throw new Refusal(422, "Unprocessable Entity", `the stop ${stop} is on the wrong side of the last price, ${price}`, "a stop ends a position that loses");
  if (side !== "CLOSE" && world.halted) throw new Refusal(409, "Conflict", `trading is halted: ${world.halted.reasons.join("; ")}`);
  for (const old of world.manual.filter((one) => one.symbol === symbol && one.state === "waiting")) settle(old, "cancelled", "replaced by a newer order");
  const made = world.order({ id, symbol, side, weight, stop, target, reason, by: values.role });
  publish("manual_order", id, made);
  return { order: made };
}

/** @param {import("../src/api/shapes").ManualOrder} order @param {"cancelled"} state @param {string} why */
function settle(order, state, why) {
  Object.assign(order, { state, why });
  publish("manual_order", order.id, { ...order });
  return { order };
}

/** @param {string} id */
function cancel(id) {
  const found = world.manual.find((one) => one.id === id);
  if (!found) throw new Refusal(404, "Not Found", `there is no order ${id}`);
  if (found.state !== "waiting") throw new Refusal(409, "Conflict", `the order ${id} was ${found.state} already`, "close the position instead");
  return settle(found, "cancelled", `cancelled by ${values.role}`);
}

/** @param {"info" | "warning" | "critical"} level @param {string} kind @param {string} what */
function alert(level, kind, what) {
  const made = { id: String(world.alerts.length + 1), at: new Date(world.time).toISOString(), level, kind, what, detail: {} };
  world.alerts.push(made);
  publish("alert", made.id, made);
  return made;
}

/** @param {string} kind */
function job(kind) {
  const made = /** @type {import("../src/api/shapes").Job} */ ({ id: String(world.jobs.length + 1), kind, status: "running", started: new Date().toISOString(), finished: null, progress: { phase: "fitting", done: 2, total: 9 }, result: null, error: null });
  world.jobs.unshift(made);
  publish("job", made.id, made);
  return made;
}

// -- HTTP --------------------------------------------------------------------------------------------------------

const server = createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://here");
  response.setHeader("Content-Security-Policy", POLICY);
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("Referrer-Policy", "no-referrer");
  if (url.pathname === "/healthz" || url.pathname === "/readyz") return void response.end("ok");
  if (url.pathname.startsWith("/api/v1/")) return void api(request, response, url);
  page(response, url.pathname);
});

/** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response @param {URL} url */
async function api(request, response, url) {
  try {
    if (values.token && request.headers.authorization !== `Bearer ${values.token}`) throw new Refusal(401, "who are you", "a token is needed", "send `Authorization: Bearer …`");
    const answer = await answered(request, url, url.pathname.slice("/api/v1".length));
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(answer));
  } catch (error) {
    const problem = error instanceof Refusal ? error.problem : { type: "about:blank", title: "a fault of the stand-in", status: 500, detail: String(error) };
    response.writeHead(problem.status, { "Content-Type": "application/problem+json" });
    response.end(JSON.stringify(problem));
  }
}

/** @param {import("node:http").IncomingMessage} request @param {URL} url @param {string} path */
async function answered(request, url, path) {
  if (request.method === "POST") {
    let text = "";
    for await (const chunk of request) text += chunk;
    for (const [pattern, run] of COMMANDS) {
      const found = pattern.exec(path);
      if (found) return run(JSON.parse(text || "{}"), ...found.slice(1).map(decodeURIComponent));
    }
  }
  const taken = /^\/orders\/([^/]+)$/.exec(path);
  if (request.method === "DELETE" && taken?.[1]) return cancel(decodeURIComponent(taken[1]));
  for (const [pattern, ask] of QUESTIONS) {
    const found = pattern.exec(path);
    if (found) return ask(url.searchParams, ...found.slice(1).map(decodeURIComponent));
  }
  throw new Refusal(404, "not found", `${path} is not known`);
}

/** @param {import("node:http").ServerResponse} response @param {string} path */
function page(response, path) {
  const file = join(values.page, normalize(path));
  const found = file.startsWith(values.page) && existsSync(file) && statSync(file).isFile() ? file : join(values.page, "index.html");
  if (!existsSync(found)) {
    response.writeHead(404);
    return void response.end("the page is not built: run `npm run build`");
  }
  response.setHeader("Content-Type", TYPES[extname(found)] ?? "application/octet-stream");
  response.setHeader("Cache-Control", path.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache");
  createReadStream(found).pipe(response);
}

// -- WebSocket ---------------------------------------------------------------------------------------------------

const sockets = new WebSocketServer({ server, path: "/ws", handleProtocols: (offered) => (offered.has("tradewind") ? "tradewind" : false) });
/** @type {Map<import("ws").WebSocket, number>} */
const heard = new Map();
const bus = () => ({ dropped: 0, listeners: heard.size });

sockets.on("connection", (socket, request) => {
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((part) => part.trim());
  if (values.token && !offered.includes(`bearer.${values.token}`)) return socket.close(4401, "a token is needed");
  send(socket, { type: "hello", session, seq, version: "0.1.0" });
  socket.on("message", (data) => {
    const message = JSON.parse(String(data));
    if (message.type === "ping") return send(socket, { type: "pong" });
    const missed = message.session === session && message.resume !== null && (ring.length === 0 || ring[0].seq <= message.resume + 1);
    if (missed) send(socket, { type: "delta", events: ring.filter((event) => event.seq > message.resume) });
    else send(socket, { type: "snapshot", seq, events: [...newest.values()].sort((a, b) => a.seq - b.seq) });
    heard.set(socket, seq);
  });
  socket.on("close", () => heard.delete(socket));
});

/** @param {import("ws").WebSocket} socket @param {object} message */
function send(socket, message) {
  socket.send(JSON.stringify(message));
}

function deliver() {
  for (const [socket, last] of heard) {
    if (last === seq) continue;
    send(socket, { type: "delta", events: ring.filter((event) => event.seq > last) });
    heard.set(socket, seq);
  }
}

// -- the clock ---------------------------------------------------------------------------------------------------

const barMs = Number(values["bar-seconds"]) * 1000;
const tickMs = 50;
const owed = world.names.map((_, n) => n / world.names.length);
let closed = Date.now();

function beat() {
  const now = Date.now();
  world.elapsed = (now - closed) / barMs;
  owed.forEach((_, n) => {
    owed[n] += (Number(values.hz) * tickMs) / 1000;
    while (owed[n] >= 1) {
      owed[n] -= 1;
      const tick = world.tick(n);
      publish("tick", tick.symbol, tick);
    }
  });
  if (now - closed >= barMs) {
    closed = now;
    for (const [topic, key, data] of world.close()) publish(topic, key, data);
  }
  deliver();
}

publish("status", "status", world.status());
publish("health", "health", world.health(bus()));
if (!values.empty) {
  for (const signal of world.signals.values()) publish("signal", signal.symbol, signal);
  for (const series of world.forecasts.values()) for (const forecast of series.slice(-1)) publish("forecast", forecast.symbol, forecast);
  SEATS.forEach((seat, n) => publish("model", seat, world.model(seat, n)));
  SEATS.forEach((seat, n) => publish("drift", seat, world.drift(seat, n)));
  setInterval(beat, tickMs);
}
setInterval(() => {
  publish("health", "health", world.health(bus()));
  if (values.empty) deliver();
  for (const socket of heard.keys()) send(socket, { type: "heartbeat", seq, at: new Date().toISOString(), dropped: 0 });
}, 1000);
server.listen(Number(values.port), "127.0.0.1", () => console.log(`http://127.0.0.1:${values.port}`));
for (const signal of /** @type {const} */ (["SIGTERM", "SIGINT"])) process.on(signal, () => process.exit(0));
