from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from tradewind.errors import InputError
from tradewind.models.networks.causal_conv import causal_conv, causal_conv_plain
from tradewind.models.networks.lanes import KERNEL, decay_of, exp2, sigmoid, softplus
from tradewind.models.networks.mamba import Mamba, MambaStack, use_scan
from tradewind.models.networks.mamba_stock import MambaStock, TSMamba
from tradewind.models.networks.network import Block, Shape
from tradewind.models.networks.selective_scan import (
    EVERY,
    Scan,
    fusible,
    scan_doubling,
    scan_fused,
    scan_loop,
    scan_step,
    thread_count,
)

BATCHES, LENGTHS, CHANNELS, STATES = st.integers(1, 3), st.integers(1, 40), st.integers(1, 140), st.integers(1, 17)
SHAPE = Shape(length=24, inputs=5, statics=(4, 3), future=2, horizons=2, levels=5, classes=True)


@pytest.fixture(autouse=True)
def one_seed_and_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        yield
    torch.set_num_threads(before)


def a_scan(batch, length, channels, states, seed=0):
    draw = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=draw)

    rows = (batch, length, channels)
    return Scan(
        u=normal(*rows),
        delta=normal(*rows),
        z=normal(*rows),
        A=-states * torch.rand(channels, states, generator=draw),
        B=normal(batch, length, states),
        C=normal(batch, length, states),
        D=normal(channels),
        bias=normal(channels) - 2,
    )


def in_double(parts):
    return Scan(*(part.double() for part in parts))


def with_gradients(function, scan, weight):
    """The answer, the last state, and the gradient of a weighted sum of the answer by every part."""
    parts = Scan(*(part.detach().clone().requires_grad_() for part in scan))
    y, last = function(parts)
    gradients = torch.autograd.grad((y * weight.to(y.dtype)).sum(), parts, allow_unused=True, materialize_grads=True)
    return [y.detach(), last.detach(), *gradients]


def assert_close(ours, truth, tolerance=2e-6):
    """Relative to the largest number of each part, and to what its terms are made of where they cancel."""
    for name, one, other in zip(("y", "last", *Scan._fields), ours, truth, strict=True):
        scale = max(float(other.abs().max()), 0.1)
        assert float((one.double() - other.double()).abs().max()) <= tolerance * scale, name


# --- the scan -----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(BATCHES, LENGTHS, CHANNELS, STATES, st.integers(0, 99))
def test_the_fused_scan_and_its_gradients_are_those_of_a_loop_in_double_precision(
    batch, length, channels, states, seed
):
    scan = a_scan(batch, length, channels, states, seed)
    weight = torch.randn(batch, length, channels, generator=torch.Generator().manual_seed(seed))
    assert_close(with_gradients(scan_fused, scan, weight), with_gradients(scan_loop, in_double(scan), weight))


@settings(max_examples=15, deadline=None)
@given(BATCHES, LENGTHS, CHANNELS, STATES, st.integers(0, 99))
def test_doubling_is_the_loop(batch, length, channels, states, seed):
    scan = in_double(a_scan(batch, length, channels, states, seed))
    weight = torch.ones(batch, length, channels)
    assert_close(with_gradients(scan_doubling, scan, weight), with_gradients(scan_loop, scan, weight), 1e-12)


def test_the_loop_is_the_recurrence_of_the_paper_written_with_numpy():
    scan = in_double(a_scan(2, 11, 5, 3))
    u, delta, z, A, B, C, D, bias = (part.numpy() for part in scan)
    step = np.log1p(np.exp(delta + bias))
    state, expected = np.zeros((2, 5, 3)), np.empty(u.shape)
    for t in range(11):
        for n in range(3):
            state[:, :, n] *= np.exp(step[:, t] * A[:, n])
            state[:, :, n] += step[:, t] * u[:, t] * B[:, t, n, None]
        read = sum(C[:, t, n, None] * state[:, :, n] for n in range(3))
        expected[:, t] = (read + D * u[:, t]) * z[:, t] / (1 + np.exp(-z[:, t]))
    y, last = scan_loop(scan)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-13)
    np.testing.assert_allclose(last.numpy(), state, atol=1e-13)


def test_the_loops_own_gradients_are_finite_differences():
    scan = Scan(*(part.requires_grad_() for part in in_double(a_scan(1, 5, 3, 2))))
    assert torch.autograd.gradcheck(lambda *parts: scan_loop(Scan(*parts)), tuple(scan))


def test_the_fused_gradient_predicts_how_the_answer_changes():
    scan = a_scan(1, EVERY + 3, 4, 2)
    weight = torch.randn(scan.u.shape)
    gradients = with_gradients(scan_fused, scan, weight)[2:]
    for place, gradient in enumerate(gradients):
        direction = torch.randn(gradient.shape)
        ahead, behind = (
            scan._replace(**{Scan._fields[place]: scan[place] + sign * 1e-3 * direction}) for sign in (1, -1)
        )
        change = ((scan_fused(ahead)[0] - scan_fused(behind)[0]).double() * weight).sum() / 2e-3
        assert float(change) == pytest.approx(float((gradient * direction).sum()), rel=5e-3, abs=5e-3)


@pytest.mark.parametrize("length", [1, EVERY - 1, EVERY, EVERY + 1, 5 * EVERY, 512])
def test_lengths_around_the_kept_states(length):
    scan = a_scan(1, length, 65, 4, seed=length)
    weight = torch.randn(1, length, 65)
    assert_close(with_gradients(scan_fused, scan, weight), with_gradients(scan_loop, in_double(scan), weight))


def test_strong_and_weak_decay_stay_within_rounding():
    for rate, size in ((-1e4, 5.0), (-1e-6, -15.0), (-1.0, 80.0), (-1.0, -80.0)):
        scan = a_scan(1, 40, 3, 2)
        scan = scan._replace(A=torch.full_like(scan.A, rate), delta=scan.delta * 0 + size)
        weight = torch.ones(scan.u.shape)
        assert_close(with_gradients(scan_fused, scan, weight), with_gradients(scan_loop, in_double(scan), weight), 1e-5)


@pytest.mark.parametrize("part", Scan._fields)
def test_a_number_that_is_none_is_never_swallowed(part):
    scan = a_scan(2, 20, 70, 3)
    broken = scan._replace(**{part: torch.full_like(getattr(scan, part), torch.nan)})
    assert scan_fused(broken)[0].isnan().all()


def test_one_missing_number_reaches_only_its_own_channel_from_its_bar_on():
    scan = a_scan(2, 20, 70, 3)
    scan.u[0, 7, 5] = torch.nan
    found = scan_fused(scan)[0].isnan()
    expected = torch.zeros_like(found)
    expected[0, 7:, 5] = True
    assert torch.equal(found, expected)


def test_the_scan_continues_step_by_step_from_its_last_state():
    scan = a_scan(2, 30, 9, 4)
    whole, last = scan_fused(scan)
    first = Scan(*(part[:, :20] if part.dim() == 3 else part for part in scan))
    _, state = scan_fused(first)
    for t in range(20, 30):
        bar = Scan(*(part[:, t : t + 1] if part.dim() == 3 else part for part in scan))
        y, state = scan_step(bar, state)
        torch.testing.assert_close(y[:, 0], whole[:, t], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state, last, rtol=1e-5, atol=1e-6)


def test_a_sequence_has_the_same_answer_to_the_bit_alone_and_in_a_batch():
    scan = a_scan(5, 33, 70, 4)
    alone = Scan(*(part[3:4] if part.dim() == 3 else part for part in scan))
    assert torch.equal(scan_fused(scan)[0][3:4], scan_fused(alone)[0])


def test_gradients_do_not_depend_on_the_number_of_threads():
    scan, weight = a_scan(3, 40, 130, 4), torch.ones(3, 40, 130)
    before = torch.get_num_threads()
    answers = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            answers.append(with_gradients(scan_fused, scan, weight))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*answers, strict=True):
        assert torch.equal(one, other)


def test_threads_are_as_before_after_a_kernel():
    import numba

    before = torch.get_num_threads(), numba.get_num_threads()
    with thread_count():
        assert numba.get_num_threads() == min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
    assert (torch.get_num_threads(), numba.get_num_threads()) == before


# --- what the kernels are made of ---------------------------------------------------------------------------------


def over(function):
    """The function over an array, compiled as the kernels compile it."""

    @njit(**(KERNEL | {"cache": False}))
    def loop(x):
        y = np.empty_like(x)
        for i in range(x.shape[0]):
            y[i] = function(x[i])
        return y

    return loop


def test_elementary_functions_are_true_within_float32():
    x = np.linspace(-100, 100, 20_001).astype(np.float32)
    wide, near = x.astype(np.float64), np.abs(x) < 15
    np.testing.assert_allclose(over(exp2)(x), np.exp2(wide), rtol=3e-7)
    np.testing.assert_allclose(over(decay_of)(x), np.exp2(wide), rtol=3e-7)
    for function, truth in ((sigmoid, 1 / (1 + np.exp(-wide))), (softplus, np.logaddexp(0, wide))):
        answer = over(function)(x)
        np.testing.assert_allclose(answer[near], truth[near], rtol=2e-6)
        np.testing.assert_allclose(answer, truth, rtol=3e-7, atol=2e-7)


def test_elementary_functions_end_where_floats_do_and_keep_what_is_no_number():
    ends = np.array([-1e9, 1e9, np.nan], dtype=np.float32)
    small, large, missing = over(exp2)(ends)
    assert 0 < small < 1e-37 and 1e37 < large < np.inf and np.isnan(missing)
    for function in (decay_of, sigmoid, softplus):
        assert np.isnan(over(function)(ends)[2])


@settings(max_examples=25, deadline=None)
@given(BATCHES, LENGTHS, CHANNELS, st.integers(1, 6), st.integers(0, 99))
def test_the_convolution_and_its_gradients_are_pytorchs(batch, length, channels, taps, seed):
    draw = torch.Generator().manual_seed(seed)
    sizes = ((batch, length, channels), (channels, taps), (channels,))
    parts = [torch.randn(*size, generator=draw).requires_grad_() for size in sizes]
    weight = torch.randn(sizes[0], generator=draw)
    truth = [part.detach().double().requires_grad_() for part in parts]
    ours, theirs = causal_conv(*parts), causal_conv_plain(*truth)
    torch.testing.assert_close(ours.double(), theirs, rtol=2e-6, atol=2e-6)
    slopes = torch.autograd.grad((ours * weight).sum(), parts)
    expected = torch.autograd.grad((theirs * weight.double()).sum(), truth)
    for one, other in zip(slopes, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=5e-6, atol=1e-5)


def test_only_what_the_kernels_can_take_goes_to_them():
    assert fusible(torch.zeros(1))
    assert not fusible(torch.zeros(1, dtype=torch.float64))
    assert not fusible(torch.zeros(1, device="meta"))


# --- the block ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["loop", "doubling"])
def test_every_form_of_the_scan_gives_the_same_block(form):
    block, x = Mamba(20, d_state=5), torch.randn(3, 37, 20)
    answers, slopes = [], []
    for each in ("fused", form):
        block.scan = each
        block.zero_grad()
        y = block(x)
        y.square().sum().backward()
        answers.append(y.detach())
        slopes.append([parameter.grad.clone() for parameter in block.parameters()])
    torch.testing.assert_close(*answers, rtol=1e-5, atol=1e-6)
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_a_block_in_double_precision_takes_another_form_of_the_scan():
    block, x = Mamba(8, d_state=3), torch.randn(2, 10, 8)
    expected = block(x)
    torch.testing.assert_close(block.double()(x.double()).float(), expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(LENGTHS, st.integers(1, 5), st.integers(0, 99))
def test_bar_by_bar_says_what_the_whole_sequence_says(length, taps, seed):
    torch.manual_seed(seed)
    block, x = Mamba(6, d_state=4, d_conv=taps), torch.randn(2, length, 6)
    with torch.inference_mode():
        whole, after = block.read(x)
        state = block.initial_state(2)
        for t in range(length):
            y, state = block.step(x[:, t], state)
            torch.testing.assert_close(y, whole[:, t], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state.ssm, after.ssm, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state.conv, after.conv, rtol=1e-5, atol=1e-6)


def test_a_stack_goes_on_bar_by_bar_from_what_it_read():
    stack, x = MambaStack(8, 3).eval(), torch.randn(2, 40, 8)
    with torch.inference_mode():
        whole = stack(x)
        begun, states = stack.read(x[:, :25])
        torch.testing.assert_close(begun, whole[:, :25], rtol=1e-5, atol=1e-6)
        for t in range(25, 40):
            y, states = stack.step(x[:, t], states)
            torch.testing.assert_close(y, whole[:, t], rtol=1e-5, atol=1e-6)
        from_nothing, _ = stack.step(x[:, 0], stack.initial_states(2))
        torch.testing.assert_close(from_nothing, whole[:, 0], rtol=1e-5, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 40), st.data())
def test_no_answer_depends_on_a_later_bar(length, data):
    cut = data.draw(st.integers(1, length - 1))
    stack, x = MambaStack(6, 2), torch.randn(1, length, 6)
    changed = x.clone()
    changed[:, cut:] += 100.0
    assert torch.equal(stack(x)[:, :cut], stack(changed)[:, :cut])


def test_the_gradient_of_an_answer_is_zero_at_later_bars_and_not_before():
    stack, x = MambaStack(6, 1), torch.randn(1, 20, 6, requires_grad=True)
    (slope,) = torch.autograd.grad(stack(x)[0, 11].sum(), x)
    assert (slope[0, 12:] == 0).all()
    assert (slope[0, :12].abs().sum(dim=-1) > 0).all()


def test_a_block_starts_as_the_paper_says():
    block = Mamba(64, d_state=16)
    torch.testing.assert_close(-torch.exp(block.A_log), -torch.arange(1.0, 17).repeat(128, 1))
    steps = torch.nn.functional.softplus(block.dt_proj.bias.detach())
    assert float(steps.min()) >= 0.001 * 0.999 and float(steps.max()) <= 0.1 * 1.001
    assert 0.007 < float(steps.log().mean().exp()) < 0.014  # evenly spread logarithms: their middle is 0.01
    assert torch.equal(block.D, torch.ones(128))
    assert float(block.dt_proj.weight.detach().abs().max()) <= block.dt_rank**-0.5
    assert block.dt_rank == 4


def test_weights_have_the_literatures_names_and_shapes():
    shapes = {name: tuple(value.shape) for name, value in Mamba(256).state_dict().items()}
    assert shapes == {
        "A_log": (512, 16),
        "D": (512,),
        "in_proj.weight": (1024, 256),
        "conv1d.weight": (512, 1, 4),
        "conv1d.bias": (512,),
        "x_proj.weight": (48, 512),
        "dt_proj.weight": (512, 16),
        "dt_proj.bias": (512,),
        "out_proj.weight": (256, 512),
    }


def test_checkpointing_changes_no_gradient():
    plain, saving = MambaStack(8, 2), MambaStack(8, 2, checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    slopes = []
    for stack in (plain, saving):
        x = torch.randn(2, 20, 8, generator=torch.Generator().manual_seed(3), requires_grad=True)
        stack(x).square().sum().backward()
        slopes.append([x.grad, *(parameter.grad for parameter in stack.parameters())])
    for one, other in zip(*slopes, strict=True):
        assert torch.equal(one, other)


def test_checkpointing_keeps_less():
    def kept(stack):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda part: sizes.append(part.numel()) or part, lambda part: part
        ):
            stack(torch.randn(1, 200, 16, requires_grad=True))
        return sum(sizes)

    assert kept(MambaStack(16, 3, checkpointing=True)) < kept(MambaStack(16, 3)) / 5


def test_the_fused_scan_keeps_a_sixteenth_of_the_states():
    scan = Scan(*(part.requires_grad_() for part in a_scan(1, 160, 64, 16)))
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda part: sizes.append(part.numel()) or part, lambda part: part):
        scan_fused(scan)
    inputs = sum(part.numel() for part in scan)
    assert sum(sizes) <= inputs + 160 * 64 * 16 / EVERY


@pytest.mark.parametrize("wrong", [{"d_state": 0}, {"d_conv": 0}, {"expand": 0}, {"dt_rank": 0}])
def test_sizes_below_one_are_refused(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} = 0 must be 1 or more"):
        Mamba(8, **wrong)


def test_an_unknown_form_of_the_scan_is_refused_with_the_nearest():
    with pytest.raises(InputError) as caught:
        use_scan(Mamba(8), "fuse")
    assert "fused" in str(caught.value.hint)


# --- the networks -------------------------------------------------------------------------------------------------


def mamba_stock(**changed):
    return MambaStock(SHAPE, **({"width": 16, "layers": 2, "dropout": 0.0, "d_state": 4} | changed))


def ts_mamba(**changed):
    sizes = {"patch_bars": 5, "stride_bars": 3, "width": 16, "layers": 2, "dropout": 0.0, "d_state": 4}
    return TSMamba(SHAPE, **(sizes | changed))


NETWORKS = pytest.mark.parametrize("build", [mamba_stock, ts_mamba])


def a_block(runs=3, windows=4):
    return Block(
        torch.randn(runs, SHAPE.length + windows - 1, SHAPE.inputs),
        torch.randint(0, 3, (runs, 2)),
        torch.randn(runs, windows, SHAPE.horizons, SHAPE.future),
    )


def window_of(block, run, number):
    return Block(
        block.values[run : run + 1, number : number + SHAPE.length],
        block.statics[run : run + 1],
        block.future[run : run + 1, number : number + 1],
    )


@NETWORKS
def test_answers_have_the_contracts_shapes_and_quantiles_rise(build):
    outputs = build()(a_block())
    assert outputs.quantiles.shape == (3, 4, 2, 5)
    assert outputs.logits.shape == (3, 4, 2, 3)
    assert (outputs.quantiles.diff(dim=-1) > 0).all()


@NETWORKS
def test_a_window_has_the_same_answer_in_a_run_and_alone(build):
    network, block = build().eval(), a_block()
    together = network(block)
    for run in range(3):
        for number in range(4):
            alone = network(window_of(block, run, number))
            torch.testing.assert_close(alone.quantiles[0, 0], together.quantiles[run, number], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(alone.logits[0, 0], together.logits[run, number], rtol=1e-5, atol=1e-6)


@NETWORKS
def test_a_window_does_not_see_later_bars_of_its_run(build):
    network, block = build().eval(), a_block()
    changed = block._replace(values=block.values.clone())
    changed.values[:, SHAPE.length :] += 10.0
    assert torch.equal(network(block).quantiles[:, 0], network(changed).quantiles[:, 0])
    assert not torch.equal(network(block).quantiles[:, 1], network(changed).quantiles[:, 1])


@NETWORKS
def test_every_parameter_learns(build):
    network = build()
    outputs = network(a_block())
    (outputs.quantiles.square().sum() + outputs.logits.square().sum()).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


@NETWORKS
def test_a_network_learns_a_fading_sum_of_the_bars(build):
    network = build()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    fading = 0.5 * 0.8 ** torch.arange(SHAPE.length).flip(0)
    losses = []
    for _ in range(100):
        block = a_block(runs=24, windows=4)
        wanted = block.values.unfold(1, SHAPE.length, 1)[:, :, 0] @ fading
        loss = (network(block).quantiles[..., 2] - wanted[..., None]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:5])


@NETWORKS
def test_a_network_with_checkpointing_gives_the_same(build):
    plain, saving, block = build(), build(checkpointing=True), a_block()
    saving.load_state_dict(plain.state_dict())
    assert torch.equal(plain(block).quantiles, saving(block).quantiles)


def test_patches_end_at_the_newest_bar():
    network = ts_mamba().eval()
    values = torch.zeros(1, SHAPE.length, SHAPE.inputs, requires_grad=True)
    patches = network.patches(values, 1)
    assert patches.shape == (1, 7, 16)  # bars 1-5, 4-8, … 19-23; bar 0 is in no whole patch
    (newest,) = torch.autograd.grad(patches[0, -1].sum(), values, retain_graph=True)
    assert newest[0].any(dim=-1).nonzero().flatten().tolist() == [19, 20, 21, 22, 23]
    (oldest,) = torch.autograd.grad(patches[0, 0].sum(), values)
    assert oldest[0].any(dim=-1).nonzero().flatten().tolist() == [1, 2, 3, 4, 5]


def test_patches_read_every_window_from_both_ends():
    network = ts_mamba(layers=1).eval()
    states = torch.randn(1, 7, 16, requires_grad=True)
    (slope,) = torch.autograd.grad(network.layers[0](states)[0, 3].sum(), states)
    assert (slope[0].abs().sum(dim=-1) > 0).all()


@pytest.mark.parametrize("patches", [{"patch_bars": 25}, {"patch_bars": 0}, {"stride_bars": 0}])
def test_patches_that_do_not_fit_are_refused(patches):
    with pytest.raises(InputError, match="cannot be cut out of windows of 24"):
        ts_mamba(**patches)


def test_an_exported_block_says_the_same_at_any_batch_size(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    stack, path = MambaStack(8, 1, d_state=4).eval(), tmp_path / "stack.onnx"
    batch = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            stack, (torch.randn(2, 12, 8),), dynamo=True, dynamic_shapes=({0: batch},), verbose=False
        )
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in (1, 5):
        x = torch.randn(size, 12, 8)
        (answer,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(answer, stack(x).detach().numpy(), atol=1e-5)
