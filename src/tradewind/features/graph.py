"""The engine: runs the graph of features over blocks of bars, history and newest bar alike.

A plan lists each distinct node once, arguments first, with the buffer it writes to. Blocks of a few dozen bars pass
through the whole plan while they are in cache. Symbols are split over threads; cross-sections are split by bars.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.features import inputs, registry
from tradewind.features.expression import Expr
from tradewind.features.joint import JOINT, Joint, remembered
from tradewind.features.primitives import PRIMITIVES, Primitive, State
from tradewind.features.rowwise import CROSS_SECTIONS, KERNELS, UFUNCS, Section
from tradewind.features.table import Features
from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]
Span = tuple[int, int]

BLOCK_ELEMENTS = 32_768
"""Values of one buffer: small enough that a plan's buffers stay in cache, large enough to hide the calls."""
LEAST_PER_THREAD = 6_144

STATEFUL: Mapping[str, Mapping[str, Primitive | Joint]] = {"fold": PRIMITIVES, "joint": JOINT}
ACROSS = ("cross", "joint")
"""Kinds that look across symbols."""


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a plan: what runs, on which buffers, in which phase."""

    kind: str
    op: str
    args: tuple[int, ...]
    outs: tuple[int, ...]
    params: tuple[Any, ...]
    phase: int
    key: str
    emits: tuple[tuple[int, int], ...]
    """Pairs (output of this node, feature) that are results."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule for a set of features: steps in order, and how many buffers they need."""

    steps: tuple[Step, ...]
    buffers: int
    constants: Mapping[int, float]

    def phases(self) -> Iterator[tuple[bool, tuple[Step, ...]]]:
        """Yield runs of steps that need no barrier between them, and whether they look across symbols."""
        for phase in sorted({s.phase for s in self.steps}):
            yield phase % 2 == 1, tuple(s for s in self.steps if s.phase == phase)


def build_plan(expressions: Sequence[Expr]) -> Plan:
    """Schedule expressions so that common parts are computed once and buffers are used again."""
    order = _Order(expressions)
    slots = _Slots()
    steps = []
    for place, key in enumerate(order.keys):
        node = order.nodes[key]
        args = tuple(slots.of(a) for a in node.args)
        outs = slots.take(key, STATEFUL[node.kind][node.op].outputs if node.kind in STATEFUL else 1)
        emits = tuple((x.output, f) for f, x in enumerate(expressions) if _core(x) == key)
        steps.append(Step(node.kind, node.op, args, outs, node.params, order.phase[key], key, emits))
        for done in order.done_at[place]:
            slots.give_back(done)
    return Plan(tuple(steps), slots.count, {slot: value for value, slot in slots.constants.items()})


def _core(node: Expr) -> str:
    """Return the key of a computation, whichever of its outputs is meant."""
    return "|".join([node.op, *(a.key for a in node.args), *(repr(p) for p in node.params)])


class _Order:
    """The distinct computations below some expressions, sorted by phase, arguments first.

    Phases with an even number stay within each symbol, odd ones look across symbols; a barrier lies between.
    """

    def __init__(self, expressions: Sequence[Expr]) -> None:
        self.nodes: dict[str, Expr] = {}
        self.phase: dict[str, int] = {}
        for expression in expressions:
            for node in expression.nodes():
                if node.kind != "constant" and _core(node) not in self.nodes:
                    self._add(node)
        self.keys = sorted(self.nodes, key=lambda key: self.phase[key])
        self.done_at = self._last_uses()

    def _add(self, node: Expr) -> None:
        highest = max((self.phase[_core(a)] for a in node.args if a.kind != "constant"), default=0)
        self.nodes[_core(node)] = node
        self.phase[_core(node)] = highest + (highest % 2 != (node.kind in ACROSS))

    def _last_uses(self) -> list[list[str]]:
        """Return, for each place in the order, the computations that nobody reads afterwards."""
        last: dict[str, int] = {}
        for place, key in enumerate(self.keys):
            last[key] = place
            last.update({_core(a): place for a in self.nodes[key].args if a.kind != "constant"})
        done: list[list[str]] = [[] for _ in self.keys]
        for key, place in last.items():
            done[place].append(key)
        return done


class _Slots:
    """Hands out buffers and takes them back; constants have slots of their own, below zero."""

    def __init__(self) -> None:
        self.count = 0
        self.constants: dict[float, int] = {}
        self._free: list[int] = []
        self._held: dict[str, tuple[int, ...]] = {}

    def of(self, node: Expr) -> int:
        """Return the slot that holds a node's value."""
        if node.kind == "constant":
            return self.constants.setdefault(float(node.params[0]), -1 - len(self.constants))
        return self._held[_core(node)][node.output]

    def take(self, key: str, width: int) -> tuple[int, ...]:
        """Reserve buffers for the outputs of a computation."""
        while len(self._free) < width:
            self._free.append(self.count)
            self.count += 1
        self._held[key] = tuple(self._free.pop() for _ in range(width))
        return self._held[key]

    def give_back(self, key: str) -> None:
        """Let the buffers of a computation be used again."""
        self._free.extend(self._held[key])


@dataclass(slots=True)
class FeatureState:
    """Everything the engine remembers between blocks; one ``State`` per fold of the plan.

    ``step`` updates it in place: keep a :meth:`copy` where the state before matters.
    """

    names: tuple[str, ...]
    n_symbols: int
    folds: dict[str, State] = field(default_factory=dict)
    bars: int = 0

    def copy(self) -> FeatureState:
        """Return an independent copy."""
        folds = {k: State(s.memory.copy(), s.marks.copy(), s.ring.copy()) for k, s in self.folds.items()}
        return FeatureState(self.names, self.n_symbols, folds, self.bars)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state as named arrays, fit for ``numpy.savez``."""
        found: dict[str, NDArray[Any]] = {
            "names": np.array(self.names),
            "size": np.array([self.n_symbols, self.bars]),
        }
        for key, state in self.folds.items():
            for part in ("memory", "marks", "ring"):
                found[f"{key}/{part}"] = getattr(state, part)
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> FeatureState:
        """Rebuild a state from :meth:`arrays`."""
        keys = [k.removesuffix("/memory") for k in arrays if k.endswith("/memory")]
        folds = {k: State(arrays[f"{k}/memory"], arrays[f"{k}/marks"], arrays[f"{k}/ring"]) for k in keys}
        n_symbols, bars = (int(v) for v in arrays["size"])
        return cls(tuple(str(n) for n in arrays["names"]), n_symbols, folds, bars)


class FeatureEngine:
    """Computes a fixed set of features, block by block; one engine serves one caller at a time (it owns buffers).

    Parameters
    ----------
    names
        Names of registered features, in the order of the result's last axis.
    threads
        How many threads share the symbols; the machine's cores by default. The result does not depend on it.
    block_elements
        Values per buffer (bars × symbols) of one pass through the plan. The result does not depend on it.

    Attributes
    ----------
    names
        What it computes.
    look_back_bars
        Bars of its own that a symbol needs until every feature has its first value.

    Raises
    ------
    InputError
        An unknown name, a name twice, or a feature that has no source yet.
    """

    def __init__(
        self, names: Sequence[str], *, threads: int | None = None, block_elements: int = BLOCK_ELEMENTS
    ) -> None:
        self._start({name: _expression(name) for name in _distinct(names)}, threads, block_elements)

    @classmethod
    def of(
        cls,
        expressions: Mapping[str, Expr],
        *,
        threads: int | None = None,
        block_elements: int = BLOCK_ELEMENTS,
    ) -> FeatureEngine:
        """Return an engine for expressions of your own, by name, registered or not."""
        engine = cls.__new__(cls)
        engine._start(expressions, threads, block_elements)
        return engine

    def _start(self, expressions: Mapping[str, Expr], threads: int | None, block_elements: int) -> None:
        if not expressions:
            raise InputError("no features asked for")
        self.names = tuple(expressions)
        self._plan = build_plan(list(expressions.values()))
        self.look_back_bars = max(e.look_back_bars for e in expressions.values())
        self._threads = threads or os.cpu_count() or 1
        self._block_elements = block_elements
        self._buffers: FloatArray = np.empty((0, 0, 0))
        self._results: NDArray[np.float32] = np.empty((0, 0, 0), dtype=np.float32)
        self._constants: dict[int, FloatArray] = {}
        self._phases = tuple(self._plan.phases())
        self._row_inputs = [s.op for s in self._plan.steps if s.kind == "input" and not inputs.is_per_symbol(s.op)]

    def initial_state(self, n_symbols: int) -> FeatureState:
        """Return the state before the first bar of ``n_symbols`` symbols."""
        folds = {
            step.key: STATEFUL[step.kind][step.op].start(n_symbols, step.params)
            for step in self._plan.steps
            if step.kind in STATEFUL
        }
        return FeatureState(self.names, n_symbols, folds)

    def step(
        self, state: FeatureState, block: Panel, *, out: NDArray[np.float32] | None = None
    ) -> tuple[FeatureState, Features]:
        """Advance over the bars of ``block``, which follow those seen before.

        Parameters
        ----------
        state
            Updated in place and returned.
        block
            The next bars, one or many, symbols in the same order as always.
        out
            Where to write the values, ``(T, N, F)`` float32; a new array where None.

        Raises
        ------
        InputError
            The state belongs to other features or to another number of symbols.
        DataError
            A corporate action that cannot be (see ``market.actions``).
        """
        rows, columns = block.shape
        if state.names != self.names or state.n_symbols != columns:
            raise InputError(
                f"the state is for {len(state.names)} features of {state.n_symbols} symbols, "
                f"not for {len(self.names)} of {columns}",
                hint="start from initial_state, or keep one state per engine and universe",
            )
        shape = (rows, columns, len(self.names))
        values = np.empty(shape, dtype=np.float32) if out is None else out
        if values.shape != shape or values.dtype != np.float32:
            raise InputError(f"out is {values.dtype} {values.shape}, expected float32 {shape}")
        height = self._reserve(rows, columns)
        by_row = {name: inputs.by_row(block, name) for name in self._row_inputs}
        sector = inputs.sector_codes(block.sectors)
        with _Workers(self._threads if height * columns >= 2 * LEAST_PER_THREAD else 1) as pool:
            for start in range(0, rows, height):
                part = slice(start, min(start + height, rows))
                _Pass(self, state, block, by_row, sector, part, pool).run(values[part])
        state.bars += rows
        self._refuse_impossible_actions(state, block)
        return state, Features(block.times, block.symbols, self.names, values)

    def _reserve(self, rows: int, columns: int) -> int:
        """Make room for blocks of as many bars as fit; return that number."""
        height = max(1, min(rows, self._block_elements // max(columns, 1)))
        if self._buffers.shape[1:] != (height, columns):
            self._buffers = np.empty((self._plan.buffers, height, columns))
            self._results = np.empty((len(self.names), height, columns), dtype=np.float32)
            self._constants = {s: np.full((height, columns), v) for s, v in self._plan.constants.items()}
        return height

    def _refuse_impossible_actions(self, state: FeatureState, block: Panel) -> None:
        for step in self._plan.steps:
            if step.op == "adjustment" and state.folds[step.key].marks[1].any():
                bad = [block.symbols[j] for j in np.flatnonzero(state.folds[step.key].marks[1])]
                raise DataError(
                    f"impossible corporate action in {', '.join(bad[:5])} between {block.times[0]} and "
                    f"{block.times[-1]}",
                    hint="a split must be positive and a dividend below the previous close; run `tradewind data check`",
                )


class _Pass:
    """One block of bars on its way through the plan."""

    def __init__(
        self,
        engine: FeatureEngine,
        state: FeatureState,
        panel: Panel,
        by_row: Mapping[str, FloatArray],
        sector: NDArray[np.int64],
        part: slice,
        pool: _Workers,
    ) -> None:
        self.phases = engine._phases
        self.rows, self.columns = part.stop - part.start, panel.shape[1]
        self.buffers = engine._buffers[:, : self.rows]
        self.results = engine._results[:, : self.rows]
        self.constants = {slot: array[: self.rows] for slot, array in engine._constants.items()}
        self.scalars = engine._plan.constants
        self.folds = state.folds
        self.fields = {name: array[part] for name, array in panel.fields.items()}
        self.by_row = {name: series[part] for name, series in by_row.items()}
        self.mask, self.member, self.sector = panel.mask[part], panel.member[part], sector
        self.pool = pool

    def run(self, values: NDArray[np.float32]) -> None:
        """Run all phases, then write the features to their place in the table."""
        for across, steps in self.phases:
            if across:
                histories = {s.key: self._history(s) for s in steps if s.kind == "joint"}
                self.pool.split(self.rows, partial(self._cross_sections, steps, histories))
            else:
                self.pool.split(self.columns, partial(self._columns, steps))
        self.pool.split(self.rows, partial(_interleave, self.results, values))

    def _columns(self, steps: Sequence[Step], first: int, last: int) -> None:
        whole = [self.buffers[i] for i in range(len(self.buffers))]
        view = [b[:, first:last] for b in whole] if last - first < self.columns else whole
        result = self.results[:, :, first:last]
        with np.errstate(all="ignore"):
            for step in steps:
                if step.kind == "fold":
                    self._fold(step, whole, first, last)
                elif step.kind == "map":
                    self._map(step, whole, view, first, last)
                else:
                    self._input(step.op, view[step.outs[0]], first, last)
                for output, feature in step.emits:
                    result[feature] = view[step.outs[output]]

    def _fold(self, step: Step, whole: list[FloatArray], first: int, last: int) -> None:
        state = self.folds[step.key]
        arrays = [self._whole(i, whole) for i in step.args] + [whole[i] for i in step.outs]
        run = PRIMITIVES[step.op].run
        run(*arrays, state.memory, state.marks, state.ring, *step.params, first, last)

    def _map(self, step: Step, whole: list[FloatArray], view: list[FloatArray], first: int, last: int) -> None:
        if step.op in KERNELS:
            KERNELS[step.op](*(self._whole(i, whole) for i in step.args), whole[step.outs[0]], first, last)
            return
        arguments = [view[i] if i >= 0 else self.scalars[i] for i in step.args]
        UFUNCS[step.op](*arguments, out=view[step.outs[0]])

    def _whole(self, slot: int, whole: list[FloatArray]) -> FloatArray:
        return whole[slot] if slot >= 0 else self.constants[slot]

    def _input(self, name: str, out: FloatArray, first: int, last: int) -> None:
        if name in inputs.EVENT_FIELDS:
            out[:] = self.fields[name][:, first:last]
            return
        values = self.fields[name][:, first:last] if name in self.fields else self.by_row[name][:, None]
        out[:] = values
        np.copyto(out, np.nan, where=~self.mask[:, first:last])

    def _history(self, step: Step) -> FloatArray:
        """Return a copy of what a window reads: other threads write to the buffers before all windows are read."""
        return remembered(self.folds[step.key], self._whole(step.args[0], list(self.buffers)))

    def _cross_sections(
        self, steps: Sequence[Step], histories: Mapping[str, FloatArray], first: int, last: int
    ) -> None:
        part = slice(first, last)
        section = Section(self.mask[part], self.member[part], self.sector)
        with np.errstate(all="ignore"):
            for step in steps:
                outs = [self.buffers[i, part] for i in step.outs]
                if step.kind == "joint":
                    held = histories[step.key][first : last + int(step.params[0]) - 1]
                    JOINT[step.op].answer(held, section.present & section.member, outs, step.params)
                else:
                    CROSS_SECTIONS[step.op](self.buffers[step.args[0], part], outs[0], section)
                for output, feature in step.emits:
                    self.results[feature, part] = outs[output]


def _interleave(results: NDArray[np.float32], values: NDArray[np.float32], first: int, last: int) -> None:
    """Write ``(F, T, N)`` into its place in the table ``(T, N, F)``."""
    np.copyto(values[first:last], results[:, first:last].transpose(1, 2, 0))


class _Workers:
    """Splits a range over threads, or runs it here where one thread is as good."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.executor = ThreadPoolExecutor(threads) if threads > 1 else None

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.executor is not None:
            self.executor.shutdown()

    def split(self, length: int, work: Callable[[int, int], None]) -> None:
        """Run ``work(first, last)`` over parts of ``range(length)`` and wait for all."""
        if self.executor is None or length < 2 * self.threads:
            work(0, length)
            return
        edges = [length * i // self.threads for i in range(self.threads + 1)]
        for done in [self.executor.submit(work, a, b) for a, b in itertools.pairwise(edges)]:
            done.result()


def _distinct(names: Sequence[str]) -> Sequence[str]:
    twice = sorted({n for n in names if list(names).count(n) > 1})
    if twice:
        raise InputError(f"features asked for twice: {', '.join(twice)}")
    return names


def _expression(name: str) -> Expr:
    spec = registry.get(name)
    if spec.expression is None:
        raise InputError(f"the feature {name!r} has no source yet: {spec.unavailable}", hint=f"exclude {name!r}")
    return spec.expression


def compute(panel: Panel, names: Sequence[str] | None = None, *, threads: int | None = None) -> Features:
    """Compute features over a whole panel.

    Parameters
    ----------
    panel
        Bars from each symbol's first one on; row ``t`` of the result uses rows up to ``t`` only.
    names
        Feature names (``registry.select`` expands families and groups); the scale-free ones by default.
    threads
        How many threads to use; the machine's cores by default.

    Returns
    -------
    Features ``(T, N, F)``, NaN where there is no bar, no source or not enough history.
    """
    engine = FeatureEngine(registry.select() if names is None else names, threads=threads)
    return engine.step(engine.initial_state(panel.shape[1]), panel)[1]


def missing_inputs(panel: Panel, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the features that will be all missing on this panel, with the inputs that they lack."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        spec = registry.get(name)
        if spec.expression is None:
            found[name] = (spec.unavailable,)
        elif lacking := inputs.absent(panel, spec.inputs):
            found[name] = lacking
    return found
