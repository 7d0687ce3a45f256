"""FRED's source against a local server that speaks its wire format, over real HTTP."""

import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from market_http_standin import HttpStandin

from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.macro import MACRO_SOURCES

KEY = "abcdef0123456789abcdef0123456789"
NOW = datetime(2025, 3, 12, 12, 31, tzinfo=UTC)  # 08:31 in New York, on the day of a release


class Fred:
    """Series by name: (date, [(realtime_start, value), …]); answers as the service does."""

    def __init__(self, series, most_vintages=2000, alfred=True):
        self.series, self.most, self.alfred = series, most_vintages, alfred

    def __call__(self, path, query, headers):
        if path != "/fred/series/observations":
            return 404, b"not found", {}
        if query.get("api_key") != KEY:
            said = f"Bad Request.  The value for variable api_key is not registered: {query.get('api_key')}"
            return error(400, said)
        if query["series_id"] not in self.series:
            return error(400, "Bad Request.  The series does not exist.")
        if "realtime_start" in query and not self.alfred:
            return error(400, "Bad Request.  The series does not exist in ALFRED but may exist in FRED.")
        return self.observations(query)

    def observations(self, query):
        told = self.series[query["series_id"]]
        if "realtime_start" not in query:
            rows = [row(day, "2025-03-12", "2025-03-12", versions[-1][1]) for day, versions in told]
            return page(rows, query)
        first, last = query["realtime_start"], query["realtime_end"]
        vintages = {start for _, versions in told for start, _ in versions if first <= start <= last}
        if len(vintages) > self.most:
            return error(400, f"Bad Request.  The number of vintage dates exceeds the maximum of {self.most}.")
        rows = []
        for day, versions in told:
            ends = [start for start, _ in versions[1:]]
            ends = [str(date.fromisoformat(e) - timedelta(days=1)) for e in ends] + ["9999-12-31"]
            for (start, value), end in zip(versions, ends, strict=True):
                if end >= first and start <= last:
                    rows.append(row(day, max(start, first), min(end, last), value))
        return page(rows, query)


def row(day, start, end, value):
    return {"realtime_start": start, "realtime_end": end, "date": day, "value": value}


def page(rows, query):
    limit, offset = int(query["limit"]), int(query["offset"])
    words = {
        "realtime_start": query.get("realtime_start", ""), "realtime_end": query.get("realtime_end", ""),
        "observation_start": "1600-01-01", "observation_end": "9999-12-31", "units": "lin", "output_type": 1,
        "file_type": "json", "order_by": "observation_date", "sort_order": "asc", "count": len(rows),
        "offset": offset, "limit": limit, "observations": rows[offset : offset + limit],
    }  # fmt: skip
    return 200, json.dumps(words).encode(), {"Content-Type": "application/json"}


def error(status, message):
    return status, json.dumps({"error_code": status, "error_message": message}).encode(), {}


CPI = [
    ("2024-12-01", [("2025-01-15", "317.685"), ("2025-02-12", "317.603")]),
    ("2025-01-01", [("2025-02-12", "319.086")]),
    ("2025-02-01", [("2025-03-12", "319.775")]),
]


@pytest.fixture
def service():
    made = []

    def serve(answer):
        made.append(HttpStandin(answer))
        return made[-1]

    yield serve
    for server in made:
        server.close()


def fred(server, **options):
    environ = {"FRED_API_KEY": options.pop("key", KEY)}
    return MACRO_SOURCES.create("fred", url=f"{server.url}/fred", environ=environ, **options)


def test_each_revision_is_a_row_known_from_its_release(service):
    table = fred(service(Fred({"CPIAUCSL": CPI})), release={"CPIAUCSL": "08:30"}).vintages("CPIAUCSL", None, NOW).rows
    assert table.select("time", "released", "value", "known_at", "vintage").rows() == [
        (utc(2024, 12), date(2025, 1, 15), 317.685, utc(2025, 1, 15, 13, 30), "assumed"),
        (utc(2024, 12), date(2025, 2, 12), 317.603, utc(2025, 2, 12, 13, 30), "assumed"),
        (utc(2025, 1), date(2025, 2, 12), 319.086, utc(2025, 2, 12, 13, 30), "assumed"),
        (utc(2025, 2), date(2025, 3, 12), 319.775, NOW, "observed"),
    ]


def utc(*parts):
    return datetime(*parts, *((1,) if len(parts) == 2 else ()), tzinfo=UTC)


def test_without_a_release_time_a_value_is_known_at_the_end_of_its_day_in_new_york(service):
    table = fred(service(Fred({"CPIAUCSL": CPI}))).vintages("CPIAUCSL", None, NOW).rows
    assert table["known_at"][0] == datetime(2025, 1, 16, 4, 59, 59, 999_999, tzinfo=UTC)


def test_what_is_not_there_stays_missing(service):
    gap = [("2025-02-17", [("2025-02-18", ".")]), ("2025-02-18", [("2025-02-19", "4.5")])]
    table = fred(service(Fred({"DGS10": gap}))).vintages("DGS10", None, NOW).rows
    assert table["value"].to_list() == [None, 4.5]


def test_pages_are_put_together(service):
    many = [(str(date(2024, 1, 1) + timedelta(days=n)), [("2025-01-02", str(n))]) for n in range(25)]
    server = service(Fred({"X": many}))
    table = fred(server, page=10).vintages("X", None, NOW).rows
    assert table["value"].to_list() == list(map(float, range(25)))
    assert [int(query["offset"]) for _, query, _ in server.asked] == [0, 10, 20]


def test_a_span_with_too_many_vintages_is_asked_for_in_parts_and_gives_the_same(service):
    days = [str(date(2020, 1, 6) + timedelta(days=7 * n)) for n in range(60)]
    weekly = [(day, [(str(date.fromisoformat(day) + timedelta(days=3)), str(n))]) for n, day in enumerate(days)]
    whole = fred(service(Fred({"ICSA": weekly}))).vintages("ICSA", None, NOW).rows
    server = service(Fred({"ICSA": weekly}, most_vintages=9))
    parts = fred(server).vintages("ICSA", None, NOW).rows
    assert len(server.asked) > 8
    first = parts.unique("time", keep="first", maintain_order=True)
    assert first.equals(whole)
    repeats = parts.join(whole, on=["time", "released"], how="anti")
    assert repeats.join(whole, on=["time", "value"], how="anti").is_empty()


def test_a_series_that_alfred_does_not_keep_is_known_the_day_after_and_that_is_said(service):
    told = fred(service(Fred({"SP500": [("2025-03-10", [("x", "5614.56")])]}, alfred=False))).vintages(
        "SP500", None, NOW
    )
    assert told.rows.select("released", "vintage").rows() == [(date(2025, 3, 11), "assumed")]
    assert "no vintages" in told.notes[0]


def test_a_wrong_key_is_the_users_and_is_not_repeated(service):
    secret = "0" * 31 + "f"
    with pytest.raises(InputError, match="refuses the key") as caught:
        fred(service(Fred({})), key=secret).vintages("X", None, NOW)
    assert secret not in str(caught.value)


def test_a_missing_key_names_the_variable(service):
    with pytest.raises(InputError, match="FRED_API_KEY"):
        fred(service(Fred({})), key="").vintages("X", None, NOW)


def test_an_unknown_series_is_the_users(service):
    with pytest.raises(InputError, match="no series NOPE"):
        fred(service(Fred({}))).vintages("NOPE", None, NOW)


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        ((429, b'{"error_code":429,"error_message":"Too Many Requests.  Exceeded Rate Limit"}', {}), RetryError, "429"),
        ((503, b"<html>Service Unavailable</html>", {}), RetryError, "503"),
        ((200, b'{"count": 3, "observations": [{"date": "2025-', {}), RetryError, "cut off"),
        ((200, b'{"count": 3}', {}), DataError, "cannot be read"),
        ((200, b'{"count": 1, "observations": [{"date": "soon", "value": "1"}]}', {}), DataError, "cannot be read"),
        ((400, b'{"error_message": "Bad Request.  Something new."}', {}), DataError, "Something new"),
    ],
)
def test_what_goes_wrong_is_told_by_what_can_be_done(service, reply, kind, words):
    server = service(Fred({"CPIAUCSL": CPI}))
    server.script = [reply]
    with pytest.raises(kind, match=words) as caught:
        fred(server).vintages("CPIAUCSL", None, NOW)
    assert KEY not in str(caught.value)


def test_throttling_says_for_how_long(service):
    server = service(Fred({}))
    server.script = [(429, b"", {"Retry-After": "45"})]
    with pytest.raises(RetryError) as caught:
        fred(server).vintages("X", None, NOW)
    assert caught.value.after_s == 45


def test_a_server_that_is_not_there_is_asked_again_later_and_the_key_stays_secret(service):
    server = service(Fred({}))
    server.close()
    with pytest.raises(RetryError, match="did not answer") as caught:
        fred(server).vintages("X", None, NOW)
    assert KEY not in str(caught.value) and caught.value.__cause__ is None


def test_values_of_tomorrow_are_not_known_today(service):
    early = [*CPI, ("2025-03-01", [("2025-04-10", "320")])]
    table = fred(service(Fred({"CPIAUCSL": early}))).vintages("CPIAUCSL", None, NOW).rows
    assert table.filter(pl.col("known_at") > NOW).is_empty() and table.height == 4
