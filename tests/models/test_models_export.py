"""Networks as files: they answer as the network did, whatever the batch, and a changed file is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tradewind.errors import DataError, InputError
from tradewind.models.base import MODELS
from tradewind.models.networks import export as exporting
from tradewind.models.networks import lite_environment, lite_file
from tradewind.models.networks.export import Exported, disagreement, examples, export_fitted, runners_of
from tradewind.models.networks.network import Block
from tradewind.models.sequence_model import SequenceModel

pytest.importorskip("onnxruntime", reason="pip install 'tradewind[onnx]'")
converts = pytest.mark.skipif(not lite_environment.built(), reason=f"needs {lite_environment.COMMAND}")

SPLIT = 600
NETWORKS = [name for name in MODELS.names() if issubclass(MODELS.factory(name), SequenceModel)]
#: One of each kind of layer that another converter could get wrong; the benchmark has all of them, at their own size.
LITE = ["mamba_stock", "samba", "transformer"]
SMALL = {"window_bars": 10, "width": 8, "epochs": 2, "epoch_windows": 400, "batch_windows": 128}


@pytest.fixture(scope="module")
def panel(make_panel):
    return make_panel()


@pytest.fixture(scope="module")
def training(panel, make_windows):
    return make_windows(panel.head(SPLIT), np.arange(4, SPLIT))


@pytest.fixture(scope="module")
def fresh(panel, make_windows):
    return make_windows(panel, np.arange(SPLIT, len(panel)))


@pytest.fixture(scope="module")
def gpt(training):
    """The fastest to export, of two seeds."""
    return MODELS.create("gpt_patches", seed=7, seeds=2, **SMALL).fit(training)


@pytest.fixture(scope="module")
def files(gpt, training, tmp_path_factory):
    return export_fitted(gpt, "onnx", tmp_path_factory.mktemp("files"), training)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_onnx_file_answers_fresh_windows_as_the_network_does(name, training, fresh, tmp_path):
    a_file_answers_as_the_network(name, "onnx", training, fresh, tmp_path)


@converts
@pytest.mark.parametrize("name", LITE)
def test_a_litert_file_answers_fresh_windows_as_the_network_does(name, training, fresh, tmp_path):
    a_file_answers_as_the_network(name, "tflite", training, fresh, tmp_path, window_bars=6)


def a_file_answers_as_the_network(name, format, training, fresh, folder, **sizes):
    model = MODELS.create(name, seed=7, **(SMALL | sizes)).fit(training)
    (made,) = export_fitted(model, format, folder, training)
    assert 0 < made.max_difference <= exporting.TOLERANCE
    assert made.path == folder / f"{name}-0.{format}"
    assert made.bytes == made.path.stat().st_size
    (runner,) = runners_of([made.path])
    found = disagreement(runner, model.fitted_.networks[0], examples(model.fitted_, fresh))
    assert found <= exporting.TOLERANCE
    forecast, wanted = model.predict_with([runner], fresh), model.predict(fresh)
    np.testing.assert_allclose(forecast.quantiles, wanted.quantiles, rtol=0, atol=1e-6)
    assert np.array_equal(forecast.available, wanted.available)
    assert forecast.quantiles.dtype == wanted.quantiles.dtype
    assert (forecast.model, forecast.version) == (wanted.model, wanted.version)
    assert forecast.explanation == wanted.explanation


def test_every_batch_has_its_own_size(gpt, files, fresh):
    (runner, _), block = runners_of(made.path for made in files), examples(gpt.fitted_, fresh)
    whole = runner(block).quantiles
    for size in (1, 2, 19):
        part = runner(Block(block.values[:size], block.statics[:size], block.future[:size])).quantiles
        torch.testing.assert_close(part, whole[:size], rtol=0, atol=1e-6)


def test_a_run_of_windows_is_answered_window_by_window(gpt, files):
    shape = gpt.fitted_.networks[0].shape
    with torch.random.fork_rng():
        torch.manual_seed(1)
        block = Block(
            torch.randn(3, shape.length + 3 * 2, shape.inputs),
            torch.randint(0, 2, (3, len(shape.statics))),
            torch.randn(3, 4, shape.horizons, shape.future),
        )
    (runner, _) = runners_of(made.path for made in files)
    with torch.inference_mode():
        wanted = gpt.fitted_.networks[0](block).quantiles
    torch.testing.assert_close(runner(block).quantiles, wanted, rtol=0, atol=1e-5)


def test_seeds_are_averaged_as_those_of_the_networks(gpt, files, fresh):
    backwards = [made.path for made in reversed(files)]
    forecast = gpt.predict_with(runners_of(backwards), fresh)
    np.testing.assert_allclose(forecast.quantiles, gpt.predict(fresh).quantiles, rtol=0, atol=1e-6)
    with pytest.raises(DataError, match=r"has 2 networks, the files are of \[0\]"):
        gpt.predict_with(runners_of(backwards[1:]), fresh)


def test_a_file_says_what_it_is_to_whoever_finds_it_alone(gpt, files):
    import onnx

    model = onnx.load(files[1].path)
    onnx.checker.check_model(model)
    told = json.loads({entry.key: entry.value for entry in model.metadata_props}["tradewind"])
    assert (told["model"], told["version"], told["number"]) == ("gpt_patches", gpt.version_, 1)
    assert told["channels"] == list(gpt.fitted_.channels)
    assert told["horizons"] == [1, 5]
    assert told["max_difference"] == files[1].max_difference
    assert told["windows"] == files[1].windows > 200
    assert [given.name for given in model.graph.input] == list(told["inputs"]) == ["values", "statics", "future"]
    assert [said.name for said in model.graph.output] == told["outputs"] == ["quantiles"]
    assert [given.type.tensor_type.shape.dim[0].dim_param for given in model.graph.input] == ["batch"] * 3
    assert __file__.encode().rsplit(b"/tests/")[0] not in files[1].path.read_bytes()


def test_examples_hold_windows_that_begin_before_the_history_and_an_empty_one(gpt, training):
    block, present = examples(gpt.fitted_, training), gpt.fitted_.channels.index("bar_present")
    bars = block.values[..., present].sum(dim=1)
    assert bars[-1] == 0
    assert (bars[:-1] < SMALL["window_bars"]).sum() > 5
    assert (block.statics[-1] == 0).all()


@pytest.mark.parametrize("cut", [0, 1, 100, 0.5, -1])
def test_a_truncated_file_is_refused(cut, files, tmp_path):
    content = files[0].path.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(cut * len(content)) if isinstance(cut, float) else cut])
    with pytest.raises(DataError, match=r"cut\.onnx is not an exported network"):
        runners_of([path])


def test_one_changed_bit_anywhere_is_refused(files, tmp_path):
    content = bytearray(files[0].path.read_bytes())
    path, draw = tmp_path / "changed.onnx", np.random.default_rng(3)
    for place in [*draw.integers(0, len(content), 40), len(content) - 20]:
        content[place] ^= 4
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"changed\.onnx"):
            runners_of([path])
        content[place] ^= 4
    path.write_bytes(content)
    assert len(runners_of([path])) == 1


def test_a_card_that_promises_more_is_refused(files, tmp_path):
    content = files[0].path.read_bytes()
    told = f'"max_difference":{json.dumps(files[0].max_difference)}'.encode()
    assert content.count(told) == 1
    path = tmp_path / "better.onnx"
    path.write_bytes(content.replace(told, b'"max_difference":' + b"0" * (len(told) - 17)))
    with pytest.raises(DataError, match="better"):
        runners_of([path])


def test_a_foreign_onnx_file_is_refused(tmp_path):
    import onnx

    path = tmp_path / "foreign.onnx"
    path.write_bytes(onnx.ModelProto(ir_version=10).SerializeToString())
    with pytest.raises(DataError, match="it carries no card"):
        runners_of([path])


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DataError, match=r"none\.onnx cannot be read"):
        runners_of([tmp_path / "none.onnx"])


def test_a_network_that_answers_otherwise_is_not_written(gpt, training, tmp_path, monkeypatch):
    (tmp_path / "gpt_patches-0.onnx").write_bytes(b"an older one")
    monkeypatch.setattr(exporting, "TOLERANCE", 1e-12)
    with pytest.raises(DataError, match=r"differs from the network by \d\.\d+e-07, at most 1e-12 is allowed"):
        export_fitted(gpt, "onnx", tmp_path, training)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an older one"]


@pytest.mark.parametrize("wrong", [float("nan"), 0.1])
def test_wrong_answers_are_found_in_any_window(wrong, gpt, files, training):
    (runner, _) = runners_of(made.path for made in files)
    block = examples(gpt.fitted_, training)

    def spoilt(arguments):
        said = runner.session(arguments)
        said[0][-1, 0, 0] += wrong
        return said

    found = disagreement(Exported(runner.card, spoilt), gpt.fitted_.networks[0], block)
    assert found >= 0.09


def test_files_of_another_model_are_refused(gpt, files, training, fresh):
    other = MODELS.create("gpt_patches", seed=9, seeds=2, **SMALL).fit(training)
    with pytest.raises(DataError, match=f"the files are of gpt_patches {gpt.version_}, the model is gpt_patches"):
        other.predict_with(runners_of(made.path for made in files), fresh)
    with pytest.raises(DataError, match="the files are of no file"):
        other.predict_with([], fresh)


def test_other_horizons_and_other_features_are_refused(gpt, files, panel, make_windows, fresh):
    runners = runners_of(made.path for made in files)
    with pytest.raises(DataError, match=r"the files forecast \(1, 5\) bars ahead, not \(1, 3\)"):
        gpt.predict_with(runners, make_windows(panel, np.arange(SPLIT, len(panel)), (1, 3)))
    features = replace(fresh.features, names=("last_return", "other", "size_before"))
    with pytest.raises(DataError, match="other features: last_size, other differ"):
        gpt.predict_with(runners, replace(fresh, features=features))


def test_windows_of_other_sizes_are_refused(gpt, files, fresh):
    (runner, _), block = runners_of(made.path for made in files), examples(gpt.fitted_, fresh)
    with pytest.raises(DataError, match="reads windows of 10 bars"):
        runner(block._replace(values=block.values[..., 1:]))
    with pytest.raises(DataError, match="reads windows of 10 bars"):
        runner(block._replace(values=block.values[:, 1:]))


def test_a_history_without_a_readable_window_is_said(gpt, panel, make_windows, tmp_path):
    with pytest.raises(DataError, match="none of 6 windows has enough bars"):
        export_fitted(gpt, "onnx", tmp_path, make_windows(panel, np.array([1])))


def test_an_unknown_format_is_said(gpt, training, tmp_path):
    with pytest.raises(InputError, match="unknown format of exported networks 'onx'") as caught:
        export_fitted(gpt, "onx", tmp_path, training)
    assert "onnx" in caught.value.hint


def test_a_missing_package_is_said_with_the_extra_that_has_it(gpt, training, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(InputError, match="'onnx' need onnxruntime, not installed") as caught:
        export_fitted(gpt, "onnx", tmp_path, training)
    assert caught.value.hint == "pip install 'tradewind[onnx]'"


@pytest.fixture(scope="module")
def one_gpt(training):
    return MODELS.create("gpt_patches", seed=7, **SMALL).fit(training)


@pytest.fixture(scope="module")
def lite(one_gpt, training, tmp_path_factory):
    (made,) = export_fitted(one_gpt, "tflite", tmp_path_factory.mktemp("lite"), training)
    return made.path


@converts
def test_litert_runs_the_file_by_itself(one_gpt, lite, training):
    from ai_edge_litert.interpreter import Interpreter

    block = examples(one_gpt.fitted_, training)
    run = Interpreter(model_path=str(lite)).get_signature_runner()
    with torch.inference_mode():
        wanted = one_gpt.fitted_.networks[0](block).quantiles
    for place in (0, 100, len(block.values) - 1):
        said = run(
            values=block.values[place : place + 1].numpy(),
            statics=block.statics[place : place + 1].int().numpy(),
            future=block.future[place].numpy(),
        )
        np.testing.assert_allclose(said["quantiles"][0], wanted[place, 0].numpy(), rtol=0, atol=1e-5)


@converts
def test_a_litert_file_carries_its_card_where_tensorflow_lite_keeps_such_things(lite):
    import zipfile

    with zipfile.ZipFile(lite) as archive:
        told = json.loads(archive.read("tradewind.json"))
    assert (told["number"], told["batch"], told["outputs"]) == (0, 1, ["quantiles"])
    assert {"torch", "litert-torch", "litert-converter"} == set(told["made_with"])


@converts
def test_one_changed_bit_or_a_cut_end_of_a_litert_file_is_refused(lite, tmp_path):
    content = bytearray(lite.read_bytes())
    path, draw = tmp_path / "changed.tflite", np.random.default_rng(3)
    for place in [*draw.integers(0, len(content), 40), len(content) - 1, len(content) - 60]:
        content[place] ^= 4
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"changed\.tflite"):
            runners_of([path])
        content[place] ^= 4
    for cut in (0, 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(DataError, match=r"changed\.tflite is not an exported network"):
            runners_of([path])
    path.write_bytes(content)
    assert len(runners_of([path])) == 1


@converts
def test_what_litert_cannot_convert_is_said_with_its_words(gpt, training, tmp_path, monkeypatch):
    monkeypatch.setattr(lite_file, "_SCRIPT", tmp_path / "none.py")
    with pytest.raises(DataError, match=r"'gpt_patches' could not be converted to LiteRT: .*none\.py"):
        export_fitted(gpt, "tflite", tmp_path, training)


def test_where_the_converter_is_not_built_the_command_that_builds_it_is_said(gpt, training, tmp_path, monkeypatch):
    monkeypatch.setattr(lite_environment, "folder", lambda: tmp_path / "tflite")
    with pytest.raises(InputError, match="needs litert-torch, in an environment of its own") as caught:
        export_fitted(gpt, "tflite", tmp_path, training)
    assert "python -m tradewind.models.networks.lite_environment" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_converter_of_an_older_lock_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(lite_environment, "folder", lambda: tmp_path)
    (tmp_path / "complete").write_text("litert-torch==0.1")
    assert not lite_environment.built()


def test_a_date_of_more_symbols_than_a_litert_file_takes_is_refused():
    session = object.__new__(lite_file.Session)
    session._card = SimpleNamespace(model="samba", batch=2)
    assert [group.tolist() for group in session._dates(np.array([4, 4, 2]))] == [[2], [0, 1]]
    with pytest.raises(DataError, match="reads 2 symbols of a date, it was given 3"):
        session._dates(np.array([4, 4, 4]))
