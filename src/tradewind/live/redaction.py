"""What must never be read in a log, a message or an answer: secrets of the environment, tokens, accounts, addresses.

Three nets, one under the other: values that are known to be secret, texts that have the form of a secret, and fields
whose name says that they hold one.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"

SHORTEST: Final = 6
"""Known values below this length are not looked for: they would also hide ordinary words."""

LONGEST: Final = 16_000
"""Characters of one text that are kept."""

_READ: Final = 100_000
_DEEPEST: Final = 12

_SECRET_WORDS: Final = "KEY|KEYS|PASS|PASSPHRASE|PWD|AUTH|CREDENTIAL|CREDENTIALS|COOKIE|DSN|WEBHOOK|PIN"
_SECRET_VARIABLE: Final = re.compile(rf"(?:^|_)(?:{_SECRET_WORDS})(?:_|$)|TOKEN|SECRET|PASSW|APIKEY|PRIVATE|ALERT.*URL")
_NAMES_A_PLACE: Final = re.compile(r"_(FILE|PATH|DIR|FOLDER|HOME|NAME)$")

_SECRET_FIELD: Final = re.compile(
    r"(?i)(?:^|[_.\- ])(?:password|passwd|passphrase|pwd|secret|token|api_?key|private_?key|secret_?key|access_?key|"
    r"authorization|cookie|credentials?)$|^x-api-key$"
)
_ACCOUNT_FIELD: Final = re.compile(r"(?i)(?:^|[_.\- ])account(?:[_.\- ]?(?:number|id|no|hash))?$")
_ACCOUNT: Final = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]*\d{4})[A-Za-z0-9]{6,}(?![A-Za-z0-9])")

_OPEN_SCHEMES: Final = r"https?|wss?|file|sqlite|postgresql|postgres|redis|memory|s3|gs|az|abfss?"
"""Addresses that may be shown, without user and password; every other scheme is taken for an address of alerts."""

_SCHEME: Final = r"(?<![A-Za-z0-9+.\-])"


def _masked(match: re.Match[str]) -> str:
    return f"{match[1]}{MASK}"


def _basic(match: re.Match[str]) -> str:
    return f"{match[1]}{MASK}" if re.search(r"[0-9=]", match[2]) else match[0]


def _account_said(match: re.Match[str]) -> str:
    return f"{match[1]}{_tail(match[2])}"


def _tail(number: str) -> str:
    return f"{MASK}{number[-3:]}"


@dataclasses.dataclass(frozen=True, slots=True)
class _Form:
    """The form of a secret in a text. Only texts with one of the ``needles`` in them are searched: most have none."""

    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    replaced: Callable[[re.Match[str]], str] = _masked


_FORMS: Final = (
    _Form(
        ("://",),
        re.compile(rf"{_SCHEME}((?!(?:{_OPEN_SCHEMES})\b)(?:[a-z][a-z0-9+.\-]{{0,30}})://)[^\s'\"<>|]+", re.I),
    ),
    _Form(("@",), re.compile(rf"{_SCHEME}([a-z][a-z0-9+.\-]{{0,30}}://)[^\s/'\"<>]*(?=@)", re.I)),
    _Form(
        ("slack", "discord", "telegram", "webhook"),
        re.compile(
            r"(https?://(?:hooks\.slack\.com|(?:[\w.\-]{0,40}\.)?discord(?:app)?\.com/api/webhooks|api\.telegram\.org"
            r"|[\w.\-]{0,80}\.webhook\.office\.com)/)[^\s'\"<>]*",
            re.I,
        ),
    ),
    _Form(("bearer",), re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=\-]{6,}")),
    _Form(("basic",), re.compile(r"\b([Bb]asic\s+)([A-Za-z0-9+/]{8,}={0,2})"), _basic),
    _Form(("eyj",), re.compile(r"(?<![\w\-])()eyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*")),
    _Form(
        ("sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "xox", "gh", "glpat", "akia", "asia"),
        re.compile(
            r"(?<![\w\-])()(?:(?:sk|pk|rk)[\-_][A-Za-z0-9_\-]{16,}|xox[abprs]-[\w\-]{10,}|gh[pousr]_\w{20,}"
            r"|glpat-[\w\-]{16,}|A[KS]IA[A-Z0-9]{16})"
        ),
    ),
    _Form(
        ("key", "token", "secret", "passw", "passphrase", "pwd", "authorization", "signature"),
        re.compile(
            r"(?i)((?:api[_\-]?key(?:[_\-]id)?|secret[_\-]?key|access[_\-]?key|(?:access|auth|refresh|id)?[_\-]?token"
            r"|client[_\-]?secret|secret|passw(?:or)?d|passphrase|pwd|authorization|signature)[\"']?\s?[:=]\s?[\"']?)"
            r"(?!(?:basic|bearer)\s)[^\s\"'&;,)}\]]+"
        ),
    ),
    _Form(
        ("account",),
        re.compile(
            r"(?i)(\baccount(?:\s?(?:number|no\.?|id))?[\s:#=\"']{1,4})((?=[A-Z0-9]{0,12}\d{4})[A-Z0-9]{6,40})\b"
        ),
        _account_said,
    ),
)


class Redactor:
    """Takes secrets out of texts and values.

    Parameters
    ----------
    environ
        Variables whose name looks like a secret's are learnt from here.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.learn_environment(environ or {})

    def learn(self, *secrets: str) -> None:
        """Hide these values from now on, also where they are quoted, escaped or in base 64."""
        forms = {form for secret in secrets for form in _forms(secret.strip()) if len(form) >= SHORTEST}
        with self._lock:
            if forms <= self._known:
                return
            self._known |= forms
            longest_first = sorted(self._known, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def learn_environment(self, environ: Mapping[str, str]) -> None:
        """Hide the values of variables whose name looks like a secret's."""
        self.learn(*(value for name, value in environ.items() if is_secret_variable(name)))

    def text(self, text: str) -> str:
        """Return a text without secrets, cut where it is very long."""
        said = text[:_READ]
        if self._pattern is not None:
            said = self._pattern.sub(MASK, said)
        lower = said.lower()
        for form in _FORMS:
            if any(needle in lower for needle in form.needles):
                said = form.pattern.sub(form.replaced, said)
        return said if len(text) <= LONGEST else f"{said[:LONGEST]}… ({len(text) - LONGEST} more)"

    def value(self, value: Any, name: str = "", depth: int = 0) -> Any:
        """Return a value without secrets, made of what JSON has; ``name`` is that of its field.

        What JSON cannot say becomes its text; numbers that are not finite become None.
        """
        if value is None or isinstance(value, bool):
            return value
        if _SECRET_FIELD.search(name):
            return MASK
        if isinstance(value, int | float) and not _ACCOUNT_FIELD.search(name):
            return _finite(value)
        if depth >= _DEEPEST:
            return "…"
        return self._deeper(value, name, depth + 1)

    def _deeper(self, value: Any, name: str, depth: int) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(each, str(key), depth) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(each, name, depth) for each in value]
        if hasattr(value, "tolist"):
            return self.value(value.tolist(), name, depth)
        said = self.text(value if isinstance(value, str) else _said(value))
        return _ACCOUNT.sub(lambda match: _tail(match[0]), said) if _ACCOUNT_FIELD.search(name) else said


def is_secret_variable(name: str) -> bool:
    """Return whether an environment variable's name says that its value is secret."""
    upper = name.upper()
    return bool(_SECRET_VARIABLE.search(upper)) and not _NAMES_A_PLACE.search(upper)


def _forms(secret: str) -> Iterable[str]:
    """Return how a secret may be written: as it is, escaped, quoted, in base 64."""
    if len(secret) < SHORTEST:
        return
    yield secret
    yield from secret.splitlines() if "\n" in secret else ()
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    yield base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def _finite(value: float) -> float | None:
    return value if isinstance(value, int) or abs(value) < float("inf") else None


def _said(value: object) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    try:
        return str(value)
    except Exception as failure:  # noqa: BLE001 - whatever is logged, logging it must not fail
        return f"<{type(value).__name__} that cannot be shown: {type(failure).__name__}>"


REDACTOR: Final = Redactor()
"""What this process knows to be secret."""


def hide(*secrets: str) -> None:
    """Keep these values out of everything this process logs or sends."""
    REDACTOR.learn(*secrets)


def hide_environment(environ: Mapping[str, str], also: Collection[str] = ()) -> None:
    """Keep the environment's secrets out of logs; ``also`` names further variables that hold one."""
    REDACTOR.learn_environment(environ)
    REDACTOR.learn(*(environ[name] for name in also if name in environ))
