"""Mamba (Gu & Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces"): block, layer and stack."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tradewind.errors import InputError, did_you_mean
from tradewind.models.networks.causal_conv import causal_conv
from tradewind.models.networks.products import linear
from tradewind.models.networks.selective_scan import (
    Scan,
    fusible,
    scan_doubling,
    scan_fused,
    scan_loop,
    scan_step,
)

#: ``auto``: the fused kernel where it can run; else the loop where a graph is traced and on the CPU, where it is 2 to 4
#: times as fast in double precision as doubling, which moves every state several times; else doubling.
ScanForm = Literal["auto", "fused", "loop", "doubling"]

_FORMS = {"fused": scan_fused, "loop": scan_loop, "doubling": scan_doubling}


class State(NamedTuple):
    """What a block remembers between bars; how long the past was makes no difference to its size.

    Attributes
    ----------
    conv
        ``(B, d_conv - 1, d_inner)``: the newest inputs of the convolution.
    ssm
        ``(B, d_inner, d_state)``.
    """

    conv: Tensor
    ssm: Tensor


class Mamba(nn.Module):
    """One Mamba block, ``(B, L, d_model)`` to the same; what is said at a bar depends on no later bar.

    In-projection to an inner width and a gate, a causal convolution of each channel, the selective scan whose step
    size, input and output matrices follow from the input, the gate, out-projection. Parameters have the names and
    shapes of the authors' ``mamba_ssm.Mamba`` (and of mambapy's and transformers'), so weights can be exchanged.

    Parameters
    ----------
    d_model, d_state, d_conv, expand
        Width, numbers of state per channel, taps of the convolution, inner width in multiples of ``d_model``.
    dt_rank
        Rank of the step sizes; a sixteenth of ``d_model``, rounded up, where not given.
    dt_min, dt_max
        The step sizes that the block starts with are spread evenly over their logarithms (section 3.6).
    scan
        See :data:`ScanForm`.

    Raises
    ------
    InputError
        A size below 1 or an unknown form of the scan.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        *,
        dt_rank: int | None = None,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        scan: ScanForm = "auto",
    ) -> None:
        super().__init__()
        rank = math.ceil(d_model / 16) if dt_rank is None else dt_rank
        _check(scan, d_model=d_model, d_state=d_state, d_conv=d_conv, expand=expand, dt_rank=rank)
        self.d_model, self.d_state, self.d_conv, self.d_inner, self.dt_rank = (
            d_model, d_state, d_conv, expand * d_model, rank,
        )  # fmt: skip
        self.scan: ScanForm = scan
        inner = self.d_inner
        self.in_proj = nn.Linear(d_model, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, d_conv, groups=inner, padding=d_conv - 1)
        self.x_proj = nn.Linear(inner, rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, d_model, bias=False)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            self.dt_proj.bias.copy_(_offsets(inner, dt_min, dt_max))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's answer at every bar of ``(B, L, d_model)``, from an empty state."""
        return self._run(x)[0]

    def read(self, x: Tensor) -> tuple[Tensor, State]:
        """Return the same and the state after the last bar, for :meth:`step` to go on from."""
        y, mixed_in, ssm = self._run(x)
        reach = self.d_conv - 1
        newest = mixed_in[:, max(0, mixed_in.shape[1] - reach) :]
        return y, State(nn.functional.pad(newest, (0, 0, reach - newest.shape[1], 0)), ssm)

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the answers, what went into the convolution, and the last state of the scan."""
        # two products instead of one and a split: both halves are contiguous, which the kernels want
        inward, gate = self.in_proj.weight.chunk(2)
        mixed_in, z = linear(x, inward), linear(x, gate)
        u = causal_conv(mixed_in, self.conv1d.weight.squeeze(1), self._conv_bias)
        y, state = _FORMS[self._form(u)](self._scan_of(u, z))
        return linear(y, self.out_proj.weight), mixed_in, state

    def initial_state(self, batch: int) -> State:
        """Return the state before the first bar."""
        empty = self.D.new_zeros
        return State(empty((batch, self.d_conv - 1, self.d_inner)), empty((batch, self.d_inner, self.d_state)))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the answer at one more bar, ``(B, d_model)``, and the state after it: what ``forward`` would say."""
        mixed_in, z = self.in_proj(x).chunk(2, dim=-1)
        window = torch.cat([state.conv, mixed_in[:, None]], dim=1)
        mixed = torch.einsum("bkd,dk->bd", window, self.conv1d.weight.squeeze(1)) + self._conv_bias
        u = nn.functional.silu(mixed)[:, None]
        y, ssm = scan_step(self._scan_of(u, z[:, None]), state.ssm)
        return self.out_proj(y.squeeze(1)), State(window[:, 1:], ssm)

    def _scan_of(self, u: Tensor, z: Tensor) -> Scan:
        """Select: step sizes, what enters the state and what is read follow from the input."""
        chosen = linear(u, self.x_proj.weight)
        low, B, C = torch.split(chosen, [self.dt_rank, self.d_state, self.d_state], dim=-1)
        delta = linear(low, self.dt_proj.weight)
        return Scan(u, delta, z, -torch.exp(self.A_log), B, C, self.D, self.dt_proj.bias)

    def _form(self, u: Tensor) -> str:
        if self.scan != "auto":
            return self.scan
        if fusible(u):
            return "fused"
        return "loop" if torch.compiler.is_compiling() or u.device.type == "cpu" else "doubling"

    @property
    def _conv_bias(self) -> Tensor:
        assert self.conv1d.bias is not None
        return self.conv1d.bias


class MambaLayer(nn.Module):
    """A Mamba block behind a norm, added to its input (pre-norm residual)."""

    def __init__(self, mixer: Mamba, dropout: float) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(mixer.d_model, eps=1e-5)
        self.mixer = mixer
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, L, d_model)``."""
        return x + self.dropout(self.mixer(self.norm(x)))

    def read(self, x: Tensor) -> tuple[Tensor, State]:
        """Return the same and the block's state after the last bar."""
        y, state = self.mixer.read(self.norm(x))
        return x + self.dropout(y), state

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the answer at one more bar, ``(B, d_model)``, and the state after it."""
        y, state = self.mixer.step(self.norm(x), state)
        return x + self.dropout(y), state


class MambaStack(nn.Module):
    """Mamba layers one upon the other and a last norm.

    Parameters
    ----------
    d_model, layers, dropout, d_state, d_conv, expand
        Of the layers.
    checkpointing
        Keep only each layer's input in training and compute the rest again on the way back: less memory for long
        sequences, about a third more time.
    """

    def __init__(
        self,
        d_model: int,
        layers: int,
        *,
        dropout: float = 0.0,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [MambaLayer(Mamba(d_model, d_state, d_conv, expand), dropout) for _ in range(layers)]
        )
        self.norm = nn.RMSNorm(d_model, eps=1e-5)
        self.checkpointing = checkpointing

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, L, d_model)``."""
        for layer in self.layers:
            x = run_layer(layer, x, self.checkpointing)
        return self.norm(x)

    def read(self, x: Tensor) -> tuple[Tensor, tuple[State, ...]]:
        """Return the same and the state of every layer after the last bar."""
        states = []
        for layer in self.layers:
            x, state = layer.read(x)  # type: ignore[operator]  # ModuleList forgets what it holds
            states.append(state)
        return self.norm(x), tuple(states)

    def step(self, x: Tensor, states: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        """Return the answer at one more bar, ``(B, d_model)``, and the states after it."""
        after = []
        for layer, state in zip(self.layers, states, strict=True):
            x, state = layer.step(x, state)  # type: ignore[operator]
            after.append(state)
        return self.norm(x), tuple(after)

    def initial_states(self, batch: int) -> tuple[State, ...]:
        """Return the states before the first bar."""
        return tuple(layer.mixer.initial_state(batch) for layer in self.layers)  # type: ignore[operator, union-attr]


def run_layer(layer: nn.Module, x: Tensor, checkpointing: bool) -> Tensor:
    """Return the layer's answer; in training its inside is computed again on the way back where asked for."""
    if checkpointing and torch.is_grad_enabled() and x.requires_grad:
        return checkpoint(layer, x, use_reentrant=False)
    return layer(x)


def use_scan(network: nn.Module, form: ScanForm) -> None:
    """Let every Mamba block of a network compute its scan in this form."""
    _check(form)
    for module in network.modules():
        if isinstance(module, Mamba):
            module.scan = form


def _offsets(count: int, smallest: float, largest: float) -> Tensor:
    """Return biases whose softplus is spread evenly in logarithms from the smallest to the largest step size."""
    span = math.log(largest) - math.log(smallest)
    size = torch.exp(torch.rand(count) * span + math.log(smallest)).clamp(min=1e-4)
    return size + torch.log(-torch.expm1(-size))


def _check(scan: str, **sizes: int) -> None:
    if scan not in ("auto", *_FORMS):
        raise did_you_mean("form of the scan", scan, ["auto", *_FORMS])
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name} = {size} must be 1 or more")
