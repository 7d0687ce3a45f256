"""Networks as ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from tradewind.models.networks.exported_file import CARD, Card, damaged, opened
from tradewind.models.networks.window_program import quietly

NEEDS = ("onnx", "onnxruntime", "onnxscript")
FIXED_BATCH = False


def made_with() -> tuple[tuple[str, str], ...]:
    """Return the versions of what writes these files."""
    return tuple((name, version(name)) for name in ("torch", "onnx", "onnxscript"))


def convert(program: ExportedProgram, card: Card) -> bytes:
    """Return the program as an ONNX model."""
    with quietly():
        made = torch.onnx.export(
            program,
            dynamo=True,
            input_names=tuple(card.inputs),
            output_names=card.outputs,
            external_data=False,
            verbose=False,
        )
    assert made is not None
    return _bare(made.model_proto).SerializeToString()


def _bare(model: Any) -> Any:
    """Drop what the exporter notes of where each node came from (paths of this machine), and name the batch."""
    graph = model.graph
    graph.ClearField("value_info")
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for part in (*graph.input, *graph.output):
        part.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def seal(body: bytes, card: Card) -> bytes:
    """Return the model with its card among its metadata; the body's bytes come first, unchanged."""
    return body + _tail(card.sealed(body))


def unseal(content: bytes, path: Path) -> tuple[Card, bytes]:
    """Return a file's card and its model; ``DataError`` where either was changed."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        metadata = onnx.ModelProto.FromString(content).metadata_props
    except DecodeError as error:
        raise damaged(path, "it is no ONNX model, or only a part of one") from error
    text = next((entry.value for entry in metadata if entry.key == CARD), None)
    if text is None:
        raise damaged(path, "it carries no card")
    tail = _tail(text)
    return opened(text, content.removesuffix(tail), path), content


def _tail(text: str) -> bytes:
    """Return what, added to the bytes of a model, is the same model with the card: protobuf merges what follows."""
    import onnx

    entry = onnx.StringStringEntryProto(key=CARD, value=text)
    return onnx.ModelProto(metadata_props=[entry]).SerializeToString()


class Session:
    """An ONNX model in ONNX Runtime."""

    def __init__(self, content: bytes, card: Card, path: Path, threads: int) -> None:
        import onnxruntime

        self._inputs = tuple(card.inputs)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise damaged(path, f"ONNX Runtime refuses it: {error}") from error

    def __call__(self, arguments: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Return the outputs of a batch."""
        return list(self._session.run(None, dict(zip(self._inputs, arguments, strict=True))))
