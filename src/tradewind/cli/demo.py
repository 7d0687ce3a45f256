"""`tradewind demo`: the whole corridor on real quotes, offline."""

from __future__ import annotations

import time

import typer

from tradewind.cli.backtest import run_backtest
from tradewind.cli.common import JsonOption, emit, failures, note, open_workspace


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind demo")
    def demo(json: JsonOption = False) -> None:
        """Real stocks, no network, no account: recommendations, track record, verdict and a report."""
        with failures(json):
            clock = time.perf_counter()
            record, folder = run_backtest(open_workspace("sample", None, None), verb="demo")
            result = record.to_dict()
            seconds = round(time.perf_counter() - clock, 1)
            if json:
                emit({**result, "report": record.run["report"], "seconds": seconds})
                return
            from tradewind.cli.show import show_result

            typer.echo(
                f"Real quotes of {len(result['recommendations'])} stocks; the sample ends {result['as_of'][:10]}."
            )
            show_result(result)
            typer.echo(f"\nReport: {record.run['report']}   ({seconds} s; run {record.run['id']} in {folder})")
            note("Next: tradewind explain AAPL | tradewind init my.toml | tradewind backtest my.toml")
