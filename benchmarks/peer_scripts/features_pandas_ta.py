"""The hundred features by pandas-ta-classic's own code (not TA-Lib behind it), one symbol at a time."""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pandas_ta_classic as ta

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _features_set import OUTPUTS, SETS, labels

warnings.simplefilter("ignore")


def columns(frame, *starts):
    return tuple(next(frame[c] for c in frame.columns if c.startswith(start)) for start in starts)


CALLS = {
    "sma": lambda d, n: (ta.sma(d.close, n, talib=False),),
    "ema": lambda d, n: (ta.ema(d.close, n, talib=False),),
    "stdev": lambda d, n: (ta.stdev(d.close, n, ddof=0, talib=False),),
    "donchian": lambda d, n: columns(ta.donchian(d.high, d.low, n, n), "DCU", "DCL"),
    "roc": lambda d, n: (ta.roc(d.close, n, talib=False),),
    "mom": lambda d, n: (ta.mom(d.close, n, talib=False),),
    "rsi": lambda d, n: (ta.rsi(d.close, n, talib=False),),
    "cci": lambda d, n: (ta.cci(d.high, d.low, d.close, n, talib=False),),
    "willr": lambda d, n: (ta.willr(d.high, d.low, d.close, n, talib=False),),
    "mfi": lambda d, n: (ta.mfi(d.high, d.low, d.close, d.volume, n, talib=False),),
    "atr": lambda d, n: (ta.atr(d.high, d.low, d.close, n, talib=False),),
    "natr": lambda d, n: (ta.natr(d.high, d.low, d.close, n, mamode="rma", talib=False),),
    "bbands": lambda d, n: columns(ta.bbands(d.close, n, 2.0, ddof=0, talib=False), "BBU", "BBL"),
    "macd": lambda d, a, b, s: columns(ta.macd(d.close, a, b, s, talib=False), "MACD_", "MACDs", "MACDh"),
    "stoch": lambda d, k, s, m: columns(ta.stoch(d.high, d.low, d.close, k, m, s, talib=False), "STOCHk", "STOCHd"),
    "stochrsi": lambda d, n, k, m: columns(ta.stochrsi(d.close, k, n, 1, m, talib=False), "STOCHRSIk", "STOCHRSId"),
    "adx": lambda d, n: columns(ta.adx(d.high, d.low, d.close, n, talib=False), "ADX_", "DMP", "DMN"),
    "aroon": lambda d, n: columns(ta.aroon(d.high, d.low, n, talib=False), "AROOND", "AROONU", "AROONOSC"),
    "trix": lambda d, n: columns(ta.trix(d.close, n), "TRIX_"),
    "linreg_slope": lambda d, n: (ta.linreg(d.close, n, slope=True, talib=False),),
    "psar": lambda d: columns(ta.psar(d.high, d.low, d.close), "PSARl", "PSARs"),
    "obv": lambda d: (ta.obv(d.close, d.volume, talib=False),),
    "ad": lambda d: (ta.ad(d.high, d.low, d.close, d.volume, talib=False),),
    "ultosc": lambda d: (ta.uo(d.high, d.low, d.close, 7, 14, 28, talib=False),),
    "bop": lambda d: (ta.bop(d.open, d.high, d.low, d.close, talib=False),),
}


def features_of(bars, into):
    f = 0
    for kind, sets in SETS:
        for params in sets:
            for values in CALLS[kind](bars, *params)[: OUTPUTS.get(kind, 1)]:
                into[f] = values.to_numpy()
                f += 1


def main(folder, symbols):
    names = ("open", "high", "low", "close", "volume")
    fields = {name: np.load(Path(folder) / f"{name}.npy")[:symbols] for name in names}
    index = pd.date_range("2000-01-01", periods=fields["close"].shape[1])
    frames = [pd.DataFrame({n: fields[n][j] for n in names}, index=index) for j in range(symbols)]
    out = np.zeros((symbols, len(labels()), len(index)), dtype=np.float32)
    features_of(frames[0], out[0])
    start = time.perf_counter()
    for j, frame in enumerate(frames):
        features_of(frame, out[j])
    seconds = time.perf_counter() - start
    np.save(Path(folder) / "pandas_ta_last.npy", out[:, :, -1])
    print(json.dumps({"seconds": seconds, "symbols": symbols, "version": ta.version}))


main(sys.argv[1], int(sys.argv[2]))
