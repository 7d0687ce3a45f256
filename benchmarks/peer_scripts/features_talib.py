"""The hundred features as a TA-Lib loop: one symbol at a time, arrays contiguous per symbol. Prints seconds."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import talib

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _features_set import SETS, labels


def bollinger(c, n):
    upper, _, lower = talib.BBANDS(c, n, 2.0, 2.0)
    return upper, lower


CALLS = {
    "sma": lambda o, h, lo, c, v, n: (talib.SMA(c, n),),
    "ema": lambda o, h, lo, c, v, n: (talib.EMA(c, n),),
    "stdev": lambda o, h, lo, c, v, n: (talib.STDDEV(c, n),),
    "donchian": lambda o, h, lo, c, v, n: (talib.MAX(h, n), talib.MIN(lo, n)),
    "roc": lambda o, h, lo, c, v, n: (talib.ROC(c, n),),
    "mom": lambda o, h, lo, c, v, n: (talib.MOM(c, n),),
    "rsi": lambda o, h, lo, c, v, n: (talib.RSI(c, n),),
    "cci": lambda o, h, lo, c, v, n: (talib.CCI(h, lo, c, n),),
    "willr": lambda o, h, lo, c, v, n: (talib.WILLR(h, lo, c, n),),
    "mfi": lambda o, h, lo, c, v, n: (talib.MFI(h, lo, c, v, n),),
    "atr": lambda o, h, lo, c, v, n: (talib.ATR(h, lo, c, n),),
    "natr": lambda o, h, lo, c, v, n: (talib.NATR(h, lo, c, n),),
    "bbands": lambda o, h, lo, c, v, n: bollinger(c, n),
    "macd": lambda o, h, lo, c, v, a, b, s: talib.MACD(c, a, b, s),
    "stoch": lambda o, h, lo, c, v, k, s, d: talib.STOCH(h, lo, c, k, s, 0, d, 0),
    "stochrsi": lambda o, h, lo, c, v, n, k, d: talib.STOCHRSI(c, n, k, d, 0),
    "adx": lambda o, h, lo, c, v, n: (
        talib.ADX(h, lo, c, n),
        talib.PLUS_DI(h, lo, c, n),
        talib.MINUS_DI(h, lo, c, n),
    ),
    "aroon": lambda o, h, lo, c, v, n: (*talib.AROON(h, lo, n), talib.AROONOSC(h, lo, n)),
    "trix": lambda o, h, lo, c, v, n: (talib.TRIX(c, n),),
    "linreg_slope": lambda o, h, lo, c, v, n: (talib.LINEARREG_SLOPE(c, n),),
    "psar": lambda o, h, lo, c, v: (talib.SAR(h, lo, 0.02, 0.2),),
    "obv": lambda o, h, lo, c, v: (talib.OBV(c, v),),
    "ad": lambda o, h, lo, c, v: (talib.AD(h, lo, c, v),),
    "ultosc": lambda o, h, lo, c, v: (talib.ULTOSC(h, lo, c, 7, 14, 28),),
    "bop": lambda o, h, lo, c, v: (talib.BOP(o, h, lo, c),),
}


def features_of(bars, into):
    f = 0
    for kind, sets in SETS:
        for params in sets:
            for values in CALLS[kind](*bars, *params):
                into[f] = values
                f += 1


def main(folder, rounds):
    fields = [np.load(Path(folder) / f"{name}.npy") for name in ("open", "high", "low", "close", "volume")]
    symbols, bars = fields[0].shape
    out = np.zeros((symbols, len(labels()), bars), dtype=np.float32)
    seconds, cpu = [], []
    for _ in range(rounds):
        start, busy = time.perf_counter(), time.process_time()
        for j in range(symbols):
            features_of([f[j] for f in fields], out[j])
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    np.save(Path(folder) / "talib_last.npy", out[:, :, -1])
    print(
        json.dumps({"seconds": min(seconds), "cpu_seconds": min(cpu), "symbols": symbols, "version": talib.__version__})
    )


main(sys.argv[1], int(sys.argv[2]))
