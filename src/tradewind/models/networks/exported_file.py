"""What an exported file says of itself, and how it shows that nobody changed it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from tradewind.errors import DataError
from tradewind.models.networks.network import Shape

CARD = "tradewind"
"""Under this name the card lies in the file's own metadata."""
CARD_FORMAT = "1"


@dataclass(frozen=True)
class Card:
    """What an exported network is, for whoever finds the file alone.

    Attributes
    ----------
    model, version
        The model's registered name and the hash of what it was trained on and of its weights.
    number, networks
        Which of the model's networks this is, counted from 0, and how many it has (one a seed).
    shape
        Sizes of a window and of the answers.
    channels
        Names of the last axis of the input ``values``.
    horizons, levels
        In bars, and the quantile levels.
    outputs
        Names of the answers, in order.
    whole_dates
        Whether rows of one ``section`` are symbols of one date that see each other.
    max_difference, windows
        The largest difference from the network in double precision, in units of the outputs, on so many windows.
    batch
        Rows that the file takes at a time; 0: any number.
    made_with
        Versions of what made it.
    card_format
        Of this record.
    """

    model: str
    version: str
    number: int
    networks: int
    shape: Shape
    channels: tuple[str, ...]
    horizons: tuple[int, ...]
    levels: tuple[float, ...]
    outputs: tuple[str, ...]
    whole_dates: bool = False
    max_difference: float = float("inf")
    windows: int = 0
    batch: int = 0
    made_with: tuple[tuple[str, str], ...] = ()
    card_format: str = CARD_FORMAT

    @property
    def inputs(self) -> dict[str, str]:
        """Names, types and sizes of what the file is given, in order."""
        shape = self.shape
        told = {
            "values": f"float32 (batch, {shape.length}, {shape.inputs})",
            "statics": f"integer (batch, {len(shape.statics)})",
            "future": f"float32 (batch, {shape.horizons}, {shape.future})",
        }
        return told | ({"section": "integer (batch,)"} if self.whole_dates else {})

    def checked(self, max_difference: float, windows: int) -> Card:
        """Return the card with what the check at export found."""
        return replace(self, max_difference=max_difference, windows=windows)

    def sealed(self, body: bytes) -> str:
        """Return the card as JSON with a digest of itself and of the file's body."""
        told = asdict(self) | {"shape": self.shape._asdict(), "made_with": dict(self.made_with)}
        told |= {"inputs": self.inputs}
        return json.dumps(told | {"digest": _digest(told, body)}, separators=(",", ":"))


def opened(text: str, body: bytes, path: Path) -> Card:
    """Return the card of a file; ``DataError`` where it or the body are not what was written."""
    try:
        told = dict(json.loads(text))
        digest, made_by = told.pop("digest", None), told.get("card_format")
    except (TypeError, ValueError) as error:
        raise damaged(path, "its card cannot be read") from error
    if made_by != CARD_FORMAT:
        raise DataError(
            f"{path} has a card of format {made_by!r}, this Tradewind reads {CARD_FORMAT!r}",
            hint="export the model again with this version",
        )
    if digest != _digest(told, body):
        raise damaged(path, "its digest is not that of its content")
    return _card(told)


def damaged(path: Path, why: str) -> DataError:
    """Return the error for a truncated, changed or foreign file."""
    return DataError(
        f"{path} is not an exported network as Tradewind wrote it: {why}",
        hint="export the model again, and do not use the file",
    )


def read_bytes(path: Path) -> bytes:
    """Return a file's content; ``DataError`` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint="give the path of an exported file") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all."""
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _card(told: dict[str, Any]) -> Card:
    kept = {field.name: told[field.name] for field in fields(Card)}
    tuples = {name: tuple(value) for name, value in kept.items() if isinstance(value, list)}
    shape = told["shape"]
    shape = Shape(**(shape | {"statics": tuple(shape["statics"])}))
    return Card(**(kept | tuples | {"shape": shape, "made_with": tuple(told["made_with"].items())}))


def _digest(told: dict[str, Any], body: bytes) -> str:
    return hashlib.sha256(_canonical(told).encode() + b"\0" + body).hexdigest()


def _canonical(told: dict[str, Any]) -> str:
    return json.dumps(told, sort_keys=True, separators=(",", ":"))
