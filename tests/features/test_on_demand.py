"""On-demand features: what a declaration may say."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fti_assets as fti
from fti_assets.core.manifest import Column
from fti_assets.errors import DeclarationError


@fti.on_demand(outputs={"double": float, "is_far": bool})
def doubled(distance: np.ndarray) -> dict[str, np.ndarray]:
    return {"double": 2 * distance, "is_far": distance > 1}


def test_calling_the_handle_calls_the_function() -> None:
    for made in (doubled(np.array([1.0, 2.0])), doubled(distance=np.array([1.0, 2.0]))):
        assert {name: values.tolist() for name, values in made.items()} == {
            "double": [2.0, 4.0],
            "is_far": [False, True],
        }


def test_a_declaration_is_what_was_written() -> None:
    assert (doubled.name, doubled.version, doubled.inputs) == ("doubled", 1, ("distance",))
    assert doubled.outputs == (Column("double", "number"), Column("is_far", "boolean"))
    call = doubled.call
    assert (call.module, call.function, call.inputs) == (__name__, "doubled", ("distance",))


def test_function_of_main_is_refused_by_views(monkeypatch: pytest.MonkeyPatch) -> None:
    def local(distance: np.ndarray) -> Any: ...

    # The program of the tests imports much, all of which its meaning would rest on.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules[__name__])

    local.__module__ = "__main__"
    declared = fti.on_demand(outputs={"x": float})(local)
    with pytest.raises(DeclarationError, match="'local' is declared in the program that runs.*a module of its own"):
        declared.call  # noqa: B018


def test_function_of_module_without_source_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def local(distance: np.ndarray) -> Any: ...

    monkeypatch.setitem(sys.modules, "typed_by_hand", ModuleType("typed_by_hand"))
    local.__module__ = "typed_by_hand"
    with pytest.raises(DeclarationError, match="'typed_by_hand' have no source file"):
        fti.on_demand(outputs={"x": float})(local).call  # noqa: B018


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"x": list}, "outputs of on-demand feature 'made': 'x' must be int, float, bool, str or datetime"),
        ({"x": float, "y": np.ndarray}, "'y' must be int, float, bool, str or datetime"),
        ({"x": "float"}, "'x' must be int, float, bool, str or datetime"),
        ({}, "outputs of on-demand feature 'made'"),
        ({"Bad Name": float}, "output of 'made' 'Bad Name' is not a name"),
    ],
)
def test_outputs_that_no_feature_can_be_are_refused(outputs: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):

        @fti.on_demand(outputs=outputs)
        def made(distance: np.ndarray) -> Any: ...
