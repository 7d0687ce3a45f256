"""Every indicator that TA-Lib has is the same here, after warm-up where the start differs by convention."""

import numpy as np
import pytest
import talib
from features_market import market

from tradewind.features import compute

PANEL = market(900, 3, gaps=False, events=False, seed=9)
OPENS, H, L, C, V = (PANEL.fields[name][:, 1].copy() for name in ("open", "high", "low", "close", "volume"))
BANDS = talib.BBANDS(C, 20, 2.0, 2.0)
MACD = talib.MACD(C, 12, 26, 9)
STOCH = talib.STOCH(H, L, C, 14, 3, 0, 3, 0)
AROON = talib.AROON(H, L, 14)
RETURNS = np.diff(np.log(C), prepend=np.nan)

ORACLES = {
    "sma_5": (talib.SMA(C, 5), 0),
    "sma_20": (talib.SMA(C, 20), 0),
    "sma_50": (talib.SMA(C, 50), 0),
    "ema_12": (talib.EMA(C, 12), 0),
    "ema_26": (talib.EMA(C, 26), 0),
    "rsi_14": (talib.RSI(C, 14), 0),
    "rsi_2": (talib.RSI(C, 2), 0),
    "macd": (MACD[0], 300),
    "macd_signal": (MACD[1], 300),
    "macd_histogram": (MACD[2], 300),
    "bollinger_upper_20": (BANDS[0], 0),
    "bollinger_lower_20": (BANDS[2], 0),
    "atr_14": (talib.ATR(H, L, C, 14), 0),
    "atr_relative_14": (talib.NATR(H, L, C, 14) / 100.0, 0),
    "adx_14": (talib.ADX(H, L, C, 14), 500),
    "plus_di_14": (talib.PLUS_DI(H, L, C, 14), 400),
    "minus_di_14": (talib.MINUS_DI(H, L, C, 14), 400),
    "aroon_down_14": (AROON[0], 0),
    "aroon_up_14": (AROON[1], 0),
    "aroon_oscillator_14": (talib.AROONOSC(H, L, 14), 0),
    "cci_20": (talib.CCI(H, L, C, 20), 0),
    "mfi_14": (talib.MFI(H, L, C, V, 14), 0),
    "stochastic_fast_14": (talib.STOCHF(H, L, C, 14, 3, 0)[0], 0),
    "stochastic_k_14": (STOCH[0], 0),
    "stochastic_d_14": (STOCH[1], 0),
    "stochrsi_k_14": (talib.STOCHRSI(C, 14, 14, 3, 0)[0], 0),
    "stochrsi_d_14": (talib.STOCHRSI(C, 14, 14, 3, 0)[1], 0),
    "williams_r_14": (talib.WILLR(H, L, C, 14), 0),
    "roc_10": (talib.ROC(C, 10), 0),
    "trix_15": (talib.TRIX(C, 15), 400),
    "ultimate_oscillator": (talib.ULTOSC(H, L, C, 7, 14, 28), 0),
    "balance_of_power": (talib.BOP(OPENS, H, L, C), 0),
    "parabolic_stop": (talib.SAR(H, L, 0.02, 0.2), 0),
    "regression_slope_20": (talib.LINEARREG_SLOPE(np.log(C), 20), 0),
    "volume_sma_20": (talib.SMA(V, 20), 0),
    "donchian_high_20": (talib.MAX(H, 20), 0),
    "donchian_low_20": (talib.MIN(L, 20), 0),
    "volatility_20": (talib.STDDEV(RETURNS[1:], 20), 0),
}
TABLE = compute(PANEL, list(ORACLES))


@pytest.mark.parametrize("name", ORACLES)
def test_the_indicator_is_talibs(name):
    expected, warm_up = ORACLES[name]
    expected = np.concatenate([np.full(900 - len(expected), np.nan), expected])
    ours = TABLE.column(name)[:, 1]
    start = max(warm_up, int(np.argmax(np.isfinite(ours))), int(np.argmax(np.isfinite(expected))))
    assert start < 600
    np.testing.assert_allclose(ours[start:], expected[start:], rtol=2e-5, atol=2e-5 * np.nanstd(expected))


@pytest.mark.parametrize(
    ("name", "running"),
    [("obv", talib.OBV(C, V)), ("accumulation_distribution", talib.AD(H, L, C, V))],
)
def test_a_running_total_is_talibs_but_for_where_it_starts(name, running):
    ours = compute(PANEL, [name]).column(name)[:, 1].astype(np.float64)
    change = np.diff(ours[1:])
    np.testing.assert_allclose(change, np.diff(running[1:]), atol=1e-6 * np.abs(running).max())


def test_beta_and_correlation_with_the_index_are_talibs():
    table = compute(PANEL, ["index_correlation_60", "index_beta_60"])
    index = np.diff(np.log(PANEL.context["index"]))
    correlation = talib.CORREL(RETURNS[1:], index, 60)
    np.testing.assert_allclose(table.column("index_correlation_60")[1:, 1], correlation, rtol=1e-4, atol=1e-5)
    ratio = correlation * talib.STDDEV(RETURNS[1:], 60) / talib.STDDEV(index, 60)
    np.testing.assert_allclose(table.column("index_beta_60")[1:, 1], ratio, rtol=1e-4, atol=1e-5)
