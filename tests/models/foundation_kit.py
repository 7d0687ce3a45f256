"""Tiny checkpoints in the published formats, their weights drawn at random."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

CONTEXT, LONGEST = 64, 24
DECILES = [round(0.1 * i, 1) for i in range(1, 10)]
TWENTY_ONE = [0.01, *(round(0.05 * i, 2) for i in range(1, 20)), 0.99]
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "dropout_rate": 0.1}
_FOLDER = Path(tempfile.mkdtemp(prefix="tiny-weights-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


@cache
def tiny(kind: str, seed: int = 0) -> Path:
    """Return a folder with a checkpoint of this kind; made once a session, only to be read."""
    folder = _FOLDER / f"{kind}-{seed}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        MAKERS[kind](folder)
    return folder


def chronos_t5(folder: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        **T5, vocab_size=128, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, architectures=["T5"]
    )
    config.chronos_config = {
        "tokenizer_class": "MeanScaleUniformBins",
        "tokenizer_kwargs": {"low_limit": -15.0, "high_limit": 15.0},
        "context_length": CONTEXT,
        "prediction_length": LONGEST,
        "n_tokens": 128,
        "n_special_tokens": 2,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "use_eos_token": True,
        "model_type": "seq2seq",
        "num_samples": 20,
        "temperature": 1.0,
        "top_k": 50,
        "top_p": 1.0,
    }
    T5ForConditionalGeneration(config).save_pretrained(folder)


def chronos_bolt(folder: Path) -> None:
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    config = T5Config(
        **T5, vocab_size=2, decoder_start_token_id=0, pad_token_id=0, chronos_pipeline_class="ChronosBoltPipeline"
    )
    config.chronos_config = {
        "context_length": CONTEXT,
        "prediction_length": LONGEST,
        "input_patch_size": 8,
        "input_patch_stride": 8,
        "quantiles": DECILES,
        "use_reg_token": True,
    }
    ChronosBoltModelForForecasting(config).save_pretrained(folder)


def chronos_2(folder: Path) -> None:
    from chronos.chronos2 import Chronos2Model
    from chronos.chronos2.config import Chronos2CoreConfig

    config = Chronos2CoreConfig(**T5, chronos_pipeline_class="Chronos2Pipeline")
    config.chronos_config = {
        "context_length": CONTEXT,
        "output_patch_size": 8,
        "input_patch_size": 8,
        "input_patch_stride": 8,
        "quantiles": TWENTY_ONE,
        "use_reg_token": True,
        "use_arcsinh": True,
        "max_output_patches": LONGEST // 8,
    }
    Chronos2Model(config).save_pretrained(folder)


def timesfm_3(folder: Path) -> None:
    from timesfm3 import ResidualBlockConfig, StackedTransformersConfig, TimesFM3Torch, TransformerConfig

    transformer = TransformerConfig(
        model_dims=16, hidden_dims=16, num_heads=2, attention_norm="rms", feedforward_norm="rms", qk_norm="rms",
        use_rope_seq=True, use_rope_var=True, use_bias=False, ff_activation="relu", deterministic=True,
    )  # fmt: skip
    TimesFM3Torch(
        input_patch_len=8,
        output_patch_len=16,
        quantiles=DECILES,
        residual_block_config=ResidualBlockConfig(hidden_dims=16, output_dims=16, use_bias=False, activation="relu"),
        transformer_config=StackedTransformersConfig(num_layers=2, transformer=transformer),
    ).save_pretrained(folder)


@contextmanager
def small_timesfm_2_5() -> Iterator[None]:
    """Make the package believe that TimesFM 2.5 is small: its size stands in the code, not in the checkpoint."""
    from timesfm.timesfm_2p5.timesfm_2p5_torch import TimesFM_2p5_200M_torch_module as Module

    real = Module.config
    block = replace(real.tokenizer, hidden_dims=16, output_dims=16)
    Module.config = replace(
        real,
        input_patch_len=8,
        output_patch_len=16,
        output_quantile_len=32,
        tokenizer=replace(block, input_dims=16),
        stacked_transformers=replace(
            real.stacked_transformers,
            num_layers=2,
            transformer=replace(real.stacked_transformers.transformer, model_dims=16, hidden_dims=16, num_heads=2),
        ),
        output_projection_point=replace(real.output_projection_point, input_dims=16, hidden_dims=16, output_dims=160),
        output_projection_quantiles=replace(
            real.output_projection_quantiles, input_dims=16, hidden_dims=16, output_dims=320
        ),
    )
    try:
        yield
    finally:
        Module.config = real


def timesfm_2_5(folder: Path) -> None:
    from timesfm import TimesFM_2p5_200M_torch

    with small_timesfm_2_5():
        TimesFM_2p5_200M_torch(torch_compile=False).save_pretrained(folder)


MAKERS = {
    "timesfm_2_5": timesfm_2_5,
    "timesfm_3": timesfm_3,
    "chronos_t5": chronos_t5,
    "chronos_bolt": chronos_bolt,
    "chronos_2": chronos_2,
}
