"""Laws of the bitemporal store, against a model in a dictionary."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_kit import FIRST_CLOSE, LAG, RECORDED, source_bars, store

from tradewind.market.store.lake import Lake

SYMBOLS = ("AAPL", "MSFT")
#: One append: prices by symbol and day. Appends come a day apart.
Batch = dict[tuple[str, int], float]
batches = st.lists(
    st.dictionaries(
        st.tuples(st.sampled_from(SYMBOLS), st.integers(0, 3)), st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=5
    ),
    min_size=1,
    max_size=4,
)
Answer = dict[tuple[str, datetime], float]


def frame(batch: Batch) -> pl.DataFrame:
    rows = [source_bars(s, [price], first=FIRST_CLOSE + timedelta(days=day)) for (s, day), price in batch.items()]
    return pl.concat(rows)


def answer(bars: pl.DataFrame) -> Answer:
    found = {(r["symbol"], r["time"]): r["close"] for r in bars.iter_rows(named=True)}
    assert len(found) == bars.height, "a bar came twice"
    return found


class Model:
    """Every version as (known_at, recorded_at, price), told apart by plain Python."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, datetime], list[tuple[datetime, datetime, float]]] = {}

    def append(self, batch: Batch, moment: datetime) -> None:
        for (symbol, day), price in batch.items():
            time = FIRST_CLOSE + timedelta(days=day)
            told = self.versions.setdefault((symbol, time), [])
            if not told:
                told.append((time + LAG, moment, price))
            elif told[-1][2] != price:
                told.append((moment, moment, price))

    def read(self, visible: Callable[[datetime, datetime], bool]) -> Answer:
        shown = {k: [v for v in told if visible(v[0], v[1])] for k, told in self.versions.items()}
        return {k: told[-1][2] for k, told in shown.items() if told}


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=batches, as_of_day=st.integers(0, 5), recorded_day=st.integers(0, 3))
def test_every_read_is_what_was_known_and_recorded_by_then(
    batches: list[Batch], as_of_day: int, recorded_day: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake, model = Lake(Path(folder)), Model()
        pins = []
        for day, batch in enumerate(batches):
            moment = RECORDED + timedelta(days=day)
            store(lake, frame(batch), at=moment)
            model.append(batch, moment)
            pins.append((lake.pin(), answer(lake.read_bars(None, "1d"))))
        as_of = RECORDED + timedelta(days=as_of_day - 1, hours=1)
        recorded_until = RECORDED + timedelta(days=recorded_day, hours=1)
        assert answer(lake.read_bars(None, "1d")) == model.read(lambda known, recorded: True)
        assert answer(lake.read_bars(None, "1d", as_of=as_of)) == model.read(lambda known, _: known <= as_of)
        assert answer(lake.read_bars(None, "1d", as_of=as_of, recorded_until=recorded_until)) == model.read(
            lambda known, recorded: known <= as_of and recorded <= recorded_until
        )
        for pin, seen in pins:
            assert answer(lake.read_bars(None, "1d", pin=pin)) == seen
        assert lake.check() == []
