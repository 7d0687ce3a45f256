"""A local HTTP server that answers like Yahoo's chart service, errors and throttling included."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlparse

import polars as pl

NEW_YORK = "America/New_York"


class Standin:
    """Answers scripted replies first (status, body, headers), then the charts it was given."""

    def __init__(self):
        self.charts, self.script, self.asked, self.crumb = {}, [], [], None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                place = urlparse(self.path)
                query = {k: v[0] for k, v in parse_qs(place.query).items()}
                outer.asked.append((unquote(place.path), query))
                status, body, headers = outer.reply(unquote(place.path), query)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def reply(self, path, query):
        if path == "/cookie":
            return 404, "not found", {"Set-Cookie": "A3=d=standin; Path=/"}
        if path == "/v1/test/getcrumb":
            return 200, "cRuMb.1", {}
        if self.script:
            return self.script.pop(0)
        if self.crumb and query.get("crumb") != self.crumb:
            return 401, json.dumps(finance_error("Unauthorized", "Invalid Crumb")), {}
        chart = self.charts.get((path.rsplit("/", 1)[-1], query["interval"]))
        if chart is None:
            return 404, json.dumps(chart_error("Not Found", "No data found, symbol may be delisted")), {}
        return 200, json.dumps(chart), {}


def chart_error(code, description):
    return {"chart": {"result": None, "error": {"code": code, "description": description}}}


def finance_error(code, description):
    return {"finance": {"result": None, "error": {"code": code, "description": description}}}


TOO_MANY = (429, "Too Many Requests\r\n", {})


def chart(symbol, bars, actions, interval="1d", zone=NEW_YORK):
    """Write raw bars and actions the way Yahoo does: bar starts, and everything adjusted for later splits."""
    local = bars.with_columns(
        day=pl.col("time").dt.convert_time_zone(zone).dt.date(),
    )
    splits = {row["time"]: row["value"] for row in actions.filter(kind="split").iter_rows(named=True)}
    later = [_product(splits, time) for time in local["time"]]
    adjusted = local.with_columns(
        *(pl.col(n) / pl.Series(later) for n in ("open", "high", "low", "close")),
        volume=pl.col("volume") * pl.Series(later),
    )
    starts = [int(_start(time, interval).timestamp()) for time in local["time"]]
    events = {}
    for kind, name in (("split", "splits"), ("dividend", "dividends")):
        rows = list(actions.filter(kind=kind).iter_rows(named=True))
        if rows:
            events[name] = {
                str(_opening(r["time"])): _event(kind, r["value"], _opening(r["time"]), _product(splits, r["time"]))
                for r in rows
            }
    result = {
        "meta": {
            "currency": "USD",
            "symbol": symbol,
            "exchangeName": "NMS",
            "instrumentType": "EQUITY",
            "gmtoffset": -18000,
            "timezone": "EST",
            "exchangeTimezoneName": zone,
            "dataGranularity": interval,
            "range": "",
        },
        "timestamp": starts,
        **({"events": events} if events else {}),
        "indicators": {
            "quote": [{n: adjusted[n].to_list() for n in ("open", "high", "low", "close", "volume")}],
            "adjclose": [{"adjclose": adjusted["close"].to_list()}],
        },
    }
    return {"chart": {"result": [result], "error": None}}


def _product(splits, time):
    out = 1.0
    for when, ratio in splits.items():
        out *= ratio if when > time else 1.0
    return out


def _start(close, interval):
    if interval == "1d":
        return datetime.fromtimestamp(_opening(close), UTC)
    return close - timedelta(minutes={"1m": 1, "5m": 5, "1h": 60}[interval])


def _opening(close):
    import zoneinfo

    local = close.astimezone(zoneinfo.ZoneInfo(NEW_YORK))
    return int(local.replace(hour=9, minute=30, second=0, microsecond=0).timestamp())


def _event(kind, value, date, later):
    if kind == "dividend":
        return {"amount": value / later, "date": date}
    top, bottom = (value, 1.0) if value >= 1 else (1.0, round(1 / value))
    return {"date": date, "numerator": top, "denominator": bottom, "splitRatio": f"{top:g}:{bottom:g}"}
