from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tradewind.errors import DataError
from tradewind.features.table import Features
from tradewind.models.base import MODELS
from tradewind.models.blend_rank import BlendRank
from tradewind.models.lightgbm_rank import LightgbmRank
from tradewind.models.scale_blend import ScaleBlend

TRAINING, TEST = np.arange(80, 400), np.arange(400, 430)


def fitted(model, make_panel, make_windows, symbols):
    panel = make_panel(bars=430, symbols=symbols)
    return model.fit(make_windows(panel.head(400), TRAINING)).predict(make_windows(panel, TEST))


def test_the_size_is_the_blend_s_and_the_direction_the_ranker_s(make_panel, make_windows):
    both = fitted(BlendRank(seed=3), make_panel, make_windows, 24)
    size = fitted(ScaleBlend(seed=3, ranked=False), make_panel, make_windows, 24)
    direction = fitted(LightgbmRank(seed=3), make_panel, make_windows, 24)
    np.testing.assert_allclose(both.score - size.score, direction.score)
    np.testing.assert_allclose(np.diff(both.quantiles), np.diff(size.quantiles), atol=1e-12)
    assert set(both.explanation) == {*size.explanation, "direction"}


def test_without_a_ranking_every_symbol_expects_the_same_in_units_of_its_volatility(make_panel, make_windows):
    size = fitted(ScaleBlend(seed=3, ranked=False), make_panel, make_windows, 24)
    width = size.quantiles[..., -1] - size.quantiles[..., 0]
    ratio = (size.score / width)[size.available]
    for index in range(2):
        one = (size.score[..., index] / width[..., index])[size.available[..., index]]
        np.testing.assert_allclose(one, one[0])
    assert ratio.std() > 0, "the horizons differ"


def test_few_symbols_are_no_field_to_rank(make_panel, make_windows):
    both = fitted(BlendRank(seed=3), make_panel, make_windows, 6)
    alone = fitted(ScaleBlend(seed=3), make_panel, make_windows, 6)
    np.testing.assert_array_equal(both.quantiles, alone.quantiles)
    np.testing.assert_array_equal(both.score, alone.score)


@pytest.mark.parametrize("name", ["lightgbm_quantile", "lightgbm_rank", "ridge", "random_forest", "xgboost", "voting"])
def test_a_model_of_features_says_that_it_has_none(name, make_panel, make_windows):
    windows = make_windows(make_panel(bars=300), np.arange(80, 290))
    empty = np.zeros((300, 6, 0), dtype=np.float32)
    windows = replace(windows, features=Features(windows.features.times, windows.features.symbols, (), empty))
    with pytest.raises(DataError, match="selects none"):
        MODELS.create(name).fit(windows)
