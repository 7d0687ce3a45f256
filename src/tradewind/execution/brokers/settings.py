"""The section ``[broker]`` of a playbook: who carries orders out, and how patiently we ask.

There is no key for live trading, on purpose: real money needs a flag and a typed phrase in each session
(:mod:`tradewind.execution.brokers.preflight`). Keys and secrets come from the environment only.
"""

from __future__ import annotations

from pydantic import Field

from tradewind.settings import Section


class BrokerSection(Section):
    """Who carries orders out. The default trades on paper with us; nothing here can switch to real money."""

    name: str = Field(
        default="paper",
        min_length=1,
        description="paper: our own account; alpaca, schwab: through their client libraries",
    )
    account: str = Field(
        default="", max_length=32, description="last digits of the account, where the login has more than one"
    )
    url: str = Field(
        default="", max_length=200, description="another address than the broker's own: a stand-in, a proxy"
    )
    tokens_path: str = Field(
        default="~/.schwabdev/tokens.db", min_length=1, description="where schwabdev keeps its tokens"
    )
    timeout_seconds: float = Field(default=10.0, gt=0, le=300, description="longest wait for one answer")
    retries: int = Field(default=4, ge=0, le=20, description="further attempts, where asking again can do no harm")
    pause_seconds: float = Field(
        default=1.0, ge=0, le=60, description="pause before the second attempt; it doubles from one to the next"
    )
    longest_pause_seconds: float = Field(
        default=30.0, ge=0, le=600, description="longest pause, also where the broker asks for a longer one"
    )
    paper_days_min: int = Field(
        default=20, ge=0, le=1000, description="days that must have been traded on paper before real money"
    )
