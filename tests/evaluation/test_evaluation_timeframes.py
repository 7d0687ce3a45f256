"""Several timeframes on one clock: every wish at its bar, never earlier; one account, whatever bars it is told by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from evaluation_timeframes import two_timeframes
from numpy.typing import NDArray

from spine_kit import QuickRun, workspace
from tradewind.errors import DataError, InputError, PlaybookError
from tradewind.evaluation.account import (
    Clock,
    Wanted,
    by_session,
    desk_bars,
    desk_of,
    opening_row,
    session_start,
    trade,
)
from tradewind.evaluation.data import check_data, load_or_sync, synchronise_all
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.sleeves import walk
from tradewind.evaluation.validate import validated
from tradewind.execution import kernel as k
from tradewind.execution.desk_bars import session_ends
from tradewind.execution.trading import Trading
from tradewind.market.aggregate import aggregate
from tradewind.market.calendar import calendar
from tradewind.market.panel import Panel
from tradewind.playbook import load

FloatArray = NDArray[np.float64]
NAN = float("nan")

PLAYBOOK = """\
[playbook]
format = 1

[data]
source = "files"
context = {}

[models]
use = "naive_normal"
compare = []

[limits]
position_max = 0.3
drawdown_max = 0.3

[coordinator]
capital = { small = 0.5, large = 0.5 }

[execution]
short_allowed = true
participation_max = 1.0

[timeframes.small.data]
timeframe = "5m"
[timeframes.small.decision]
every_bars = 1
horizon_bars = 12
[timeframes.large.decision]
every_bars = 1
horizon_bars = 2
take_profit = true

[source.files.options]
path = "prices.csv"
survivorship_biased = false
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = tmp_path_factory.mktemp("frames") / "frames.toml"
    path.write_text(PLAYBOOK)
    return Plan.of(load(path))


@pytest.fixture(scope="module")
def fine() -> Panel:
    """Return five-minute bars of three names over six sessions, the fourth of which closes early."""
    exchange = calendar("XNYS")
    times = exchange.bar_closes("5m", datetime(2019, 11, 26, tzinfo=UTC), datetime(2019, 12, 5, tzinfo=UTC))
    r = np.random.default_rng(4)
    shape = (len(times), 3)
    close = np.array([20.0, 50.0, 90.0]) * np.exp(np.cumsum(r.normal(0, 0.002, shape), axis=0))
    opened = close * np.exp(r.normal(0, 0.001, shape))
    fields = {
        "open": opened, "high": np.maximum(opened, close) * 1.001, "low": np.minimum(opened, close) * 0.999,
        "close": close, "volume": np.full(shape, 1e6), "split": np.ones(shape), "dividend": np.zeros(shape),
    }  # fmt: skip
    fields["split"][200, 1] = 2.0
    fields["dividend"][150, 0] = 0.1
    for name in ("open", "high", "low", "close"):
        fields[name][200:, 1] /= 2
    mask = np.ones(shape, bool)
    return Panel(times, ("A", "B", "C"), ("A", "B", "C"), fields, mask, mask, sectors=("x", "x", "y"), timeframe="5m")


@dataclass(frozen=True)
class Frames:
    """The two timeframes over one market, with the words that they say."""

    plan: Plan
    small: Wanted
    large: Wanted

    @property
    def wanted(self) -> list[Wanted]:
        return [self.small, self.large]

    @property
    def clock(self) -> Clock:
        return Clock.of(self.wanted)

    def lived(self, **kwargs: Any) -> tuple[Trading, Clock]:
        return trade(self.plan, self.wanted, **kwargs), self.clock


def asks(plan: Plan, name: str, panel: Panel, weight: FloatArray, start: int = 0) -> Wanted:
    """Return a timeframe that wants these weights, with a stop of 5 %, a target of 9 % and its playbook's horizon."""
    own = plan.timeframes[name]
    shape = panel.shape
    signals = SimpleNamespace(
        stop=np.full(shape, 0.05), target=np.full(shape, 0.09), confidence=np.full(shape, 0.6),
        horizon_bars=np.full(shape, own.decision.horizon_bars), by_hand=None,
    )  # fmt: skip
    world = SimpleNamespace(plan=own, panel=panel)
    return Wanted(name, world, signals, SimpleNamespace(weight=weight), start)


def frames(plan: Plan, fine: Panel, seed: int = 1, large: Panel | None = None) -> Frames:
    r = np.random.default_rng(seed)
    daily = aggregate(fine, "1d", dividends="cash") if large is None else large

    def words(panel: Panel, chance: float) -> FloatArray:
        weight = np.where(r.random(panel.shape) < chance, r.uniform(-0.5, 0.6, panel.shape), NAN)
        return np.where(r.random(panel.shape) < chance / 4, 0.0, weight)

    return Frames(plan, asks(plan, "small", fine, words(fine, 0.03)), asks(plan, "large", daily, words(daily, 0.7)))


# -- the clock ---------------------------------------------------------------------------------------------------


def test_a_daily_close_is_known_at_the_last_small_bar_of_its_session_and_not_before(plan: Plan, fine: Panel) -> None:
    one = frames(plan, fine)
    rows, days = one.clock.rows_of(one.large), one.large.world.panel.times
    np.testing.assert_array_equal(fine.times[rows], days)
    assert len(rows) == 6
    assert np.diff(rows).tolist() == [78, 42, 78, 78, 78], "an early close has its last bar early"
    assert session_ends(fine)[rows].all()
    assert session_ends(fine).sum() == 6


def test_where_no_small_bar_ends_with_the_session_the_first_one_after_it_is_the_moment(plan: Plan, fine: Panel) -> None:
    one = frames(plan, fine)
    closing = one.clock.rows_of(one.large)[1]
    kept = np.delete(np.arange(len(fine)), [closing, closing - 1, closing + 1])
    gappy = replace(
        fine, times=fine.times[kept], fields={n: v[kept] for n, v in fine.fields.items()}, mask=fine.mask[kept],
        member=fine.member[kept],
    )  # fmt: skip
    clock = Clock.of([replace(one.small, world=SimpleNamespace(plan=one.small.world.plan, panel=gappy)), one.large])
    row = clock.rows_of(one.large)[1]
    close = one.large.world.panel.times[1]
    assert clock.panel.times[row] > close > clock.panel.times[row - 1]


def test_a_planted_word_of_each_timeframe_stands_at_its_row_alone(plan: Plan, fine: Panel) -> None:
    daily = aggregate(fine, "1d")
    large, small = np.full(daily.shape, NAN), np.full(fine.shape, NAN)
    large[2, 1], small[100, 2] = 0.4, -0.3
    one = Frames(plan, asks(plan, "small", fine, small), asks(plan, "large", daily, large))
    clock = one.clock
    laid = clock.plan()
    assert clock.columns == ("A@large", "B@large", "C@large", "A@small", "B@small", "C@small")
    said = np.argwhere(np.isfinite(laid.weight)).tolist()
    closing = int(clock.rows_of(one.large)[2])
    assert said == [[100, 5], [closing, 1]]
    assert laid.weight[closing, 1] == 0.4
    assert laid.stop[closing, 1] == 0.05
    assert laid.take_profit[closing, 1] == 0.09
    assert np.isnan(laid.take_profit[100, 5]), "the small one's playbook takes no profits"
    assert laid.max_bars[100, 5] == 12
    assert laid.max_bars[closing, 1] == 156, "two sessions"


def test_time_exits_are_counted_by_the_calendar_and_not_by_bars_to_come(plan: Plan, fine: Panel) -> None:
    whole = frames(plan, fine)
    laid, daily = whole.clock.plan(), whole.large.world.panel
    large = np.flatnonzero([column.endswith("@large") for column in whole.clock.columns])
    counted = {float(laid.max_bars[row, large[0]]) for row in whole.clock.rows_of(whole.large) if row >= 0}
    assert counted == {156.0, 42.0 + 78.0}, "two sessions, one of them short where it closes early"
    for stop in (90, 160, 250):
        days = int((daily.times <= fine.times[stop - 1]).sum())
        small = asks(plan, "small", fine.head(stop), whole.small.targets.weight[:stop])
        part = Frames(plan, small, asks(plan, "large", daily.head(days), whole.large.targets.weight[:days]))
        np.testing.assert_array_equal(part.clock.plan().max_bars, laid.max_bars[:stop])


def test_time_exits_of_clock_hours_are_counted_on_their_own_grid(plan: Plan, fine: Panel) -> None:
    hours = aggregate(fine, "1h")
    span = [at.item().replace(tzinfo=UTC) for at in (fine.times[0] - 1, fine.times[-1])]
    closes = calendar("XNYS").bar_closes("1h", *span, first=30)
    clock_hours = replace(hours, times=closes)
    small = asks(plan, "small", fine, np.full(fine.shape, NAN))
    large = asks(plan, "large", clock_hours, np.full(hours.shape, NAN))
    bars = Frames(plan, small, large).clock.bars(large, np.ones(hours.shape, dtype=np.int64))
    inside = ~session_ends(clock_hours)
    assert (bars[inside] == 12).all(), "an hour is twelve bars of five minutes, wherever hours begin"
    assert (bars[~inside] == 6).all(), "the first of a session is half as long"


def test_it_fills_in_the_bar_after_its_close(plan: Plan, fine: Panel) -> None:
    daily = aggregate(fine, "1d")
    large = np.full(daily.shape, NAN)
    large[2, 0] = 0.4
    one = Frames(plan, asks(plan, "small", fine, np.full(fine.shape, NAN)), asks(plan, "large", daily, large))
    trading, clock = one.lived(start=0)
    fill = trading.simulation.fills.row(0, named=True)
    closing = int(clock.rows_of(one.large)[2])
    assert (fill["row"], fill["decided_row"], fill["symbol"]) == (closing + 1, closing, "A@large")
    assert fill["price"] == fine.open[closing + 1, 0]
    late, _ = one.lived(start=0, delay_bars=1)
    assert late.simulation.fills["row"][0] == closing + 2


def test_words_before_a_timeframes_first_forecast_are_not_heard(plan: Plan, fine: Panel) -> None:
    one = frames(plan, fine)
    late = Frames(plan, replace(one.small, start=100), replace(one.large, start=3))
    laid, clock = late.clock.plan(), late.clock
    closing = clock.rows_of(late.large)[3]
    assert np.isnan(laid.weight[:closing, :3]).all()
    assert np.isnan(laid.weight[:100, 3:]).all()
    assert clock.start == 100
    assert opening_row(clock, None) == 100
    with pytest.raises(InputError, match="no bar to trade"):
        opening_row(clock, datetime(2030, 1, 1, tzinfo=UTC))


def test_names_without_small_bars_are_told(plan: Plan, fine: Panel) -> None:
    small = fine.select(["A", "B"])
    one = Frames(
        plan, asks(plan, "small", small, np.full(small.shape, NAN)), frames(plan, fine).large
    )  # fmt: skip
    clock = one.clock
    assert clock.without_bars(one.large) == ("C",)
    assert clock.without_bars(one.small) == ()
    assert frames(plan, fine).clock.without_bars(one.large) == ()


# -- seen by session ---------------------------------------------------------------------------------------------


def test_the_account_by_session_is_the_fine_account_at_session_ends(plan: Plan, fine: Panel) -> None:
    one = frames(plan, fine)
    trading, clock = one.lived()
    daily, made = one.large.world.panel, trading.simulation
    seen, rows = by_session(trading, clock, daily), clock.rows_of(one.large)
    for name in ("equity", "cash", "long_value", "short_value"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(made, name)[rows])
    by_symbol = made.shares[:, :3] + made.shares[:, 3:]
    np.testing.assert_array_equal(seen.shares, by_symbol[rows])
    assert made.fills.height > 20


def test_every_movement_is_told_at_the_first_session_end_that_is_not_before_it(plan: Plan, fine: Panel) -> None:
    one = frames(plan, fine)
    trading, clock = one.lived()
    daily = one.large.world.panel
    told, meant = by_session(trading, clock, daily).ledger, trading.simulation.ledger
    assert told["cents"].to_list() == meant["cents"].to_list()
    assert told["symbol"].to_list() == [name.partition("@")[0] for name in meant["symbol"]]
    late, early = (table["time"].to_numpy() for table in (told, meant))
    place = np.searchsorted(daily.times, early.astype("datetime64[us]"), side="left")
    np.testing.assert_array_equal(late[1:].astype("datetime64[us]"), daily.times[place[1:]])
    trips = by_session(trading, clock, daily).trades
    assert (trips["entry_row"] <= trips["exit_row"]).all()
    assert (trips["bars_held"] >= 0).all()
    assert trips["pnl"].to_list() == trading.simulation.trades["pnl"].to_list()


def test_bars_beyond_the_clock_hold_the_capital_before_and_what_was_left_after(plan: Plan, fine: Panel) -> None:
    """A daily history that is longer than the five-minute one: no profit appears at either seam."""
    one = frames(plan, fine)
    trading, clock = one.lived()
    daily = one.large.world.panel
    day = np.timedelta64(1, "D")
    longer = replace(
        daily,
        times=np.concatenate([daily.times[:1] - 2 * day, daily.times[:1] - day, daily.times, daily.times[-1:] + day]),
        fields={name: values[[0, 0, *range(6), 5]] for name, values in daily.fields.items()},
        mask=np.ones((9, 3), bool), member=np.ones((9, 3), bool),
    )  # fmt: skip
    seen = by_session(trading, clock, longer)
    assert seen.equity[:2].tolist() == [100_000.0] * 2
    np.testing.assert_array_equal(seen.equity[2:8], by_session(trading, clock, daily).equity)
    assert seen.equity[8] == trading.simulation.equity[-1]
    np.testing.assert_array_equal(seen.shares[8], seen.shares[7])


def test_the_open_day_is_the_first_close_at_which_the_account_is_open(plan: Plan, fine: Panel) -> None:
    one = frames(plan, fine)
    daily = one.large.world.panel
    for row, day in ((0, 0), (77, 0), (78, 1), (155, 1), (156, 2)):
        trading, clock = one.lived(start=row)
        assert session_start(trading, clock, daily) == day


# -- nothing from the future -------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [60, 119, 121, 280])
def test_other_bars_after_a_row_change_nothing_before_it(plan: Plan, fine: Panel, row: int) -> None:
    """The words of a timeframe are its own; the account may know of later ones, and later prices, nothing."""
    one = frames(plan, fine)
    fields = {name: values.copy() for name, values in fine.fields.items()}
    for name in ("open", "high", "low", "close"):
        fields[name][row:] *= np.array([0.6, 1.4, 1.1])
    fields["volume"][row:] *= 3
    panel = replace(fine, fields=fields)
    daily = aggregate(panel, "1d", dividends="cash")
    small, large = one.small.targets.weight.copy(), one.large.targets.weight.copy()
    small[row:], large[daily.times >= panel.times[row]] = 0.1, -0.2
    other = Frames(plan, asks(plan, "small", panel, small), asks(plan, "large", daily, large))
    (before, _), (after, _) = one.lived(), other.lived(start=one.clock.start)
    for name in ("equity", "cash", "shares"):
        np.testing.assert_array_equal(getattr(before.simulation, name)[:row], getattr(after.simulation, name)[:row])
    logs = [made.simulation.records.log for made in (before, after)]
    kept = [log[log[:, k.L_ROW] < row] for log in logs]
    np.testing.assert_array_equal(*kept)


def test_a_prefix_of_the_small_bars_gives_a_prefix_of_the_account(plan: Plan, fine: Panel) -> None:
    one = frames(plan, fine)
    whole, _ = one.lived()
    for stop in (90, 120, 250):
        daily = one.large.world.panel
        days = int((daily.times <= fine.times[stop - 1]).sum())
        small = asks(plan, "small", fine.head(stop), one.small.targets.weight[:stop])
        large = asks(plan, "large", daily.head(days), one.large.targets.weight[:days])
        part, _ = Frames(plan, small, large).lived()
        np.testing.assert_array_equal(part.simulation.equity, whole.simulation.equity[:stop])


def test_a_symbol_that_stops_is_taken_as_delisted_by_sessions_and_not_by_minutes(plan: Plan, fine: Panel) -> None:
    mask = fine.mask.copy()
    mask[30:60, 0] = False  # a halt of minutes
    mask[130:, 2] = False
    fields = {name: np.where(mask, values, NAN) for name, values in fine.fields.items()}
    fields |= {"split": fine.split, "dividend": fine.dividend}
    panel = replace(fine, mask=mask, fields=fields)
    weight = np.full(panel.shape, NAN)
    weight[5:] = 0.2
    rules = plan.execution.model_copy(update={"delisted_after_bars": 2})
    gone = replace(plan, execution=rules)
    one = Frames(gone, asks(plan, "small", panel, weight), frames(plan, fine).large)
    silent = replace(one.large, targets=SimpleNamespace(weight=np.full(one.large.world.panel.shape, NAN)))
    trading, clock = replace(one, large=silent).lived(start=0)
    assert desk_of(gone, clock, rules).execution.delisted_after_bars > 1e6
    rows = desk_bars(gone, clock).gone_row[3:]
    assert rows.tolist() == [-1, -1, 198], "the second session without a bar of it"
    assert (trading.simulation.shares[150:198, 5] > 0).all(), "who has no bar is held until then"
    assert (trading.simulation.shares[198:, 5] == 0).all()


# -- playbooks ---------------------------------------------------------------------------------------------------


WRONG = {
    "a section": ("timeframes.small.modles", 'use = "ridge"', "unknown section [timeframes.small.modles]", "'models'"),
    "a key": ("timeframes.small.labels", "horizon = [1]", "unknown key 'horizon'", "'horizons'"),
    "the account's": ("timeframes.small.limits", "gross_max = 1", "[limits] is of the account", "write [limits]"),
    "no table": ("timeframes.other", 'data = "1d"', "[timeframes.other.data] must be a table", ""),
    "for a source": ("source.files.timeframes.small.labels", "horizon = 1", "unknown key 'horizon'", "'horizons'"),
    "for another": ("source.sample.timeframes.small.labels", "horizon = 1", "unknown key 'horizon'", "'horizons'"),
    "there too": ("source.sample.timeframes.small.risk", "var_level = 0.9", "[risk] is of the account", "write [risk]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_timeframe_has_is_refused_with_its_line_and_the_nearest_is_named(tmp_path: Path, name: str) -> None:
    table, line, complaint, hint = WRONG[name]
    path = tmp_path / "wrong.toml"
    path.write_text(f"{PLAYBOOK}[{table}]\n{line}\n")
    with pytest.raises(PlaybookError) as refused:
        validated(Plan.of(load(path)))
    assert complaint in refused.value.what
    assert hint in (refused.value.hint or "")
    at = len(PLAYBOOK.splitlines()) + (1 if "]" in complaint and name != "no table" else 2)
    assert f"{path}:{at}:" in refused.value.what


def test_a_timeframe_is_its_tables_over_the_playbooks(plan: Plan) -> None:
    small, large = plan.timeframes["small"], plan.timeframes["large"]
    assert (small.data.timeframe, large.data.timeframe) == ("5m", "1d")
    assert (small.decision.horizon_bars, large.decision.horizon_bars) == (12, 2)
    assert small.models.use == large.models.use == "naive_normal"
    assert not small.timeframes
    assert plan.decision.take_profit is False, "one timeframe's word is not the playbook's"
    assert small.decision.take_profit is False


def test_a_value_of_a_timeframe_says_where_it_comes_from(plan: Plan) -> None:
    part = plan.timeframes["small"].playbook
    assert part.origins["data.timeframe"].startswith("frames.toml:")
    line = PLAYBOOK.splitlines().index('timeframe = "5m"') + 1
    assert part.place("data.timeframe").endswith(f":{line}")


@pytest.mark.parametrize("capital", ["{ small = 0.5 }", "{ small = 0.5, large = 0.4, lareg = 0.1 }"])
def test_capital_that_names_other_timeframes_is_refused_before_anything_is_computed(
    tmp_path: Path, capital: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(PLAYBOOK.replace("{ small = 0.5, large = 0.5 }", capital))
    with pytest.raises(PlaybookError, match="large"):
        validated(Plan.of(load(path)))


# -- a timeframe without data ------------------------------------------------------------------------------------

FIVE = """
[timeframes.minutes.data]
timeframe = "5m"
[timeframes.minutes.decision]
horizon_bars = 12
"""


def quick_frames(folder: Path, extra: str = FIVE) -> Path:
    from evaluation_timeframes import PLAYBOOK as TWO

    plain = TWO.replace("[regimes]\nuse = true", "[regimes]\nuse = false").replace('use = "ensemble"', 'use = "ridge"')
    plain = plain.replace("days = 0.6, weeks = 0.4", "days = 0.5, weeks = 0.3, minutes = 0.2")
    return two_timeframes(folder, bars=420, playbook=plain + extra)


def test_a_timeframe_that_its_data_cannot_serve_is_said_and_the_others_trade(tmp_path: Path) -> None:
    used = workspace(quick_frames(tmp_path), tmp_path / "home", data__source="files")
    walked = walk(used)
    assert {one.name for one in walked.sleeves} == {"days", "weeks"}
    assert list(walked.unavailable) == ["minutes"]
    assert "5m" in walked.unavailable["minutes"]
    assert walked.primary.name == "days"
    with pytest.raises(DataError, match=r"minutes is not available.*5m") as refused:
        walked.led_by("minutes")
    assert "look at days or weeks" in refused.value.hint
    trading = trade(used.plan, [one.wanted for one in walked.sleeves])
    assert trading.desk.coordinator.base.tolist() == [0.3, 0.5], "its share stays in cash"
    used.records.close()


def test_a_sync_brings_what_all_timeframes_need_once_and_says_what_there_is_none_of(tmp_path: Path) -> None:
    used = workspace(quick_frames(tmp_path), tmp_path / "home")
    reports, unavailable = synchronise_all(used)
    assert set(reports) == {"days", "weeks"} and reports["days"] is reports["weeks"], "weeks are made of days"
    assert reports["days"].bars.added == 8 * 420
    assert list(unavailable) == ["minutes"] and "5m" in unavailable["minutes"]
    used.records.close()


def test_verbs_that_look_at_one_timeframe_make_its_bars_of_smaller_ones(tmp_path: Path) -> None:
    used = workspace(quick_frames(tmp_path), tmp_path / "home")
    weeks = used.system("weeks")[1]
    loaded = load_or_sync(weeks)
    assert loaded.panel.timeframe == "1w" and "1w bars are made of the source's 1d bars" in loaded.notes
    assert check_data(weeks).bars == 8 * 420, "what is stored is checked"
    with pytest.raises(InputError, match="5m"):
        load_or_sync(used.system("minutes")[1])
    used.records.close()


def test_where_no_timeframe_has_data_every_reason_is_told(tmp_path: Path) -> None:
    playbook = quick_frames(tmp_path)
    used = workspace(playbook, tmp_path / "home", evaluation__min_train_bars=5000)
    text = playbook.read_text().replace("min_train_bars = 60", "min_train_bars = 5000")
    playbook.write_text(text)
    used = workspace(playbook, tmp_path / "home", evaluation__min_train_bars=5000)
    with pytest.raises(DataError) as refused:
        walk(used)
    for name in ("days", "weeks", "minutes"):
        assert name in refused.value.what
    used.records.close()


# -- two timeframes from end to end ------------------------------------------------------------------------------


def test_the_result_tells_of_both_timeframes_and_their_profits_add_up(framed: QuickRun) -> None:
    result = framed.record.result
    assert set(result["timeframes"]) == {"days", "weeks"}
    assert result["timeframes"]["days"]["capital"] == 0.6
    parts = result["attribution"]["by_timeframe"]
    assert set(parts) == {"days", "weeks", "financing"}
    assert sum(round(part * 100) for part in parts.values()) == round(result["attribution"]["total"] * 100)
    assert all(parts[name] != 0 for name in ("days", "weeks"))
    fills = framed.record.tradings["base"].simulation.fills
    by_sleeve = fills.group_by(pl.col("symbol").str.split("@").list.last()).len()
    assert (by_sleeve["len"] > 10).all()


def test_what_was_sent_at_each_close_is_within_the_limits(framed: QuickRun) -> None:
    trading = framed.record.tradings["base"]
    limits, made = framed.workspace.plan.limits, trading.simulation
    for row, sent in zip(trading.decided_rows, trading.sent, strict=True):
        opened = np.nan_to_num(sent)
        both = np.abs(opened[:6] + opened[6:])
        assert np.all(both <= limits.position_max + 1e-9), row
    assert np.nanmax(made.gross_exposure) <= limits.gross_max * 1.1
