"""The hundred features of the benchmark: as (kind, lengths), so that each library computes the same ones.

No import of any library here: the peers read this file too.
"""

SETS = [
    ("sma", [(n,) for n in (5, 10, 20, 30, 50, 60, 100, 120, 150, 200)]),
    ("ema", [(n,) for n in (5, 8, 12, 20, 26, 50, 100, 150)]),
    ("stdev", [(n,) for n in (5, 10, 20, 60, 120)]),
    ("donchian", [(n,) for n in (10, 20, 55, 120)]),
    ("roc", [(n,) for n in (1, 5, 10, 20, 60, 120)]),
    ("mom", [(n,) for n in (5, 10, 20, 60)]),
    ("rsi", [(n,) for n in (5, 7, 14, 21, 28)]),
    ("cci", [(n,) for n in (14, 20)]),
    ("willr", [(n,) for n in (7, 14, 28)]),
    ("mfi", [(n,) for n in (7, 14, 28)]),
    ("atr", [(n,) for n in (7, 14, 28)]),
    ("natr", [(n,) for n in (14, 28)]),
    ("bbands", [(n,) for n in (10, 20, 50)]),
    ("macd", [(12, 26, 9), (5, 35, 5)]),
    ("stoch", [(5, 3, 3), (14, 3, 3)]),
    ("stochrsi", [(14, 14, 3)]),
    ("adx", [(n,) for n in (7, 14, 28)]),
    ("aroon", [(14,), (25,)]),
    ("trix", [(n,) for n in (15,)]),
    ("linreg_slope", [(n,) for n in (14, 20)]),
    ("psar", [()]),
    ("obv", [()]),
    ("ad", [()]),
    ("ultosc", [()]),
    ("bop", [()]),
]
OUTPUTS = {"donchian": 2, "bbands": 2, "macd": 3, "stoch": 2, "stochrsi": 2, "adx": 3, "aroon": 3}


def labels():
    """One label per feature, in order."""
    return [f"{kind}{list(p)}.{i}" for kind, sets in SETS for p in sets for i in range(OUTPUTS.get(kind, 1))]
