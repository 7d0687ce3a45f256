"""Kolmogorov-Arnold network (Liu et al. 2024, arXiv 2404.19756): what is learnt are functions of one number each."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from tradewind.errors import InputError
from tradewind.models.networks.network import Block, Network, Outputs, Shape, windows_of
from tradewind.models.networks.recurrent import Answer, StaticContext

_GENTLE = 0.3


class SplineBasis(nn.Module):
    """B-splines on equal intervals of ``[-reach, reach]``: Cox-de Boor (de Boor 1978, ch. IX), all at once.

    The knots go on for ``order`` intervals on either side, so that inside the grid the splines add up to one, and
    beyond it they fade to nothing without a jump. In units of an interval the knots are whole numbers, exact in any
    precision.

    Parameters
    ----------
    grid
        Intervals.
    order
        Degree of the polynomials: 3 is cubic.
    reach
        Where the grid ends, in deviations of the inputs.

    Raises
    ------
    InputError
        No interval, no order, no reach.
    """

    knots: Tensor

    def __init__(self, grid: int, order: int, reach: float) -> None:
        super().__init__()
        if grid < 1 or order < 1 or not reach > 0:
            raise InputError(
                f"no splines of order {order} on {grid} intervals up to {reach}",
                hint="grid and order are 1 or more, reach is above 0",
            )
        self.grid, self.order, self.reach = grid, order, reach
        self.register_buffer("knots", torch.arange(-order, grid + order, dtype=torch.get_default_dtype()), False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the value of every spline, ``(...)`` to ``(..., grid + order)``."""
        place = (x + self.reach) * (self.grid / (2 * self.reach))  # in intervals
        if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling():
            return cast(Tensor, _Splines.apply(place, self.knots, self.order))  # type: ignore[no-untyped-call]
        return _splines(place, self.knots, self.order)[0]


def _splines(place: Tensor, knots: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Return the splines of this order and of the one below, ``(...)`` to ``(..., knots - order)`` and one more."""
    past = place[..., None] - knots  # beyond each knot
    basis = lower = ((past >= 0) & (past < 1)).to(place.dtype)
    for degree in range(1, order + 1):
        rise = past[..., :-degree] * basis[..., :-1]
        fall = (degree + 1 - past[..., :-degree]) * basis[..., 1:]
        basis, lower = (rise + fall) / degree, basis
    return basis, lower


class _Splines(torch.autograd.Function):
    """The same; a slope is the difference of two splines of the order below, so nothing else is kept for it."""

    @staticmethod
    def forward(ctx: Any, place: Tensor, knots: Tensor, order: int) -> Tensor:
        basis, lower = _splines(place, knots, order)
        ctx.save_for_backward(lower)
        return basis

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        (lower,) = ctx.saved_tensors
        return (slope * (lower[..., :-1] - lower[..., 1:])).sum(dim=-1), None, None


class KANLayer(nn.Module):
    """Every output is a sum of learnt functions, one of each input: a share of ``silu`` plus a spline.

    Beyond the grid the ``silu`` part goes on alone. All functions of all edges are one einsum over
    ``(batch, inputs, 1 + grid + order)``.

    Parameters
    ----------
    inputs, outputs
        How many.
    grid, order, reach
        See :class:`SplineBasis`.
    """

    def __init__(self, inputs: int, outputs: int, *, grid: int = 5, order: int = 3, reach: float = 3.0) -> None:
        super().__init__()
        self.basis = SplineBasis(grid, order, reach)
        weight = torch.randn(outputs, inputs, 1 + grid + order) * inputs**-0.5
        weight[..., 1:] *= _GENTLE
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, outputs)`` of ``(B, inputs)``."""
        return torch.einsum("bic,oic->bo", self.parts(x), self.weight)

    def parts(self, x: Tensor) -> Tensor:
        """Return what the functions are made of, ``(B, inputs)`` to ``(B, inputs, 1 + grid + order)``."""
        return torch.cat([nn.functional.silu(x)[..., None], self.basis(x)], dim=-1)

    def edges(self, x: Tensor) -> Tensor:
        """Return the value of every edge's function, ``(B, inputs)`` to ``(B, outputs, inputs)``."""
        return torch.einsum("bic,oic->boi", self.parts(x), self.weight)


class Curves(NamedTuple):
    """What the first layer has learnt of each channel.

    Attributes
    ----------
    points
        ``(P,)`` places on the grid, in deviations of the input.
    values
        ``(I, F, P)``: of each summary of each channel, its strongest function (that of the hidden unit which it moves
        most over the windows shown).
    contribution
        ``(I, F)``: how far the functions of an input moved the hidden units from their mean, absolute, averaged over
        units and windows.
    """

    points: Tensor
    values: Tensor
    contribution: Tensor


class KAN(Network):
    """Two Kolmogorov-Arnold layers over a few numbers of each channel; their hidden states answer.

    A function of every bar of every channel would be far too many. Each channel is its newest value and a few weighted
    sums of its bars, whose weights all channels share; they begin as exponential means of half-lives spread from 2
    bars to half a window, which stay on the grid, and are learnt. Between the layers the states are normalised, because
    the second grid is fixed too.

    Parameters
    ----------
    width, dropout
        Hidden units, and the share of them dropped in training.
    summaries
        Weighted sums of each channel beside its newest value.
    grid, order, reach
        Of the splines, see :class:`SplineBasis`.

    Raises
    ------
    InputError
        A negative number of summaries, or what :class:`SplineBasis` refuses.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        width: int,
        dropout: float,
        summaries: int = 2,
        grid: int = 5,
        order: int = 3,
        reach: float = 3.0,
    ) -> None:
        super().__init__()
        if summaries < 0:
            raise InputError(f"summaries = {summaries} must be 0 or more")
        self.shape = shape
        self.mixing = nn.Parameter(fading(shape.length, summaries))
        inputs = (1 + summaries) * shape.inputs
        self.first = KANLayer(inputs, width, grid=grid, order=order, reach=reach)
        self.between = nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout))
        self.second = KANLayer(width, width, grid=grid, order=order, reach=reach)
        self.context = StaticContext(shape.statics, width)
        self.answer = Answer(shape, width, dropout)

    def forward(self, block: Block) -> Outputs:
        """Answer every window."""
        hidden = self.second(self.between(self.first(self.read(block).flatten(1))))
        return self.answer(hidden, self.context(block.statics), block.future)

    def read(self, block: Block) -> Tensor:
        """Return the newest value and the sums of each channel of every window, ``(S * R, 1 + summaries, F)``."""
        bars = windows_of(block.values, self.shape.length, block.future.shape[1])
        return torch.cat([bars[:, -1:], torch.matmul(self.mixing, bars)], dim=1)

    def start_at(self, quantiles: Tensor, shares: Tensor | None) -> None:
        """Let the heads say so."""
        self.answer.start_at(quantiles, shares)

    @torch.no_grad()
    def curves(self, block: Block, points: int = 25) -> Curves:
        """Return the functions of the first layer, and how much each moved these windows."""
        read = self.read(block)
        places = torch.linspace(-self.first.basis.reach, self.first.basis.reach, points).to(read)
        moved = self.first.edges(read.flatten(1))
        moved = (moved - moved.mean(dim=0)).abs().mean(dim=0)  # (width, inputs)
        drawn = self.first.edges(places[:, None].expand(points, moved.shape[1]))  # (points, width, inputs)
        strongest = moved.argmax(dim=0)
        values = drawn.gather(1, strongest.expand(points, 1, -1))[:, 0].T
        size = (read.shape[1], self.shape.inputs)
        return Curves(places, values.reshape(*size, points), moved.mean(dim=0).reshape(size))


def fading(length: int, count: int) -> Tensor:
    """Return weights of exponential means, each adding up to one, the newest bar last, ``(count, length)``."""
    half_lives = torch.logspace(0.0, 1.0, count, base=max(length / 4, 1.0)) * 2.0
    age = torch.arange(length - 1, -1, -1)
    weights = 0.5 ** (age / half_lives[:, None])
    return weights / weights.sum(dim=1, keepdim=True)
