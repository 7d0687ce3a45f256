"""Who is asking: tokens with roles, known by their hashes alone."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tradewind.errors import InputError, did_you_mean
from tradewind.live.redaction import hide
from tradewind.server.settings import ROLES, Role, ServerSettings

SHORTEST = 20
"""Characters that a token must have."""

LONGEST_NAME = 120
"""Characters of a caller's name that the records have room for."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may ask, and what they may."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Return whether what needs this role is allowed."""
        return ROLES.index(self.role) >= ROLES.index(role)


LOCAL = Caller("local", "admin")
"""Whoever sits at this machine, where no tokens are set."""


class Tokens:
    """The tokens of a server; the tokens themselves are nowhere in it.

    Parameters
    ----------
    callers
        By the SHA-256 of their token, in hex. Empty: everybody is :data:`LOCAL`.
    """

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = {bytes.fromhex(digest): caller for digest, caller in callers.items()}

    @property
    def required(self) -> bool:
        """Whether a token must be shown."""
        return bool(self._callers)

    def caller(self, token: str | None) -> Caller | None:
        """Return whose token this is, None where it is nobody's; takes as long for a wrong one as for a right one."""
        if not self._callers:
            return LOCAL
        digest = hashlib.sha256((token or "").encode("utf-8", "replace")).digest()
        found = None
        for known, caller in self._callers.items():
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def read_tokens(settings: ServerSettings, environ: Mapping[str, str]) -> Tokens:
    """Read the tokens from the environment and the token file.

    Raises ``InputError`` where a variable that was asked for is not set, a token is too short, the file can be read by
    others, or the server would listen beyond loopback without any.
    """
    callers = dict([*_from_environment(settings, environ), *_from_file(settings)])
    if not callers and not settings.on_loopback:
        raise InputError(
            f"server.host = {settings.host!r} would be open to the network without tokens",
            hint=f"set {settings.token_variables.get('admin', 'TRADEWIND_ADMIN_TOKEN')} to a long random text, "
            "name a server.token_file, or listen on 127.0.0.1",
        )
    return Tokens(callers)


def new_token() -> tuple[str, str]:
    """Return a new random token and its hash, for a line of the token file."""
    token = secrets.token_urlsafe(32)
    return token, _digest(token)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _from_environment(settings: ServerSettings, environ: Mapping[str, str]) -> Iterable[tuple[str, Caller]]:
    asked_for = "token_variables" in settings.model_fields_set
    for role, variable in settings.token_variables.items():
        token = environ.get(variable, "")
        if token:
            _require_long(token, variable)
            hide(token)
            yield _digest(token), Caller(role, role)
        elif asked_for:
            raise InputError(
                f"the environment variable {variable} is not set, which server.token_variables names",
                hint=f"set it to a token for the role {role}, or take it out of server.token_variables",
            )


def _require_long(token: str, variable: str) -> None:
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"the token in {variable} must be {SHORTEST} or more letters, digits and signs, without spaces",
            hint="`openssl rand -hex 32` makes one",
        )


def _from_file(settings: ServerSettings) -> Iterable[tuple[str, Caller]]:
    if settings.token_file is None:
        return
    path = Path(settings.token_file).expanduser()
    for number, line in enumerate(_private_text(path).splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield _entry(line.split(), f"{path}:{number}")


def _private_text(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else "not UTF-8"
        raise InputError(f"cannot read server.token_file {path}: {reason}", hint="is it there, and yours?") from None
    if stat.S_IMODE(mode) & 0o077:
        raise InputError(f"others can read {path}, the token file", hint=f"chmod 600 {path}")
    return text


def _entry(words: list[str], place: str) -> tuple[str, Caller]:
    if len(words) != 3 or len(words[2]) != 64 or set(words[2].lower()) - set("0123456789abcdef"):
        raise InputError(
            f"{place}: not a line of a token file",
            hint="write ROLE NAME SHA256, such as `read grafana 9f86…`; `printf %s TOKEN | sha256sum` makes the hash",
        )
    if len(words[1]) > LONGEST_NAME:
        raise InputError(
            f"{place}: a name of {len(words[1])} characters", hint=f"the records have room for {LONGEST_NAME}"
        )
    roles = {role: role for role in ROLES}
    if words[0] not in roles:
        raise did_you_mean("role", words[0], ROLES)
    return words[2], Caller(words[1], roles[words[0]])
