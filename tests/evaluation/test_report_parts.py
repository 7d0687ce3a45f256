"""The small parts of the report: markup, numbers, scales, calendar, tables and plots."""

from __future__ import annotations

import csv
import io
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.evaluation.report import formats
from tradewind.evaluation.report.calendar import monthly_returns, worst_falls
from tradewind.evaluation.report.importance import _influence
from tradewind.evaluation.report.markup import Markup, node
from tradewind.evaluation.report.metrics import FIGURES, SCORES, formula
from tradewind.evaluation.report.plot import Plot
from tradewind.evaluation.report.scales import SPAN, Scale, around, dates, milliseconds, round_numbers, spaced, thinned
from tradewind.evaluation.report.sections.fans import fan_paths
from tradewind.evaluation.report.tables import Column, Table, as_csv
from tradewind.stats.proportion import wilson

numbers = st.floats(-1e9, 1e9, allow_nan=False)


@given(st.text(), st.text())
def test_text_and_attributes_survive_escaping_and_never_become_markup(text: str, attribute: str) -> None:
    clean = "".join(c for c in text if c.isprintable())
    value = "".join(c for c in attribute if c.isprintable())
    read = ET.fromstring(node("p", clean, title=value))
    assert (read.text or "") == clean
    assert read.get("title") == value
    assert len(read) == 0


def test_markup_is_not_escaped_twice() -> None:
    assert node("p", node("b", "a<b")) == "<p><b>a&lt;b</b></p>"
    assert node("p", Markup("<i>"), None, class_="x", title=None) == '<p class="x"><i></p>'


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (formats.percent(1)(-0.1234), "−12.3\u202f%"),
        (formats.percent(1, signed=True)(0.1234), "+12.3\u202f%"),
        (formats.decimal(2)(-0.001), "0.00"),
        (formats.decimal(0, signed=True)(0.0), "0"),
        (formats.money(1234567.8), "1,234,568"),
        (formats.short_money(1_000_000.0), "1M"),
        (formats.short_money(-2500.0), "−2.5k"),
        (formats.price(0.1234), "0.1234"),
        (formats.price(1234.5), "1,234.50"),
        (formats.quantity(12.0), "12"),
        (formats.quantity(12.3456), "12.35"),
        (formats.probability(0.99999), ">99.9\u202f%"),
        (formats.probability(1.0), "100.0\u202f%"),
        (formats.p_value(0.0001), "<0.001"),
        (formats.bars(1), "1 bar"),
        (formats.bars("20"), "20 bars"),
    ],
)
def test_numbers_are_written_as_people_read_them(said: str, wanted: str) -> None:
    assert said == wanted


@pytest.mark.parametrize("value", [None, math.nan, math.inf, np.float64("nan")])
def test_what_is_missing_is_a_dash_with_its_reason(value: object) -> None:
    for shown in (formats.shown(value, formats.money, "no trades"), formats.change(value, formats.money, "no trades")):
        assert shown == '<span class="missing" title="no trades">–</span>'


def test_a_change_shows_its_direction_without_colour() -> None:
    assert "▲" in formats.change(0.1, formats.percent(1))
    assert "▼" in formats.change(-0.1, formats.percent(1))
    for nothing in (0.0, 0.0001, -0.0001):
        assert formats.change(nothing, formats.percent(1)) == "<span>0.0\u202f%</span>"


@given(numbers, st.floats(1e-6, 1e9))
def test_round_numbers_lie_inside_the_scale_and_are_few(low: float, width: float) -> None:
    scale = Scale(low, low + width)
    if scale.high - scale.low < 1e-9 * max(abs(low), 1.0):
        return
    found = round_numbers(scale, 5)
    slack = 1e-6 * width
    assert 1 <= len(found) <= 12
    assert all(scale.low - slack <= v <= scale.high + slack for v in found)


def test_a_logarithmic_scale_gives_equal_growth_equal_room() -> None:
    scale = Scale(10.0, 1000.0, log=True)
    assert np.allclose(scale.at([10.0, 100.0, 1000.0]), [0, SPAN / 2, SPAN])
    assert 100.0 in round_numbers(scale)


def test_a_scale_around_nothing_or_one_value_can_still_be_drawn() -> None:
    for scale in (around([np.nan]), around([5.0]), around([0.0])):
        assert scale.high > scale.low


@pytest.mark.parametrize(
    ("first", "last"), [("2003-04-07", "2013-03-01"), ("2013-01-02", "2013-09-30"), ("2013-01-02", "2013-01-20")]
)
def test_dates_on_an_axis_are_inside_it_and_few(first: str, last: str) -> None:
    low, high = milliseconds(np.array([first, last], dtype="datetime64[us]"))
    found = dates(low, high, 8)
    assert 2 <= len(found) <= 9
    assert all(low <= t <= high for t, _ in found)
    assert len({label for _, label in found}) == len(found)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_labels_are_moved_apart_and_keep_their_order(places: list[float]) -> None:
    moved = spaced(places, gap=6)
    assert all(-1e-9 <= m <= 100 + 1e-9 for m in moved)
    order = sorted(range(len(places)), key=lambda i: places[i])
    gaps = np.diff([moved[i] for i in order])
    assert np.all(gaps >= 6 - 1e-9)


def test_a_thinned_line_keeps_its_ends_and_extremes() -> None:
    y = np.random.default_rng(3).normal(size=20_000).cumsum()
    y[100] = np.nan
    x, kept = thinned(np.arange(20_000.0), y)
    assert len(kept) <= 2_800
    assert (kept.max(), kept.min(), kept[0], kept[-1]) == (np.nanmax(y), np.nanmin(y), y[0], y[-1])
    assert np.all(np.diff(x) > 0)


def test_monthly_returns_compound_to_the_total() -> None:
    times = np.datetime64("2012-11-28T21:00", "us") + np.arange(100) * np.timedelta64(1, "D")
    equity = 100 * np.exp(np.random.default_rng(1).normal(0, 0.01, 100).cumsum())
    table = monthly_returns(times, equity)
    assert table.years == ("2012", "2013")
    assert np.isnan(table.months[0, :10]).all()
    assert math.isclose(np.nanprod(1 + table.months), equity[-1] / equity[0])
    assert np.allclose(np.prod(1 + table.totals), equity[-1] / equity[0])


def test_worst_falls_are_separate_dated_and_deepest_first() -> None:
    times = np.datetime64("2020-01-01", "us") + np.arange(9) * np.timedelta64(1, "D")
    equity = np.array([100, 110, 99, 110, 120, 60, 90, 121, 110.0])
    first, second, third = worst_falls(times, equity)
    assert (first.depth, first.peak, first.trough, first.recovered, first.bars) == (
        0.5,
        "2020-01-05",
        "2020-01-06",
        "2020-01-08",
        2,
    )
    assert math.isclose(second.depth, 0.1)
    assert third.recovered is None
    assert worst_falls(times, np.arange(1.0, 10.0)) == []


def test_a_fan_passes_through_every_forecast_and_grows_with_the_root_of_time() -> None:
    quantiles = np.array([[-0.01, 0.01], [-0.02, 0.02], [-0.04, 0.04]])
    steps, paths = fan_paths((1, 4, 16), quantiles)
    at = {float(s): p for s, p in zip(steps, paths, strict=True)}
    assert np.allclose(at[0.0], 0)
    for horizon, wanted in zip((1.0, 4.0, 16.0), quantiles, strict=True):
        assert np.allclose(at[horizon], wanted)
    assert np.allclose(paths[:, 1], 0.01 * np.sqrt(steps))


def test_the_interval_of_a_proportion_agrees_with_statsmodels() -> None:
    from statsmodels.stats.proportion import proportion_confint

    low, high = wilson(np.array([0.0, 0.3, 1.0]), np.array([20.0, 50.0, 10.0]), z=1.959963984540054)
    wanted = proportion_confint(np.array([0, 15, 10]), np.array([20, 50, 10]), method="wilson")
    assert np.allclose(low, wanted[0], atol=1e-12)
    assert np.allclose(high, wanted[1], atol=1e-12)


def test_a_plot_is_well_formed_and_says_what_it_shows() -> None:
    plot = Plot(Scale(0, 10), Scale(0, 1), label="a <chart>")
    plot.axis_y()
    plot.line([0, 5, 10], [0, np.nan, 1], "s1", "name & more")
    plot.area([0, 10], [0, 0], [1, 1], "fan-50", "inside")
    plot.boxes(np.array([1.0]), np.array([2.0]), np.array([0.2]), np.array([0.4]), "up")
    plot.sticks([1], [0.1], [0.5], "wick")
    plot.dot(5, 0.5, "s1", "a dot")
    plot.note(5, 0.5, "<b>")
    plot.axis_x([(0, "0"), (5, "5")], "x")
    plot.hover("2")
    drawn = ET.fromstring(plot.render())
    assert drawn.find("svg").get("aria-label") == "a <chart>"  # type: ignore[union-attr]
    assert {t.text for t in drawn.iter("title")} == {"inside", "a dot"}
    assert [p.get("data-name") for p in drawn.iter("path") if p.get("data-name")] == ["name & more"]


def test_a_csv_holds_the_plain_values_and_no_spreadsheet_formulas() -> None:
    text = as_csv(["name", "value"], [["=cmd|' /C calc'!A0", 1.25], ['a, "b"', None], ["n", math.nan]])
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [["name", "value"], ["'=cmd|' /C calc'!A0", "1.25"], ['a, "b"', ""], ["n", ""]]


def test_a_table_escapes_its_cells_and_names_its_rows() -> None:
    table = Table("t", "caption", [Column("A", text=True), Column("B", hint="formula")])
    table.add(["<script>", "1"], ["<script>", 1])
    read = ET.fromstring(table.render())
    assert read.find(".//tbody/tr/th").text == "<script>"  # type: ignore[union-attr]
    assert read.find(".//a").get("href").startswith("data:text/csv")  # type: ignore[union-attr]


def test_every_figure_and_score_has_a_formula() -> None:
    assert [name for name in (*FIGURES, *SCORES) if not formula(name)] == []


@pytest.mark.parametrize(
    ("kind", "said", "wanted"),
    [
        ("importance", {"a": 3.0, "b": 1.0, "none": 0.0}, {"a": 0.75, "b": 0.25}),
        ("importance", [["a", 1.0], ["b", 1.0]], {"a": 0.5, "b": 0.5}),
        ("weights", {"5": {"x": -2.0, "level": 9.0}, "1": {"x": 1.0}}, {"x": -2.0}),
    ],
)
def test_importances_are_read_in_every_form_that_models_use(kind: str, said: object, wanted: dict[str, float]) -> None:
    found = _influence("m", kind, said, "5")
    assert found is not None
    assert dict(found.values) == wanted


@pytest.mark.parametrize("said", [None, {}, [], "words", {"a": "b"}, [1, 2, 3]])
def test_models_that_say_nothing_have_no_importances(said: object) -> None:
    assert _influence("m", "importance", said, "5") is None
