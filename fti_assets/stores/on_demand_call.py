"""An on-demand function as an app calls it: the very source that the model learned from, or nothing."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fti_assets.errors import PredictionError, one_of
from fti_assets.stores.manifest import OnDemandCall


class LoadedCall:
    """An on-demand function, found by its name in its module.

    Raises:
        PredictionError: the module cannot be imported, is not the one the model learned from, or has no such function.
    """

    def __init__(self, call: OnDemandCall) -> None:
        self.call = call
        self._names = {output.name for output in call.outputs}
        self._function = _load(call)

    def __call__(self, inputs: Mapping[str, np.ndarray], rows: int) -> list[list[Any]]:
        """Run the function once for ``n`` rows.

        Args:
            inputs: canonical arrays ``[n]`` by name.
            rows: n.

        Returns:
            for each output, in the manifest's order, ``n`` plain values, None where missing.

        Raises:
            PredictionError: the function failed, or its outputs are not the declared ones, each ``[n]``.
        """
        try:
            outputs = self._function(**inputs)
        except Exception as error:
            raise PredictionError(f"{_named(self.call)} failed: {type(error).__name__}: {error}") from error
        if not isinstance(outputs, Mapping) or outputs.keys() != self._names:
            found = one_of(outputs) if isinstance(outputs, Mapping) else f"a {type(outputs).__name__}"
            raise PredictionError(f"{_named(self.call)} returned {found}: a dict of {one_of(self._names)} is expected")
        values = []
        for output in self.call.outputs:
            array = np.asarray(outputs[output.name])
            if array.shape != (rows,):
                raise PredictionError(
                    f"{_named(self.call)} returned {output.name!r} of shape {array.shape}: ({rows},) is expected"
                )
            if array.dtype.kind == "M":
                array = array.astype("datetime64[us]")
            values.append([_plain(value, output.type) for value in array.tolist()])
        return values


def _plain(value: Any, column_type: str) -> Any:
    if value is None or value != value:  # NaN and NaT
        return None
    if column_type == "integer" and value.__class__ is float and value.is_integer():
        return int(value)
    if column_type == "number" and value.__class__ is int:
        return float(value)
    if column_type == "boolean" and value in (0, 1):
        return bool(value)
    return value


def _load(call: OnDemandCall) -> Callable[..., Any]:
    found = hashlib.sha256(_source(call).read_bytes()).hexdigest()
    if found != call.module_sha256:
        raise PredictionError(
            f"the source of {_named(call)}, {_source(call)}, has sha256 {found}, the model learned from "
            f"{call.module_sha256}: install the app with the module as it was then, or serve a build made with this one"
        )
    module = _import(call)
    function = getattr(module, call.function, None)
    function = getattr(function, "function", function)
    if not callable(function):
        raise PredictionError(f"{_named(call)}: module {call.module!r} has no function {call.function!r}")
    return function  # type: ignore[no-any-return]


def _source(call: OnDemandCall) -> Path:
    try:
        module = sys.modules.get(call.module)
        spec = importlib.util.find_spec(call.module) if module is None else None
        file = spec.origin if spec else getattr(module, "__file__", None)
    except (ImportError, ValueError) as error:
        raise _not_shipped(call, f"it cannot be imported ({error})") from error
    if file is None or not file.endswith(".py") or not Path(file).is_file():
        raise _not_shipped(call, f"it is {file or 'not there'}, not a source file")
    return Path(file)


def _import(call: OnDemandCall) -> ModuleType:
    try:
        return importlib.import_module(call.module)
    except Exception as error:
        raise _not_shipped(call, f"it cannot be imported ({type(error).__name__}: {error})") from error


def _not_shipped(call: OnDemandCall, why: str) -> PredictionError:
    return PredictionError(
        f"{_named(call)} is in module {call.module!r}, and {why}: the app must ship that module, on its import path"
    )


def _named(call: OnDemandCall) -> str:
    return f"on-demand function {call.name!r} version {call.version}"
