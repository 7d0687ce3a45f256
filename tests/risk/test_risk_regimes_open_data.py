"""The S&P 500 and VIX as they were: turbulence is found when there was some, and knows the size of tomorrow's move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from regimes_kit import bars

from tradewind.risk.regimes import LABELS, UNSURE, Regimes, RegimesSection, detect, observations

FOLDER = Path(__file__).parents[2] / "../shared/data/macro"
INDEX, VIX = FOLDER / "gspc_close.csv.gz", FOLDER / "vix_daily.csv.gz"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not (INDEX.exists() and VIX.exists()), reason="the open macro data is not beside the project"),
]


@pytest.fixture(scope="module")
def found() -> Regimes:
    index = pl.read_csv(INDEX, try_parse_dates=True).rename({"^GSPC": "index"})
    vix = pl.read_csv(VIX).select(pl.col("DATE").str.to_date().alias("Date"), pl.col("CLOSE").alias("vix"))
    inside = pl.col("Date").is_between(pl.date(2005, 1, 1), pl.date(2010, 12, 31))
    table = index.join(vix, on="Date", how="left").filter(inside).sort("Date")
    times = table["Date"].to_numpy().astype("datetime64[us]") + np.timedelta64(21, "h")
    context = {name: table[name].to_numpy() for name in ("index", "vix")}
    close = context["index"][:, None]
    return detect(
        observations(bars(times, close, np.full(close.shape, np.nan), context)), RegimesSection(use=True, starts=2)
    )


def test_the_autumn_of_2008_is_volatile(found):
    autumn = (found.times >= np.datetime64("2008-10-01")) & (found.times < np.datetime64("2008-12-01"))
    assert np.mean(found.regime[autumn] == LABELS.index("volatile")) > 0.9
    assert found.multiplier[autumn].mean() < 0.4


def test_the_session_after_a_volatile_one_moves_most_and_is_better_predicted(found):
    after = found.next_session()
    assert max(after, key=lambda label: after[label]["deviation"] or 0.0) == "volatile"
    assert found.log_likelihood()["return_alone"]["gain"] > 0


def test_volume_that_is_missing_is_left_out_by_name(found):
    assert any(note.startswith("'volume' left out: it is missing") for note in found.notes)
    assert (found.regime[300:] != UNSURE).all()
