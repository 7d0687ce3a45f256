"""The single source of truth for features: names, families, groups. Adding one is one line in a family's file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import MappingProxyType, ModuleType

from tradewind.errors import BugError, InputError, did_you_mean
from tradewind.features.spec import Family, FeatureSpec
from tradewind.registry import load

BASE_20 = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "rsi_14",
    "macd",
    "macd_signal",
    "bollinger_upper_20",
    "bollinger_lower_20",
    "sma_20",
    "sma_50",
    "atr_14",
    "sentiment_score",
    "sentiment_momentum",
    "sentiment_volatility",
    "news_volume_24h",
    "vix",
    "sector_performance",
    "index_correlation_60",
)
"""The base set of the NASDAQ playbook (row A1)."""

CORE_SET = """
    return_1 return_5 return_20 return_63 return_252 gap intraday_return close_location high_low_spread
    rsi_14 rsi_2 stochastic_k_14 stochrsi_k_14 cci_20 macd_relative macd_histogram_relative momentum_12_1 momentum_6_1
    sharpe_63 acceleration_20 up_streak efficiency_20 high_distance_252 low_distance_252
    close_to_sma_20 close_to_sma_50 close_to_sma_200 bollinger_position_20 bollinger_width_20 adx_14
    aroon_oscillator_14 regression_slope_63 regression_fit_63 close_to_pivot fibonacci_retracement_63
    ichimoku_cloud_distance close_to_vwap_20 close_to_volume_profile_poc_60 volume_profile_below_60
    volume_ratio_20 volume_ratio_5_63 volume_z_63 obv_share_20 mfi_14 order_flow_proxy_5 amihud_ratio_20_126
    price_volume_correlation_20 atr_relative_14 volatility_20 volatility_252 ewma_volatility_3 ewma_volatility_8
    ewma_volatility_21 ewma_volatility_63 ewma_ratio_3_21 ewma_ratio_8_63 har_absolute_1 har_absolute_5 har_absolute_22
    har_absolute_66 har_realised_22 yang_zhang_5 yang_zhang_21 yang_zhang_63 garman_klass_5 garman_klass_21
    rogers_satchell_21 parkinson_5 parkinson_21 overnight_volatility_21 overnight_share_21 downside_share_21
    downside_volatility_63 log_range log_range_ratio_20 log_range_ema_10 volatility_of_volatility_63 volatility_shock
    gap_shock largest_shock_5 largest_shock_20 volatility_rank_252 volatility_change_5 leverage_effect_63
    market_volatility market_volatility_fast market_volatility_change_5 volatility_to_market market_range
    market_dispersion market_dispersion_20 skewness_60 kurtosis_60 autocorrelation_1_60 variance_ratio_5_60
    low_tail_60 high_tail_60 drawdown_126 worst_drawdown_63 best_return_20 rank_return_1 rank_return_5 rank_return_20
    rank_momentum_12_1 rank_volatility rank_volume_ratio rank_dollar_volume excess_return_5 vix vix_change_5
    vix_premium volatility_to_vix index_return_1 index_return_5 index_return_20 index_ewma_volatility
    index_correlation_60 index_beta_120 universe_return_1 universe_return_5 universe_return_20 universe_correlation_60
    universe_beta_60 universe_average_correlation_60 breadth_sma_50 sector_return_5 sector_relative_20 sector_volatility
    day_of_week days_to_next_session sessions_to_month_end sessions_to_third_friday month_of_quarter season_sine
    season_cosine shock_lag_0 shock_lag_1 shock_lag_2 event_due_h1 event_due_h5 event_due_h20 event_move_63_h1
    event_move_63_h5 event_move_63_h20 event_move_252_h5 event_volume_63_h5 bars_since_abnormal abnormal_share_63
"""
"""Scale-free features that say different things: where ``model`` is too many."""

ALL, MODEL, CORE, BASE = "all", "model", "core", "base_20"


@lru_cache(maxsize=1)
def specs() -> MappingProxyType[str, FeatureSpec]:
    """Return every feature by name, families in alphabetical order.

    Third parties add families through entry points of the group ``tradewind.features``, each a ``Family``.
    """
    found: dict[str, FeatureSpec] = {}
    for family in _families():
        for spec in family.specs:
            if spec.name in found:
                raise BugError(f"feature {spec.name!r} is in {found[spec.name].family!r} and in {spec.family!r}")
            found[spec.name] = spec
    return MappingProxyType(found)


def _families() -> list[Family]:
    found = load("tradewind.features.families", "tradewind.features")
    return [part.FAMILY if isinstance(part, ModuleType) else part for part in found]


def families() -> tuple[str, ...]:
    """Return the names of all families, sorted."""
    return tuple(sorted({spec.family for spec in specs().values()}))


def get(name: str) -> FeatureSpec:
    """Return a feature by name; an unknown one is refused with the nearest known."""
    if name not in specs():
        raise did_you_mean("feature", name, specs())
    return specs()[name]


def select(include: Iterable[str] = (MODEL,), exclude: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the computable features that a playbook asks for, in registry order.

    Parameters
    ----------
    include, exclude
        Names of features, of families, or of the groups ``all`` (every computable feature), ``model`` (the
        scale-free ones, fit for a model that pools symbols, but for the costly ones), ``core`` (the same without
        near-repetitions) and ``base_20`` (row A1).

    Raises
    ------
    InputError
        A name that is none of these, or nothing left.
    """
    dropped = _expand(exclude)
    wanted = _expand(include) - dropped
    chosen = tuple(s.name for s in specs().values() if s.name in wanted and s.expression is not None)
    if not chosen:
        raise InputError("no computable feature is left", hint="widen `include` or narrow `exclude`")
    return chosen


def members(include: Iterable[str], exclude: Iterable[str] = ()) -> tuple[str, ...]:
    """Return every feature that is asked for, computable or not, in registry order."""
    wanted = _expand(include) - _expand(exclude)
    return tuple(name for name in specs() if name in wanted)


def unavailable(include: Iterable[str] = (ALL,)) -> tuple[FeatureSpec, ...]:
    """Return the features asked for that no source delivers yet; each says why."""
    wanted = _expand(include)
    return tuple(s for s in specs().values() if s.name in wanted and s.expression is None)


def groups() -> tuple[str, ...]:
    """Return the names of the groups that ``select`` understands beside features and families."""
    return (ALL, BASE, CORE, MODEL)


def _expand(names: Iterable[str]) -> set[str]:
    return {member for name in names for member in _members(name)}


def _members(name: str) -> Sequence[str]:
    if name == ALL:
        return tuple(specs())
    if name == MODEL:
        kept = (s for s in specs().values() if s.scale_free and not s.costly)
        return tuple(s.name for s in kept if s.expression is not None)
    if name == CORE:
        return tuple(CORE_SET.split())
    if name == BASE:
        return BASE_20
    if name in specs():
        return (name,)
    if name in families():
        return tuple(s.name for s in specs().values() if s.family == name)
    raise did_you_mean("feature, family or group", name, [*specs(), *families(), *groups()])
