"""Training that goes on from a stored network: another universe, another sector, newer bars (playbook row A8)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tradewind.errors import DataError, InputError
from tradewind.models.artefact import Artefact, read
from tradewind.models.networks.network import Network
from tradewind.models.networks.sequences import Vocabulary

if TYPE_CHECKING:
    from tradewind.models.base import Windows
    from tradewind.models.networks.forecaster import Fitted

_TRAIN_ALL = "train without start_from, or choose a parent that fits"


def parent_of(folder: str, model: str) -> Artefact:
    """Return the artefact that a training is to go on from; its files are compared with their hashes.

    Raises
    ------
    DataError
        It is missing, damaged, of another format, or does not say on which bars it was trained.
    InputError
        It is of another model.
    """
    artefact = read(Path(folder))
    if artefact.card["model"] != model:
        raise InputError(
            f"start_from names a {artefact.card['model']!r}, and this is a {model!r}",
            hint="`tradewind models list` shows what is stored; weights fit only their own model",
        )
    if "trained_until" not in artefact.card.get("manifest", {}):
        raise DataError(f"{artefact.folder} does not say on which bars it was trained", hint=_TRAIN_ALL)
    return artefact


def require_past(artefact: Artefact, windows: Windows) -> None:
    """Raise ``DataError`` where the parent has seen bars that come after these windows: it would know their future."""
    until = datetime.fromisoformat(artefact.card["manifest"]["trained_until"])
    last = windows.panel.times[-1].astype("datetime64[us]").item().replace(tzinfo=UTC)
    if until > last:
        raise DataError(
            f"start_from was trained on bars until {until:%Y-%m-%d}, this training ends on {last:%Y-%m-%d}: "
            "it would know the future",
            hint="go on from an older model, or set evaluation.min_train_bars so that the first fold ends later",
        )


def adopt(network: Network, vocabulary: Vocabulary, channels: tuple[str, ...], parent: Fitted, number: int) -> None:
    """Give a network a parent's weights; tickers and sectors that the parent did not know begin as its unknown one.

    Parameters
    ----------
    vocabulary, channels
        Of the network.
    number
        Which of the parent's networks, counted round.

    Raises
    ------
    DataError
        Other channels, sizes, horizons or levels than the parent's.
    """
    if channels != parent.channels:
        changed = sorted(set(channels) ^ set(parent.channels)) or ["their order"]
        raise DataError(f"start_from was trained on other features: {', '.join(changed[:5])} differ", hint=_TRAIN_ALL)
    source = parent.networks[number % len(parent.networks)]
    state = dict(source.state_dict())
    for name, places in _tables(network, vocabulary, parent.vocabulary).items():
        state[name] = state[name][places]
    own = network.state_dict()
    differ = sorted(name for name in own.keys() | state.keys() if _shape(own, name) != _shape(state, name))
    if differ:
        raise DataError(
            f"start_from has other sizes, horizons, levels or classes: {', '.join(differ[:3])} differ", hint=_TRAIN_ALL
        )
    with torch.no_grad():
        network.load_state_dict(state)


def _tables(network: Network, own: Vocabulary, known: Vocabulary) -> dict[str, Tensor]:
    """Return, by the name of each table of tickers or sectors, the parent's row for each of its own."""
    places = [_places(own.tickers, known.tickers), _places(own.sectors, known.sectors)]
    found = {}
    for name, module in network.named_modules():
        parts = name.split(".")
        if isinstance(module, nn.Embedding) and parts[-1].isdigit() and int(parts[-1]) < len(places):
            found[f"{name}.weight"] = places[int(parts[-1])]
    return found


def _places(own: tuple[str, ...], known: tuple[str, ...]) -> Tensor:
    return torch.tensor([0, *(known.index(name) + 1 if name in known else 0 for name in own)])


def _shape(state: dict[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None
