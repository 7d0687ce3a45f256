"""Sector baselines from bars: what was planted is found, what cannot be seen stays the prior."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from tradewind.errors import DataError
from tradewind.market.panel import Panel
from tradewind.market.sectors import BASELINES, SECTORS, UNKNOWN, SectorFit, believed, fit_profiles, recent
from tradewind.market.store.records import SectorFitRecord

BARS = 3000
BETAS = (0.5, 0.7, 2.0)
OWN = (0.005, 0.005, 0.03)
VOLUMES = (1e6, 3e6, 9e6)
NAMES = ("Utilities", "Utilities", "Energy")


def planted(index: bool = True) -> Panel:
    """Three stocks with known betas, deviations and volumes."""
    rng = np.random.default_rng(5)
    market = rng.normal(0, 0.01, BARS)
    returns = np.outer(market, BETAS) + rng.normal(0, 1, (BARS, 3)) * OWN
    close = 50 * np.exp(np.cumsum(returns, axis=0))
    fields = dict.fromkeys(("open", "high", "low", "close"), close)
    fields |= {"volume": np.tile(VOLUMES, (BARS, 1)), "split": np.ones_like(close), "dividend": np.zeros_like(close)}
    times = np.datetime64("2010-01-01T21:00:00", "us") + np.arange(BARS) * np.timedelta64(1, "D")
    context = {"index": 1000 * np.exp(np.cumsum(market))} if index else {}
    mask = np.ones(close.shape, dtype=bool)
    return Panel(times, ("A", "B", "C"), ("A", "B", "C"), fields, mask, mask, context, NAMES)


def fitted(panel: Panel, rsi: float = 60.0) -> dict[str, SectorFit]:
    return {fit.sector: fit for fit in fit_profiles(panel, np.full(panel.shape, rsi))}


def test_every_sector_is_answered_in_the_usual_order() -> None:
    assert tuple(fitted(planted())) == (*SECTORS, UNKNOWN)


def test_the_planted_numbers_are_found_and_the_sector_has_the_median_of_its_symbols() -> None:
    utilities, energy = (fitted(planted())[name] for name in ("Utilities", "Energy"))
    assert utilities.symbols == 2 and energy.symbols == 1
    assert utilities.profile.beta == pytest.approx(0.6, abs=0.03)
    assert energy.profile.beta == pytest.approx(2.0, abs=0.15)
    assert energy.profile.daily_volatility_pct == pytest.approx(100 * np.hypot(0.02, 0.03), rel=0.05)
    assert utilities.profile.daily_volume_shares == 2e6
    assert utilities.profile.rsi == 60.0


def test_news_and_sectors_without_a_symbol_keep_the_prior() -> None:
    found = fitted(planted())
    assert found["Financials"] == SectorFit("Financials", BASELINES["Financials"], 0, ())
    assert found["Utilities"].profile.news_per_week == BASELINES["Utilities"].news_per_week
    assert set(found["Utilities"].estimated) == {"daily_volatility_pct", "daily_volume_shares", "rsi", "beta"}


def test_without_an_index_beta_is_against_the_mean_of_all() -> None:
    slopes = fitted(planted(index=False))
    assert slopes["Utilities"].profile.beta < 1 < slopes["Energy"].profile.beta


def test_what_a_symbol_does_not_have_stays_the_prior() -> None:
    panel = planted()
    silent = replace(panel, fields={**panel.fields, "volume": np.full(panel.shape, np.nan)})
    found = fit_profiles(silent, np.full(panel.shape, np.nan))
    utilities = next(fit for fit in found if fit.sector == "Utilities")
    assert utilities.estimated == ("daily_volatility_pct", "beta")
    assert utilities.profile.daily_volume_shares == BASELINES["Utilities"].daily_volume_shares


def test_too_little_history_and_other_bars_are_refused() -> None:
    with pytest.raises(DataError, match="60 daily returns"):
        fitted(planted().head(40))
    with pytest.raises(DataError, match="1h bars"):
        fitted(replace(planted(), timeframe="1h"))


def kept(year: int, panel: Panel) -> SectorFitRecord:
    moment = datetime(year, 1, 1, tzinfo=UTC)
    return SectorFitRecord("lake", moment, moment, {name: fit.to_dict() for name, fit in fitted(panel).items()})


def test_a_fit_says_what_share_of_the_bars_it_rests_on() -> None:
    found = fitted(planted())
    assert (found["Utilities"].bars, found["Energy"].bars) == (2 * (BARS - 1), BARS - 1)
    assert sum(fit.share_of_bars for fit in found.values()) == pytest.approx(1.0)
    assert found["Utilities"].share_of_bars == pytest.approx(2 / 3)


def test_before_any_fit_the_priors_are_believed() -> None:
    found = believed([kept(2015, planted())], datetime(2014, 12, 31, tzinfo=UTC))
    assert {name: b.profile for name, b in found.items()} == dict(BASELINES)
    assert {b.basis for b in found.values()} == {"prior"}


def test_the_newest_fit_known_then_is_believed_where_it_saw_the_sector() -> None:
    without_energy = replace(planted(), sectors=("Utilities", "Utilities", "Utilities"))
    fits = [kept(2015, planted()), kept(2017, without_energy)]
    then, now = believed(fits, datetime(2016, 1, 1, tzinfo=UTC)), believed(fits)
    assert then["Utilities"].basis == "fitted on 2 symbols up to 2015-01-01"
    assert now["Utilities"].basis == "fitted on 3 symbols up to 2017-01-01"
    assert now["Energy"] == then["Energy"]
    assert now["Energy"].profile == fitted(planted())["Energy"].profile
    assert now["Financials"].basis == "prior"


def test_a_symbols_own_numbers_are_of_its_last_bars_and_missing_where_few() -> None:
    panel = planted()
    own = recent(panel, 1)
    returns = np.diff(np.log(panel.close[:, 1]))[-60:]
    assert own["daily_volatility_pct"] == pytest.approx(100 * returns.std())
    assert own["daily_volume_shares"] == 3e6
    mask = panel.mask.copy()
    mask[-40:, 1] = False
    assert recent(replace(panel, mask=mask), 1) == dict.fromkeys(own)
