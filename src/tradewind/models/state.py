"""What a fitted model has learnt, as plain values and tensors: stored without pickle, read without running anything.

A model is its name, its parameters and its fitted attributes (a trailing underscore). Of those a *tree* keeps what JSON
can say, tensors keep the numbers, and what neither can (a tree of scikit-learn's) is pickled apart from both and only
read where the caller trusts the file. Reading makes objects of this package, of the package that the model comes from,
estimators of scikit-learn, boosters, and nothing else; it calls nothing that the file names.
"""

from __future__ import annotations

import importlib
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.models.base import MODELS, Model

if TYPE_CHECKING:
    from tradewind.models.networks.network import Network

KIND = "$"
"""The key that marks a JSON object as something else than a mapping of texts."""

_FOR_TRAINING = frozenset({"_optimizer", "_random_state"})
"""Attributes of scikit-learn's estimators that only their training goes on from."""
_MISREAD = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError, MemoryError)
"""What a tree that is no model's ends in when it is read."""
_NO_TRUST = "it is not as Tradewind wrote it: do not use this file"

_LIGHTGBM, _XGBOOST, _SKLEARN = "lightgbm", "xgboost", "sklearn"


_PLAIN = frozenset("biufUSmM")
"""Kinds of arrays that are stored: numbers, texts, times."""


class UnstorableError(InputError):
    """A model that cannot be taken apart, or whose parts are not all that it knows."""


@dataclass(frozen=True, eq=False)
class State:
    """A fitted model taken apart.

    Attributes
    ----------
    tree
        JSON: the values, and where the others lie.
    tensors
        Arrays by place in the tree.
    pickled
        What only pickle can write, as bytes; None where there is nothing of the kind.
    """

    tree: dict[str, Any]
    tensors: dict[str, NDArray[Any]]
    pickled: bytes | None = None


def pack(model: Model) -> State:
    """Take a fitted model apart; ``UnstorableError`` for a part that cannot be stored."""
    packer = _Packer(home=type(model).__module__.split(".", 1)[0])
    learnt = {name: value for name, value in vars(model).items() if _fitted(name)}
    if not learnt:
        raise UnstorableError(
            f"the model {model.name!r} has learnt nothing yet",
            hint="fit it first; what it learns lies in attributes whose names end in an underscore",
        )
    tree = {name: packer.of(value, name) for name, value in learnt.items()}
    return State(tree, packer.tensors, _pickled(packer.strangers) if packer.strangers else None)


def unpack(name: str, parameters: Mapping[str, Any], state: State, *, trust_pickle: bool = False) -> Model:
    """Put a model together again.

    Parameters
    ----------
    name, parameters
        As it was created.
    trust_pickle
        Whether pickled parts may be read: whoever wrote them can run anything here.

    Raises
    ------
    InputError
        A model that is not known here, or pickled parts that are not trusted.
    DataError
        A state that is not of this model as it is now.
    """
    if state.pickled is not None and not trust_pickle:
        raise InputError(
            f"parts of this {name!r} are pickled, and reading a pickle can run anything that its writer wished",
            hint="where you made it yourself, say --trust-pickle (trust_pickle=True)",
        )
    model = MODELS.create(name, **parameters)
    strangers = [] if state.pickled is None else pickle.loads(state.pickled)  # noqa: S301 - the caller trusts it
    reader = _Reader(model, state.tensors, strangers)
    for attribute, value in state.tree.items():
        if not _fitted(attribute):
            raise DataError(f"the stored {name!r} has an attribute {attribute!r} that no training makes")
        setattr(model, attribute, reader.of(value))
    return model


def _pickled(strangers: list[Any]) -> bytes:
    try:
        return pickle.dumps(strangers)
    except (pickle.PicklingError, AttributeError, TypeError) as failure:
        raise UnstorableError(f"a part cannot be stored, and not pickled either: {failure}") from failure


def _fitted(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_")


@dataclass
class _Packer:
    """Writes values; remembers arrays and strangers by where they were found."""

    home: str
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    strangers: list[Any] = field(default_factory=list)

    def of(self, value: Any, at: str) -> Any:
        """Return a value as JSON can say it."""
        if value is None or isinstance(value, bool | str) or (isinstance(value, int) and type(value) is int):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {KIND: "float", "of": repr(value)}
        if isinstance(value, np.generic | np.ndarray):
            return self._array(value, at)
        if isinstance(value, Path):
            return {KIND: "path", "of": str(value)}
        if isinstance(value, list):
            return [self.of(one, f"{at}.{i}") for i, one in enumerate(value)]
        if type(value) is tuple:
            return {KIND: "tuple", "of": [self.of(one, f"{at}.{i}") for i, one in enumerate(value)]}
        if isinstance(value, Mapping):
            pairs = [[self.of(k, f"{at}.{i}k"), self.of(v, f"{at}.{i}")] for i, (k, v) in enumerate(value.items())]
            return {KIND: "mapping", "of": pairs}
        return self._object(value, at)

    def _array(self, value: Any, at: str) -> Any:
        array = np.asarray(value)
        kind = "scalar" if isinstance(value, np.generic) else "array"
        if array.dtype.kind in "US":
            return {KIND: kind, "dtype": array.dtype.str, "of": array.tolist()}
        if array.dtype.kind in "mM":
            self.tensors[at] = array.view(np.int64).copy()
        elif array.dtype.kind in "biuf":
            self.tensors[at] = np.array(array, order="C")
        else:
            raise UnstorableError(f"an array of {array.dtype} at {at} cannot be stored")
        told = {KIND: kind, "dtype": array.dtype.str, "at": at}
        columns_first = array.flags.f_contiguous and not array.flags.c_contiguous
        return told | {"order": "F"} if columns_first else told  # products of matrices differ in their last bits by it

    def _object(self, value: Any, at: str) -> Any:
        package = type(value).__module__.split(".", 1)[0]
        if package == "torch":
            self.tensors[at] = value.detach().cpu().numpy().copy()
            return {KIND: "tensor", "at": at}
        if package == _LIGHTGBM:
            text = np.frombuffer(value.model_to_string(num_iteration=-1).encode(), dtype=np.uint8)
            self.tensors[at] = text.copy()
            return {KIND: _LIGHTGBM, "at": at}
        if package == _XGBOOST:
            self.tensors[at] = np.frombuffer(value.get_booster().save_raw("ubj"), dtype=np.uint8).copy()
            return {KIND: _XGBOOST, "class": type(value).__name__, "threads": value.n_jobs, "at": at}
        if package == _SKLEARN and hasattr(value, "get_params"):
            return self._estimator(value, at)
        if _is_network(value):
            return self._network(value, at)
        if not _is_part(type(value).__module__, self.home) or isinstance(value, FunctionType | MethodType | type):
            raise UnstorableError(
                f"{type(value).__module__}.{type(value).__qualname__} at {at} cannot be stored",
                hint="keep arrays, numbers, texts, networks or objects of the model's own package",
            )
        attributes = {k: self.of(v, f"{at}.{k}") for k, v in _attributes(value).items()}
        return {KIND: "object", "class": f"{type(value).__module__}:{type(value).__qualname__}", "of": attributes}

    def _estimator(self, value: Any, at: str) -> Any:
        """Return an estimator as its attributes where those are numbers and arrays; else it is pickled."""
        from importlib.metadata import version

        before = set(self.tensors)
        kept = {k: v for k, v in vars(value).items() if k not in _FOR_TRAINING}
        try:
            attributes = {k: self.of(v, f"{at}.{k}") for k, v in kept.items()}
        except UnstorableError:
            for name in set(self.tensors) - before:
                del self.tensors[name]
            self.strangers.append(value)
            return {KIND: "pickle", "of": len(self.strangers) - 1}
        told = {"class": f"{type(value).__module__}:{type(value).__qualname__}", "made_with": version("scikit-learn")}
        return {KIND: "estimator", **told, "of": attributes}

    def _network(self, network: Network, at: str) -> Any:
        names = []
        for name, tensor in network.state_dict().items():
            self.tensors[f"{at}/{name}"] = tensor.detach().cpu().numpy().copy()
            names.append(name)
        return {KIND: "network", "shape": self.of(network.shape, at), "of": names, "at": at}


@dataclass
class _Reader:
    """Reads what a packer wrote."""

    model: Model
    tensors: Mapping[str, NDArray[Any]]
    strangers: list[Any]

    def of(self, value: Any) -> Any:
        """Return the value that a tree tells of."""
        if isinstance(value, list):
            return [self.of(one) for one in value]
        if not isinstance(value, dict):
            return value
        readers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "float": lambda v: float(v["of"]),
            "path": lambda v: Path(v["of"]),
            "tuple": lambda v: tuple(self.of(one) for one in v["of"]),
            "mapping": lambda v: {self.of(k): self.of(one) for k, one in v["of"]},
            "array": self._array,
            "scalar": lambda v: self._array(v)[()],
            "tensor": lambda v: _torch().from_numpy(self._tensor(v["at"]).copy()),
            "pickle": lambda v: self.strangers[v["of"]],
            "network": self._network,
            "object": self._object,
            "estimator": self._estimator,
            _LIGHTGBM: self._lightgbm,
            _XGBOOST: self._xgboost,
        }
        try:
            return readers[value[KIND]](value)
        except _MISREAD as failure:
            raise _other_version(self.model.name, f"{type(failure).__name__}: {failure}") from failure

    def _tensor(self, at: str) -> NDArray[Any]:
        if at not in self.tensors:
            raise _other_version(self.model.name, f"no tensor {at!r}")
        return self.tensors[at]

    def _array(self, value: Mapping[str, Any]) -> NDArray[Any]:
        dtype = np.dtype(value["dtype"])
        if dtype.kind not in _PLAIN:
            raise DataError(f"a stored model asks for an array of {dtype}", hint=_NO_TRUST)
        if "of" in value:
            return np.array(value["of"], dtype=dtype)
        stored = self._tensor(value["at"])
        read = stored.view(dtype).copy() if dtype.kind in "mM" else stored.astype(dtype, copy=True)
        return np.asfortranarray(read) if value.get("order") == "F" else read

    def _lightgbm(self, value: Mapping[str, Any]) -> Any:
        import lightgbm

        return lightgbm.Booster(model_str=self._tensor(value["at"]).tobytes().decode())

    def _xgboost(self, value: Mapping[str, Any]) -> Any:
        import xgboost

        known = {kind.__name__: kind for kind in (xgboost.XGBRegressor, xgboost.XGBClassifier)}
        regressor = known[value["class"]](n_jobs=value["threads"])
        regressor.load_model(bytearray(self._tensor(value["at"]).tobytes()))
        return regressor

    def _network(self, value: Mapping[str, Any]) -> Any:
        from tradewind.models.networks.training import seeded

        with seeded(0):  # the start is overwritten; nobody's random numbers move
            network: Network = self.model.network(self.of(value["shape"]))  # type: ignore[attr-defined]
        stored = {n: _torch().from_numpy(self._tensor(f"{value['at']}/{n}").copy()) for n in value["of"]}
        try:
            network.load_state_dict(stored)
        except RuntimeError as failure:
            raise _other_version(self.model.name, str(failure).splitlines()[0]) from failure
        return network.eval()

    def _estimator(self, value: Mapping[str, Any]) -> Any:
        from importlib.metadata import version

        from sklearn.base import BaseEstimator

        if (here := version("scikit-learn")) != value["made_with"]:
            raise _other_version(self.model.name, f"made with scikit-learn {value['made_with']}, this is {here}")
        module, _, name = value["class"].partition(":")
        kind = getattr(importlib.import_module(module), name) if module.startswith("sklearn.") else None
        if not (isinstance(kind, type) and issubclass(kind, BaseEstimator)):
            raise DataError(f"a stored model asks for {value['class']!r}, which is no estimator", hint=_NO_TRUST)
        made: Any = object.__new__(kind)
        vars(made).update({attribute: self.of(one) for attribute, one in value["of"].items()})
        return made

    def _object(self, value: Mapping[str, Any]) -> Any:
        kind = _class_of(value["class"], home=type(self.model).__module__.split(".", 1)[0])
        attributes = {name: self.of(one) for name, one in value["of"].items()}
        known = getattr(kind, "_fields", None) or [one.name for one in fields(kind)] if _has_fields(kind) else None
        told = {name for name in attributes if not _fitted(name)}
        if known is not None and set(known) != told:
            changed = sorted(set(known) ^ told)
            raise _other_version(self.model.name, f"{kind.__name__} differs in {', '.join(changed)}")
        if issubclass(kind, tuple):
            return kind(**attributes)
        made = object.__new__(kind)
        for name, one in attributes.items():
            object.__setattr__(made, name, one)
        return made


def _has_fields(kind: type[Any]) -> bool:
    return is_dataclass(kind) or hasattr(kind, "_fields")


def _attributes(value: Any) -> dict[str, Any]:
    """Return what an object holds, without what it derives from it."""
    if hasattr(value, "_asdict"):
        return dict(value._asdict())
    if not hasattr(value, "__dict__"):
        return {name: getattr(value, name) for name in value.__slots__}
    derived = {name for name, one in vars(type(value)).items() if isinstance(one, cached_property)}
    return {name: one for name, one in vars(value).items() if name not in derived}


def _class_of(path: str, home: str) -> type[Any]:
    """Return a class by ``module:name``, of this package's rooms or of the model's own package."""
    module, _, name = path.partition(":")
    if not _is_part(module, home):
        raise DataError(f"a stored model asks for {path!r}, which is no part of a model", hint=_NO_TRUST)
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not isinstance(found, type) or found.__module__ != module:
        raise DataError(f"a stored model asks for {path!r}, which is no class", hint=_NO_TRUST)
    return found


def _is_part(module: str, home: str) -> bool:
    """Whether classes of a module are parts of models: of these two rooms, or of a plug-in's own package."""
    package = module.split(".", 1)[0]
    return module.startswith(("tradewind.models.", "tradewind.stats.")) or (package == home != "tradewind")


def _is_network(value: Any) -> bool:
    import sys

    if "torch" not in sys.modules:
        return False
    from tradewind.models.networks.network import Network as Network_

    return isinstance(value, Network_)


def _torch() -> Any:
    import torch

    return torch


def _other_version(name: str, why: str) -> DataError:
    return DataError(
        f"the stored {name!r} is not of the model as it is here: {why}",
        hint="it was made by another version of Tradewind, or damaged; train it again: `tradewind train PLAYBOOK`",
    )
