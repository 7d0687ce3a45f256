"""What may be asked for, what is refused, and that the published rules are the tested ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from execution_market import FREE, THOUSAND, flat, panel_of
from pydantic import ValidationError

import tradewind.execution
from tradewind.errors import InputError
from tradewind.execution import AccountSection, Book, ExecutionSection, TradePlan, simulate

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "bad",
    [
        {"entry": "now"},
        {"commission_bps": -1},
        {"participation_max": 0},
        {"participation_max": 1.5},
        {"margin_leverage_max": 0},
        {"rebalance_band": 1.0},
        {"spread_bps": float("nan")},
        {"slipage_bps": 1.0},
    ],
)
def test_values_out_of_range_and_unknown_names_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ExecutionSection.model_validate(bad)


def test_an_account_needs_money() -> None:
    with pytest.raises(ValidationError):
        AccountSection(start_capital=0)
    with pytest.raises(InputError, match="empty universe"):
        Book.opened((), AccountSection())


def test_scaling_multiplies_costs_and_leaves_the_rest() -> None:
    settings = ExecutionSection(commission_bps=2.0, spread_bps=3.0, cash_interest_rate=0.03, participation_max=0.2)
    doubled = settings.scaled(2.0)
    assert (doubled.commission_bps, doubled.spread_bps, doubled.borrow_bps_per_year) == (4.0, 6.0, 100.0)
    assert (doubled.cash_interest_rate, doubled.participation_max) == (0.03, 0.2)
    with pytest.raises(ValidationError):
        settings.scaled(1e6)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("stop", 0.0, "stop is 0.0 in row 1, column 0"),
        ("stop", 1.0, "strictly between 0 and 1"),
        ("take_profit", -0.1, "take_profit is -0.1"),
        ("trail", 1.2, "trail is 1.2"),
        ("max_bars", 0.0, "max_bars is 0.0"),
    ],
)
def test_a_plan_refuses_distances_that_make_no_sense(field: str, value: float, message: str) -> None:
    values = np.full((2, 1), np.nan)
    values[1, 0] = value
    with pytest.raises(InputError, match=message):
        TradePlan(np.zeros((2, 1)), **{field: values})


def test_a_plan_refuses_shapes_that_differ_and_infinite_weights() -> None:
    with pytest.raises(InputError, match="the weights have"):
        TradePlan(np.zeros((2, 1)), stop=np.full((1, 1), 0.1))
    with pytest.raises(InputError, match="infinities"):
        TradePlan(np.full((2, 1), np.inf))
    with pytest.raises(InputError, match="delay_bars is -1"):
        TradePlan(np.zeros((2, 1)), delay_bars=-1)
    panel = panel_of(flat(100, 3))
    with pytest.raises(InputError, match="the plan has shape"):
        simulate(panel, TradePlan(np.zeros((2, 1))), FREE, THOUSAND)


def test_every_published_rule_has_a_test_that_carries_its_number() -> None:
    page = (HERE.parents[1] / "docs" / "fill-rules.md").read_text()
    rules = set(re.findall(r"\*\*(R\d+) ", page))
    tested = "\n".join(path.read_text() for path in HERE.glob("test_execution_*.py"))
    assert len(rules) > 40
    missing = {rule for rule in rules if f'"{rule}"' not in tested and f"test_{rule.lower()}_" not in tested}
    assert not missing


def test_public_names_are_complete_and_exist() -> None:
    assert tradewind.execution.__all__ == sorted(tradewind.execution.__all__)
    for name in tradewind.execution.__all__:
        assert getattr(tradewind.execution, name).__name__ == name


def test_settings_load_without_the_compiler() -> None:
    code = "import sys; from tradewind.execution.settings import ExecutionSection; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
