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


def test_a_date_is_wild_by_what_had_been_forecast_before_it() -> None:
    rng = np.random.default_rng(3)
    width = np.exp(np.cumsum(rng.standard_normal((300, 1)) * 0.1, axis=0)) * np.exp(0.2 * rng.standard_normal((300, 4)))
    width[7] = np.nan
    place = c.volatility_rank(width)
    level = np.log(width).mean(axis=1)
    by_hand = [np.mean(level[:t][np.isfinite(level[:t])] < level[t]) for t in range(61, 300)]
    assert np.isnan(place[:61]).all()
    np.testing.assert_allclose(place[61:], by_hand)
    later = width.copy()
    later[200:] *= 50
    np.testing.assert_array_equal(c.volatility_rank(later)[:200], place[:200])


def test_coverage_is_told_apart_by_volatility() -> None:
    bars, levels = 400, (0.1, 0.5, 0.9)
    sigma = np.where(np.arange(bars) % 2 == 0, 1.0, 3.0)[:, None, None]
    quantiles = np.broadcast_to(sigma[..., None] * np.array([-1.28, 0.0, 1.28]), (bars, 1, 1, 3)).copy()
    times = np.datetime64("2010-01-01", "us") + np.arange(bars) * np.timedelta64(1, "D")
    outcomes = np.where(sigma > 2, 100.0, 0.0)  # never inside on wild dates, always on calm ones
    found = c.coverage_report(Forecast(times, ("A",), (1,), levels, quantiles, quantiles[..., 1]), outcomes)[1]
    assert found.by_volatility == {"calm": 1.0, "usual": 0.0}
    assert found.to_dict()["by_volatility"] == {"calm": 1.0, "usual": 0.0}
