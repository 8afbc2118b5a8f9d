"""An on-demand function as an app calls it: what the model learned from, compared before anything of it runs, or nothing."""

import hashlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import ModuleType
from typing import Any

import numpy as np

from fti_assets.core.manifest import ON_DEMAND_MARK, Column, OnDemandCall
from fti_assets.core.on_demand.declaring import declares_on_demand
from fti_assets.core.on_demand.meaning import has_meaning, meaning
from fti_assets.core.on_demand.required import check_packages
from fti_assets.core.on_demand.syntax.source import source_file
from fti_assets.core.times import naive_utc
from fti_assets.core.types import EXACT, SIDES, ColumnType
from fti_assets.core.types.vectors import vectors
from fti_assets.errors import DataError, DeclarationError, PredictionError, one_of

_WHOLE_SINGLES = 2**24
"""Up to here float32 holds each whole number."""


class LoadedCall:
    """An on-demand function, found by its name in its module.

    Args:
        call: which one, as the model learned from it.
        import_module: gives a module by its name; Python's own by default.
        types: of its inputs, by name.

    Raises:
        PredictionError: the module cannot be imported, is not the one the model learned from, or has no such function.
    """

    def __init__(
        self,
        call: OnDemandCall,
        import_module: Callable[[str], ModuleType] | None = None,
        *,
        types: Mapping[str, ColumnType],
    ) -> None:
        self.call = call
        self._whole = [name for name in call.inputs if types.get(name) == "integer"]
        self._names = {output.name for output in call.outputs}
        self._function = _load(call, import_module or importlib.import_module)

    def __call__(self, inputs: Mapping[str, np.ndarray], rows: int) -> list[list[Any]]:
        """Run the function once for ``n`` rows.

        Args:
            inputs: canonical arrays ``[n]`` by name.
            rows: n.

        Returns:
            for each output, in the manifest's order, ``n`` plain values of its type, None where missing; of a vector float32 arrays
            ``[dim]``.

        Raises:
            DataError: an input has whole numbers that float64 does not tell from their neighbours; its ``places`` and ``problem`` say
                which, for who knows them exactly.
            PredictionError: the function failed, or its outputs are not the declared ones, each ``[n]``, a vector ``[n, dim]``, and of
                its type.
        """
        places = [
            (name, index) for name in self._whole for index in np.flatnonzero(np.abs(inputs[name]) >= EXACT).tolist()
        ]
        if places:
            raise _MergedInputs(self.call, places, inputs)
        try:
            outputs = self._function(**inputs)
        except Exception as error:
            raise PredictionError(f"{_call_text(self.call)} failed: {type(error).__name__}: {error}") from error
        if not isinstance(outputs, Mapping) or outputs.keys() != self._names:
            result = one_of(outputs) if isinstance(outputs, Mapping) else f"a {type(outputs).__name__}"
            raise PredictionError(
                f"{_call_text(self.call)} returned {result}: a dict of {one_of(self._names)} is expected"
            )
        values = []
        for output in self.call.outputs:
            array = np.asarray(outputs[output.name])
            shape = (rows,) if output.type != "vector" else (rows, self.call.dim(output.name))
            if array.shape != shape:
                raise PredictionError(
                    f"{_call_text(self.call)} returned {output.name!r} of shape {array.shape}: {shape} is expected"
                )
            plain = _plain_vectors if output.type == "vector" else _plain_values
            values.append(plain(array, output, self.call))
        return values


class _MergedInputs(DataError):
    """Whole numbers that would be merged as inputs of an on-demand function.

    Attributes:
        places: the name of the input and the row of each.
    """

    def __init__(self, call: OnDemandCall, places: Sequence[tuple[str, int]], inputs: Mapping[str, np.ndarray]) -> None:
        self._call = call
        self.places = places
        [(name, index), *others] = places
        more = f", and so are {len(others)} more" if others else ""
        super().__init__(f"{self.problem(name, f'about {inputs[name][index]:.0f}')}{more}")

    def problem(self, name: str, value: object) -> str:
        """What is wrong with one of the numbers, and what to do."""
        return (
            f"{name!r} is {value}, which {_call_text(self._call)} would be given as float64, where whole numbers from 2**53 on merge "
            "with their neighbours: declare the column as text, or leave it out of the function's parameters"
        )


def _plain_values(array: np.ndarray, output: Column, call: OnDemandCall) -> list[Any]:
    """An output as plain values of its type, None where missing.

    Raises:
        PredictionError: a value is of another type.
    """
    kind, convert = array.dtype.kind, _CONVERT[output.type]
    if (kind == "M") != (output.type == "timestamp") and kind != "O":
        raise _type_error(output, call, f"as {array.dtype}")
    results: list[Any] = []
    for value in (array.astype("datetime64[us]") if kind == "M" else array).tolist():
        if value is None or value != value:  # NaN and NaT
            results.append(None)
            continue
        plain = convert(_own(value) if isinstance(value, np.generic) else value)
        if plain is None:
            raise _type_error(output, call, f"with {value!r:.80}, a {type(value).__name__}")
        results.append(plain)
    return results


def _plain_vectors(array: np.ndarray, output: Column, call: OnDemandCall) -> list[Any]:
    """An output ``[n, dim]`` as ``n`` vectors.

    Raises:
        PredictionError: it is not of numbers, or of whole numbers that float32 does not tell from their neighbours.
    """
    if array.dtype.kind not in "fiu":
        raise _type_error(output, call, f"as {array.dtype}")
    with np.errstate(over="ignore", under="ignore"):
        single = array.astype(np.float32)
    if array.dtype.kind != "f" and (merged := np.flatnonzero(np.abs(array.ravel()) > _WHOLE_SINGLES)).size:
        raise PredictionError(
            f"{_call_text(call)} returned {output.name!r} with {array.ravel()[merged[0]]}: a vector is of float32, where whole numbers "
            "beyond 2**24 merge with their neighbours"
        )
    return list(vectors(single))


def _type_error(output: Column, call: OnDemandCall, type_text: str) -> PredictionError:
    return PredictionError(
        f"{_call_text(call)} returned {output.name!r} {type_text}: {SIDES[output.type].result_form} is expected"
    )


def _own(value: np.generic) -> Any:
    """A numpy scalar, as an array of objects holds it, as Python's own."""
    return (value.astype("datetime64[us]") if isinstance(value, np.datetime64) else value).item()


def _integer(value: Any) -> int | None:
    if value.__class__ is float and value.is_integer():
        return int(value)
    return value if value.__class__ is int else None


def _number(value: Any) -> float | None:
    return float(value) if value.__class__ in (float, int) else None


def _boolean(value: Any) -> bool | None:
    return bool(value) if value.__class__ in (bool, float, int) and value in (0, 1) else None


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str) else None


def _timestamp(value: Any) -> datetime | None:
    return naive_utc(value) if isinstance(value, datetime) else None


_CONVERT: dict[ColumnType, Callable[[Any], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "text": _text,
    "timestamp": _timestamp,
}


def check_source(call: OnDemandCall) -> None:
    """Compare the source that is here with what the model learned from, and the packages that it needs; nothing of it is run.

    Raises:
        PredictionError: it is not here, means something else, or is no on-demand function, or another release of a package is here.
    """
    check_packages(call)
    requires = [one.package for one in call.requires]
    for name, digest in ((call.module, call.module_sha256), *((one.module, one.sha256) for one in call.imports)):
        source = source_file(name)
        if source is None:
            if call.meaning and name != call.module:
                continue  # it counts only if the function reaches it, and then its absence changes the meaning
            raise _not_shipped(call, name, "it is not there as a source file")
        if not call.meaning and hashlib.sha256(source.read_bytes()).hexdigest() != digest:
            raise _other(call, str(source))
    try:
        if call.meaning and not has_meaning(call.module, call.function, call.meaning, requires):
            raise _other(call, str(source_file(call.module)))
        declarations = declares_on_demand(call.module)
    except DeclarationError as error:
        raise PredictionError(
            f"{_call_text(call)} cannot be compared with what the model learned from: {error}"
        ) from error
    if not declarations:
        raise _not_declared(call)


def _load(call: OnDemandCall, import_module: Callable[[str], ModuleType]) -> Callable[..., Any]:
    check_source(call)
    try:
        module = import_module(call.module)
    except Exception as error:
        raise _not_shipped(call, call.module, f"it cannot be imported ({type(error).__name__}: {error})") from error
    function = vars(module).get(call.function)  # getattr would run a __getattr__ of the module with whatever name
    function = getattr(function, "function", function)
    mark = getattr(function, ON_DEMAND_MARK, None)
    if not callable(function) or not isinstance(mark, str):
        raise _not_declared(call)
    if call.meaning and mark and mark != meaning(call.module, call.function, [one.package for one in call.requires]):
        raise PredictionError(
            f"{_call_text(call)} was imported by this process before its source, {source_file(call.module)}, was changed to what the "
            "model learned from: start the process again"
        )
    return function  # type: ignore[no-any-return]


def _other(call: OnDemandCall, source: str) -> PredictionError:
    return PredictionError(
        f"the source of {_call_text(call)}, {source}, means something else than what the model learned from: its code, or a constant, "
        "helper or import that it reaches, has changed. Install the app with the source as it was then, or serve a build "
        "that learned from this one"
    )


def _not_declared(call: OnDemandCall) -> PredictionError:
    return PredictionError(
        f"{_call_text(call)}: {call.function!r} of module {call.module!r} is no function declared with fti_assets.on_demand, and no "
        "other is run"
    )


def _not_shipped(call: OnDemandCall, name: str, why: str) -> PredictionError:
    place = "is in" if name == call.module else "takes from"
    return PredictionError(
        f"{_call_text(call)} {place} module {name!r}, and {why}: the app must ship that module, on its import path"
    )


def _call_text(call: OnDemandCall) -> str:
    return f"on-demand function {call.name!r} version {call.version}"
