"""The registry: complete, described, and helpful about names."""

import pytest

from tradewind.errors import InputError
from tradewind.features import registry
from tradewind.features.settings import FeaturesSection

NAMED_BY_THE_PLAYBOOKS = {
    "A1": "open high low close volume rsi_14 macd macd_signal bollinger_upper_20 bollinger_lower_20 sma_20 sma_50 "
    "atr_14 sentiment_score sentiment_momentum sentiment_volatility news_volume_24h vix sector_performance "
    "index_correlation_60",
    "B4": "rsi_14 macd ema_12 ema_26 bollinger_upper_20 minute_of_hour hour_of_day day_of_week return_5 return_1_lag_1",
    "D3": "sma_5 ema_12 stochastic_k_14 roc_10 obv volume_sma_20 momentum_12_1",
    "E3": "rsi_14 macd macd_signal bollinger_upper_20 sma_20 sma_50 ema_12 ema_26 volume_ratio_20 atr_14 obv mfi_14 "
    "cci_20 williams_r_14 return_1 return_5 return_20 volatility_20 high_low_spread close_open_spread adx_14 "
    "aroon_up_14 aroon_down_14 stochrsi_k_14 vwap pivot pivot_r1 pivot_s1 fibonacci_618_63 "
    "fibonacci_retracement_63 ichimoku_conversion ichimoku_base ichimoku_span_a ichimoku_span_b "
    "volume_profile_poc_60 order_flow_proxy_1",
}


@pytest.mark.parametrize("row", NAMED_BY_THE_PLAYBOOKS)
def test_every_indicator_that_a_playbook_names_is_registered(row):
    assert set(NAMED_BY_THE_PLAYBOOKS[row].split()) <= set(registry.specs())


def test_there_are_more_than_a_hundred_computable_features_in_every_group_for_models():
    assert len(registry.select(["all"])) > 300
    assert len(registry.select(["model"])) > 200
    assert len(registry.select(["core"])) > 100


@pytest.mark.parametrize("spec", registry.specs().values(), ids=lambda s: s.name)
def test_an_entry_is_complete(spec):
    assert spec.name == spec.name.lower()
    assert spec.family in registry.families()
    assert len(spec.description) > 3
    assert spec.unit
    if spec.expression is None:
        assert spec.unavailable
    else:
        assert spec.look_back_bars >= 1
        assert spec.inputs
    if spec.unit in ("currency", "shares"):
        assert not spec.scale_free


def test_the_base_set_is_the_twenty_of_row_a1():
    assert len(set(registry.BASE_20)) == 20
    assert {s.name for s in registry.unavailable(["base_20"])} == {
        "sentiment_score",
        "sentiment_momentum",
        "sentiment_volatility",
        "news_volume_24h",
    }
    assert len(registry.select(["base_20"])) == 16


def test_the_critical_features_are_those_the_playbook_calls_critical():
    critical = {s.name for s in registry.specs().values() if s.critical}
    assert critical == {"close", "volume", "sentiment_score", "rsi_14"}


def test_names_families_and_groups_can_be_mixed_and_taken_away():
    chosen = registry.select(["trend", "rsi_14"], ["sma_200", "adx_14"])
    assert "rsi_14" in chosen
    assert "sma_20" in chosen
    assert not {"sma_200", "adx_14"} & set(chosen)
    assert list(chosen) == [n for n in registry.specs() if n in chosen]


def test_an_unknown_name_is_refused_with_the_nearest_known():
    with pytest.raises(InputError, match="did you mean 'momentum'"):
        registry.select(["momentun"])
    with pytest.raises(InputError, match="'rsi_14'"):
        registry.get("rsi14")


def test_a_selection_of_nothing_is_refused():
    with pytest.raises(InputError, match="no computable feature"):
        registry.select(["sentiment"])
    with pytest.raises(InputError, match="no computable feature"):
        registry.select(["rsi_14"], ["momentum"])


def test_core_says_nothing_twice_and_only_scale_free():
    core = registry.CORE_SET.split()
    assert len(core) == len(set(core))
    assert all(registry.get(name).scale_free for name in core)


def test_the_default_section_asks_for_the_core_features():
    section = FeaturesSection()
    assert registry.select(section.include, section.exclude) == registry.select(["core"])


def test_every_feature_says_what_it_is_and_where_it_comes_from() -> None:
    for spec in registry.specs().values():
        assert spec.description and spec.unit and spec.source, spec.name
