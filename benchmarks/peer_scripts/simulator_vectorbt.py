"""vectorbt: time a back-test with stops, costs and gaps, and give its equity on the subset of rules we share."""

import json
import sys
import time

import numpy as np
import pandas as pd
import vectorbt as vbt
from vectorbt.portfolio.enums import SizeType, StopEntryPrice, StopExitPrice


def frames(data, *names):
    return [pd.DataFrame(data[name]) for name in names]


def with_stops(data, entries, exits, size, fees, slippage, capital, stop, take):
    open_, high, low, close = frames(data, "open", "high", "low", "close")
    return vbt.Portfolio.from_signals(
        close,
        entries=entries,
        exits=exits,
        price=open_,
        open=open_,
        high=high,
        low=low,
        size=size,
        size_type=SizeType.Amount,
        fees=fees,
        slippage=slippage,
        sl_stop=stop,
        tp_stop=take,
        stop_entry_price=StopEntryPrice.FillPrice,
        stop_exit_price=StopExitPrice.StopLimit,
        init_cash=capital,
        cash_sharing=True,
        group_by=True,
        freq="1D",
    )


def speed(path):
    data = np.load(path)
    arguments = (
        data,
        data["entries"],
        data["exits"],
        data["size"],
        float(data["fees"]),
        float(data["slippage"]),
        float(data["capital"]),
        float(data["stop"]),
        float(data["take"]),
    )
    seconds = []
    for _ in range(8):
        start = time.process_time()
        portfolio = with_stops(*arguments)
        simulated = time.process_time() - start
        assert len(portfolio.value()) and len(portfolio.trades.records)
        seconds.append((time.process_time() - start, simulated))
    best, simulated = (min(column) for column in zip(*seconds[1:], strict=True))
    return {"seconds": best, "seconds_without_equity": simulated, "orders": int(portfolio.orders.count())}


def equity(path):
    data = np.load(path)
    stops = with_stops(
        data,
        data["entries"],
        data["exits"],
        data["size"],
        float(data["fees"]),
        0.0,
        float(data["capital"]),
        float(data["stop"]),
        float(data["take"]),
    )
    open_, close = frames(data, "open", "close")
    targets = vbt.Portfolio.from_orders(
        close,
        size=data["targets"],
        size_type=SizeType.TargetPercent,
        price=open_,
        val_price=close.shift(1).bfill(),
        fees=float(data["fees"]),
        init_cash=float(data["capital"]),
        cash_sharing=True,
        group_by=True,
        call_seq="auto",
        freq="1D",
    )
    return {"stops": np.asarray(stops.value()).tolist(), "targets": np.asarray(targets.value()).tolist()}


if __name__ == "__main__":
    speed_path, equity_path = sys.argv[1:]
    print(json.dumps({**speed(speed_path), **equity(equity_path), "version": vbt.__version__}))
