"""Fitted models taken apart and put together: whatever they hold comes back, and a file can make nothing else."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from tradewind.errors import DataError, InputError
from tradewind.models.base import MODELS
from tradewind.models.state import State, pack, unpack


@dataclass(eq=False, kw_only=True)
class Holder:
    """A model that has learnt whatever it was given."""

    name: ClassVar[str] = "holder"
    seed: int = 0

    def holding(self, value: object) -> Self:
        self.value_ = value
        return self


@pytest.fixture(autouse=True)
def _known():
    MODELS.register(Holder)
    yield
    MODELS.forget("holder")


def through_json(state: State) -> State:
    return State(json.loads(json.dumps(state.tree, allow_nan=False)), state.tensors, state.pickled)


def round_trip(value, **options):
    return unpack("holder", {"seed": 3}, through_json(pack(Holder().holding(value))), **options).value_


def same(a, b) -> bool:
    if isinstance(a, np.ndarray | np.generic):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return type(b) is float and (a == b or (a != a and b != b))
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


numbers = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
arrays = stn.arrays(
    stn.floating_dtypes(endianness="=", sizes=(32, 64)) | stn.integer_dtypes(endianness="=") | st.just(np.bool_),
    stn.array_shapes(min_dims=0, min_side=0, max_side=3),
)
dates = stn.arrays(st.sampled_from(["M8[us]", "M8[D]", "m8[s]"]), stn.array_shapes(min_dims=1, max_side=3))
trees = st.recursive(
    numbers | arrays | dates,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(trees)
def test_every_value_comes_back_as_it_was_with_its_type(value) -> None:
    assert same(value, round_trip(value))


def test_an_array_keeps_the_order_of_its_memory() -> None:
    """A product with the same numbers in another order differs in its last bits."""
    for order in ("C", "F"):
        array = np.array(np.arange(6.0).reshape(2, 3), order=order)
        read = round_trip(array)
        assert same(array, read) and read.flags.c_contiguous == array.flags.c_contiguous


def test_scalars_of_numpy_stay_scalars() -> None:
    for value in (np.float32(1.5), np.int64(7), np.bool_(True), np.datetime64("2020-01-02")):
        assert same(value, round_trip(value))


def test_an_estimator_of_numbers_needs_no_pickle_and_a_tree_does() -> None:
    from sklearn.linear_model import Ridge
    from sklearn.tree import DecisionTreeRegressor

    inputs, target = np.arange(20.0).reshape(10, 2), np.arange(10.0)
    ridge, tree = (kind().fit(inputs, target) for kind in (Ridge, DecisionTreeRegressor))
    np.testing.assert_array_equal(round_trip(ridge).predict(inputs), ridge.predict(inputs))
    with pytest.raises(InputError, match="pickled"):
        round_trip(tree)
    np.testing.assert_array_equal(round_trip(tree, trust_pickle=True).predict(inputs), tree.predict(inputs))


def test_a_pickle_is_not_touched_without_trust() -> None:
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle ran",))

    state = State({"value_": {"$": "pickle", "of": 0}}, {}, pickle.dumps([Bomb()]))
    with pytest.raises(InputError, match="pickled"):
        unpack("holder", {}, state)


@pytest.mark.parametrize(
    "asked",
    ["os:system", "subprocess:Popen", "builtins:eval", "tradewind.cli.main:run", "tradewind.models.state:pack"],
)
def test_a_file_cannot_ask_for_what_is_no_part_of_a_model(asked: str) -> None:
    for kind in ("object", "estimator"):
        tree = {"value_": {"$": kind, "class": asked, "of": {}, "made_with": _sklearn()}}
        with pytest.raises(DataError, match="asks for"):
            unpack("holder", {}, State(tree, {}))


@pytest.mark.parametrize("asked", ["tradewind.market.panel:Panel", "tradewind.evaluation.fold_cache:FoldCache"])
def test_a_file_of_a_model_that_ships_cannot_ask_for_the_rest_of_the_package(asked: str) -> None:
    tree = {"version_": {"$": "object", "class": asked, "of": {}}}
    with pytest.raises(DataError, match="asks for"):
        unpack("ridge", {}, State(tree, {}))


@pytest.mark.parametrize("dtype", ["O", "V8", "c16"])
def test_a_file_cannot_ask_for_arrays_of_another_kind(dtype: str) -> None:
    with pytest.raises(DataError, match="asks for an array"):
        unpack("holder", {}, State({"value_": {"$": "array", "dtype": dtype, "of": [1]}}, {}))


def test_more_memory_than_there_is_is_no_model() -> None:
    with pytest.raises(DataError, match="not of the model as it is here"):
        unpack("holder", {}, State({"value_": {"$": "array", "dtype": f"U{2**29 - 1}", "of": ["a"] * 2**20}}, {}))


def test_what_pickle_refuses_too_is_said() -> None:
    from sklearn.preprocessing import FunctionTransformer

    with pytest.raises(InputError, match="not pickled either"):
        pack(Holder().holding(FunctionTransformer(lambda x: x)))


def test_an_estimator_of_another_version_is_refused() -> None:
    tree = {"value_": {"$": "estimator", "class": "sklearn.linear_model:Ridge", "made_with": "0.1", "of": {}}}
    with pytest.raises(DataError, match=r"made with scikit-learn 0\.1"):
        unpack("holder", {}, State(tree, {}))


def test_an_object_with_other_fields_is_of_another_version() -> None:
    tree = {"value_": {"$": "object", "class": "tradewind.models.location_scale:Standardiser", "of": {"centre": 1}}}
    with pytest.raises(DataError, match="Standardiser differs in spread"):
        unpack("holder", {}, State(tree, {}))


def test_a_missing_tensor_is_named() -> None:
    state = pack(Holder().holding([np.zeros(2)]))
    with pytest.raises(DataError, match=r"no tensor 'value_\.0'"):
        unpack("holder", {}, State(state.tree, {}))


def test_an_attribute_that_no_training_makes_is_refused() -> None:
    with pytest.raises(DataError, match="'predict'"):
        unpack("holder", {}, State({"predict": 1}, {}))


@pytest.mark.parametrize("value", [lambda: 1, object(), {1, 2}, OrderedDict, np.array([object()])])
def test_what_cannot_be_stored_is_said_before_anything_is_written(value) -> None:
    with pytest.raises(InputError, match="cannot be stored"):
        pack(Holder().holding(value))


def test_a_model_that_has_learnt_nothing_is_not_stored() -> None:
    with pytest.raises(InputError, match="learnt nothing"):
        pack(Holder())


def _sklearn() -> str:
    from importlib.metadata import version

    return version("scikit-learn")
