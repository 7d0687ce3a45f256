"""Red flags, the author's targets, and the verdict in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any, Literal

from tradewind.evaluation.settings import TargetsSection

SUSPICIOUS_IC = 0.10
SUSPICIOUS_ACCURACY = 0.58
OFTEN_FLAT = 0.25
"""A book that holds nothing on a larger share of its bars says so."""

FLAG_TEXT = {
    "survivorship": "the source has only what still exists or was kept: names that failed are missing, and returns "
    "are flattered by an unknown amount",
    "selection": "the playbook's names were picked knowing later years (universe.hindsight, or an index's members used "
    "from before they were read): that they did well is why they are here",
    "assumed_vintage": "these bars were back-filled: their close and the source's delay stand for when they could be "
    "known, which nobody witnessed",
    "reconstructed": "they were computed back from adjusted prices",
}


def red_flags(
    flags: tuple[str, ...],
    quality: Mapping[str, Mapping[str, Any]],
    record: Mapping[str, Any],
    timeframe: str,
) -> list[dict[str, str]]:
    """Return what makes the result less believable, each with a code and a sentence."""
    found = [_provenance(flag) for flag in flags]
    if timeframe in ("1d", "1w"):
        found += _suspected_leaks(quality)
    if record["trades"] < 30:
        found.append({"code": "few_trades", "message": f"only {record['trades']} trades: their statistics mean little"})
    found += _often_in_cash(record)
    sharpe, detectable = record["sharpe"], record["minimum_detectable_sharpe"]
    if math.isfinite(sharpe) and abs(sharpe) < detectable:
        found.append(
            {
                "code": "short_sample",
                "message": f"the sample is short: it finds a true Sharpe of {detectable:.2f} four times in five, and "
                f"smaller ones more seldom; measured were {sharpe:.2f}",
            }
        )
    if record["pbo"] is None:
        found.append({"code": "no_pbo", "message": f"no probability of overfitting: {record['pbo_reason']}"})
    return found


def _provenance(flag: str) -> dict[str, str]:
    """Return a panel's flag, ``code`` or ``code: detail``, with the sentence that its code stands for."""
    code, _, detail = flag.partition(": ")
    said = [text for text in (detail, FLAG_TEXT.get(code, "")) if text]
    return {"code": code, "message": ": ".join(said) or code.replace("_", " ")}


def _often_in_cash(record: Mapping[str, Any]) -> list[dict[str, str]]:
    flat = 1.0 - record["share_of_bars_invested"]
    if not flat > OFTEN_FLAT or not record["trades"]:
        return []
    first, last = record["longest_flat_period"]
    return [
        {
            "code": "often_in_cash",
            "message": f"the book held nothing on {flat:.0%} of its bars, at the longest for "
            f"{record['longest_flat_bars']:,} in a row ({first} to {last}): that time counts in every figure",
        }
    ]


def _suspected_leaks(quality: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    found = []
    for horizon, row in quality.items():
        if (row["rank_ic"] or 0.0) > SUSPICIOUS_IC:
            words = f"rank IC {row['rank_ic']:.3f} at {horizon} bars is more than honest forecasts reach"
            found.append({"code": "suspected_leak", "message": f"{words}: a leak, or names picked in hindsight"})
        if horizon == "1" and (row["directional_accuracy"] or 0.0) > SUSPICIOUS_ACCURACY:
            found.append(
                {
                    "code": "suspected_leak",
                    "message": f"accuracy {row['directional_accuracy']:.1%} on daily bars is too good to be true",
                }
            )
    return found


def judge_targets(
    targets: TargetsSection, record: Mapping[str, Any], quality: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the author's targets with what was measured: met, not met, or cannot tell.

    A target on the Sharpe ratio is met only when its interval lies above it, and missed only when it lies
    below it; one on a rate only with the normal interval of a proportion; one on an annual return (or on its lead
    over the index) with the normal interval of a mean; the others by their value.
    """
    rows: list[dict[str, Any]] = []
    z = _deviations(record["confidence_level"])
    low, high = record["sharpe_ci"]
    if targets.sharpe_min is not None:
        rows.append(_row("Sharpe ratio", ">", targets.sharpe_min, record["sharpe"], low, high))
    if targets.win_rate_min is not None:
        rows.append(_rate("win rate", targets.win_rate_min, record["win_rate"], record["trades"], z))
    if targets.max_drawdown_max is not None:
        rows.append(_row("maximum drawdown", "<", targets.max_drawdown_max, record["max_drawdown"], unit="share"))
    if targets.annual_return_min is not None:
        spread = z * record["volatility"] / math.sqrt(_years(record))
        value = record["annual_return"]
        low, high = value - spread, value + spread
        rows.append(_row("annual return", ">", targets.annual_return_min, value, low, high, unit="share"))
    if targets.beats_index:
        rows.append(_beats_index(record, z))
    if targets.profit_factor_min is not None:
        rows.append(_row("profit factor", ">", targets.profit_factor_min, record["profit_factor"]))
    if targets.directional_accuracy_min is not None and "1" in quality:
        value, error = quality["1"]["directional_accuracy"], z * quality["1"]["directional_accuracy_error"]
        wanted, low, high = targets.directional_accuracy_min, value - error, value + error
        rows.append(_row("directional accuracy", ">", wanted, value, low, high, unit="share"))
    return rows


def _deviations(level: float) -> float:
    """Return how many standard errors a two-sided normal interval of this level reaches."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def _years(record: Mapping[str, Any]) -> float:
    return float(max(record["bars"], 1) / record["bars_per_year"])


def _beats_index(record: Mapping[str, Any], z: float) -> dict[str, Any]:
    """Judge the lead over the index, whose own moves are part of the lead's error."""
    index = record["baselines"]["index"]
    if index is None:
        return {
            "target": "annual return above the index",
            "measured": None,
            "ci": None,
            "unit": "share",
            "verdict": "cannot tell",
        }
    measured = record["annual_return"] - index["annual_return"]
    spread = z * record["tracking_error"] / math.sqrt(_years(record))
    low, high = measured - spread, measured + spread
    return _row("annual return above the index", ">", 0.0, measured, low, high, unit="share")


def _rate(name: str, wanted: float, measured: float, n: int, z: float) -> dict[str, Any]:
    spread = z * math.sqrt(max(measured * (1 - measured), 0.0) / n) if n and math.isfinite(measured) else math.nan
    return _row(name, ">", wanted, measured, measured - spread, measured + spread, unit="share")


def _row(
    name: str,
    sign: str,
    wanted: float,
    measured: float,
    low: float | None = None,
    high: float | None = None,
    *,
    unit: Literal["share", "number"] = "number",
) -> dict[str, Any]:
    """Return a judged target; a share is a fraction in every value and percent in words."""
    low, high = (measured if low is None else low), (measured if high is None else high)
    if not (math.isfinite(low) and math.isfinite(high)):
        verdict = "cannot tell"
    elif (low > wanted) if sign == ">" else (high < wanted):
        verdict = "met"
    elif (high <= wanted) if sign == ">" else (low >= wanted):
        verdict = "not met"
    else:
        verdict = "cannot tell"
    return {
        "target": f"{name} {sign} {100 * wanted:g} %" if unit == "share" else f"{name} {sign} {wanted:g}",
        "measured": measured,
        "ci": [low, high],
        "unit": unit,
        "verdict": verdict,
    }


def headline(
    record: Mapping[str, Any], quality: Mapping[str, Mapping[str, Any]], coverage: Mapping[str, Any]
) -> dict[str, str]:
    """Return the verdict: one word for colour, one sentence for people."""
    low, high = record["sharpe_ci"]
    excess_low, excess_high = record["excess_sharpe_ci"]
    if not math.isfinite(low) and record["trades"]:
        money, word = f"{record['bars']} bars are too few to judge the book", "none"
    elif not math.isfinite(low):
        money, word = "Nothing was traded: there is no track record to judge", "none"
    elif low > 0 and record["deflated_sharpe"] > 0.95 and excess_low > 0:
        money, word = "The book made money beyond luck, and more than holding the universe at the same risk", "good"
    elif high < 0:
        money, word = "The book lost money, and not by bad luck", "bad"
    elif low > 0 and excess_low > 0:
        money, word = (
            "The book's Sharpe ratio can be told from zero, but not from the best of as many lucky ones as were tried",
            "unproven",
        )
    elif low > 0:
        money, word = (
            "The book made money, but nothing says that it did better than holding the universe at the same risk",
            "unproven",
        )
    else:
        money, word = (
            "Nothing says that this made money: its Sharpe ratio cannot be told from zero",
            "unproven",
        )
    if math.isfinite(excess_high) and excess_high < 0:
        money, word = "The book did worse than holding the universe at the same risk, beyond bad luck", "bad"
    return {"word": word, "text": f"{money}. {_forecast_words(quality, coverage)}"}


def _forecast_words(quality: Mapping[str, Mapping[str, Any]], coverage: Mapping[str, Any]) -> str:
    said = []
    for horizon, row in coverage.items():
        gain = quality.get(horizon, {}).get("pinball_skill") or math.nan
        better = "better" if gain > 0 else "worse"
        skill = f", {abs(gain):.1%} {better} than the naive forecast" if math.isfinite(gain) else ""
        realised = row["realised"]
        held = "have no outcome yet" if realised is None else f"held {realised:.1%}"
        said.append(f"{horizon}-bar {100 * row['nominal']:.0f} % intervals {held}{skill}")
    return "Forecasts: " + "; ".join(said) + "."
