"""The compiled simulator against a slow one in plain Python, on markets with everything in them."""

from __future__ import annotations

import numpy as np
from execution_random import ACCOUNT, random_panel, random_plan, settings
from execution_reference import Reference
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tradewind.execution import ExecutionSection, simulate


@given(st.integers(0, 2**32 - 1), settings(), st.integers(0, 2))
@hypothesis_settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_it_agrees_with_the_plain_reference(seed: int, rules: ExecutionSection, delay: int) -> None:
    r = np.random.default_rng(seed)
    panel = random_panel(r)
    plan = random_plan(r, panel.shape).delayed(delay)
    ours, theirs = simulate(panel, plan, rules, ACCOUNT), Reference(panel, plan, rules, ACCOUNT).run()
    columns = [int(name[1:]) for name in ours.fills["symbol"]]
    found = sorted(zip(ours.fills["row"], columns, ours.fills["reason"], strict=True))
    assert found == sorted((row, column, reason) for row, column, _, _, reason in theirs.fills)
    np.testing.assert_allclose(np.sort(ours.fills["price"]), np.sort([f[3] for f in theirs.fills]), rtol=1e-12)
    np.testing.assert_allclose(ours.equity, theirs.equity, atol=0.50)  # cents, where a half is rounded either way
    assert ours.ambiguous_bars == theirs.ambiguous


def test_the_random_markets_reach_every_reason_to_trade() -> None:
    seen: set[str] = set()
    for seed in range(40):
        r = np.random.default_rng(seed)
        panel = random_panel(r)
        rules = ExecutionSection(
            short_allowed=True, margin_leverage_max=6.0, delisted_after_bars=2, margin_maintenance=0.3
        )
        seen |= set(simulate(panel, random_plan(r, panel.shape), rules, ACCOUNT).fills["reason"])
    assert seen >= {"signal", "stop", "take_profit", "trail", "time", "delisted"}
