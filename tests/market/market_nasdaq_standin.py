"""A local HTTP server that answers like Nasdaq's list of the NASDAQ-100."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SYMBOLS = ("AAPL", "AMD", "ASML", "GOOG", "GOOGL", *(f"N{chr(65 + i // 26)}{chr(65 + i % 26)}" for i in range(96)))
PAGE = "<!DOCTYPE html><html><head><title>Access Denied</title></head></html>"
TOO_MANY = (429, "Too Many Requests", {"Retry-After": "7"})
LATER = (
    200,
    json.dumps(
        {
            "data": None,
            "message": None,
            "status": {
                "rCode": 200,
                "bCodeMessage": [{"code": 1002, "errorMessage": "Something went wrong. Please try again later."}],
                "developerMessage": None,
            },
        }
    ),
    {},
)


def answer(symbols=SYMBOLS, date="Sep 24, 2026"):
    """Write a list the way Nasdaq does, prices and all, in an order of its own."""
    rows = [
        {
            "symbol": symbol,
            "sector": "",
            "companyName": f"{symbol} Corp. Common Stock",
            "marketCap": "1,186,796,081,500",
            "lastSalePrice": "$267.85",
            "netChange": "-0.75",
            "percentageChange": "-0.28%",
            "deltaIndicator": "down",
        }
        for symbol in reversed(symbols)
    ]
    headers = {"symbol": "Symbol", "companyName": "Name", "marketCap": "Market Cap", "lastSalePrice": "Last Sale"}
    data = {"totalrecords": len(rows), "limit": len(rows), "offset": 0, "date": date}
    table = {"asOf": None, "headers": headers, "rows": rows}
    status = {"rCode": 200, "bCodeMessage": None, "developerMessage": None}
    return 200, json.dumps({"data": {**data, "data": table}, "message": None, "status": status}), {}


class NasdaqStandin:
    """Answers scripted replies first (status, body, headers), then with its symbols."""

    def __init__(self):
        self.symbols, self.script, self.asked = SYMBOLS, [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, body, headers = outer.script.pop(0) if outer.script else answer(outer.symbols)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/quote/list-type/nasdaq100"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
