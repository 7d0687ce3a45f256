"""Features as expressions: what is to be computed, without computing it.

An expression is a node of a graph whose leaves are inputs (``CLOSE``, ``VOLUME``, ``VIX`` ...), whose inner nodes are
elementwise arithmetic, stateful primitives and cross-sections. Equal expressions are the same object, so a
part that many features share is computed once. Nothing here imports numba: listing features costs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

Parameter = float | int | str


@dataclass(frozen=True, slots=True, eq=False)
class Expr:
    """One node of the feature graph; build it with the functions of this module and with arithmetic.

    Attributes
    ----------
    kind
        ``input``, ``constant``, ``map`` (elementwise), ``fold`` (stateful along time), ``cross`` (over symbols),
        ``joint`` (over symbols and the bars of a window).
    op
        Name within the kind.
    args
        The nodes it reads.
    params
        Window lengths and the like.
    output
        Which of a fold's outputs this is.
    look_back_bars
        Bars of its own a symbol needs for the first value, the newest included.
    key
        Content hash: the same for the same expression, in every process.
    """

    kind: str
    op: str
    args: tuple[Expr, ...] = ()
    params: tuple[Parameter, ...] = ()
    output: int = 0
    look_back_bars: int = 1
    key: str = field(default="")

    def __add__(self, other: Expr | float) -> Expr:
        return _map("add", self, other)

    def __radd__(self, other: float) -> Expr:
        return _map("add", other, self)

    def __sub__(self, other: Expr | float) -> Expr:
        return _map("subtract", self, other)

    def __rsub__(self, other: float) -> Expr:
        return _map("subtract", other, self)

    def __mul__(self, other: Expr | float) -> Expr:
        return _map("multiply", self, other)

    def __rmul__(self, other: float) -> Expr:
        return _map("multiply", other, self)

    def __truediv__(self, other: Expr | float) -> Expr:
        if isinstance(other, int | float):
            return _map("divide", self, other)
        return _map("ratio", self, other)

    def __rtruediv__(self, other: float) -> Expr:
        return _map("ratio", other, self)

    def __neg__(self) -> Expr:
        return _map("multiply", self, -1.0)

    def __abs__(self) -> Expr:
        return _map("absolute", self)

    def __repr__(self) -> str:
        inner = ", ".join([*(repr(a) for a in self.args), *(str(p) for p in self.params)])
        return f"{self.op}({inner})" if inner and self.kind != "constant" else self.op

    def nodes(self) -> Iterator[Expr]:
        """Yield every node below and this one, arguments before their users, each once."""
        yield from _post_order(self, set())


def _post_order(node: Expr, seen: set[str]) -> Iterator[Expr]:
    if node.key in seen:
        return
    seen.add(node.key)
    for argument in node.args:
        yield from _post_order(argument, seen)
    yield node


_INTERNED: dict[str, Expr] = {}


def _node(
    kind: str,
    op: str,
    args: tuple[Expr, ...] = (),
    params: tuple[Parameter, ...] = (),
    *,
    output: int = 0,
    bars: int = 0,
) -> Expr:
    """Return the one node with this content; it needs ``bars`` more bars than its arguments."""
    text = "|".join([kind, op, *(a.key for a in args), *(repr(p) for p in params), str(output)])
    key = hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
    if key not in _INTERNED:
        look_back = max((a.look_back_bars for a in args), default=1) + bars
        _INTERNED[key] = Expr(kind, op, args, params, output, look_back, key)
    return _INTERNED[key]


def _lift(value: Expr | float) -> Expr:
    return value if isinstance(value, Expr) else constant(value)


def _map(op: str, *args: Expr | float) -> Expr:
    return _node("map", op, tuple(_lift(a) for a in args))


def _fold(op: str, *args: Expr, params: tuple[Parameter, ...] = (), output: int = 0, bars: int = 0) -> Expr:
    return _node("fold", op, args, params, output=output, bars=bars)


def constant(value: float) -> Expr:
    """Return a number as an expression."""
    return _node("constant", repr(float(value)), params=(float(value),))


def source(name: str) -> Expr:
    """Return an input by name (see ``inputs.py``)."""
    return _node("input", name)


# --- elementwise -----------------------------------------------------------------------------------------------


def log(x: Expr) -> Expr:
    """Natural logarithm; missing where ``x <= 0``."""
    return _map("log", x)


def sqrt(x: Expr) -> Expr:
    """Square root; missing where ``x < 0``."""
    return _map("sqrt", x)


def sign(x: Expr) -> Expr:
    """-1, 0 or 1."""
    return _map("sign", x)


def maximum(x: Expr, y: Expr | float) -> Expr:
    """The larger of two; missing where either is."""
    return _map("maximum", x, y)


def minimum(x: Expr, y: Expr | float) -> Expr:
    """The smaller of two; missing where either is."""
    return _map("minimum", x, y)


def positive(x: Expr) -> Expr:
    """1 where ``x > 0``, else 0."""
    return maximum(sign(x), 0.0)


def where(condition: Expr, x: Expr | float, y: Expr | float) -> Expr:
    """``x`` where ``condition > 0``, else ``y``; missing where the condition is."""
    return _map("select", condition, x, y)


# --- stateful along time ---------------------------------------------------------------------------------------


def lag(x: Expr, bars: int) -> Expr:
    """The value ``bars`` of the symbol's own bars ago."""
    return _fold("lag", x, params=(bars,), bars=bars) if bars else x


def delta(x: Expr, bars: int = 1) -> Expr:
    """Change over ``bars``."""
    return x - lag(x, bars)


def ema(x: Expr, span: int) -> Expr:
    """Exponential mean with weight ``2 / (span + 1)``, started at the mean of the first ``span`` values."""
    return _fold("smooth", x, params=(span, 2.0 / (span + 1.0)), bars=span - 1)


def wilder(x: Expr, bars: int) -> Expr:
    """Wilder's smoothing: weight ``1 / bars``, started at the mean of the first ``bars`` values."""
    return _fold("smooth", x, params=(bars, 1.0 / bars), bars=bars - 1)


def decay(x: Expr, half_life: float, seed: int) -> Expr:
    """Exponential mean by half-life in bars, started at the mean of the first ``seed`` values."""
    return _fold("smooth", x, params=(seed, 1.0 - 0.5 ** (1.0 / half_life)), bars=seed - 1)


def total(x: Expr, window: int) -> Expr:
    """Sum over the last ``window`` bars."""
    return _fold("rolling_sum", x, params=(window,), bars=window - 1)


def mean(x: Expr, window: int) -> Expr:
    """Mean over the last ``window`` bars."""
    return total(x, window) / float(window)


def variance(x: Expr, window: int) -> Expr:
    """Population variance over the last ``window`` bars."""
    return _fold("rolling_variance", x, params=(window,), bars=window - 1)


def deviation(x: Expr, window: int) -> Expr:
    """Population standard deviation over the last ``window`` bars."""
    return sqrt(variance(x, window))


def zscore(x: Expr, window: int) -> Expr:
    """Deviations that the newest value lies above its mean over the last ``window`` bars."""
    return (x - mean(x, window)) / deviation(x, window)


def highest(x: Expr, window: int) -> Expr:
    """Maximum over the last ``window`` bars."""
    return _fold("rolling_extreme", x, params=(window, 1.0), bars=window - 1)


def lowest(x: Expr, window: int) -> Expr:
    """Minimum over the last ``window`` bars."""
    return _fold("rolling_extreme", x, params=(window, -1.0), bars=window - 1)


def bars_since_highest(x: Expr, window: int) -> Expr:
    """Age in bars of the (latest) maximum of the last ``window`` bars."""
    return _fold("age_of_extreme", x, params=(window, 1.0), bars=window - 1)


def bars_since_lowest(x: Expr, window: int) -> Expr:
    """Age in bars of the (latest) minimum of the last ``window`` bars."""
    return _fold("age_of_extreme", x, params=(window, -1.0), bars=window - 1)


def covariance(x: Expr, y: Expr, window: int) -> Expr:
    """Population covariance over the last ``window`` bars on which both are there."""
    return _fold("rolling_covariance", x, y, params=(window,), bars=window - 1)


def beta(x: Expr, y: Expr, window: int) -> Expr:
    """Slope of the regression of ``x`` on ``y`` over the last ``window`` bars."""
    return covariance(x, y, window) / _joint_variance(x, y, window, 2)


def correlation(x: Expr, y: Expr, window: int) -> Expr:
    """Pearson correlation over the last ``window`` bars."""
    scale = sqrt(_joint_variance(x, y, window, 1)) * sqrt(_joint_variance(x, y, window, 2))
    return covariance(x, y, window) / scale


def _joint_variance(x: Expr, y: Expr, window: int, which: int) -> Expr:
    return _fold("rolling_covariance", x, y, params=(window,), output=which, bars=window - 1)


def cumulative(x: Expr) -> Expr:
    """Sum since the symbol's first bar."""
    return _fold("cumulative", x, params=(0,))


def record_high(x: Expr) -> Expr:
    """Maximum since the symbol's first bar."""
    return _fold("cumulative", x, params=(1,))


def age(x: Expr) -> Expr:
    """Bars since the symbol's first one, which counts 1."""
    return cumulative(where(abs(x) + 1.0, 1.0, 1.0))


def mean_absolute_deviation(x: Expr, window: int) -> Expr:
    """Mean distance to the mean over the last ``window`` bars."""
    return _scan(x, window, "mean_absolute_deviation")


def rank(x: Expr, window: int) -> Expr:
    """Share of the last ``window`` values below the newest, ties counted half, 0..1."""
    return _scan(x, window, "rank")


def skewness(x: Expr, window: int) -> Expr:
    """Skewness (population) over the last ``window`` bars."""
    return _scan(x, window, "skewness")


def kurtosis(x: Expr, window: int) -> Expr:
    """Excess kurtosis (population) over the last ``window`` bars."""
    return _scan(x, window, "kurtosis")


def quantile(x: Expr, window: int, level: float) -> Expr:
    """Empirical quantile (linear between order statistics) over the last ``window`` bars."""
    return _fold("rolling_quantile", x, params=(window, level), bars=window - 1)


SCANS = ("mean_absolute_deviation", "rank", "skewness", "kurtosis")


def _scan(x: Expr, window: int, kind: str) -> Expr:
    return _fold("rolling_scan", x, params=(window, SCANS.index(kind)), bars=window - 1)


def streak(x: Expr) -> Expr:
    """Signed count of successive bars on which ``x`` kept its sign; 0 at a zero."""
    return _fold("run_length", x, params=(0,))


def bars_since(condition: Expr) -> Expr:
    """Bars since ``condition > 0`` held last; missing before the first time."""
    return _fold("run_length", condition, params=(1,))


def parabolic_stop(high: Expr, low: Expr, acceleration: float, limit: float) -> Expr:
    """Wilder's parabolic stop-and-reverse level."""
    return _fold("parabolic", high, low, params=(acceleration, limit), bars=1)


def point_of_control(price: Expr, volume: Expr, window: int, bins: int) -> Expr:
    """Price with the most volume over the last ``window`` bars (middle of one of ``bins`` equal slices)."""
    return _fold("volume_profile", price, volume, params=(window, bins), bars=window - 1)


def volume_below(price: Expr, volume: Expr, window: int, bins: int) -> Expr:
    """Share of the volume of the last ``window`` bars that traded below the newest price."""
    return _fold("volume_profile", price, volume, params=(window, bins), output=1, bars=window - 1)


def previous_session(x: Expr, session: Expr, what: str) -> Expr:
    """``high``, ``low`` or ``last`` of ``x`` over the last complete session before the newest bar's."""
    return _fold("session_range", x, session, output=("high", "low", "last").index(what), bars=1)


def session_total(x: Expr, session: Expr) -> Expr:
    """Sum of ``x`` since the start of the session, the newest bar included."""
    return _fold("session_range", x, session, output=3)


def price_factor(close: Expr, split: Expr, dividend: Expr) -> Expr:
    """Forward adjustment factor of prices (``market.actions.forward_factor``)."""
    return _fold("adjustment", close, split, dividend)


def split_factor(close: Expr, split: Expr, dividend: Expr) -> Expr:
    """Shares today for one share at the start: what divides volume."""
    return _fold("adjustment", close, split, dividend, output=1)


# --- across symbols --------------------------------------------------------------------------------------------


def cross_rank(x: Expr) -> Expr:
    """Share of the universe's members with a smaller value now, ties counted half, 0..1."""
    return _node("cross", "rank", (x,))


def cross_mean(x: Expr) -> Expr:
    """Mean over the universe's members now, the same for every symbol with a bar."""
    return _node("cross", "mean", (x,))


def cross_deviation(x: Expr) -> Expr:
    """Standard deviation over the universe's members now."""
    return _node("cross", "deviation", (x,))


def sector_mean(x: Expr) -> Expr:
    """Mean over the members of the symbol's sector now; missing where the sector is unknown."""
    return _node("cross", "sector_mean", (x,))


def correlation_graph(x: Expr, what: str, *, bars: int, least: int, threshold: float) -> Expr:
    """Where a member stands in the graph of correlations over the last ``bars`` of the calendar.

    ``what`` is ``degree``, ``eigenvector``, ``clustering`` or ``pagerank``; see ``stats.correlation_graph``.
    """
    place = ("degree", "eigenvector", "clustering", "pagerank").index(what)
    return _node("joint", "correlation_graph", (x,), (bars, least, threshold), output=place, bars=least - 1)


# --- inputs ----------------------------------------------------------------------------------------------------

_RAW = {name: source(name) for name in ("open", "high", "low", "close", "volume", "split", "dividend")}
_FACTOR = price_factor(_RAW["close"], _RAW["split"], _RAW["dividend"])

RAW_CLOSE = _RAW["close"]
OPEN = _RAW["open"] * _FACTOR
HIGH = _RAW["high"] * _FACTOR
LOW = _RAW["low"] * _FACTOR
CLOSE = _RAW["close"] * _FACTOR
VOLUME = _RAW["volume"] / split_factor(_RAW["close"], _RAW["split"], _RAW["dividend"])
DOLLAR_VOLUME = _RAW["close"] * _RAW["volume"]
LOG_CLOSE = log(CLOSE)
RETURN = delta(LOG_CLOSE)
TYPICAL = (HIGH + LOW + CLOSE) / 3.0
TRUE_RANGE = maximum(HIGH, lag(CLOSE, 1)) - minimum(LOW, lag(CLOSE, 1))

VIX = source("vix")
INDEX = source("index")
INDEX_RETURN = delta(log(INDEX))
SESSION = source("session")
