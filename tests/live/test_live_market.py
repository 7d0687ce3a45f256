"""Paper trading on bars as they come in: what was lived through is what the lake holds, and its back-test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tradewind.errors import DataError, InputError, RetryError
from tradewind.evaluation.data import load, load_or_sync
from tradewind.evaluation.model_registry import CHAMPION, ModelRegistry, current
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.prediction_log import as_datetime
from tradewind.evaluation.training import train
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.controls import Controls
from tradewind.execution.journal import Journal
from tradewind.live.ingest import Ingest
from tradewind.live.ingest_store import ClosedBars
from tradewind.live.market import MarketBars
from tradewind.live.parity import Recorder
from tradewind.live.prepare import as_lived, prepare, with_clock
from tradewind.live.service import Bars, LiveRuntime
from tradewind.live.settings import LiveSection
from tradewind.live.settings_drift import DriftSection
from tradewind.live.settings_ingest import IngestSection
from tradewind.live.tape import BarRow
from tradewind.market.panel import Panel
from tradewind.market.sources.base import Request
from tradewind.market.sources.replay import Faults, ReplayClock, SyntheticFeed
from tradewind.market.store import schema
from tradewind.market.store.lake import Lake
from tradewind.market.sync import source_tag
from tradewind.playbook import load as read
from tradewind.server.running import alone

NOW, END = datetime(2016, 3, 1, 23, 0, tzinfo=UTC), datetime(2016, 5, 27, 23, 0, tzinfo=UTC)

PLAYBOOK = """\
[playbook]
format = 1

[data]
source = "synthetic"
start = "2014-01-02"
context = { index = "^GSPC" }

[features]
include = ["rsi_14", "price"]

[labels]
horizons_bars = [1, 5]

[models]
use = "ensemble"
compare = []

[ensemble]
members = ["ridge", "naive_normal"]

[decision]
rule = "dual_confirmation"
horizon_bars = 5
confidence_min = 0.40
confidence_exit = 0.35
every_bars = 2

[execution]
short_allowed = true

[evaluation]
min_train_bars = 300
refit_bars = 100
bootstrap_samples = 100

[source.synthetic.options]
seed = 5
n_symbols = 8
"""


def workspace(folder: Path, **overrides: object) -> Workspace:
    path = folder / "small.toml"
    path.write_text(PLAYBOOK)
    flags = {key.replace("__", "."): value for key, value in overrides.items()}
    return Workspace(Plan.of(read(path, overrides=flags)), folder / "home")


async def lived(
    work: Workspace,
    faults: Faults,
    before: Callable[[LiveRuntime, int], Awaitable[None] | None] = lambda _, __: None,
    *,
    end: datetime = END,
) -> tuple[LiveRuntime, MarketBars]:
    """Trade on paper from NOW on what a feed says, whatever is wrong with it; ``before`` is let in before each bar."""
    clock = ReplayClock(NOW)
    runtime = LiveRuntime(work, LiveSection(), "PAPER", clock, clock, drift_section=DriftSection(use=False))
    prepared = await runtime.prepare()
    assert runtime.loop is not None
    runtime.loop.recorders[""] = Recorder()
    panel, source = prepared.corridor.world.panel, prepared.workspace.source
    symbols = (*panel.symbols, "^GSPC")
    feed = SyntheticFeed(source, Request(symbols, "1d", NOW, end), clock, faults=faults, seed=3)
    ingest = Ingest(
        Lake(work.home / "lake" / work.lake_name),
        IngestSection(wait_seconds=60),
        symbols=symbols,
        timeframe="1d",
        feed=feed,
        source=source,
        clock=clock,
        tag=source_tag(source),
    )
    market = MarketBars(prepared.workspace, panel, ingest)

    async def bars() -> Bars:
        number = 0
        async for told in market.bars():
            done = before(runtime, number)
            if done is not None:
                await done
            yield told
            number += 1

    await runtime.run(bars())
    await runtime.close()
    return runtime, market


def assert_same_bars(one: Panel, other: Panel) -> None:
    assert np.array_equal(one.times, other.times)
    assert one.symbols == other.symbols
    for name, values in one.fields.items():
        np.testing.assert_array_equal(values, other.fields[name], err_msg=name)
    np.testing.assert_array_equal(one.mask, other.mask)
    for name, series in one.context.items():
        np.testing.assert_array_equal(series, other.context[name], err_msg=name)


@pytest.mark.parametrize(
    "faults",
    [Faults(), Faults(duplicated=0.2, shuffled=0.3, garbage=0.05, future=0.05)],
    ids=["a clean feed", "bars twice, apart, among garbage"],
)
def test_what_came_in_bar_by_bar_is_what_the_lake_holds_and_its_back_test(tmp_path: Path, faults: Faults) -> None:
    work = workspace(tmp_path)
    runtime, _ = asyncio.run(lived(work, faults))
    prepared, loop = runtime.prepared, runtime.loop
    assert prepared is not None and loop is not None
    tape = prepared.corridor.world.panel
    assert len(tape) - prepared.start == loop.recorded > 55
    stored = load(work).panel
    assert_same_bars(stored.head(len(tape)), tape)
    assert runtime.parity() == []
    assert prepared.trader.journal.executions(), "an empty ledger proves nothing"


def test_forecasts_of_the_present_are_logged_and_resolved(tmp_path: Path) -> None:
    work = workspace(tmp_path)
    runtime, _ = asyncio.run(lived(work, Faults()))
    assert runtime.prepared is not None
    session = runtime.prepared.session
    (told,) = [one for one in runtime.models() if one["seat"] == "ridge"]
    made = work.records.predictions(session.id)
    due = [p for p in made if p.horizon_bars == 1 and p.time < max(q.time for q in made)]
    assert all(p.outcome is not None for p in due)
    assert told["champion"]["id"] == session.serving["ridge"][0][1]


def test_a_champion_with_other_features_is_refused_once_and_the_one_before_goes_on(tmp_path: Path) -> None:
    other = workspace(tmp_path, features__include='["rsi_14"]')

    def promote(runtime: LiveRuntime, number: int) -> None:
        if number == 5:
            train(with_clock(other, ReplayClock(NOW)))
            ModelRegistry(other.home, other.records, other.clock).promote("challenger", "small/ridge")

    work = workspace(tmp_path)
    runtime, _ = asyncio.run(lived(work, Faults(), promote, end=datetime(2016, 3, 15, 23, 0, tzinfo=UTC)))
    assert runtime.prepared is not None and runtime.loop is not None
    ((_, sits),) = runtime.prepared.session.serving["ridge"]
    chosen = current(work.records.alias_changes("small/ridge"))[CHAMPION]
    assert chosen != sits and runtime.loop.counts.bars == 10
    (alert,) = [one for one in Controls(work.records).alerts() if one.kind == "seat_failed"]
    assert alert.level == "critical"
    assert (
        f"small/ridge: {chosen} cannot forecast, {sits} goes on: the model was trained on other features" in alert.what
    )


def test_a_bar_that_came_late_does_not_keep_the_account_from_going_on(tmp_path: Path) -> None:
    work = workspace(tmp_path)
    runtime, _ = asyncio.run(lived(work, Faults()))
    assert runtime.prepared is not None
    session, stored = runtime.prepared.session, load(work)
    journal = Journal(work.records, session.account)
    panel, row = stored.panel, runtime.prepared.start + 10
    before = int(np.searchsorted(panel.times, session.opened)) - 100
    never = {panel.times[row], panel.times[row + 1], panel.times[before]}
    (path,) = (work.home / "live").glob("*.npy")
    np.save(path, np.setdiff1d(np.load(path), list(never)))
    with work.records.database.writing() as connection:
        late = schema.account_marks.c.time.in_([as_datetime(time) for time in panel.times[row : row + 2]])
        connection.execute(schema.account_marks.delete().where(late))
    split = panel.split.copy()
    split[row : row + 3, 0] = 2.0, 3.0, 5.0
    dividend = panel.dividend.copy()
    dividend[row, 0] = 15.0
    changed = replace(panel, fields={**panel.fields, "split": split, "dividend": dividend})
    found = as_lived(replace(stored, panel=changed), journal, path.parent)
    assert set(panel.times) - set(found.panel.times) == never
    assert found.panel.split[row - 1, 0] == 30.0
    assert found.panel.dividend[row - 1, 0] == 1.0, "per share after all three splits"
    assert "3 bars came after the account had passed them" in found.notes[-1]


def test_a_close_of_an_index_alone_is_no_bar_and_its_value_is_carried_on(tmp_path: Path) -> None:
    work = workspace(tmp_path)
    panel = load_or_sync(work).panel.head(400)
    times = [as_datetime(panel.times[-1]) + timedelta(days=days) for days in (1, 2)]

    class Heard:
        async def closed_bars(self, after: datetime) -> AsyncGenerator[ClosedBars, None]:
            for time, symbol in zip(times, ("^GSPC", panel.symbols[0]), strict=True):
                row = {"symbol": symbol, "open": 9.0, "high": 9.0, "low": 9.0, "close": 9.0, "volume": 1.0, "marks": ""}
                yield ClosedBars(time, pl.DataFrame([row]), complete=False, correlation="")

    async def read() -> list[BarRow]:
        market = MarketBars(work, panel, Heard())  # type: ignore[arg-type]
        market._first = lambda _: None  # type: ignore[method-assign,assignment]
        return [closed.bars[""][0] async for closed, _ in market.bars()]

    (bar,) = asyncio.run(read())
    assert bar.mask.tolist() == [True] + [False] * (len(panel.symbols) - 1)
    assert bar.context["index"] == 9.0


def test_what_has_no_present_is_not_traded_in_it(tmp_path: Path) -> None:
    work = workspace(tmp_path)
    ended = work.plan.data.model_copy(update={"end": datetime(2016, 2, 1, tzinfo=UTC)})
    filled = work.plan.data.model_copy(update={"fill_forward_max_bars": 2})
    clock = ReplayClock(NOW)
    for data, words in ((ended, "ends at 2016-02-01"), (filled, "fills gaps forward")):
        other = replace(work, plan=replace(work.plan, data=data))
        with pytest.raises(InputError, match=words):
            prepare(other, LiveSection(), "PAPER", clock, clock)


def test_bars_of_the_future_are_nothing_to_begin_with(tmp_path: Path) -> None:
    work = workspace(tmp_path)
    ahead = work.plan.data.model_copy(update={"end": datetime(2016, 6, 1, tzinfo=UTC)})
    other, clock = replace(work, plan=replace(work.plan, data=ahead)), ReplayClock(NOW)
    with pytest.raises(DataError, match="bars of the future, up to 2016-05-31"):
        prepare(other, LiveSection(), "PAPER", clock, clock)


def test_one_home_trades_a_playbook_once(tmp_path: Path) -> None:
    work = workspace(tmp_path)
    with alone(work), pytest.raises(RetryError, match="is running already"), alone(work):
        pass
    with alone(work):
        pass
