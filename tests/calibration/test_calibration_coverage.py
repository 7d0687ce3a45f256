"""Coverage reports by hand."""

import json
import math

import numpy as np
import pytest

from tradewind.calibration import coverage as c
from tradewind.errors import InputError
from tradewind.models.forecast import Forecast


def small() -> tuple[Forecast, np.ndarray]:
    times = np.array(["2010-12-30", "2010-12-31", "2011-01-03", "2011-01-04"], "datetime64[us]")
    quantiles = np.broadcast_to([-1.0, 0.0, 1.0], (4, 2, 1, 3)).copy()
    quantiles[3, 1] = np.nan
    outcomes = np.array([[0.5, 2.0], [-1.0, 1.0], [-3.0, np.nan], [0.0, 0.0]])[:, :, None]
    return Forecast(times, ("A", "B"), (5,), (0.1, 0.5, 0.9), quantiles, quantiles[..., 1]), outcomes


def test_a_report_worked_by_hand() -> None:
    found = c.coverage_report(*small())[5]
    assert found.nominal == pytest.approx(0.8)
    assert (found.realised, found.n) == (pytest.approx(4 / 6), 6)
    assert found.by_date == pytest.approx([0.5, 1.0, 0.0, 1.0])
    assert found.by_year == {2010: 0.75, 2011: 0.5}
    assert found.by_symbol == {"A": 0.75, "B": 0.5}
    assert math.isnan(found.rolling_deviation)
    assert [share for _, share in found.reliability] == pytest.approx([2 / 6, 3 / 6, 5 / 6])


def test_the_json_form_holds_no_nan_and_is_keyed_by_horizon() -> None:
    table = c.coverage_report(*small()).to_dict()
    assert table["5"]["rolling_100_deviation"] is None
    json.dumps(table, allow_nan=False)


def test_an_unknown_horizon_is_refused() -> None:
    with pytest.raises(InputError, match="horizon"):
        c.coverage_report(*small())[7]


def test_the_rolling_deviation_is_of_runs_of_dates_with_an_outcome() -> None:
    by_date = np.array([1.0, np.nan, 0.5, 0.6, 1.0])
    assert c.rolling_deviation(by_date, 0.8, 2) == pytest.approx([0.05, 0.25, 0.0])
    assert c.rolling_deviation(by_date, 0.8, 9).size == 0


def test_the_interval_nearest_to_the_wanted_coverage_is_taken() -> None:
    levels = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    assert c.interval_levels(levels, 0.8) == (1, 5)
    assert c.interval_levels(levels, 0.99) == (0, 6)
    assert c.mirrored_pairs((0.1, 0.5, 0.8)) == []
    with pytest.raises(InputError, match="central interval"):
        c.interval_levels((0.1, 0.5), 0.8)


def test_nothing_known_is_reported_as_missing() -> None:
    forecast, outcomes = small()
    found = c.coverage_report(forecast, np.full_like(outcomes, np.nan))[5]
    assert math.isnan(found.realised)
    assert found.n == 0
    assert found.by_year == {}


def test_pit_of_honest_forecasts_is_flat_and_of_narrow_ones_a_bowl() -> None:
    from scipy import stats

    levels = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    y = stats.t.ppf((np.arange(20_000) + 0.5) / 20_000, 5)[:, None, None]
    times = np.datetime64("2010-01-01", "us") + np.arange(20_000)
    for factor, bowl in ((1.0, False), (0.6, True)):
        q = np.broadcast_to(factor * stats.t.ppf(levels, 5), (20_000, 1, 1, 7)).copy()
        share, edges = c.pit_histogram(Forecast(times, ("A",), (1,), levels, q, q[..., 3]), y, 0, bins=10)
        assert share.sum() == pytest.approx(1.0)
        assert len(edges) == 11
        assert bool(share[0] > 0.15) is bowl
        assert bowl or share == pytest.approx(np.full(10, 0.1), abs=1e-3)
