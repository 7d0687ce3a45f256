"""Pretrained forecasters: the same answers as from their own packages, and nothing silently wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from foundation_kit import CONTEXT, DECILES, LONGEST, TWENTY_ONE, small_timesfm_2_5, tiny
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy.special import ndtri

from spine_kit import PLAYBOOK, system, workspace
from tradewind.audit.playbook import audit_playbook
from tradewind.errors import DataError, InputError, RetryError
from tradewind.evaluation.backtest import backtest
from tradewind.models.base import MODELS, origin_of
from tradewind.models.forecast import LEVELS
from tradewind.models.foundation import chronos_pipelines, timesfm_pipelines, weights
from tradewind.models.foundation.levels import at_levels
from tradewind.models.foundation.series import Series
from tradewind.models.foundation.weights import PUBLISHED, digest_of, find_weights

SPLIT = 250
KINDS = {
    "chronos_t5": "chronos",
    "chronos_bolt": "chronos",
    "chronos_2": "chronos",
    "timesfm_2_5": "timesfm",
    "timesfm_3": "timesfm",
}
INSIDE = [0.1, 0.25, 0.5, 0.75, 0.9]


@pytest.fixture(autouse=True)
def small_package():
    """The size of TimesFM 2.5 stands in its package; nothing else looks there."""
    with small_timesfm_2_5():
        yield


@pytest.fixture(scope="module")
def panel(make_panel):
    return make_panel(bars=SPLIT + 30)


@pytest.fixture(scope="module")
def learning(panel, make_windows):
    return make_windows(panel.head(SPLIT), np.arange(150, SPLIT))


@pytest.fixture(scope="module")
def asked(panel, make_windows):
    return make_windows(panel, np.arange(SPLIT + 10, SPLIT + 14))


def small(kind, folder=None, **parameters):
    chosen = {"context_bars": CONTEXT, "least_bars": 32, "samples": 20, "weights": str(folder or tiny(kind))}
    return MODELS.create(KINDS[kind], **(chosen | parameters))


def asked_directly(kind, series, horizon):
    """What the package itself says of one series, at the levels that both have or that lie between them."""
    folder, wanted = tiny(kind), torch.from_numpy(series)
    if kind == "chronos_t5":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(chronos_pipelines.seed_of(series, 0))
            said, _ = pipeline_of(folder).predict_quantiles(wanted, horizon, INSIDE, num_samples=20)
            return said[0].numpy()
    if kind == "chronos_bolt":
        return interpolated(DECILES, pipeline_of(folder).predict_quantiles(wanted, horizon, DECILES)[0][0])
    if kind == "chronos_2":
        return interpolated(TWENTY_ONE, pipeline_of(folder).predict_quantiles([wanted], horizon, TWENTY_ONE)[0][0][0])
    if kind == "timesfm_3":
        from timesfm3 import TimesFM3Forecaster

        said = TimesFM3Forecaster(checkpoint_path=str(folder)).predict(series, horizon, return_quantiles=True)
        return interpolated(DECILES, said.quantiles)
    from timesfm import ForecastConfig, TimesFM_2p5_200M_torch

    decoder = TimesFM_2p5_200M_torch(torch_compile=False)
    decoder.load_checkpoint(str(folder))
    flags = ("normalize_inputs", "use_continuous_quantile_head", "force_flip_invariance", "fix_quantile_crossing")
    decoder.compile(
        ForecastConfig(max_context=CONTEXT, max_horizon=horizon, infer_is_positive=False, **dict.fromkeys(flags, True))
    )
    return interpolated(DECILES, decoder.forecast(horizon, [series])[1][0, :, 1:])


def pipeline_of(folder):
    from chronos import BaseChronosPipeline

    return BaseChronosPipeline.from_pretrained(folder, local_files_only=True)


def interpolated(levels, quantiles):
    """Random weights forecast quantiles that cross; they are put into their order first."""
    return np.stack([np.interp(INSIDE, levels, np.sort(row)) for row in np.asarray(quantiles)])


def spoil(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


# ---------------------------------------------------------------------------------------------------- oracles


@pytest.mark.parametrize("kind", KINDS)
def test_a_forecast_is_what_the_package_says_of_the_one_series(kind, learning, asked):
    forecast = small(kind).fit(learning).predict(asked)
    series = Series.of(asked, CONTEXT).cut(np.array([8]))[0]
    row, column = asked.rows[8] - asked.rows[0], asked.columns[8]
    said = asked_directly(kind, series, 5)
    inside = [LEVELS.index(p) for p in INSIDE]
    for index, step in enumerate((0, 4)):
        found = forecast.quantiles[row, column, index, inside]
        np.testing.assert_allclose(found, said[step], atol=2e-6, rtol=1e-5)
    assert np.ptp(forecast.quantiles[row, column, 1]) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_forecast_does_not_depend_on_what_stands_beside_it(kind, learning, asked, panel, make_windows):
    model = small(kind, batch_series=8).fit(learning)
    whole = model.predict(asked)
    one = replace(asked, rows=asked.rows[9:10], columns=asked.columns[9:10])
    row = one.rows[0] - asked.rows[0]
    alone = model.predict(one).quantiles[0, one.columns[0]]
    np.testing.assert_allclose(alone, whole.quantiles[row, one.columns[0]], atol=1e-6, rtol=0)
    earlier = model.predict(make_windows(panel.head(int(one.rows[0]) + 1), one.rows))
    np.testing.assert_allclose(earlier.quantiles[0], whole.quantiles[row], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_bars_are_borne_and_short_histories_have_no_forecast(kind, panel, learning, make_windows):
    mask = panel.mask.copy()
    mask[SPLIT - 20 : SPLIT - 5, 1] = False
    mask[: SPLIT - 10, 2] = False
    mask[SPLIT, 3] = False
    forecast = small(kind).fit(learning).predict(make_windows(replace(panel, mask=mask), np.array([SPLIT])))
    there = forecast.available[0, :, 0]
    assert list(there) == [True, True, False, False, True, True]
    assert np.isnan(forecast.score[0, 2:4]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_price_that_never_moved_has_no_forecast(kind, panel, learning, make_windows):
    closes = panel.fields["close"].copy()
    closes[:, 1] = 7.0
    still = replace(panel, fields={**panel.fields, "close": closes})
    forecast = small(kind).fit(learning).predict(make_windows(still, np.array([SPLIT])))
    assert not forecast.available[0, 1].any()
    assert forecast.available[0, 0].all()


@pytest.mark.parametrize("kind", ["timesfm_2_5", "timesfm_3"])
def test_what_only_fell_may_fall_on(kind, panel, learning, make_windows, tmp_path):
    """Nowhere below zero relative to its last price, which the package would take for a quantity that cannot be."""
    down = np.exp(-np.cumsum(np.abs(np.random.default_rng(0).normal(0.01, 0.01, panel.shape)), axis=0))
    fell = replace(panel, fields={**panel.fields, "close": down})
    bold = shutil.copytree(tiny(kind), tmp_path / "bold")
    spoil(bold, lambda tensors: [value.mul_(-40) for name, value in tensors.items() if name.startswith("output")])
    forecast = small(kind, bold).fit(learning).predict(make_windows(fell, np.arange(SPLIT, SPLIT + 5)))
    assert np.nanmin(forecast.quantiles[..., 1:-1]) < -0.01  # one of the weights' own levels


# ---------------------------------------------------------------------------------------------------- sampling


def test_sample_paths_are_the_same_again_and_leave_the_generator_alone(learning, asked):
    model = small("chronos_t5").fit(learning)
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = model.predict(asked)
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(first.quantiles, small("chronos_t5").fit(learning).predict(asked).quantiles)


def test_another_seed_draws_other_paths_and_is_another_version(learning, asked):
    one, other = (small("chronos_t5", seed=seed).fit(learning).predict(asked) for seed in (1, 2))
    assert one.version != other.version
    assert not np.allclose(one.quantiles, other.quantiles, equal_nan=True)


# ---------------------------------------------------------------------------------------------------- levels


@given(st.floats(-0.1, 0.1), st.floats(0.001, 0.3))
def test_a_normal_is_extended_by_its_own_tails(mean, sigma):
    made = at_levels(mean + sigma * ndtri(DECILES), DECILES, LEVELS)
    outside = [0, len(LEVELS) - 1]
    np.testing.assert_allclose(made[outside], mean + sigma * ndtri(np.array(LEVELS)[outside]), atol=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=9, max_size=9))
def test_quantiles_at_other_levels_never_cross(values):
    made = at_levels(np.array(values), DECILES, LEVELS)
    assert (np.diff(made) >= -1e-12).all()
    np.testing.assert_allclose(made[1:-1], np.interp(LEVELS[1:-1], DECILES, np.sort(values)), atol=1e-12)


def test_a_missing_quantile_is_a_missing_forecast():
    values = np.tile(np.linspace(-1, 1, 9), (2, 1))
    values[1, 8] = np.nan
    made = at_levels(values, DECILES, LEVELS)
    assert np.isfinite(made[0]).all()
    assert np.isnan(made[1]).all()


@pytest.mark.parametrize("own", [(0.1, 0.9), (0.5, 0.9), (0.9, 0.5, 0.1)])
def test_levels_without_a_middle_are_refused(own):
    with pytest.raises(DataError, match="median"):
        at_levels(np.zeros(len(own)), own, LEVELS)


@pytest.mark.parametrize("kind", KINDS)
def test_levels_that_are_not_the_weights_own_are_named(kind, learning, asked):
    told = small(kind).fit(learning).predict(asked).explanation
    assert json.loads(json.dumps(told)) == told
    extended = told.get("levels_beyond_the_weights", {}).get("levels", [])
    assert extended == ([] if kind in ("chronos_2", "chronos_t5") else [0.05, 0.95])
    assert told["weights_hash"] == digest_of(tiny(kind))
    assert "had read what came after" in told["contamination"]


def test_fewer_paths_have_fewer_levels_of_their_own(learning, asked):
    told = small("chronos_t5", samples=12).fit(learning).predict(asked).explanation
    assert told["levels_beyond_the_weights"]["levels"] == [0.05, 0.95]


# ---------------------------------------------------------------------------------------------------- kept answers


class Counting:
    """A forecaster that counts the series it is asked for, and may break."""

    def __init__(self, real, breaks_at=None):
        self.real, self.breaks_at, self.series = real, breaks_at, 0
        self.kind, self.own_levels = real.kind, real.own_levels
        self.longest_context, self.longest_horizon = real.longest_context, real.longest_horizon

    def quantiles(self, series, horizon, wanted):
        if self.breaks_at is not None and self.series >= self.breaks_at:
            raise KeyboardInterrupt
        self.series += len(series)
        return self.real.quantiles(series, horizon, wanted)


def counted(monkeypatch, breaks_at=None):
    model = small("chronos_bolt", batch_series=1)
    found = Counting(model.open(model._find()), breaks_at)
    monkeypatch.setattr(MODELS.factory("chronos"), "open", lambda _self, _weights: found)
    return found


def resumed(folder, learning, **parameters):
    model = small("chronos_bolt", batch_series=1, **parameters)
    model.resume_in(folder, lambda *_: None)
    return model.fit(learning)


def test_an_answer_that_is_kept_is_not_asked_for_again(monkeypatch, tmp_path, learning, asked):
    forecaster = counted(monkeypatch)
    first = resumed(tmp_path, learning).predict(asked)
    made = forecaster.series
    again = resumed(tmp_path, learning).predict(asked)
    assert made == len(asked.rows)
    assert forecaster.series == made
    np.testing.assert_array_equal(first.quantiles, again.quantiles)
    later = replace(asked, rows=asked.rows + 1)
    resumed(tmp_path, learning).predict(later)
    assert forecaster.series == made + len(panel_symbols(asked))


def panel_symbols(windows):
    return windows.panel.symbols


def test_a_killed_forecast_goes_on_where_it_stopped(monkeypatch, tmp_path, learning, asked):
    counted(monkeypatch, breaks_at=10)
    with pytest.raises(KeyboardInterrupt):
        resumed(tmp_path, learning).predict(asked)
    monkeypatch.undo()
    forecaster = counted(monkeypatch)
    finished = resumed(tmp_path, learning).predict(asked)
    assert forecaster.series == len(asked.rows) - 10
    np.testing.assert_array_equal(
        finished.quantiles, small("chronos_bolt", batch_series=1).fit(learning).predict(asked).quantiles
    )


def test_a_damaged_file_of_answers_is_made_again(monkeypatch, tmp_path, learning, asked):
    forecaster = counted(monkeypatch)
    first = resumed(tmp_path, learning).predict(asked)
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:100])
    again = resumed(tmp_path, learning).predict(asked)
    assert forecaster.series == 2 * len(asked.rows)
    np.testing.assert_array_equal(first.quantiles, again.quantiles)


def test_answers_of_other_settings_are_not_taken(monkeypatch, tmp_path, learning, asked):
    forecaster = counted(monkeypatch)
    resumed(tmp_path, learning).predict(asked)
    resumed(tmp_path, learning, context_bars=48).predict(asked)
    assert forecaster.series == 2 * len(asked.rows)


# ---------------------------------------------------------------------------------------------------- which weights


def test_the_version_is_of_the_weights_not_of_their_place(tmp_path, learning):
    elsewhere = shutil.copytree(tiny("chronos_bolt"), tmp_path / "moved")
    here, moved = small("chronos_bolt").fit(learning), small("chronos_bolt", elsewhere).fit(learning)
    assert here.version_ == moved.version_
    assert small("chronos_bolt", tiny("chronos_bolt", seed=1)).fit(learning).version_ != here.version_
    assert small("chronos_bolt", context_bars=48).fit(learning).version_ != here.version_


def test_weights_that_changed_after_the_fit_are_refused(tmp_path, learning, asked):
    folder = shutil.copytree(tiny("chronos_bolt"), tmp_path / "weights")
    model = small("chronos_bolt", folder).fit(learning)
    shutil.copy(tiny("chronos_bolt", seed=1) / "model.safetensors", folder)
    with pytest.raises(DataError, match="changed since chronos was fitted"):
        model.predict(asked)


def test_a_stored_model_finds_its_weights_where_they_are_now(tmp_path, learning, asked):
    folder = shutil.copytree(tiny("chronos_bolt"), tmp_path / "weights")
    model = small("chronos_bolt", folder).fit(learning)
    expected = model.predict(asked).quantiles
    folder.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="is no folder"):
        model.predict(asked)
    model.weights = str(tmp_path / "moved")
    np.testing.assert_array_equal(model.predict(asked).quantiles, expected)
    model.weights = str(tiny("chronos_bolt", seed=1))
    with pytest.raises(DataError, match="changed since"):
        model.predict(asked)


def test_weights_can_be_pinned_by_their_hash(learning):
    small("chronos_bolt", weights_hash=digest_of(tiny("chronos_bolt"))).fit(learning)
    with pytest.raises(InputError, match=r"have the hash .* the playbook wants 0123"):
        small("chronos_bolt", weights_hash="0123").fit(learning)


def test_a_model_tells_where_its_knowledge_comes_from():
    parameters = {"weights": str(tiny("chronos_bolt")), "weights_known_at": "2024-11-26"}
    assert origin_of("chronos", parameters).known_at == "2024-11-26"
    assert origin_of("chronos", parameters | {"weights_known_at": ""}).known_at is None
    other = origin_of("chronos", parameters | {"weights": str(tiny("chronos_bolt", seed=1))})
    assert other.content != origin_of("chronos", parameters).content
    assert origin_of("naive_t", {}) is None


# ---------------------------------------------------------------------------------------------------- not there


@pytest.fixture
def empty_hub(monkeypatch, tmp_path):
    """An empty cache of the hub, and a hub that refuses to be asked."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "cache"


@pytest.mark.parametrize("name", ["chronos", "timesfm"])
def test_weights_that_are_not_there_are_said_with_the_command_that_gets_them(name, empty_hub, learning):
    model = MODELS.create(name)
    with pytest.raises(DataError, match=f"{name} is unavailable.*hf download {model.weights} ") as caught:
        model.fit(learning)
    assert "download = true" in caught.value.hint
    assert not empty_hub.exists() or not any(empty_hub.rglob("*.safetensors"))


def test_a_hub_that_does_not_answer_is_worth_another_try(empty_hub):
    with pytest.raises(RetryError, match="the hub did not give amazon/chronos-2"):
        find_weights("chronos", "amazon/chronos-2", download=True)


def test_weights_in_the_cache_of_the_hub_are_found_by_their_name(empty_hub, learning):
    home = empty_hub / "models--amazon--chronos-bolt-tiny"
    shutil.copytree(tiny("chronos_bolt"), home / "snapshots" / "abc")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    found = find_weights("chronos", "amazon/chronos-bolt-tiny")
    assert found.known_at == PUBLISHED["amazon/chronos-bolt"].known_at
    assert found.license == "Apache-2.0"
    model = small("chronos_bolt", "amazon/chronos-bolt-tiny").fit(learning)
    assert model.version_ == small("chronos_bolt").fit(learning).version_


def test_half_a_download_is_none(empty_hub):
    home = empty_hub / "models--amazon--chronos-2"
    (home / "snapshots" / "abc").mkdir(parents=True)
    (home / "snapshots" / "abc" / "config.json").write_text("{}")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    with pytest.raises(DataError, match="is unavailable"):
        find_weights("chronos", "amazon/chronos-2")


class Hub(BaseHTTPRequestHandler):
    """As much of a hub as a download asks for: what a repository holds, and its files, below one commit."""

    folder: Path
    commit = "a" * 40

    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.answer()

    def answer(self, head=False):
        name = self.path.partition("?")[0].rpartition("/")[2]
        if self.path.startswith("/api/models/"):
            files = [{"rfilename": path.name} for path in sorted(self.folder.iterdir())]
            body = json.dumps({"id": "amazon/chronos-bolt-tiny", "sha": self.commit, "siblings": files}).encode()
        else:
            body = (self.folder / name).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.end_headers()
        if not head:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_download_that_was_asked_for_is_in_the_cache_afterwards(empty_hub, monkeypatch, tmp_path, learning):
    from huggingface_hub import constants

    published = shutil.copytree(tiny("chronos_bolt"), tmp_path / "published")
    (published / "pytorch_model.bin").write_bytes(b"pickled")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("TheHub", (Hub,), {"folder": published}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    place = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", place)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", place + "/{repo_id}/resolve/{revision}/{filename}")
    try:
        model = small("chronos_bolt", "amazon/chronos-bolt-tiny", download=True).fit(learning)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert model.weights_.digest == digest_of(tiny("chronos_bolt"))
    assert not list(empty_hub.rglob("*.bin"))
    assert find_weights("chronos", "amazon/chronos-bolt-tiny").digest == model.weights_.digest


@pytest.mark.parametrize("wanted", ["", "/no/such/folder", "./weights", "amazon/chronos/2"])
def test_what_is_neither_folder_nor_name_is_refused(wanted, learning):
    with pytest.raises(InputError, match="is no folder"):
        small("chronos_bolt", weights=wanted).fit(learning)


@pytest.mark.parametrize("name", ["chronos", "timesfm"])
def test_a_missing_package_is_said_with_the_command_that_installs_it(name, monkeypatch, learning):
    real = weights.find_spec
    monkeypatch.setattr(weights, "find_spec", lambda module: None if module == name else real(module))
    with pytest.raises(InputError, match=f"{name} is unavailable") as caught:
        MODELS.create(name).fit(learning)
    assert f"pip install 'tradewind[{name}]'" in caught.value.hint


# ---------------------------------------------------------------------------------------------------- broken


@pytest.fixture(params=KINDS)
def copied(request, tmp_path):
    """A checkpoint that may be spoilt, with its kind."""
    return request.param, shutil.copytree(tiny(request.param), tmp_path / "spoilt")


def test_a_checkpoint_cut_short_is_refused(copied, learning):
    kind, folder = copied
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="damaged or cut short"):
        small(kind, folder).fit(learning)


def test_a_tensor_that_is_missing_is_never_made_up(copied, learning):
    kind, folder = copied
    spoil(folder, lambda tensors: tensors.pop(sorted(tensors)[-2]))
    with pytest.raises(DataError, match=r"lacks|Missing key|cannot load"):
        small(kind, folder).fit(learning)


def test_a_tensor_too_many_is_refused(copied, learning):
    kind, folder = copied
    spoil(folder, lambda tensors: tensors.update(strange=torch.zeros(2)))
    with pytest.raises(DataError, match="strange"):
        small(kind, folder).fit(learning)


def test_a_tensor_of_another_shape_is_refused(copied, learning):
    kind, folder = copied
    spoil(folder, lambda tensors: tensors.update({sorted(tensors)[-2]: torch.zeros(3, 5)}))
    with pytest.raises(DataError, match=r"cannot load|another shape"):
        small(kind, folder).fit(learning)


def test_weights_that_are_not_numbers_are_refused(copied, learning):
    kind, folder = copied
    spoil(folder, lambda tensors: tensors[sorted(tensors)[-2]].fill_(np.nan))
    with pytest.raises(DataError, match="not all finite"):
        small(kind, folder).fit(learning)


@pytest.mark.parametrize(("kind", "other"), [("chronos_bolt", "timesfm_3"), ("timesfm_3", "chronos_2")])
def test_weights_of_another_model_are_refused(kind, other, learning):
    with pytest.raises(DataError, match=r"holds no (Chronos|TimesFM)"):
        small(kind, tiny(other)).fit(learning)


@pytest.mark.parametrize("kind", ["chronos_t5", "chronos_bolt", "chronos_2"])
def test_a_configuration_of_another_chronos_is_refused(kind, tmp_path, learning):
    folder = shutil.copytree(tiny(kind), tmp_path / "mixed")
    other = {"chronos_t5": "chronos_bolt", "chronos_bolt": "chronos_2", "chronos_2": "chronos_t5"}[kind]
    shutil.copy(tiny(other) / "model.safetensors", folder)
    with pytest.raises(DataError, match=r"lacks|cannot load"):
        small(kind, folder).fit(learning)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"chronos_config": {}, "chronos_pipeline_class": "Chronos9Pipeline"}', "Chronos9Pipeline"),
        ('{"model_type": "bert"}', "holds no Chronos: its config.json is of bert"),
        ('{"chronos_config": {}, "model_type": "t5", "chronos_pipeline_class": "ChronosBoltPipeline"}', "cannot load"),
        ("[1, 2]", "is no configuration"),
        ("{", "cannot be read"),
    ],
)
def test_a_configuration_that_says_something_else_is_refused(text, said, tmp_path, learning):
    folder = shutil.copytree(tiny("chronos_bolt"), tmp_path / "weights")
    (folder / "config.json").write_text(text)
    with pytest.raises(DataError, match=said):
        small("chronos_bolt", folder).fit(learning)


def test_a_configuration_that_is_missing_is_refused(tmp_path, learning):
    for kind in ("chronos_bolt", "timesfm_3"):
        folder = shutil.copytree(tiny(kind), tmp_path / kind)
        (folder / "config.json").unlink()
        with pytest.raises(DataError, match=r"no config\.json"):
            small(kind, folder).fit(learning)


def test_pickled_weights_are_not_read(tmp_path, learning):
    folder = shutil.copytree(tiny("chronos_bolt"), tmp_path / "weights")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match="only pickled weights"):
        small("chronos_bolt", folder).fit(learning)


def test_an_adapter_and_half_of_a_split_checkpoint_are_refused(tmp_path, learning):
    folder = shutil.copytree(tiny("chronos_bolt"), tmp_path / "weights")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}))
    with pytest.raises(DataError, match=r"lacks model-2\.safetensors"):
        small("chronos_bolt", folder).fit(learning)
    index.unlink()
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(DataError, match="adapter"):
        small("chronos_bolt", folder).fit(learning)


def test_code_beside_the_weights_is_not_run(tmp_path, learning):
    folder = shutil.copytree(tiny("chronos_bolt"), tmp_path / "weights")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "evil.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(DataError, match="cannot load"):
        small("chronos_bolt", folder).fit(learning)
    assert not (tmp_path / "ran").exists()


# ---------------------------------------------------------------------------------------------------- too much asked


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "timesfm_3"])
def test_more_bars_ahead_than_the_weights_forecast_are_refused(kind, panel, make_windows):
    ahead = make_windows(panel.head(SPLIT), np.arange(150, SPLIT), horizons=(1, LONGEST + 20))
    with pytest.raises(InputError, match=rf"asked for {LONGEST + 20} bars ahead"):
        small(kind).fit(ahead)


def test_more_bars_than_the_weights_read_are_refused(learning):
    with pytest.raises(InputError, match=rf"context_bars = 65 of chronos.* read {CONTEXT}"):
        small("chronos_bolt", context_bars=65).fit(learning)


@pytest.mark.parametrize(
    "parameters",
    [
        {"levels": (0.9, 0.5, 0.1)},
        {"levels": (0.1, 0.9)},
        {"least_bars": 65},
        {"least_bars": 1},
        {"batch_series": 0},
        {"samples": 1},
        {"weights_known_at": "last week"},
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(parameters):
    with pytest.raises(InputError):
        small("chronos_bolt", **parameters)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("kind", ["chronos_bolt", "timesfm_3"])
def test_a_gpu_that_is_not_there_is_said(kind, learning):
    with pytest.raises(InputError, match="device = 'cuda'"):
        small(kind, device="cuda").fit(learning)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_the_end_of_memory_is_said_with_what_to_lower(error, monkeypatch, learning, asked):
    model = small("chronos_bolt").fit(learning)

    def full(*_arguments):
        raise error

    monkeypatch.setattr(chronos_pipelines.DirectQuantiles, "quantiles", full)
    with pytest.raises(DataError, match="memory ended while chronos forecast 32 series of 64 bars") as caught:
        model.predict(asked)
    assert "batch_series" in caught.value.hint


def test_an_error_of_another_kind_is_not_called_one_of_memory(monkeypatch, learning, asked):
    model = small("chronos_bolt").fit(learning)

    def broken(*_arguments):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(chronos_pipelines.DirectQuantiles, "quantiles", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        model.predict(asked)


def test_answers_that_are_not_numbers_are_no_forecast(monkeypatch, learning, asked):
    model = small("chronos_bolt").fit(learning)

    def endless(_self, series, horizon, _wanted):
        return np.full((len(series), horizon, 9), np.inf)

    monkeypatch.setattr(chronos_pipelines.DirectQuantiles, "quantiles", endless)
    assert not model.predict(asked).available.any()


def test_loading_prints_nothing(capfd, learning):
    for opened in (chronos_pipelines._pipeline, timesfm_pipelines._forecaster):
        opened.cache_clear()
    for kind in KINDS:
        small(kind).fit(learning)
    assert capfd.readouterr() == ("", "")


# ---------------------------------------------------------------------------------------------------- in the corridor

TRADED = """use = "chronos"
compare = []
[models.parameters.chronos]
weights = "WEIGHTS"
context_bars = 48
least_bars = 32"""


@pytest.fixture
def traded(tmp_path):
    """A playbook that trades on a pretrained model, and the folder of its weights."""
    folder = shutil.copytree(tiny("chronos_bolt"), tmp_path / "weights")
    text = PLAYBOOK.replace('use = "ridge"\ncompare = []', TRADED.replace("WEIGHTS", str(folder)))
    return system(tmp_path, playbook=text.replace("confidence_min = 0.5\n", "confidence_min = 0.01\n")), folder


def contaminated(record):
    return [flag["message"] for flag in record.result["red_flags"] if flag["code"] == "contaminated"]


def test_a_back_test_from_before_the_weights_is_flagged(traded, tmp_path):
    playbook, _ = traded
    (said,) = contaminated(backtest(workspace(playbook, tmp_path / "home")))
    assert "chronos forecasts with weights that were trained elsewhere" in said
    assert "nobody said when" in said
    known = {"models__parameters__chronos__weights_known_at": "2015-01-02"}
    (said,) = contaminated(backtest(workspace(playbook, tmp_path / "home", **known)))
    assert "known on 2015-01-02, after" in said
    known = {"models__parameters__chronos__weights_known_at": date(2013, 12, 31)}  # as TOML says it
    assert not contaminated(backtest(workspace(playbook, tmp_path / "home", **known)))


def test_other_weights_in_the_same_folder_are_other_forecasts(traded, tmp_path):
    playbook, folder = traded
    first = backtest(workspace(playbook, tmp_path / "home"))
    again = backtest(workspace(playbook, tmp_path / "home"))
    np.testing.assert_array_equal(first.forecasts["chronos"].quantiles, again.forecasts["chronos"].quantiles)
    shutil.copy(tiny("chronos_bolt", seed=1) / "model.safetensors", folder)
    changed = backtest(workspace(playbook, tmp_path / "home"))
    assert changed.forecasts["chronos"].version != first.forecasts["chronos"].version
    assert not np.allclose(changed.forecasts["chronos"].quantiles, first.forecasts["chronos"].quantiles, equal_nan=True)


def test_a_model_without_weights_is_left_out_of_a_comparison_with_its_reason(traded, tmp_path, empty_hub):
    playbook, _ = traded
    record = backtest(workspace(playbook, tmp_path / "home", models__compare=["timesfm"]))
    assert "timesfm" not in record.forecasts
    said = json.dumps(record.result["forecast_quality"]["timesfm"])
    assert "timesfm is unavailable: its weights google/timesfm-2.5-200m-pytorch are not on this machine" in said
    assert len(contaminated(record)) == 1


def test_the_leak_auditor_finds_nothing_in_a_pretrained_model(traded, tmp_path):
    playbook, _ = traded
    found = audit_playbook(workspace(playbook, tmp_path / "home"))
    assert not found.findings
    assert "forecasts" in found.subjects
