"""The newest book put to the test, as a program and as a reader sees it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from spine_kit import QuickRun
from tradewind.cli import stress as verb
from tradewind.errors import InputError
from tradewind.evaluation.report.sections import risk as drawn
from tradewind.evaluation.stress import Sessions, examine, judgement, scenario_of, sessions_of
from tradewind.risk.settings import RiskSection
from tradewind.risk.stress_settings import StressSection
from tradewind.risk.value_at_risk import tail_path

app = typer.Typer()
verb.add_to(app)
app.callback()(lambda: None)


def call(home: Path, monkeypatch: pytest.MonkeyPatch, *words: object, code: int = 0) -> str:
    monkeypatch.setenv("TRADEWIND_HOME", str(home))
    result = CliRunner().invoke(app, ["stress", *(str(w) for w in words)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def sessions(quick: QuickRun) -> Sessions:
    return sessions_of(quick.record.world.panel, 252)


def test_the_newest_book_is_put_to_the_test(home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (quick.playbook, "--json", "--level", "0.9", "--shock", "market=-0.1", "--shock", "symbol.AAA=-0.5")
    found = json.loads(call(home, monkeypatch, *words))
    assert found["book"] in ("targets", "equal_weight") and bool(found["book_reason"]) == (found["book"] != "targets")
    assert sum(map(abs, found["weights"].values())) == pytest.approx(found["gross"])
    assert list(found["var"]) == [
        "historical", "filtered_historical", "parametric", "student_t", "monte_carlo", "copula",
    ]  # fmt: skip
    assert all(0 < row["var"] <= row["cvar"] < 0.2 for row in found["var"].values() if row["var"] is not None)
    for part in found["contributions"].values():
        assert sum(row["component"] for row in part["by_symbol"].values()) == pytest.approx(part["total"])
    by_name = {row["name"]: row for row in found["scenarios"]}
    assert list(by_name) == ["2008", "2020", "2022", "shock", "monte_carlo"]
    assert by_name["2020"]["status"] == "unavailable" and "the data end on" in by_name["2020"]["reason"]
    shocked = by_name["shock"]
    assert shocked["loss"] == pytest.approx(sum(row["loss"] for row in shocked["positions"]))
    assert any("no index" in note for note in found["notes"])


def test_a_playbook_that_holds_nothing_is_put_to_the_test_with_equal_weights_and_says_so(
    home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (quick.playbook, "--set", "decision.confidence_min=0.99", "--set", "decision.confidence_exit=0.9")
    found = json.loads(call(home, monkeypatch, *words, "--json"))
    assert found["book"] == "equal_weight" and "never fired" in found["book_reason"]
    assert found["weights"] == dict.fromkeys(("AAA", "BBB", "CCC", "DDD"), 0.25)
    text = call(home, monkeypatch, *words)
    assert "never fired" in text and "filtered historical" in text and "of volatility" in text


def test_a_book_that_is_not_due_is_put_to_the_test_as_it_was_last_chosen(
    home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two rebalances a book says nothing new of its names; that is not to want none of them."""
    rows = len(quick.record.world.panel)
    assert (rows - 1) % 4 == 3, "the newest close lies between two on which positions may change"
    book = ("--set", "optimiser.use=true", "--set", "optimiser.among=universe", "--set", "decision.every_bars=4")
    found = json.loads(call(home, monkeypatch, quick.playbook, "--json", *book))
    assert (found["book"], found["book_reason"]) == ("targets", None)
    due = str(quick.record.world.panel.times[rows - 4])[:10]
    chosen = json.loads(call(home, monkeypatch, quick.playbook, "--json", *book, "--as-of", f"{due}T23:00:00Z"))
    assert chosen["as_of"][:10] == due < found["as_of"][:10]
    assert chosen["weights"] == pytest.approx(found["weights"]) and len(found["weights"]) > 1


def test_a_history_too_short_for_forecasts_still_has_a_risk(
    home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = json.loads(call(home, monkeypatch, quick.playbook, "--json", "--as-of", "2014-06-30"))
    assert found["book"] == "equal_weight" and "has no targets" in found["book_reason"]
    assert found["var"]["historical"]["var"] > 0


@pytest.mark.parametrize(
    ("shock", "said"),
    [
        ("symbol.AAB=-0.2", "AAA"),
        ("market", "write market=-0.1"),
        ("market.x=-0.1", "write market=-0.1"),
        ("symbl.AAA=-0.1", "did you mean 'symbol'"),
        ("sector.Enrgy=-0.1", "Energy"),
        ("factor.vix=0.5", "no context series"),
        ("symbol.AAA=-3", "symbol.AAA=-3: AAA = -3.0: a return must lie in"),
        ("market=-3", "-0.1 is a fall of 10 %"),
    ],
)
def test_a_shock_that_cannot_be_is_refused(
    home: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch, shock: str, said: str
) -> None:
    error = json.loads(call(home, monkeypatch, quick.playbook, "--json", "--shock", shock, code=2))["error"]
    assert said in f"{error['what']} {error['hint']}" and error["hint"]


def test_shocks_of_names_with_dots_are_read() -> None:
    found = scenario_of(["symbol.BRK.B=-0.2", "sector.Technology=-0.1", "market=0.05"])
    assert (found.symbol, found.sector) == ({"BRK.B": -0.2}, {"Information Technology": -0.1})
    with pytest.raises(InputError, match="cannot be read"):
        scenario_of(["symbol.A=much"])


def test_bars_of_a_session_are_gathered_into_one(quick: QuickRun) -> None:
    panel = quick.record.world.panel.rows(0, 60)
    hour = np.timedelta64(1, "h")
    twice = {name: np.repeat(values, 2, axis=0) for name, values in panel.fields.items()}
    twice["split"][1::2], twice["dividend"][1::2] = 1.0, 0.0
    times = np.ravel(np.column_stack([panel.times - hour, panel.times]))
    doubled = replace(
        panel, times=times, fields=twice, mask=np.repeat(panel.mask, 2, axis=0),
        member=np.repeat(panel.member, 2, axis=0), context={},
    )  # fmt: skip
    once, both = sessions_of(replace(panel, context={}), 252), sessions_of(doubled, 252)
    np.testing.assert_array_equal(once.past.dates, both.past.dates)
    np.testing.assert_allclose(once.past.close, both.past.close, rtol=1e-12)
    np.testing.assert_allclose(2 * once.volume, both.volume)


def test_nothing_later_changes_the_risk_of_a_session(quick: QuickRun) -> None:
    panel, weights = quick.record.world.panel, np.full(4, 0.25)
    section, risk = StressSection(samples=1000), RiskSection()
    early = examine(sessions_of(panel.head(350), 252), weights, 1e5, risk, section)
    changed = {name: values.copy() for name, values in panel.fields.items()}
    changed["close"][350:] *= 5
    again = examine(sessions_of(replace(panel, fields=changed).head(350), 252), weights, 1e5, risk, section)
    assert json.dumps(early, default=str) == json.dumps(again, default=str)


def test_a_name_with_little_history_leaves_the_risk_unknown_and_every_measure_says_why(quick: QuickRun) -> None:
    seen = sessions(quick)
    close = seen.past.close.copy()
    close[:-40, 2] = np.nan
    late = replace(seen, past=replace(seen.past, close=close))
    found = examine(late, np.full(4, 0.25), 1e5, RiskSection(), StressSection(samples=1000))
    for row in (*found["var"].values(), *found["contributions"].values()):
        assert row["reason"] and not np.isfinite(row.get("var", row.get("total")))
    assert "CCC" in found["var"]["historical"]["reason"]
    assert found["scenarios"][-1]["status"] == "unavailable"


def test_a_forecast_is_judged_by_the_session_after_it() -> None:
    own = np.array([0.0, -0.03, 0.0, -0.01])
    found = judgement(own, np.array([0.02, 0.05, 0.05, 0.0]), np.full(4, 0.03), 0.95)
    assert (found["sessions"], found["exceptions"]) == (3, 1)


def test_the_chapter_on_risk_is_drawn_from_what_the_verb_says(quick: QuickRun) -> None:
    seen, weights = sessions(quick), np.array([0.4, 0.3, 0.2, -0.1])
    found = examine(seen, weights, 1e5, RiskSection(), StressSection(samples=1000))
    shares = {
        name: {symbol: row["share"] for symbol, row in part["by_symbol"].items()}
        for name, part in found["contributions"].items()
    }
    returns = seen.past.returns
    path = tail_path(returns, weights, 0.95, "student_t")
    page = drawn.risk(
        drawn.heat_map(list(found["weights"]), {"weight %": [0.4, 0.3, 0.2, -0.1], "beta": [1.0, None, 0.5, 2.0]}),
        drawn.contributions(shares),
        drawn.against_losses(
            seen.past.dates.astype("datetime64[us]")[1:], (np.nan_to_num(returns) @ weights)[1:], path.var[:-1], 0.95
        ),
        drawn.exceptions(found["var_tests"]),
        drawn.scenarios(found["scenarios"]),
    )
    for words in ("Risk of the book", "Risk by name", "unknown for this name", "exceptions in", "Kupiec p", "Lehman"):
        assert words in page
    assert page.count("data:text/csv") == 5


def test_a_chapter_on_nothing_says_that_there_is_nothing() -> None:
    nothing: dict[str, Any] = {}
    empty = np.empty(0)
    page = drawn.risk(
        drawn.heat_map([], nothing),
        drawn.contributions(nothing),
        drawn.against_losses(np.empty(0, "datetime64[us]"), empty, empty, 0.95),
        drawn.exceptions(nothing),
        drawn.scenarios([]),
    )
    assert page.count('class="empty"') == 5
