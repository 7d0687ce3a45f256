"""The section ``[alerts]`` of a playbook: who is told what, when, and from where trouble is worth telling.

Addresses hold secrets, so a playbook only says where they are: in a variable of the environment, or in a file of its
owner's only.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from tradewind.settings import Section

Level = Literal["info", "warning", "critical"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")


def _time_of_day(text: str) -> str:
    if text and not _TIME.fullmatch(text):
        raise ValueError("a time of day is written as 22:00")
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError of its own
        raise ValueError("not a time zone; examples: UTC, America/New_York, Europe/Zurich") from None
    except KeyError:
        raise ValueError("there is no such time zone; examples: UTC, America/New_York, Europe/Zurich") from None
    return name


TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
TimeZone = Annotated[str, AfterValidator(_zone)]


class DestinationSection(Section):
    """One address that alerts go to. Exactly one of ``url_env``, ``url_file`` and ``url``."""

    url_env: str = Field("", max_length=200, description="environment variable that holds the apprise URL")
    url_file: str = Field(
        "",
        max_length=1000,
        description="file that holds it, readable by its owner only; a bare name is one of the service manager's "
        "credentials or of the container's secrets",
    )
    url: str = Field("", max_length=1000, description="the URL itself; refused where it holds a secret")
    level: Level = Field("warning", description="least level that goes there")
    kinds: tuple[str, ...] = Field(
        (), description="only alerts of these kinds (with * and ?), as in reconcile*; none: all"
    )

    @model_validator(mode="after")
    def _one_address(self) -> DestinationSection:
        named = [name for name in ("url_env", "url_file", "url") if getattr(self, name)]
        if len(named) != 1:
            raise ValueError(f"say one of url_env, url_file and url, got {' and '.join(named) or 'none'}")
        return self


class HealthLimits(Section):
    """From where on an alert says that the machine or the process is unwell; once, until it is well again."""

    disk_percent_max: float = Field(90.0, gt=0, le=100, description="used share of the disk that holds the home")
    memory_percent_max: float = Field(95.0, gt=0, le=100, description="used share of the memory")
    error_rate_max: float = Field(0.001, gt=0, le=1, description="share of operations that failed")
    p95_seconds_max: float = Field(3.0, gt=0, description="from a bar's arrival to its push, 95 of 100 bars")
    skew_seconds_max: float = Field(5.0, gt=0, description="how far a source's clock may be from ours")
    backup_folder: str = Field("", max_length=1000, description="where backups (*.tar) are put; none: not watched")
    backup_hours_max: float = Field(48.0, gt=0, description="age of the newest backup that can be read")


class AlertsSection(Section):
    """Who is told of alerts, and when. Without destinations alerts are stored and shown, and sent to nobody."""

    to: dict[str, DestinationSection] = Field({}, description="destinations by name")
    group_seconds: float = Field(
        300.0, ge=0, le=86_400, description="alerts of one kind within this time after one was sent become one message"
    )
    quiet_from: TimeOfDay = Field("", description="from then on only critical alerts are sent; the others wait")
    quiet_until: TimeOfDay = Field("", description="until then")
    time_zone: TimeZone = Field("UTC", description="time zone of the quiet hours")
    most_per_hour: int = Field(
        30, ge=1, le=3600, description="messages an hour to one destination; what is more waits; critical ones pass"
    )
    timeout_seconds: float = Field(15.0, gt=0, le=300, description="longest wait for one message to be taken")
    retry_seconds: float = Field(2.0, gt=0, le=600, description="pause after a failure; it doubles")
    retry_seconds_max: float = Field(600.0, gt=0, le=86_400, description="longest pause")
    health: HealthLimits = Field(HealthLimits(), description="limits of the machine's and the process's health")

    @model_validator(mode="after")
    def _sound(self) -> AlertsSection:
        if bool(self.quiet_from) != bool(self.quiet_until):
            raise ValueError("quiet hours need both quiet_from and quiet_until")
        if self.quiet_from and self.quiet_from == self.quiet_until:
            raise ValueError("quiet hours that end when they begin are none, or all day: give two different times")
        for name in self.to:
            if not _NAME.fullmatch(name):
                raise ValueError(f"a destination's name is made of a-z, 0-9, - and _ (at most 40), got {name!r}")
        return self
