"""Weights that somebody else trained: where they lie, what they are, and how to get them.

Nothing is downloaded unless it was asked for, and nothing pickled is ever read: weights are safetensors.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from tradewind.errors import DataError, InputError, RetryError, TradewindError
from tradewind.market.store.failures import storage_failures

if TYPE_CHECKING:
    from torch import nn

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_PATTERNS = ("*.json", "*.safetensors")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_TIMEOUT_SECONDS = 10.0
_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class Published:
    """What is known of published weights.

    Attributes
    ----------
    known_at
        Day of their release. What they were trained on is not dated by its publishers; it cannot be later.
    license
        Of the weights, not of the package that reads them.
    """

    known_at: str
    license: str


_APACHE = "Apache-2.0"
PUBLISHED: Mapping[str, Published] = {
    "amazon/chronos-t5": Published("2024-03-13", _APACHE),
    "amazon/chronos-bolt": Published("2024-11-26", _APACHE),
    "amazon/chronos-2": Published("2025-10-20", _APACHE),
    "google/timesfm-2.5": Published("2025-09-15", _APACHE),
    "google/timesfm-3.0": Published(
        "2026-08-31", "timesfm-non-commercial-license-v1.0: no commercial or production use"
    ),
}
"""By the beginning of the name on the hub; the day for TimesFM 3.0 is the end of the month it was announced in."""


@dataclass(frozen=True)
class Weights:
    """A folder of weights.

    Attributes
    ----------
    folder, name
        Where they lie, and what the playbook called them.
    digest
        Hash of the configuration and of every tensor file.
    known_at
        ISO day from which on the world could know what they know; empty: nobody said.
    license
        Of the weights; empty: see their publisher.
    """

    folder: Path
    name: str
    digest: str
    known_at: str = ""
    license: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """The configuration beside the tensors; raises ``DataError`` where there is none or it cannot be read."""
        path = self.folder / "config.json"
        try:
            found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise DataError(f"{self.folder} has no config.json", hint=_AGAIN) from None
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}", hint=_AGAIN) from None
        if not isinstance(found, dict):
            raise DataError(f"{path} is no configuration: it holds a {type(found).__name__}", hint=_AGAIN)
        return found

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all tensors by name; raises ``DataError`` for a truncated or damaged file."""
        from safetensors import SafetensorError, safe_open

        shapes: dict[str, tuple[int, ...]] = {}
        for path in _tensor_files(self.folder):
            try:
                with safe_open(path, framework="numpy") as file:
                    shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            except (SafetensorError, OSError) as error:
                raise DataError(f"{path} is damaged or cut short: {error}", hint=_AGAIN) from None
        return shapes


_AGAIN = "get the weights again; a folder of them holds config.json and *.safetensors as their publisher made them"


def find_weights(
    model: str, wanted: str, *, revision: str = "", download: bool = False, digest: str = "", known_at: str = ""
) -> Weights:
    """Return the weights that a playbook names.

    Parameters
    ----------
    model
        Who asks, for errors.
    wanted
        A folder, or the name of a repository on the Hugging Face hub, looked up in the hub's cache on this machine.
    revision
        Of the repository; empty: its newest.
    download
        Whether a repository that is not in the cache may be downloaded.
    digest
        What the weights' hash must be; empty: any.
    known_at
        ISO day from which on the world could know what they know; empty: that of their release, where it is known.

    Raises
    ------
    InputError
        Neither a folder nor a name; other weights than the hash says.
    DataError
        Weights that are not on this machine, with the command that gets them; an incomplete folder.
    RetryError
        The hub did not answer a download.
    """
    folder = Path(wanted).expanduser()
    if wanted and folder.is_dir():
        published = None
    elif _HUB_NAME.fullmatch(wanted):
        folder = _from_hub(model, wanted, revision, download)
        published = next((told for name, told in PUBLISHED.items() if wanted.startswith(name)), None)
    else:
        hint = f"models.parameters.{model}.weights is a folder, or a name on the hub such as amazon/chronos-2"
        raise InputError(f"{model}: weights = {wanted!r} is no folder", hint=hint)
    found = digest_of(folder)
    if digest and digest != found:
        raise InputError(
            f"the weights of {model} in {folder} have the hash {found}, the playbook wants {digest}",
            hint="they are other weights, or changed: get the right ones, or set weights_hash to what was meant",
        )
    told = published or Published("", "")
    return Weights(folder.resolve(), wanted, found, known_at or told.known_at, told.license)


def get_command(name: str, folder: str = "") -> str:
    """Return the command that downloads weights into a folder."""
    patterns = " ".join(f"--include '{pattern}'" for pattern in _PATTERNS)
    return f"hf download {name} {patterns} --local-dir {folder or 'weights/' + name.partition('/')[2]}"


def _from_hub(model: str, name: str, revision: str, download: bool) -> Path:
    """Return the folder of the hub's cache that holds a repository."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    asked: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(_PATTERNS)}
    try:
        cached = Path(snapshot_download(name, local_files_only=True, **asked))
    except (LocalEntryNotFoundError, OSError):
        cached = None
    if cached is not None and _complete(cached):
        return cached
    if not download:
        raise _unavailable(model, name)
    try:
        return _downloaded(name, revision)
    except TradewindError:
        raise
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise DataError(
            f"the hub has no {name} {revision} for us: {_first_line(error)}",
            hint=f"check its name; where it asks for a licence to be accepted: hf auth login, then {get_command(name)}",
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever its client raises where there is no network
        raise RetryError(
            f"the hub did not give {name}: {_first_line(error)}", hint=f"try again, or elsewhere: {get_command(name)}"
        ) from None


def _downloaded(name: str, revision: str) -> Path:
    """Return the folder of the hub's cache into which a repository was downloaded, every wait bounded.

    File by file: the client's call for a whole repository asks what it holds without any limit of time.
    """
    from huggingface_hub import HfApi, hf_hub_download

    asked = {"revision": revision or "main"}
    told = HfApi().model_info(name, timeout=_TIMEOUT_SECONDS, **asked)
    files = [PurePath(file.rfilename) for file in told.siblings or ()]
    wanted = [str(file) for pattern in _PATTERNS for file in files if file.match(pattern) and len(file.parts) == 1]
    places = {Path(hf_hub_download(name, file, etag_timeout=_TIMEOUT_SECONDS, **asked)).parent for file in wanted}
    if len(places) != 1:
        raise RetryError(f"the hub gave {len(wanted)} files of {len(places)} states of {name}", hint="try again")
    return places.pop()


def _complete(folder: Path) -> bool:
    """Return whether a download came to its end."""
    try:
        return bool(_tensor_files(folder))
    except DataError:
        return False


def _unavailable(model: str, name: str) -> DataError:
    folder = f"weights/{name.partition('/')[2]}"
    return DataError(
        f"{model} is unavailable: its weights {name} are not on this machine; get them with `{get_command(name)}`",
        hint=f'then set models.parameters.{model}.weights = "{folder}", or let it download them: download = true',
    )


def packages_are_there(model: str, extra: str, packages: Mapping[str, str]) -> None:
    """Raise ``InputError`` with the command that installs what is missing.

    Parameters
    ----------
    packages
        Distributions by the module that they bring.
    """
    missing = [package for module, package in packages.items() if find_spec(module) is None]
    if missing:
        raise InputError(
            f"{model} is unavailable: it needs {', '.join(missing)}, not installed here",
            hint=f"pip install 'tradewind[{extra}]'",
        )


def versions(packages: Collection[str]) -> dict[str, str]:
    """Return the installed versions by distribution."""
    found = {}
    for package in sorted(packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def digest_of(folder: Path) -> str:
    """Return a hash of the configuration and tensor files of a folder; ``DataError`` where there are no tensors.

    A file is read again only when its size or one of its times changed.
    """
    with storage_failures(folder):
        _refuse_other_formats(folder)
        files = [path for path in (folder / "config.json",) if path.is_file()] + _tensor_files(folder)
        stamps = [(path, path.stat()) for path in files]
        return _digest(tuple((str(p), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for p, s in stamps))


@lru_cache(maxsize=64)
def _digest(stamps: tuple[tuple[str | int, ...], ...]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for stamp in stamps:
        path = Path(str(stamp[0]))
        digest.update(f"{path.name} {stamp[1]}\n".encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _refuse_other_formats(folder: Path) -> None:
    if (folder / "adapter_config.json").is_file():
        raise DataError(
            f"{folder} holds an adapter, which needs the weights it was made for",
            hint="merge it into them and save the whole model",
        )
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
        what = f"only pickled weights ({pickled[0]}), which are not read" if pickled else "no *.safetensors"
        raise DataError(f"{folder} holds {what}", hint=_AGAIN)


def _tensor_files(folder: Path) -> list[Path]:
    """Return the files of tensors; where an index lists them all of those must be there."""
    there = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return there
    try:
        listed = sorted({*json.loads(index.read_text("utf-8"))["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{index} cannot be read: {error}", hint=_AGAIN) from None
    missing = [name for name in listed if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}, which its index lists", hint=_AGAIN)
    return [folder / name for name in listed]


def require_all_loaded(
    network: nn.Module, shapes: Mapping[str, Sequence[int]], *, source: Path, unused: Collection[str] = ()
) -> None:
    """Raise ``DataError`` unless every tensor of a network came from its files, and every one in them was used.

    The packages fill what a file lacks with random numbers and say so in a log, if at all.

    Parameters
    ----------
    unused
        Names that may lie in the files without being used.
    """
    own = network.state_dict()
    stored = {name for name in own if name in shapes}
    places = {own[name].data_ptr() for name in stored}
    lacking = [name for name, value in own.items() if name not in stored and value.data_ptr() not in places]
    strange = [name for name in shapes if name not in own and name not in unused]
    if lacking or strange:
        words = [f"lacks {_some(lacking)}"] * bool(lacking) + [f"has {_some(strange)} besides"] * bool(strange)
        raise DataError(f"the weights in {source} are not of the model in its config.json: it {', '.join(words)}")
    other = [name for name in stored if tuple(own[name].shape) != tuple(shapes[name])]
    if other:
        raise DataError(f"the weights in {source} have another shape than config.json says: {_some(other)}")
    broken = [name for name, value in own.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise DataError(f"the weights in {source} are not all finite: {_some(broken)}", hint=_AGAIN)


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
