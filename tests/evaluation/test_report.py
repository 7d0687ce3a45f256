"""The report as one file, made from a real back-test of the synthetic market."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spine_kit import retold
from tradewind.calibration.coverage import coverage_report
from tradewind.evaluation.backtest import TrackRecord, backtest
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.report import write_report
from tradewind.evaluation.report.formats import decimal, percent, price
from tradewind.evaluation.report.metrics import FIGURES
from tradewind.evaluation.report.sections import trading
from tradewind.evaluation.report.sections.trading import _trips
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.plan import TradePlan
from tradewind.execution.simulator import simulate
from tradewind.playbook import load

VOID = {"meta", "br", "link", "img", "hr", "input"}
MANY = 341

FAST = {
    "models.use": "naive_t",
    "models.compare": "[]",
    "features.include": '["return_5"]',
    "evaluation.bootstrap_samples": "100",
    "decision.confidence_min": "0.5",
    "decision.confidence_exit": "0.4",
}


def a_record(home: Path, **flags: str) -> TrackRecord:
    playbook = load("sample", source="synthetic", overrides={**FAST, **flags}, environ={})
    return backtest(Workspace(Plan.of(playbook), home))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> TrackRecord:
    return a_record(tmp_path_factory.mktemp("home"))


@pytest.fixture
def written(tmp_path: Path) -> Callable[[TrackRecord], str]:
    def write(record: TrackRecord) -> str:
        return write_report(record, tmp_path / "deep" / "report.html").read_text("utf-8")

    return write


class Reader(HTMLParser):
    """Checks that tags balance; collects text, links and titles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def all(self, name: str) -> list[str]:
        return [value or "" for _, key, value in self.attributes if key == name]


def changed(record: TrackRecord, **values: Any) -> TrackRecord:
    """The same record with other entries in its result; deep ones by ``a__b``."""
    result = copy.deepcopy(record.result)
    for path, value in values.items():
        *way, last = path.split("__")
        place = result
        for key in way:
            place = place[key]
        place[last] = value
    return replace(record, result=result)


def without_trades(record: TrackRecord) -> TrackRecord:
    world = record.world
    plan = world.plan
    idle = simulate(world.panel, TradePlan.hold(world.panel.shape), plan.execution, plan.account)
    nothing = {"trades": 0, "sharpe": np.nan, "sharpe_ci": [np.nan, np.nan], "win_rate": np.nan, "annual_return": 0.0}
    nothing |= {"profit_factor": None, "capacity": None, "costs": {"commission": 0.0, "total": 0.0}}
    track = {**record.result["track_record"], **nothing, "final_equity": plan.account.start_capital}
    held = [{**r, "action": "HOLD", "weight": 0.0, "target": None} for r in record.result["recommendations"]]
    other = changed(record, track_record=track, limits_bound={}, recommendations=held)
    return replace(other, simulations={"base": idle})


def without_index(record: TrackRecord) -> TrackRecord:
    world = replace(record.world, panel=replace(record.world.panel, context={}))
    other = changed(record, track_record__baselines__index=None)
    return retold(other, decision=replace(record.decision, world=world))


def widened(record: TrackRecord, symbols: int) -> TrackRecord:
    """The same market again and again under other names."""
    panel, forecast, labels = record.world.panel, record.decision.belief.forecast, record.world.labels
    columns = np.arange(symbols) % len(panel.symbols)
    names = tuple(f"N{i:03d}" for i in range(symbols))
    wide = replace(
        panel,
        symbols=names,
        instruments=names,
        fields={k: v[:, columns] for k, v in panel.fields.items()},
        mask=panel.mask[:, columns],
        member=panel.member[:, columns],
        sectors=tuple(panel.sectors[c] for c in columns),
    )
    belief = replace(
        forecast, symbols=names, quantiles=forecast.quantiles[:, columns], score=forecast.score[:, columns]
    )
    outcomes = labels.returns[:, columns]
    rows = {r["symbol"]: r for r in record.result["recommendations"]}
    entries = [{**rows[panel.symbols[c]], "symbol": n} for n, c in zip(names, columns, strict=True)]
    for entry in entries[30:]:
        entry |= {"action": "HOLD", "weight": 0.0}
    world = replace(record.world, panel=wide, labels=replace(labels, returns=outcomes))
    decision = replace(record.decision, world=world, belief=replace(record.decision.belief, forecast=belief))
    other = changed(record, recommendations=entries)
    return retold(other, decision=decision, coverage=coverage_report(belief, outcomes))


def test_the_file_is_self_contained_small_and_well_formed(record: TrackRecord, written: Any) -> None:
    html = written(record)
    read = Reader(html)
    assert html.startswith("<!doctype html>")
    assert len(html.encode()) < 3_000_000
    assert not [v for v in read.all("src") + read.all("href") if not v.startswith(("#", "data:"))]
    assert not re.search(r"@import|url\(|https?:", html)
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    ids = read.all("id")
    assert len(ids) == len(set(ids))
    assert {v[1:] for v in read.all("href") if v.startswith("#")} <= set(ids)


def test_it_opens_with_the_verdict(record: TrackRecord, written: Any) -> None:
    text = Reader(written(record)).text
    sentence = record.result["verdict"]["text"].partition(" Forecasts: ")[0]
    titles = [
        "Net annual return",
        "Sharpe ratio",
        "Deflated Sharpe",
        "PBO",
        "Trials counted",
        "Costs",
        "Intervals held",
    ]
    places = [text.index(sentence), *(text.index(t) for t in titles), text.index("red flag"), text.index("Entry")]
    assert places[0] == min(places)
    assert places[-1] == max(places)
    for flag in record.result["red_flags"]:
        assert flag["message"] in text


def test_every_figure_of_the_result_is_there_in_its_format(record: TrackRecord, written: Any) -> None:
    read = Reader(written(record))
    text, found = read.text, record.result["track_record"]
    for name, figure in FIGURES.items():
        if found[name] is not None:
            assert figure.how(found[name]) in text, name
    for row in record.result["coverage"].values():
        assert percent(1)(row["realised"]) in text
    for horizons in record.result["forecast_quality"].values():
        assert all(f"{row['pinball']:.5f}" in text and f"{row['n']:,}" in text for row in horizons.values())
    for row in record.result["targets"]:
        assert row["target"] in text
        assert (percent(1) if row["unit"] == "share" else decimal(2))(row["measured"]) in text
    for kind in found["costs"]:
        assert kind.replace("_", " ") in text or kind == "total"
    manifest = record.manifest
    for known in (
        manifest.run,
        manifest.data_version,
        manifest.code,
        record.result["playbook_hash"],
        *manifest.environment,
    ):
        assert known in text


def test_every_symbol_has_its_recommendation_with_reasons(record: TrackRecord, written: Any) -> None:
    text = Reader(written(record)).text
    for entry in record.result["recommendations"]:
        assert entry["symbol"] in text
        assert price(entry["entry"]) in text
        assert price(entry["stop"]) in text
        assert all(reason in text for reason in entry["reasons"])


def test_trades_that_scroll_inside_their_card_say_so(
    record: TrackRecord, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = Reader(written(record))
    shown = min(len(record.simulations["base"].trades), trading.SHOWN_TRADES)
    assert shown > trading.UNSCROLLED_TRADES
    assert f"Scroll inside the table to see all {shown} rows" in many.text
    monkeypatch.setattr(trading, "UNSCROLLED_TRADES", shown)
    whole = Reader(written(record))
    assert "Scroll inside" not in whole.text
    assert "scroll tall" in many.all("class") and "scroll tall" not in whole.all("class")


def test_figures_say_their_formula_and_sample_size_on_hover(record: TrackRecord, written: Any) -> None:
    titles = Reader(written(record)).all("title")
    n = record.result["track_record"]["bars"]
    assert any("mean(r - f) / sd(r - f)" in t and f"n = {n:,}" in t for t in titles)
    assert sum("n = " in t for t in titles) > 30


def test_text_has_enough_contrast_in_light_and_dark() -> None:
    style = resources.files("tradewind.evaluation.report").joinpath("style.css").read_text("utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root {([^}]*)}", style)[:2]
    )
    for theme in (light, {**light, **dark}):
        for ink in ("ink", "soft", "up-ink", "down-ink", "amber-ink", "blue-ink", "orange-ink", "violet"):
            assert contrast(theme[ink], theme["card"]) >= 4.5, ink
            assert contrast(theme[ink], theme["paper"]) >= 4.5, ink
        for tone in ("#26a69a", "#ef5350"):
            assert contrast(theme["ink"], mixed(tone, theme["card"], 0.55)) >= 4.5


def contrast(a: str, b: str) -> float:
    """The contrast ratio of WCAG 2.2."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def mixed(over: str, under: str, share: float) -> str:
    pairs = ((int(over[i : i + 2], 16), int(under[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


def test_a_page_for_the_same_record_is_the_same_page(record: TrackRecord, written: Any) -> None:
    assert written(record) == written(record)


def test_text_from_outside_never_becomes_markup(record: TrackRecord, written: Any) -> None:
    evil = "<script>alert(1)</script>&\"'"
    entries = [{**record.result["recommendations"][0], "reasons": [evil, evil], "sector": evil, "event": evil}]
    html = written(
        changed(
            record,
            playbook=evil,
            notes=[evil],
            warnings=[evil],
            recommendations=entries,
            red_flags=[{"code": evil, "message": evil + "!"}],
            universe__dropped={evil: evil},
            verdict={"word": "none", "text": evil},
        )
    )
    read = Reader(html)
    assert html.count("<script>") == 1
    assert read.text.count(evil) >= 8


def test_missing_values_are_dashes_with_a_reason(record: TrackRecord, written: Any) -> None:
    html = written(changed(record, track_record__sharpe=np.nan, track_record__pbo=None, track_record__pbo_reason="why"))
    assert '<span class="missing" title="why">–</span>' in html
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", Reader(html).text.partition("Reads the named lines")[0])


@pytest.mark.parametrize("other", [without_trades, without_index])
def test_a_book_that_lacks_something_still_has_its_page(record: TrackRecord, written: Any, other: Any) -> None:
    text = Reader(written(other(record))).text
    wanted = "no round trip was closed" if other is without_trades else "Figures of the index"
    assert wanted in text


def test_a_symbol_without_bars_or_forecast_is_shown_as_such(record: TrackRecord, written: Any) -> None:
    panel, forecast = record.world.panel, record.decision.belief.forecast
    gone = record.result["recommendations"][0]["symbol"]
    column = panel.symbols.index(gone)
    mask, quantiles = panel.mask.copy(), forecast.quantiles.copy()
    mask[-300:, column], quantiles[-300:, column] = False, np.nan
    world = replace(record.world, panel=replace(panel, mask=mask))
    belief = replace(record.decision.belief, forecast=replace(forecast, quantiles=quantiles))
    nothing: dict[str, Any] = dict.fromkeys(("confidence", "entry", "target", "stop", "shares", "tier", "bound_by"))
    nothing |= {"action": "HOLD", "weight": 0.0, "reasons": ["no forecast"]}
    nothing["intervals"] = {str(h): {"median": None, "80": [None, None], "90": [None, None]} for h in (1, 5, 20)}
    entries = [{**r, **nothing} if r["symbol"] == gone else r for r in record.result["recommendations"]]
    other = changed(record, recommendations=entries)
    text = Reader(written(retold(other, decision=replace(record.decision, world=world, belief=belief)))).text
    assert "no bar in the last" in text


def test_one_symbol_alone_has_a_page(tmp_path: Path, written: Any) -> None:
    alone = a_record(tmp_path, **{"universe.symbols": '["SYN001"]'})
    text = Reader(written(alone)).text
    assert "SYN001" in text
    assert "three or more symbols" in text


def test_a_large_universe_folds_what_is_held_and_stays_small(record: TrackRecord, written: Any) -> None:
    html = written(widened(record, MANY))
    text = Reader(html).text
    assert len(html.encode()) < 3_000_000
    assert f"HOLD: {MANY - 30} symbols" in text
    assert f"the first 24 of {MANY} symbols" in text
    assert all(f"N{i:03d}" in text for i in range(MANY))


def test_an_earlier_report_survives_a_failed_write(record: TrackRecord, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("earlier")
    with pytest.raises(KeyError):
        write_report(replace(record, result={}), path)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_browser_draws_it(record: TrackRecord, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    page, picture = write_report(record, tmp_path / "report.html"), tmp_path / "picture.png"
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    flags += f" --disable-component-update --window-size=400,800 --user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [browser, *flags.split(), f"--screenshot={picture}", page.as_uri()],
        capture_output=True,
        timeout=120,
        check=False,
    )
    if done.returncode and not picture.exists():
        pytest.skip(f"Chromium does not run here: {done.stderr[-200:]!r}")
    assert picture.stat().st_size > 10_000


def test_round_trips_that_were_closed_and_positions_still_open_are_told_apart() -> None:
    assert _trips({"trades": 21, "open_trades": 5}) == (
        "16 round trips were closed and 5 positions were still open at the end"
    )
    assert _trips({"trades": 16}) == "16 round trips were closed"
