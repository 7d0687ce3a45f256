"""bt: time a back-test of the same trades (it has no stops), and give its equity where the rules agree."""

import json
import sys
import time

import bt
import numpy as np
import pandas as pd


def backtest(prices, weights, fee, capital):
    traded = weights.notna().any(axis=1)
    strategy = bt.Strategy("targets", [bt.algos.WeighTarget(weights[traded].ffill().fillna(0.0)), bt.algos.Rebalance()])
    test = bt.Backtest(
        strategy,
        prices,
        initial_capital=capital,
        commissions=lambda quantity, price: abs(quantity * price) * fee,
        integer_positions=False,
        progress_bar=False,
    )
    test.run()
    return test.strategy.values


def frame(values):
    return pd.DataFrame(
        values, index=pd.date_range("2005-01-03", periods=len(values)), columns=map(str, range(values.shape[1]))
    )


def main(speed_path, equity_path):
    data = np.load(speed_path)
    start = time.process_time()
    backtest(frame(data["close"]), frame(data["weights"]), float(data["fees"]), float(data["capital"]))
    seconds = time.process_time() - start
    data = np.load(equity_path)
    values = backtest(frame(data["close"]), frame(data["weights"]), float(data["fees"]), float(data["capital"]))
    return {"seconds": seconds, "equity": values.iloc[-len(data["close"]) :].tolist(), "version": bt.__version__}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
