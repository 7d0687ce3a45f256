/**
 * An invented market for the stand-in: random walks, forecasts with the right spread, and a paper account.
 *
 * Nothing here is a model of anything. It speaks the shapes of the API, and the same seed gives the same past.
 *
 * @typedef {import("../src/api/types").components["schemas"]} Schemas
 */

const NAMES = [
  ["AAPL", "Technology", 187.2], ["ADBE", "Technology", 512.4], ["AMD", "Technology", 118.3], ["AMZN", "Consumer", 142.9],
  ["BAC", "Financials", 29.4], ["F", "Consumer", 11.8], ["GOOG", "Communication", 138.6], ["IBM", "Technology", 146.1],
  ["INTC", "Technology", 36.7], ["JNJ", "Health", 158.2], ["JPM", "Financials", 149.5], ["KO", "Consumer", 58.9],
  ["META", "Communication", 311.7], ["MSFT", "Technology", 334.2], ["NOK", "Technology", 3.9], ["NVDA", "Technology", 489.1],
  ["PFE", "Health", 31.2], ["SIRI", "Communication", 4.6], ["T", "Communication", 15.3], ["XOM", "Energy", 108.8],
];
const LEVELS = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95];
const Z = [-1.6449, -1.2816, -0.6745, 0, 0.6745, 1.2816, 1.6449];
const HORIZONS = [1, 5, 20];
const MINUTE = 60_000;
const SIGMA = 0.0011;
const SEATS = ["lstm", "transformer"];

/** Mulberry32: small, and the same everywhere. @param {number} seed */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** @param {() => number} draw */
function normal(draw) {
  return Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
}

/** @param {number} time */
const iso = (time) => new Date(time).toISOString().replace(".000Z", "Z");
/** @param {number} value */
const cents = (value) => Math.round(value * 10_000) / 10_000;

/** The next minute's close in a market that is open from 14:31 to 21:00 UTC on weekdays. @param {number} time */
function nextClose(time) {
  let next = time + MINUTE;
  const minutes = new Date(next).getUTCHours() * 60 + new Date(next).getUTCMinutes();
  if (minutes > 21 * 60) next += (24 * 60 - minutes + 14 * 60 + 31) * MINUTE;
  while ([0, 6].includes(new Date(next).getUTCDay())) next += 24 * 60 * MINUTE;
  return next;
}

/** @param {number} price */
export function tierOf(price) {
  return price < 5 ? "penny" : price < 25 ? "low" : price < 100 ? "mid" : price < 500 ? "high" : "mega";
}

export class World {
  /** @param {{symbols: number, seed?: number, empty?: boolean, sentiment?: boolean, override?: boolean, stopped?: boolean}} options */
  constructor({ symbols, seed = 7, empty = false, sentiment = false, override = false, stopped = false }) {
    this.options = { empty, sentiment, override };
    this.draw = random(seed);
    this.started = Date.now();
    this.names = Array.from({ length: symbols }, (_, n) => this.#named(n));
    /** @type {Map<string, Schemas["Bar"][]>} */
    this.bars = new Map(this.names.map((name) => [name.symbol, []]));
    /** @type {Map<string, Schemas["Forecast"][]>} */
    this.forecasts = new Map(this.names.map((name) => [name.symbol, []]));
    /** @type {Map<string, Schemas["Signal"]>} */
    this.signals = new Map();
    /** @type {Map<string, Schemas["Position"]>} */
    this.positions = new Map();
    /** @type {Schemas["Order"][]} */
    this.orders = [];
    /** @type {Schemas["ManualOrder"][]} */
    this.manual = [];
    /** What the rule said when a person decided in its place: that undoes nothing. @type {Map<string, string>} */
    this.overruled = new Map();
    /** Seats whose recommendations drift has stopped. */
    this.stopped = stopped ? [`dual-model/${SEATS[0]}`] : [];
    /** @type {Schemas["Fill"][]} */
    this.fills = [];
    /** @type {Schemas["Alert"][]} */
    this.alerts = [];
    /** @type {Schemas["EquityPoint"][]} */
    this.equity = [];
    /** @type {Schemas["Job"][]} */
    this.jobs = [];
    /** @type {Schemas["Status"]["halted"]} */
    this.halted = null;
    /** @type {number | "max"} */
    this.speed = 12;
    this.cash = 100_000;
    this.done = 0;
    /** How much of the open bar has passed. */
    this.elapsed = 0.5;
    this.time = Date.UTC(2023, 8, 12, 14, 30);
    if (!empty) for (let bar = 0; bar < 460; bar++) this.close();
    this.warm = true;
    if (!empty) this.#history();
  }

  /** @param {number} n */
  #named(n) {
    const [symbol, sector, price] = NAMES[n % NAMES.length];
    const again = Math.floor(n / NAMES.length);
    return { symbol: String(symbol) + (again ? String.fromCharCode(64 + again) : ""), sector: String(sector), price: Number(price), open: Number(price) };
  }

  // -- what happens --------------------------------------------------------------------------------------------

  /** Move one price a little. @param {number} n @returns {Schemas["Tick"]} */
  tick(n, share = 0.1) {
    const name = this.names[n];
    name.price = Math.max(0.5, name.price * Math.exp(SIGMA * Math.sqrt(share) * normal(this.draw)));
    return { symbol: name.symbol, time: iso(this.time + Math.min(0.95, this.elapsed ?? 0.5) * MINUTE), price: cents(name.price) };
  }

  /** Close a bar of every symbol; returns what was said. @returns {[string, string, object][]} */
  close() {
    const before = this.time;
    this.time = nextClose(this.time);
    if (new Date(this.time).getUTCDate() !== new Date(before).getUTCDate()) for (const name of this.names) name.open = name.price;
    this.done += 1;
    /** @type {[string, string, object][]} */
    const said = [];
    this.names.forEach((name, n) => {
      const bar = this.#bar(n);
      this.bars.get(name.symbol)?.push(bar);
      const forecast = this.#forecast(n, bar);
      this.forecasts.get(name.symbol)?.push(forecast);
      const signal = this.#signal(n, forecast);
      this.signals.set(name.symbol, signal);
      said.push(["bar", name.symbol, bar], ["forecast", name.symbol, forecast], ["signal", name.symbol, signal]);
      const manual = this.manual.find((one) => one.symbol === name.symbol && one.state === "waiting");
      said.push(...(manual ? this.#obey(n, signal, manual) : this.#trade(n, signal)));
    });
    const account = this.account();
    this.equity.push({ time: iso(this.time), equity: account.equity ?? 0, drawdown: account.drawdown });
    for (const [symbol] of this.positions) said.push(["position", symbol, this.position(symbol)]);
    said.push(["account", "account", account], ["status", "status", this.status()]);
    if (this.done % 9 === 0) said.push(...SEATS.map((seat, n) => /** @type {[string, string, object]} */ (["model", seat, this.model(seat, n)])));
    return said;
  }

  /** @param {number} n @returns {Schemas["Bar"]} */
  #bar(n) {
    const name = this.names[n];
    const last = this.bars.get(name.symbol)?.at(-1);
    const open = last?.close ?? name.price;
    if (!this.warm) for (let step = 0; step < 4; step++) this.tick(n, 0.25);
    const wide = Math.abs(normal(this.draw)) * SIGMA * 0.5 * name.price;
    const [top, bottom] = [Math.max(open, name.price) + wide, Math.min(open, name.price) - wide];
    const volume = Math.round(20_000 * (0.4 + this.draw() ** 2 * 3));
    return { symbol: name.symbol, time: iso(this.time), open: cents(open), high: cents(top), low: cents(bottom), close: cents(name.price), volume };
  }

  /** @param {number} close @param {number} drift @param {number} spread @param {number} seat @returns {Schemas["ModelForecast"]} */
  #fan(close, drift, spread, seat) {
    const horizons = Object.fromEntries(
      HORIZONS.map((bars) => {
        const prices = Z.map((z) => cents(close * Math.exp(drift * bars + z * SIGMA * spread * Math.sqrt(bars))));
        return [String(bars), { time: iso(this.time + bars * MINUTE), levels: LEVELS, prices }];
      }),
    );
    const pUp = 0.5 + drift * 420;
    return { model_id: `${SEATS[seat] ?? "pool"}-4f2a${seat}`, version: seat ? "12" : "17", calibrated: true, horizons, p_up: cents(pUp) };
  }

  /** @param {number} n @param {Schemas["Bar"]} bar @returns {Schemas["Forecast"]} */
  #forecast(n, bar) {
    const phase = Math.sin(this.done / 40 + n * 1.7);
    const [one, two] = [0.00016 * phase, 0.00012 * (phase + 0.4 * Math.sin(n + this.done / 15))];
    const close = bar.close ?? this.names[n].price;
    const models = { lstm: this.#fan(close, one, 1.02, 0), transformer: this.#fan(close, two, 0.94, 1) };
    return { symbol: bar.symbol, time: bar.time, close, models, combined: this.#fan(close, (one + two) / 2, 0.98, 2) };
  }

  /** @param {number} n @param {Schemas["Forecast"]} forecast @returns {Schemas["Signal"]} */
  #signal(n, forecast) {
    const name = this.names[n];
    const close = forecast.close ?? name.price;
    const [one, two] = [forecast.models["lstm"]?.p_up ?? 0.5, forecast.models["transformer"]?.p_up ?? 0.5];
    const sideOf = (/** @type {number} */ p) => (p > 0.54 ? 1 : p < 0.46 ? -1 : 0);
    const side = sideOf(one) === sideOf(two) ? sideOf(one) : 0;
    const pUp = (one + two) / 2;
    const confidence = cents(side < 0 ? 1 - pUp : pUp);
    const strong = confidence > 0.56;
    const action = side > 0 ? (strong ? "STRONG_BUY" : "BUY") : side < 0 ? (strong ? "STRONG_SELL" : "SELL") : "HOLD";
    const word = (/** @type {number} */ p) => (sideOf(p) > 0 ? "BUY" : sideOf(p) < 0 ? "SELL" : "HOLD");
    const weight = side ? cents(side * Math.min(0.2, (confidence - 0.5) * 2.2)) : 0;
    const at = (/** @type {number} */ level, h = "20") => forecast.combined?.horizons[h]?.prices[LEVELS.indexOf(level)] ?? null;
    const intervals = Object.fromEntries(
      HORIZONS.map((h) => [String(h), { median: at(0.5, String(h)), 50: [at(0.25, String(h)), at(0.75, String(h))], 80: [at(0.1, String(h)), at(0.9, String(h))], 90: [at(0.05, String(h)), at(0.95, String(h))] }]),
    );
    const away = side < 0 ? -1 : 1;
    const reasons = side
      ? [
          `both models give ${side > 0 ? "up" : "down"} at least 54 %: lstm ${(100 * (side > 0 ? one : 1 - one)).toFixed(1)} %, transformer ${(100 * (side > 0 ? two : 1 - two)).toFixed(1)} %`,
          `P(${side > 0 ? "up" : "down"} in 20 bars) = ${(100 * confidence).toFixed(1)} % (costs 0.06 %); median ${(100 * Math.log((at(0.5) ?? close) / close)).toFixed(2)} %, one sigma ${(100 * SIGMA * Math.sqrt(20)).toFixed(2)} %`,
          "expected volatility is usual: above 48 % of its past forecasts",
          "size set by risk per trade",
        ]
      : [word(one) === word(two) ? "neither model is sure enough: no trade" : "the two models do not agree: no trade", `P(up in 20 bars) = ${(100 * pUp).toFixed(1)} %`];
    return {
      symbol: name.symbol, as_of: forecast.time, action, confidence, event: "up", horizon_bars: 20, style: "day", entry: cents(close),
      entry_note: "reference close; the order fills at the next open", target: cents(close * (1 + away * 0.0105)), target_note: "upper barrier, 2 sigma",
      stop: cents(close * (1 - away * 0.0098)), stop_note: "2 sigma below", weight, shares: Math.trunc((weight * 100_000) / close),
      bound_by: side ? (strong ? "position_max" : "risk_per_trade") : null, sector: name.sector, tier: tierOf(close), intervals, disagreement: null, reasons,
      agreement: { lstm: { action: word(one), probability: cents(one) }, transformer: { action: word(two), probability: cents(two) } },
    };
  }

  /** @param {number} n @param {Schemas["Signal"]} signal @returns {[string, string, object][]} */
  #trade(n, signal) {
    const held = this.positions.get(signal.symbol)?.shares ?? 0;
    const wanted = signal.action === "HOLD" ? held : (signal.shares ?? 0);
    const much = Math.abs(wanted - held) > 0.35 * Math.max(Math.abs(wanted), Math.abs(held), 1);
    if (this.overruled.get(signal.symbol) !== signal.action) this.overruled.delete(signal.symbol);
    if (this.halted || this.overruled.has(signal.symbol) || n % 3 !== 0 || this.done % 12 !== n % 12 || !much) return [];
    return this.#fill(n, signal, wanted, `tw-${this.done}-${signal.symbol}`, signal.stop);
  }

  /** Do what a person ordered. @param {number} n @param {Schemas["Signal"]} signal @param {Schemas["ManualOrder"]} manual @returns {[string, string, object][]} */
  #obey(n, signal, manual) {
    const side = { BUY: 1, SELL: -1, CLOSE: 0 }[manual.side];
    const wanted = Math.trunc((side * (manual.weight ?? 0) * 100_000) / this.names[n].price);
    const id = `tw-${this.done}-${signal.symbol}-hand`;
    Object.assign(manual, { state: "applied", effective: iso(this.time), orders: [id] });
    this.overruled.set(signal.symbol, signal.action);
    return [["manual_order", manual.id, { ...manual }], ...this.#fill(n, signal, wanted, id, manual.stop)];
  }

  /** @param {number} n @param {Schemas["Signal"]} signal @param {number} wanted @param {string} id @param {number | null} stop @returns {[string, string, object][]} */
  #fill(n, signal, wanted, id, stop) {
    const held = this.positions.get(signal.symbol)?.shares ?? 0;
    const quantity = Math.trunc(wanted - held);
    const price = this.names[n].price;
    /** @type {Schemas["Order"]} */
    const order = {
      id, symbol: signal.symbol, timeframe: "1min", side: quantity > 0 ? "buy" : "sell", quantity: Math.abs(quantity), kind: "market", time_in_force: "day",
      status: "filled", filled: Math.abs(quantity), reason: "signal", decided_at: signal.as_of, reduce_only: false,
    };
    /** @type {Schemas["Fill"]} */
    const fill = { id: `${id}-1`, order_id: id, symbol: signal.symbol, quantity, price: cents(price), fee: cents(Math.abs(quantity) * price * 0.0001), time: iso(this.time) };
    this.orders.push(order);
    this.fills.push(fill);
    this.cash -= quantity * price + (fill.fee ?? 0);
    const entry = held * wanted > 0 ? (this.positions.get(signal.symbol)?.entry_price ?? price) : price;
    this.#hold({ ...signal, stop }, wanted, entry);
    const position = this.position(signal.symbol);
    if (!wanted) this.positions.delete(signal.symbol);
    return [["order", id, order], ["fill", fill.id, fill], ["position", signal.symbol, position]];
  }

  /** @param {Schemas["Signal"]} signal @param {number} shares @param {number} entry */
  #hold(signal, shares, entry) {
    const base = { symbol: signal.symbol, timeframe: null, price: null, value: null, profit: null, profit_pct: null, weight: null };
    const opened = this.positions.get(signal.symbol)?.opened ?? iso(this.time);
    this.positions.set(signal.symbol, { ...base, shares, entry_price: cents(entry), stop: signal.stop, opened });
  }

  #history() {
    /** @param {Schemas["Alert"]["level"]} level @param {string} kind @param {string} what @param {number} bars @param {Record<string, unknown>} [detail] */
    const alert = (level, kind, what, bars, detail = {}) => this.alerts.push({ id: String(this.alerts.length + 1), at: iso(this.time - bars * MINUTE), level, kind, what, detail });
    alert("info", "session", "the session of 12 Sep 2023 began with 20 symbols", 320);
    alert("warning", "position", "AAPL is 15.4 % of equity: above the warning line of 15 %", 96, { symbol: "AAPL", weight: 0.154 });
    alert("info", "model", "transformer: challenger 13 was kept back: not better by the margin", 41, { p_value: 0.21 });
    alert("critical", "source", "prices: no answer for 10 min; the circuit is open until 15:12", 12, { source: "prices", seconds: 612 });
    this.jobs.push(
      { id: "2", kind: "retrain", status: "done", started: iso(this.time - 200 * MINUTE), finished: iso(this.time - 182 * MINUTE), progress: null, result: { decision: "kept", seat: "transformer" }, error: null },
      { id: "1", kind: "sync", status: "failed", started: iso(this.time - 400 * MINUTE), finished: iso(this.time - 399 * MINUTE), progress: null, result: null, error: "the source did not answer; tried 5 times" },
    );
  }

  // -- what is asked -------------------------------------------------------------------------------------------

  /** @returns {Schemas["Status"]} */
  status() {
    const { empty, sentiment, override } = this.options;
    return {
      playbook: "dual-model", description: "An LSTM and a Transformer must agree before anything is traded", mode: "REPLAY", source: "synthetic", timeframe: "1min",
      as_of: empty ? null : iso(this.time), started: iso(this.started), now: new Date().toISOString(), market_open: empty ? null : true, halted: this.halted,
      progress: empty ? { phase: "reading bars", done: 3, total: 20 } : null,
      replay: { from: "2023-09-12T14:31:00Z", to: "2023-09-29T20:00:00Z", speed: this.speed, bars_done: this.done, bars_total: 5460, done: false },
      stale: false, fresh_seconds: empty ? null : 1.2, dropped: 0,
      warnings: ["Not financial advice. Past performance proves nothing; edges vanish and regimes break models.", "Networks learn noise as readily as signal. Paper first, always a stop."],
      version: "0.1.0", stopped_seats: this.stopped, zone: "America/New_York", available: { sentiment, news: sentiment, manual_override: override },
    };
  }

  /** @returns {Schemas["Symbol"][]} */
  symbols() {
    return this.names.map((name, n) => {
      const signal = this.signals.get(name.symbol);
      const known = !this.options.empty;
      return {
        symbol: name.symbol, sector: name.sector, tier: tierOf(name.price), price: known ? cents(name.price) : null, change: known ? cents(name.price / name.open - 1) : null,
        action: signal?.action ?? null, confidence: signal?.confidence ?? null, time: known ? iso(this.time) : null,
        ...(this.options.sentiment ? { sentiment: 50 + 38 * Math.sin(n * 2.3) } : {}),
      };
    });
  }

  /** @param {string} symbol @returns {Schemas["Position"]} */
  position(symbol) {
    const held = this.positions.get(symbol);
    const price = this.names.find((name) => name.symbol === symbol)?.price ?? 0;
    if (!held) throw new Error(`${symbol} is not held`);
    const entry = held.entry_price ?? price;
    return {
      ...held, price: cents(price), value: cents(held.shares * price), profit: cents(held.shares * (price - entry)),
      profit_pct: cents(Math.sign(held.shares) * (price / entry - 1)), weight: cents((held.shares * price) / 100_000),
    };
  }

  /** @param {string} symbol @returns {Schemas["Ticket"]} */
  ticket(symbol) {
    const price = this.bars.get(symbol)?.at(-1)?.close ?? null;
    return {
      symbol, price, equity: this.account().equity, shares: this.positions.get(symbol)?.shares ?? 0, weight_max: 0.2, short_allowed: true, fractional_shares: false,
      stop_distance: 0.0098, next_close: iso(nextClose(this.time)), halted: this.halted ? this.halted.reasons.join("; ") : null,
    };
  }

  /** @param {Pick<Schemas["ManualOrder"], "id" | "symbol" | "side" | "weight" | "stop" | "target" | "reason" | "by">} asked @returns {Schemas["ManualOrder"]} */
  order(asked) {
    const made = { ...asked, asked_at: iso(this.time), state: /** @type {const} */ ("waiting"), why: null, effective: null, orders: [] };
    this.manual.push(made);
    return { ...made };
  }

  /** @returns {Schemas["Account"]} */
  account() {
    const held = [...this.positions.values()].map((position) => position.shares * (this.names.find((name) => name.symbol === position.symbol)?.price ?? 0));
    const net = held.reduce((sum, value) => sum + value, 0);
    const gross = held.reduce((sum, value) => sum + Math.abs(value), 0);
    const equity = this.cash + net;
    const high = Math.max(100_000, equity, ...this.equity.slice(-400).map((point) => point.equity ?? 0));
    const open = this.equity.at(-(this.done % 390) - 1)?.equity ?? 100_000;
    return {
      account: "paper:dual-model", mode: "REPLAY", time: iso(this.time), equity: cents(equity), cash: cents(this.cash), profit: cents(equity - 100_000), profit_today: cents(equity - open),
      start_capital: 100_000, gross: cents(gross / equity), net: cents(net / equity), drawdown: cents(equity / high - 1), high_water: cents(high),
      positions: held.filter(Boolean).length, open_orders: 0, halted: this.halted ? this.halted.reasons.join("; ") : null, limits: { position_max: 14, gross_max: 2, daily_loss: 0 },
      performance: { total_return: cents(equity / 100_000 - 1), sharpe: null, sharpe_interval: null, sessions: Math.floor(this.done / 390) },
    };
  }

  /** @param {string} seat @param {number} n @returns {Schemas["Model"]} */
  model(seat, n) {
    const wobble = (/** @type {number} */ at) => 0.8 + 0.035 * Math.sin(at / 4 + n * 2) + 0.012 * Math.sin(at * 1.7);
    const rolling = Array.from({ length: 60 }, (_, at) => ({ time: iso(this.time - (60 - at) * 6 * MINUTE), value: cents(wobble(at + this.done / 9)) }));
    return {
      seat, key: `dual-model/${seat}`, model: seat, champion: { id: `${seat}-4f2a${n}`, version: n ? "12" : "17", trained_until: "2023-09-08T20:00:00Z", made: "2023-09-09T02:14:00Z" },
      challenger: n ? { id: `${seat}-9bc1`, version: "13", trained_until: "2023-09-11T20:00:00Z", made: "2023-09-12T02:20:00Z" } : null,
      champions_before: n ? [`${seat}-11d0`] : [`${seat}-0c4e`, `${seat}-77ab`],
      live: {
        forecasts: this.done * 20, resolved: (this.done - 20) * 20, coverage_80: rolling.at(-1)?.value ?? null, coverage_rolling: rolling, pinball_skill: n ? 0.0182 : 0.0141, brier: n ? 0.2466 : 0.2471, hit_rate: 0.528 - n * 0.006,
        by_symbol: null, by_model: null, judged: (this.done - 20) * 20, dates: 2, coverage: { 50: 0.491, 80: 0.803, 90: 0.899 }, pinball: 0.00042, calibration_error: 0.011 + 0.004 * n,
        by_horizon: { 1: { forecasts: 3010, coverage_80: 0.806, pinball_skill: 0.009 }, 5: { forecasts: 2980, coverage_80: 0.801, pinball_skill: 0.016 }, 20: { forecasts: 2850, coverage_80: 0.795, pinball_skill: 0.02 } },
        direction: { accuracy: 0.528, up: { precision: 0.541, recall: 0.48, f1: 0.509 }, down: { precision: 0.517, recall: 0.44, f1: 0.475 } },
        by_regime: { calm: { forecasts: 5210, coverage_80: 0.812, pinball_skill: 0.021 }, usual: { forecasts: 3120, coverage_80: 0.797, pinball_skill: 0.012 }, wild: { forecasts: 470, coverage_80: 0.761, pinball_skill: -0.004 } },
      },
      reliability: [0.42, 0.45, 0.48, 0.5, 0.52, 0.55, 0.58].map((probability, at) => ({ probability, happened: cents(0.5 + (probability - 0.5) * (0.82 + 0.1 * n) + 0.006 * Math.sin(at * 3 + n)), n: [140, 620, 1480, 2100, 1510, 580, 120][at] ?? 0 })),
      decisions: [
        { at: "2023-09-12T02:41:00Z", decision: n ? "kept" : "promoted", champion: `${seat}-4f2a${n}`, challenger: n ? `${seat}-9bc1` : `${seat}-4f2a0`, reasons: n ? ["the challenger's pinball loss is lower by 0.4 %, the margin is 1 %", "Diebold–Mariano: p = 0.21, not below 0.05"] : ["pinball loss lower by 2.1 % on 3,200 unseen forecasts (margin 1 %)", "Diebold–Mariano: p = 0.003", "the paper test after costs is not worse"], evidence: { forecasts: 3200, pinball_gain: n ? 0.004 : 0.021, margin: 0.01, diebold_mariano: { statistic: n ? 1.25 : 2.97, p_value: n ? 0.21 : 0.003 }, f1_up: { champion: 0.41, challenger: 0.43 } }, by: "gate" },
        { at: "2023-09-05T02:37:00Z", decision: "first", champion: `${seat}-0c4e`, challenger: null, reasons: ["nothing was champion before"], evidence: {}, by: "gate" },
      ],
    };
  }

  /** @param {string} seat @param {number} n @returns {Schemas["Drift"]} */
  drift(seat, n) {
    const names = ["return_5", "volatility_20", "volume_ratio", "rsi_14", "atr_14", "macd", "minutes_to_close", "spread_high_low"];
    const features = names.map((name, at) => {
      const psi = cents((n ? 0.11 : 0.062) / (at + 1));
      return { name, psi, js: cents(psi / 3.1), ks_p: cents(Math.min(1, 0.04 * (at + 1) ** 1.6)), wasserstein: cents(psi * 1.4), threshold: 0.1, drifted: psi > 0.1, ks: cents(psi / 2), p: null, silent: false };
    });
    return {
      seat, model_id: `${seat}-4f2a${n}`, time: iso(this.time), level: n ? "watch" : "ok", since: n ? iso(this.time - 30 * MINUTE) : null, data: { share_drifted: n ? 0.125 : 0, features, warm: true, share_limit: 0.3, stability: null },
      concept: { coverage: 0.79, coverage_expected: 0.8, brier: 0.2471, brier_expected: 0.2462, loss_ratio: 1.012, adwin: false, confidence_shift: 0.004, hit_rate: 0.528, hit_rate_expected: 0.531, broken: [] },
      persistence: { bars: n ? 30 : 0, needed: 60 }, action: null, triggers: n ? ["psi of return_5 above 0.1"] : [], what: n ? "one of eight features has left its training range; no reaction before it lasts 60 bars" : "nothing beyond what the training data did by itself",
    };
  }

  /** @param {{dropped: number, listeners: number}} bus @returns {Schemas["Health"]} */
  health(bus) {
    const now = new Date().toISOString();
    /** @param {string} name @param {Schemas["Service"]["state"]} state @param {string | null} [error] @returns {Schemas["Service"]} */
    const service = (name, state, error = null) => ({ name, state, last_success: state === "starting" ? null : now, last_error: error, failures: error ? 3 : 0, waiting: null, next_try: error ? new Date(Date.now() + 20_000).toISOString() : null, heartbeat: now });
    return {
      services: [service("prices", "ok"), service("loop", "ok"), service("schedule", "ok"), service("macro", "retrying", "api.stlouisfed.org: no answer in 10 s")],
      freshness: { seconds: this.options.empty ? null : 1.2, limit: 600, stale: false }, latency_ms: { p50: 11.4, p95: 23.8, p99: 41.2, bars: this.done, stages: { features: { count: this.done, sum_ms: this.done * 2.1, buckets: [], p50: 1.9, p95: 3.4, p99: 6 }, forecast: { count: this.done, sum_ms: this.done * 6.8, buckets: [], p50: 6.4, p95: 14.8, p99: 27 } } }, errors: 3,
      machine: { cpu_percent: 31.4, memory_percent: 44.2, disk_percent: 61, rss_mb: 812.6 }, dropped: bus.dropped, listeners: bus.listeners, error_rate: 0.0004, checks: [{ name: "records database", ok: true, detail: "integrity checked at the start" }, { name: "disk", ok: true, detail: "39 % free" }, { name: "backup", ok: null, detail: "none was made yet" }], backup: null, clock_skew_seconds: null, uptime_seconds: (Date.now() - this.started) / 1000, version: "0.1.0",
    };
  }

  /** @returns {Schemas["News"][]} */
  news() {
    return [
      { time: iso(this.time - 12 * MINUTE), title: "Supplier confirms second-half guidance", source: "Example Wire", url: "https://example.org/a", sentiment: 71 },
      { time: iso(this.time - 95 * MINUTE), title: "Analyst day: what was said about margins", source: "Example Post", url: "https://example.org/b", sentiment: 44 },
    ];
  }
}

export { SEATS };
