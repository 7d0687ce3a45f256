"""Row B10: two models that must agree; where they do not, nothing is done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spine_kit import belief
from tradewind.decisions.signals import Belief, decide
from tradewind.errors import DataError, InputError
from tradewind.models.ensembles.base import even
from tradewind.models.ensembles.combine import average


def of_two(first: object, second: object, **settings: object) -> Belief:
    """Two models with these medians over five bars and the same spread, combined alike."""
    chosen = {"rule": "dual_confirmation", "recalibration": "none", "confidence_min": 0.6, **settings}
    one, other = (belief({5: medians}, 0.02, **chosen) for medians in (first, second))
    members = {"lstm": one.forecast, "transformer": other.forecast}
    weights = np.broadcast_to(even((5,), 2), (len(one.panel), 1, 2))
    return replace(one, forecast=average(list(members.values()), weights, "ensemble"), members=members)


UP, FLAT, DOWN = 0.02, 0.0, -0.02


@pytest.mark.parametrize(
    ("first", "second", "action"),
    [(UP, UP, 1), (DOWN, DOWN, -1), (UP, FLAT, 0), (FLAT, UP, 0), (UP, DOWN, 0), (FLAT, FLAT, 0)],
)
def test_only_what_both_say_is_done(first: float, second: float, action: int) -> None:
    said = decide(of_two([[first]], [[second]]), must_fire=False)
    assert np.sign(said.action[0, 0]) == action
    assert said.decided.all()


@given(first=st.floats(-0.08, 0.08), second=st.floats(-0.08, 0.08), least=st.floats(0.3, 0.9))
def test_an_action_needs_each_models_own_probability(first: float, second: float, least: float) -> None:
    said = decide(of_two([[first]], [[second]], confidence_min=least), must_fire=False)
    long = [float(sides.long[0, 0]) for sides in said.agreement.values()]
    short = [float(sides.short[0, 0]) for sides in said.agreement.values()]
    if said.action[0, 0] > 0:
        assert min(long) >= least
    elif said.action[0, 0] < 0:
        assert min(short) >= least
    else:
        sides = [(up >= least) - (down >= least) for up, down in zip(long, short, strict=True)]
        assert not (sides[0] == sides[1] != 0)


def test_the_one_that_is_missing_makes_it_hold() -> None:
    said = decide(of_two([[UP], [UP]], [[np.nan], [UP]]), must_fire=False)
    assert said.action[:, 0].tolist()[0] == 0
    assert said.decided[:, 0].tolist() == [False, True]


def test_the_order_of_the_models_says_nothing() -> None:
    made = of_two([[UP, FLAT, DOWN]], [[UP, UP, DOWN]])
    turned = replace(made, members=dict(reversed(made.members.items())))
    assert np.array_equal(decide(made).action, decide(turned).action)


def test_the_confidence_is_that_of_what_they_say_together() -> None:
    made = of_two([[0.02]], [[0.04]])
    said = decide(made)
    alone = decide(belief({5: [[0.03]]}, 0.02, rule="probability", recalibration="none", confidence_min=0.6))
    assert said.confidence[0, 0] == pytest.approx(alone.confidence[0, 0], abs=1e-12)


def test_one_model_alone_cannot_agree() -> None:
    single = replace(belief({5: [[UP]]}, 0.02, rule="dual_confirmation"), members={})
    with pytest.raises(InputError, match="wants two models that agree, and there are 0"):
        decide(single)


def test_a_rule_that_never_fires_says_which_model_held_it_back() -> None:
    with pytest.raises(DataError, match=r"of transformer on 0\.0%"):
        decide(of_two([[UP]] * 3, [[FLAT]] * 3))
    assert not decide(of_two([[UP]] * 3, [[FLAT]] * 3), must_fire=False).action.any()
