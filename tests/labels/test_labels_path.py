"""How far the price went on the way, against a loop over every bar."""

from __future__ import annotations

import numpy as np
import pytest

from tradewind.labels.path import path_extremes
from tradewind.market.panel import Panel

BARS, SYMBOLS = 60, 4


@pytest.fixture(scope="module")
def panel() -> Panel:
    rng = np.random.default_rng(4)
    close = 20 * np.exp(np.cumsum(rng.normal(0, 0.02, (BARS, SYMBOLS)), axis=0))
    spread = rng.uniform(0, 0.02, (2, BARS, SYMBOLS))
    mask = rng.random((BARS, SYMBOLS)) > 0.1
    fields = {"open": close, "high": close * (1 + spread[0]), "low": close * (1 - spread[1]), "close": close}
    fields = {name: np.where(mask, values, np.nan) for name, values in fields.items()}
    dividend, split = np.zeros((BARS, SYMBOLS)), np.ones((BARS, SYMBOLS))
    dividend[30, 1], split[25, 2] = 0.5, 2.0
    fields |= {"volume": np.ones((BARS, SYMBOLS)), "split": split, "dividend": dividend}
    times = np.datetime64("2015-01-02T21:00", "us") + np.arange(BARS) * np.timedelta64(1, "D")
    names = tuple("ABCD")
    return Panel(times, names, names, fields, mask, mask.copy())


def test_extremes_are_those_of_every_bar_on_the_way(panel: Panel) -> None:
    high, low = path_extremes(panel, (1, 3, 7))
    up, down, close = (np.log(panel.adjusted(name)) for name in ("high", "low", "close"))
    for index, horizon in enumerate((1, 3, 7)):
        for t in range(BARS):
            for n in range(SYMBOLS):
                way = [k for k in range(t + 1, min(t + horizon, BARS - 1) + 1) if panel.mask[k, n]]
                known = t + horizon < BARS and panel.mask[t, n] and way
                if not known:
                    assert np.isnan(high[t, n, index])
                    assert np.isnan(low[t, n, index])
                    continue
                assert high[t, n, index] == pytest.approx(max(up[k, n] for k in way) - close[t, n])
                assert low[t, n, index] == pytest.approx(min(down[k, n] for k in way) - close[t, n])


def test_what_has_not_passed_is_not_known_and_what_has_does_not_change(panel: Panel) -> None:
    whole, early = path_extremes(panel, (5,)), path_extremes(panel.head(40), (5,))
    for one, part in zip(whole, early, strict=True):
        assert np.isnan(part[35:]).all()
        np.testing.assert_array_equal(one[:35], part[:35])
