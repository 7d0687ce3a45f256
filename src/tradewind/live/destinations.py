"""Where alerts go: addresses in apprise's form, read from where secrets belong, never shown, and one attempt to send.

An address is a URL such as ``slack://…``, ``mailtos://…``, ``pagerduty://…``, ``json://host/path``.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from tradewind.errors import InputError
from tradewind.live import redaction
from tradewind.live.settings_alerts import AlertsSection, DestinationSection

Level = Literal["info", "warning", "critical"]

LEVELS: Final[tuple[Level, ...]] = ("info", "warning", "critical")
"""From the mildest to the gravest."""

CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
"""Variable by which systemd says where a service's credentials lie."""

SECRETS: Final = Path("/run/secrets")
"""Where a container's secrets lie."""

_PLAIN: Final = ("http", "https", "json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "syslog")
"""Schemes whose host is no secret."""


class Message(NamedTuple):
    """What is sent: a line, a few lines, and how grave it is."""

    title: str
    body: str
    level: Level


class Sent(NamedTuple):
    """What came of an attempt. ``detail`` says why it failed, without a secret in it."""

    ok: bool
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Destination:
    """One address, and what goes there.

    Attributes
    ----------
    address
        The URL as it may be shown.
    """

    name: str
    url: str = field(repr=False)
    address: str
    level: Level
    kinds: tuple[str, ...] = ()

    def wants(self, level: str, kind: str) -> bool:
        """Return whether an alert of this level and kind goes there."""
        grave = LEVELS.index(level) >= LEVELS.index(self.level) if level in LEVELS else True
        return grave and (not self.kinds or any(fnmatchcase(kind, pattern) for pattern in self.kinds))


Send = Callable[[Destination, Message, float], Sent]
"""One attempt: where, what, and the longest wait in seconds."""


def destinations(section: AlertsSection, environ: Mapping[str, str] | None = None) -> tuple[Destination, ...]:
    """Return the destinations of ``[alerts]`` with their addresses, and keep these out of everything from now on.

    Raises
    ------
    InputError
        A variable or file is missing or empty, a file can be read by others, a URL is none, or one that holds a
        secret stands in the playbook. The error names where it should be, never what it holds.
    """
    variables = os.environ if environ is None else environ
    return tuple(_destination(name, one, variables) for name, one in sorted(section.to.items()))


def _destination(name: str, section: DestinationSection, environ: Mapping[str, str]) -> Destination:
    place = f"[alerts.to.{name}]"
    url = _url(place, section, environ)
    redaction.hide(*secrets_of(url))
    service = _service(url)
    if service is None:
        raise InputError(
            f"{place}: {_named(section)} holds no address that apprise understands",
            hint="https://appriseit.com lists the forms, such as slack://…, mailtos://…, json://host/path",
        )
    if section.url and (_is_private(service) or len(secrets_of(url)) > 1):
        raise InputError(
            f"{place}: url holds a secret, and a playbook is no place for one",
            hint=f"put it into the environment and name it here: url_env = "
            f'"TRADEWIND_ALERT_{name.upper().replace("-", "_")}"',
        )
    return Destination(name, url, _shown(service), section.level, section.kinds)


def _named(section: DestinationSection) -> str:
    if section.url_env:
        return f"the variable {section.url_env}"
    return f"the file {section.url_file}" if section.url_file else "url"


def _url(place: str, section: DestinationSection, environ: Mapping[str, str]) -> str:
    if section.url:
        return section.url
    if section.url_env:
        found = environ.get(section.url_env, "").strip()
        hint = f"export {section.url_env}=… (docs/alerts.md), or leave this destination out"
    else:
        found = _of_file(place, section.url_file, environ)
        hint = "write the apprise URL into it, one line (docs/alerts.md)"
    if not found:
        raise InputError(f"{place}: {_named(section)} is missing or empty", hint=hint)
    return found


def _of_file(place: str, name: str, environ: Mapping[str, str]) -> str:
    path, guarded = _path(name, environ)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077 and not guarded:
            raise InputError(
                f"{place}: {path} can be read by others (mode {mode:04o})", hint=f"chmod 600 {path}: it holds a secret"
            )
        return path.read_text("utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else "it is no text in UTF-8"
        raise InputError(f"{place}: cannot read {path}: {reason}", hint="it must be readable by this user") from None


def _path(name: str, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """Return a file's path, and whether it lies where the service manager guards it."""
    if "/" not in name and "\\" not in name:
        folders = [Path(environ[CREDENTIALS])] if environ.get(CREDENTIALS) else []
        for folder in (*folders, SECRETS):
            if (folder / name).is_file():
                return folder / name, True
    return Path(name).expanduser(), False


def secrets_of(url: str) -> tuple[str, ...]:
    """Return what of an address must never be shown: all of it, and those of its parts that look like secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:  # not an address at all
        return (url,)
    pieces = [parts.username or "", parts.password or ""]
    if parts.scheme.lower() not in _PLAIN:
        pieces.append(parts.netloc.rpartition("@")[2])
    asked = parse_qsl(parts.query)
    pieces += [piece for piece in (*parts.path.split("/"), *(value for _, value in asked)) if _looks_secret(piece)]
    pieces += [value for name, value in asked if name[:1] in ("+", "-", ":", " ")]  # headers, read as a form
    found = {unquote(piece) for piece in pieces if piece}
    return (url, *sorted(found))


def _looks_secret(piece: str) -> bool:
    """Return whether a piece of a path looks drawn by chance rather than named."""
    mixed = bool(re.search(r"\d", piece)) + bool(re.search(r"[a-z]", piece)) + bool(re.search(r"[A-Z]", piece))
    return len(piece) >= 20 or (len(piece) >= 8 and mixed >= 2)


# -- apprise --------------------------------------------------------------------------------------------------


def apprise_send(destination: Destination, message: Message, timeout_seconds: float) -> Sent:
    """Send one message to one destination, once; never raises."""
    began = time.perf_counter()
    try:
        ok, detail = _notify(destination, message, timeout_seconds)
    except Exception as failure:  # noqa: BLE001 - a plug-in may fail in any way; none may stop the others
        ok, detail = False, f"{type(failure).__name__}: {failure}"
    return Sent(ok, redaction.REDACTOR.text(detail), round(time.perf_counter() - began, 3))


def _notify(destination: Destination, message: Message, timeout_seconds: float) -> tuple[bool, str]:
    apprise = _apprise()
    service = _service(destination.url, timeout_seconds)
    if service is None:
        return False, "not an address that apprise understands"
    one = apprise.Apprise(asset=service.asset)
    one.add(service)
    kinds = {"info": "INFO", "warning": "WARNING", "critical": "FAILURE"}
    result = one.notify(
        body=message.body,
        title=message.title,
        notify_type=apprise.NotifyType[kinds[message.level]],
        body_format=apprise.NotifyFormat.TEXT,
        timeout=timeout_seconds,
    )
    attempts = [attempt for each in result for attempt in each]
    if attempts and all(attempts):  # not `result`: a URL may call itself optional
        return True, "sent"
    said = [entry.message for entry in result.logs()]
    return False, "; ".join(said) or f"not sent ({result.status.name.lower()})"


def _service(url: str, timeout_seconds: float = 15.0) -> Any:
    """Return apprise's service of a URL; None where it is none. Nothing is kept on disk, nothing asked twice."""
    apprise = _apprise()
    asset = apprise.AppriseAsset(
        app_id="Tradewind",
        app_desc="Tradewind",
        app_url="",
        storage_mode="memory",
        service_timeout=timeout_seconds,
        allow_templates=False,
    )
    return apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)


def _is_private(service: Any) -> bool:
    return bool(service.url(privacy=True) != service.url(privacy=False))


def _shown(service: Any) -> str:
    """Return the scheme and, where it is no secret, the host."""
    parts = urlsplit(str(service.url(privacy=True)))
    scheme = parts.scheme.lower()
    host = parts.hostname if scheme in _PLAIN else None
    return f"{scheme}://{host}{f':{parts.port}' if parts.port else ''}/…" if host else f"{scheme}://…"


class _Hushed(logging.Filter):
    """Takes secrets out of what apprise logs, whoever listens."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redaction.REDACTOR.text(record.getMessage()), ()
        return True


_LOADING = threading.Lock()


def _apprise() -> Any:
    """Import apprise, its logger kept from showing addresses and from speaking where nobody set logs up."""
    with _LOADING:
        import apprise

        log = logging.getLogger("apprise")
        if not any(isinstance(one, _Hushed) for one in log.filters):
            log.addFilter(_Hushed())
            log.addHandler(logging.NullHandler())
    return apprise


def send_test(
    found: Sequence[Destination],
    level: Level,
    *,
    signature: str = "tradewind",
    timeout_seconds: float = 15.0,
    send: Send = apprise_send,
) -> list[dict[str, Any]]:
    """Send one message to every destination at once and return what each said, in their order.

    A destination is sent to even where alerts of this level do not go there; ``gets_level`` says whether they do.
    """
    message = Message(f"[{level.upper()}] {signature}: test", "A test: nothing has happened.", level)
    answers: dict[str, Sent] = {}

    def attempt(one: Destination) -> None:
        answers[one.name] = send(one, message, timeout_seconds)

    threads = [threading.Thread(target=attempt, args=(one,), name=f"alert-test-{one.name}") for one in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [
        {
            "name": one.name,
            "address": one.address,
            "gets_level": one.wants(level, "test"),
            **answers[one.name]._asdict(),
        }
        for one in found
    ]
