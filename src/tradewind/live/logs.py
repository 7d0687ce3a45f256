"""Logs: one line an event, the same form for our own and everybody else's, each with the id of what it came from.

A line of ``form="json"`` is one object: ``time`` (ISO 8601, UTC, by the process's clock), ``level``, ``event``,
``logger``, ``correlation`` (where there is one), then whatever belongs to the event. ``console`` says the same to
people.
Secrets are taken out of every field (:mod:`tradewind.live.redaction`).
"""

from __future__ import annotations

import contextvars
import functools
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, Literal, ParamSpec, TextIO, TypeVar, get_args

import structlog
from structlog.typing import EventDict, WrappedLogger

from tradewind.clock import Clock, SystemClock
from tradewind.errors import InputError, did_you_mean
from tradewind.live import redaction
from tradewind.market.store.failures import storage_failures

Level = Literal["debug", "info", "warning", "error", "critical"]
Form = Literal["json", "console", "auto"]

FILE_BYTES: Final = 20_000_000
FILES_KEPT: Final = 5

TALKATIVE: Final = ("urllib3", "httpx", "httpcore", "asyncio", "apprise", "websockets", "numba", "matplotlib", "peewee")
"""Libraries that are heard from warnings on, unless everything is wanted."""

THEIR_OWN: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "apscheduler", "py.warnings")
"""Loggers that may have handlers of their own, which would say everything twice."""

P = ParamSpec("P")
R = TypeVar("R")

_CORRELATION: ContextVar[str] = ContextVar("tradewind_correlation", default="")
_LONGEST_ID: Final = 200


# -- correlation --------------------------------------------------------------------------------------------------


@contextmanager
def correlation(name: str, **fields: Any) -> Iterator[str]:
    """Name what everything in here comes from, as ``with correlation("bar:2024-01-02T15:00Z", symbol="AAPL"):``.

    Within another one the names form a path, ``poll:yahoo>bar:…``. ``fields`` are added to every line. Tasks take both
    along by themselves; for threads see :func:`carried`.
    """
    outer = _CORRELATION.get()
    path = name if not outer or outer == name else f"{outer}>{name}"
    token = _CORRELATION.set(path[-_LONGEST_ID:])
    try:
        with structlog.contextvars.bound_contextvars(**fields):
            yield _CORRELATION.get()
    finally:
        _CORRELATION.reset(token)


def current_correlation() -> str:
    """Return the id that is in force here, as :meth:`tradewind.live.bus.Bus.publish` takes it; empty where none is."""
    return _CORRELATION.get()


def carried(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that runs under the correlation in force now: for threads, pools and call-backs.

    ``asyncio.to_thread`` does it by itself, ``run_in_executor``, ``Thread`` and ``ThreadPoolExecutor.submit`` do not.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(function, *args, **kwargs)

    return run


# -- loggers ------------------------------------------------------------------------------------------------------


def logger(name: str) -> Any:
    """Return a logger: ``logger(__name__).info("bar appended", symbol="AAPL", bars=3)``.

    Never on stdout; before :func:`configure_logs` only warnings are shown.
    """
    return structlog.wrap_logger(logging.getLogger(name), processors=_FIRST, wrapper_class=structlog.stdlib.BoundLogger)


_FIRST: Final[list[Any]] = [
    structlog.stdlib.filter_by_level,
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]


class Logs:
    """Logs as they were set up; ``close`` puts everything back as it was.

    Attributes
    ----------
    lost
        Lines that could not be written: a full disk, a closed pipe. Nothing stops for them.
    """

    def __init__(self, handler: logging.Handler, level: int) -> None:
        self._handler = handler
        root = logging.getLogger()
        self._before = (root.handlers[:], root.level)
        self._loggers = {name: _state(logging.getLogger(name)) for name in (*TALKATIVE, *THEIR_OWN)}
        self._thread_hook = threading.excepthook
        self._take(root, level)

    @property
    def lost(self) -> int:
        """Return how many lines could not be written."""
        return int(getattr(self._handler, "lost", 0))

    def close(self) -> None:
        """Write what is left and put handlers, levels and hooks back."""
        root = logging.getLogger()
        root.handlers[:], level = self._before
        root.setLevel(level)
        for name, state in self._loggers.items():
            _put_back(logging.getLogger(name), state)
        threading.excepthook = self._thread_hook
        logging.captureWarnings(False)
        structlog.reset_defaults()
        self._handler.close()

    def _take(self, root: logging.Logger, level: int) -> None:
        root.handlers[:] = [self._handler]
        root.setLevel(level)
        for name in self._loggers:
            theirs = logging.getLogger(name)
            theirs.handlers[:], theirs.propagate = [], True
            quiet = name in TALKATIVE and level > logging.DEBUG
            theirs.setLevel(logging.WARNING if quiet else logging.NOTSET)
        logging.captureWarnings(True)
        threading.excepthook = _thread_failed
        structlog.configure(
            processors=_FIRST,
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,
        )


def configure_logs(
    level: Level = "info",
    form: Form = "auto",
    clock: Clock | None = None,
    file: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    stream: TextIO | None = None,
) -> Logs:
    """Send everything that is logged in this process, by whomever, to one place in one form.

    Parameters
    ----------
    level
        Least level that is shown.
    form
        ``json`` for machines, ``console`` for people; ``auto`` is ``console`` on a terminal.
    clock
        Says the times of the lines; the machine's where None.
    file
        Where to write, readable by its owner only; a new file is begun at 20 MB and five old ones are kept, for one
        process. Without it lines go to ``stream``.
    environ
        Where secrets are that no line may hold; the process's own where None.
    stream
        The standard error stream where None.

    Raises
    ------
    InputError
        An unknown level or form, or a file that cannot be written.
    """
    for kind, given, known in (("level of logs", level, Level), ("form of logs", form, Form)):
        if given not in get_args(known):
            raise did_you_mean(kind, given, get_args(known))
    redaction.hide_environment(os.environ if environ is None else environ)
    handler = _handler(file, stream or sys.stderr)
    target = None if file is not None else stream or sys.stderr
    handler.setFormatter(_formatter(form, clock or SystemClock(), target))
    return Logs(handler, logging.getLevelNamesMapping()[level.upper()])


# -- how a line is made -------------------------------------------------------------------------------------------


def _formatter(form: Form, clock: Clock, stream: TextIO | None) -> logging.Formatter:
    terminal = stream is not None and stream.isatty()
    people = form == "console" or (form == "auto" and terminal)
    steps: list[Any] = [
        structlog.processors.format_exc_info,
        structlog.processors.StackInfoRenderer(),
        _described(clock),
        _clean,
    ]
    end: list[Any] = [_on_one_line, structlog.dev.ConsoleRenderer(colors=terminal, timestamp_key="time")]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, structlog.stdlib.ExtraAdder(), _of_a_request],
        processors=[*steps, *(end if people else [_as_json])],
        pass_foreign_args=True,
    )


def _described(clock: Clock) -> Callable[[WrappedLogger, str, EventDict], EventDict]:
    def describe(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        """Put what every line has in front: time, level, event, logger, correlation."""
        record: logging.LogRecord = event.pop("_record")
        event.pop("_from_structlog", None)
        event.pop("positional_args", None)
        head = {
            "time": clock.now().isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "event": event.pop("event", ""),
            "logger": record.name,
        }
        if said := _CORRELATION.get():
            head["correlation"] = said
        theirs = {f"{key}_" if key in head else key: value for key, value in event.items()}
        return {**head, **theirs}

    return describe


def _clean(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    return {key: value for key, value in redaction.REDACTOR.value(event).items() if key != "color_message"}


def _as_json(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    return json.dumps(event, allow_nan=False, separators=(",", ":"))


def _on_one_line(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Escape what would break a line or speak to the terminal; tracebacks keep their lines."""
    multiline = ("exception", "stack")
    return {key: value if key in multiline else _escaped(value) for key, value in event.items()}


def _escaped(value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in value)


def _of_a_request(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Turn what uvicorn says of a request into fields."""
    args = event.get("positional_args")
    if event["_record"].name == "uvicorn.access" and isinstance(args, tuple) and len(args) == 5:
        client, method, path, _, status = args
        event.update(event="request", client=client, method=method, path=path, status=status)
    return event


# -- where lines go -----------------------------------------------------------------------------------------------


class _Counting:
    """What a handler does with a line that cannot be written: count it."""

    lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        self.lost += 1


class _Stream(_Counting, logging.StreamHandler[TextIO]):
    """A stream, as long as it takes lines."""


class _File(_Counting, RotatingFileHandler):
    """A file of its owner's only, which makes room for the next one when it is full."""

    def _open(self) -> Any:
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return os.fdopen(handle, "a", encoding="utf-8")


def _handler(file: Path | None, stream: TextIO) -> logging.Handler:
    if file is None:
        return _Stream(stream)
    try:
        with storage_failures(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            return _File(file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise InputError(f"{file} cannot be a file of logs", hint="name a file in a folder that can be made") from None


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    """Log what ended a thread."""
    if args.exc_type is SystemExit:
        return
    name = args.thread.name if args.thread is not None else "?"
    raised = (args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)
    logging.getLogger("tradewind").critical("a thread has failed: %s", name, exc_info=raised)


_State = tuple[list[logging.Handler], bool, int]


def _state(theirs: logging.Logger) -> _State:
    return theirs.handlers[:], theirs.propagate, theirs.level


def _put_back(theirs: logging.Logger, state: _State) -> None:
    theirs.handlers[:], theirs.propagate, level = state
    theirs.setLevel(level)
