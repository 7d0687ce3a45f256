"""The playbook section of what arrives while the market moves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from typing import Literal

from pydantic import Field, field_validator

from tradewind.settings import Section


class IngestSection(Section):
    """How prices, news and macro series come in, and how long to wait for what."""

    feed: Literal["poll", "stream"] = Field(
        "poll", description="poll: the source is asked; stream: the source's own stream speaks (alpaca)"
    )
    poll_minutes: float = Field(5.0, gt=0, description="in market hours the source is asked so often (row A13)")
    settle_seconds: float = Field(3.0, ge=0, description="how long after a close it is asked for")
    requests_per_hour: int = Field(2000, gt=0, description="upper bound on requests for prices (row C1)")
    answer_seconds: float = Field(
        30.0, gt=0, description="how long an answer to fill a gap is waited for before newer bars go on"
    )

    wait_seconds: float = Field(10.0, ge=0, description="how long a close waits for symbols that have not come")
    hold_closes: int = Field(3, ge=1, description="so many closes wait at most; then the oldest goes on as it is")
    quiet_closes: int = Field(
        3, ge=0, description="a symbol that missed so many closes in a row is not waited for until it comes; 0: always"
    )
    future_seconds: float = Field(5.0, ge=0, description="a bar further ahead of the clock than this is refused")
    outlier_sigmas: float = Field(
        3.0, gt=0, description="a move beyond so many standard deviations of the last 60 is marked, not dropped"
    )
    repair_seconds: float = Field(60.0, gt=0, description="pause between attempts to fill what is missing")
    repair_attempts: int = Field(3, ge=0, description="then it stays missing; 0: never filled while running")

    stale_minutes: float = Field(10.0, gt=0, description="alert after so long without a new bar in market hours")

    retry_first_seconds: float = Field(1.0, gt=0, description="pause before a failed service is started again; doubles")
    retry_longest_seconds: float = Field(60.0, gt=0, description="longest such pause")
    failures_to_open: int = Field(5, ge=1, description="failures in a row after which a service is left alone for long")
    open_seconds: float = Field(300.0, gt=0, description="for so long; then one attempt decides")
    silent_seconds: float = Field(300.0, gt=0, description="a service without a sign of life for so long is restarted")
    seed: int = Field(0, ge=0, description="of the random part of pauses")

    news_feeds: Mapping[str, str] = Field({}, description="RSS and Atom feeds: name = address")
    news_minutes: float = Field(15.0, gt=0, description="feeds are asked so often, round the clock (row A13)")
    news_names: Mapping[str, tuple[str, ...]] = Field(
        {}, description="names by which a symbol is spoken of: AAPL = ['Apple']; cashtags need none"
    )
    news_kilobytes: int = Field(2048, gt=0, description="longest document that is read")

    macro_series: tuple[str, ...] = Field((), description="FRED series, e.g. CPIAUCSL; the key is FRED_API_KEY")
    macro_minutes: float = Field(360.0, gt=0, description="series are asked for so often")
    macro_release: Mapping[str, str] = Field(
        {}, description="local time (New York) at which a series is published, e.g. CPIAUCSL = '08:30'"
    )
    macro_url: str = Field("https://api.stlouisfed.org/fred", description="where FRED is")

    @field_validator("macro_release")
    @classmethod
    def _times(cls, given: Mapping[str, str]) -> Mapping[str, str]:
        for series, text in given.items():
            try:
                time.fromisoformat(text)
            except ValueError:
                raise ValueError(f"{series}: {text!r} is no time of day; write it as 08:30") from None
        return given
