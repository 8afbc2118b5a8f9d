"""On-demand features: one function of arrays, run on the training set and on each request alike.

A module that declares them is shipped with the app, so this one imports only numpy and the standard library.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fti_assets.core.arguments import checked_arguments, checked_function
from fti_assets.core.manifest import ON_DEMAND_MARK, Column, OnDemandCall, OnDemandModule, OnDemandVector
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.core.types import SIDES, ColumnType
from fti_assets.core.types.vector import Vector
from fti_assets.errors import DeclarationError, excerpt, list_some, one_of

_TYPES = {sides.plain: kind for kind, sides in SIDES.items() if kind != "vector"}


@dataclass(frozen=True)
class OnDemand:
    """An on-demand feature function and what it makes. Calling it calls the function."""

    name: str
    version: int
    function: Callable[..., Mapping[str, np.ndarray]]
    inputs: tuple[str, ...]
    outputs: tuple[Column, ...]
    requires: tuple[str, ...] = ()
    vectors: tuple[tuple[str, Vector], ...] = ()

    def __call__(self, *arrays: Any, **keywords: Any) -> Mapping[str, np.ndarray]:
        return self.function(*arrays, **keywords)

    @property
    def features(self) -> tuple[Column, ...]:
        """The outputs that a model can learn from: all but times, which are for other on-demand functions."""
        return tuple(output for output in self.outputs if output.type != "timestamp")

    @property
    def call(self) -> OnDemandCall:
        """The function as a manifest names it."""
        from fti_assets.core.on_demand.meaning import meaning
        from fti_assets.core.on_demand.required import packages_here
        from fti_assets.features.groups.on_demand_source import imported_modules, module_sha256

        if self.function.__module__ == "__main__":
            raise DeclarationError(
                f"on-demand feature {self.name!r} is declared in the program that runs, which an app cannot import: put it in a "
                "module of its own"
            )
        return OnDemandCall(
            name=self.name,
            version=self.version,
            module=self.function.__module__,
            function=self.function.__name__,
            module_sha256=module_sha256(self.function.__module__),
            inputs=self.inputs,
            outputs=self.outputs,
            imports=tuple(
                OnDemandModule(module, module_sha256(module)) for module in imported_modules(self.function.__module__)
            ),
            meaning=meaning(self.function.__module__, self.function.__name__, self.requires),
            requires=packages_here(self.requires, what=f"on-demand feature {self.name!r}"),
            vectors=tuple(OnDemandVector(output, vector.dim) for output, vector in self.vectors),
        )


@checked_arguments(itself=["outputs"])
def on_demand(
    *,
    outputs: Mapping[str, type | Vector],
    version: int = 1,
    name: str | None = None,
    requires: str | Sequence[str] = (),
) -> Callable[[Callable[..., Any]], OnDemand]:
    """Declare a function that computes features from a request's fields and other features.

    Its parameters are fields of the request, features, and outputs of other on-demand functions, by name, in whatever order they
    are listed; each comes as an array of shape ``[n]``: float64 with NaN for numbers, booleans and whole numbers, ``str`` objects
    with ``""`` for text, ``datetime64[us]`` in UTC for times. It returns an array of shape ``[n]`` for each output, with NaN, None
    or NaT for missing values, and an array ``[n, dim]`` for a vector. A value of another type is an error, in training and in
    serving.

    Its module is shipped with the app: a view refuses one that imports more than numpy, ``fti_assets``, the deterministic parts of
    the standard library, and modules that follow the same rule.

    Args:
        outputs: the type of each output: ``int``, ``float``, ``bool`` or ``str``; ``datetime`` for values that only another
            on-demand function takes; ``fti.Vector(dim=)`` for a vector, which is also its encoder.
        version: raise it when the meaning changes.
        name: the function's own name by default.
        requires: packages that its module imports besides numpy, such as ``"tokenizers"``, by their import names. The manifest
            records the release that the model learned with, and a predictor loads only with that release. The app installs the
            package. You must ensure that it gives the same results wherever it runs, because none of its code is read.

    Raises:
        DeclarationError: the function cannot be imported by name, or an output has a type that is not allowed.

    >>> @on_demand(outputs={"length": int})
    ... def text_length(text: np.ndarray) -> dict[str, np.ndarray]:
    ...     return {"length": np.array([len(item) for item in text])}
    >>> text_length.inputs
    ('text',)
    """

    def declare(function: Callable[..., Any]) -> OnDemand:
        checked_function(function, over="fti.on_demand")
        own = checked_name(name or function.__name__, what="on-demand feature")
        checked_version(version, what=f"on-demand feature {own!r}")
        if not isinstance(outputs, Mapping):
            raise DeclarationError(
                f"outputs of on-demand feature {own!r} are {outputs!r}: give the type of each, as in outputs={{'hour_of_day': int}}"
            )
        types = {output: _type_of(kind) for output, kind in outputs.items()}
        unknown = [output for output, kind in types.items() if kind is None]
        if unknown or not outputs:
            raise DeclarationError(
                f"outputs of on-demand feature {own!r}: {one_of(unknown)} must be int, float, bool, str or datetime, or a vector, as in "
                "outputs={'hour_of_day': int, 'tokens': fti.Vector(dim=48)}"
            )
        columns = tuple(
            Column(checked_name(output, what=f"output of {own!r}"), kind) for output, kind in types.items() if kind
        )
        vectors = tuple((output, kind) for output, kind in outputs.items() if isinstance(kind, Vector))
        packages = _checked_packages(requires, what=f"on-demand feature {own!r}")
        setattr(function, ON_DEMAND_MARK, _meaning_of(function, packages))
        inputs = tuple(inspect.signature(function).parameters)
        return OnDemand(own, version, function, inputs, columns, packages, vectors)

    return declare


def _type_of(kind: type | Vector) -> ColumnType | None:
    """The column type that is declared; None for what no output is of."""
    return "vector" if isinstance(kind, Vector) else _TYPES.get(kind)


def _checked_packages(requires: str | Sequence[str], *, what: str) -> tuple[str, ...]:
    packages = (requires,) if isinstance(requires, str) else tuple(requires)
    for name in packages:
        if not name.isidentifier():
            raise DeclarationError(
                f"{what} requires {excerpt(name)}: write the name that the package is imported by, such as 'tokenizers'"
            )
        if name in sys.stdlib_module_names or name in ("numpy", "fti_assets"):
            raise DeclarationError(
                f"{what} requires {name!r}, which is there or refused by itself: name packages of others alone"
            )
    return tuple(dict.fromkeys(packages))


def _meaning_of(function: Callable[..., Any], requires: Sequence[str]) -> str:
    """What a function means as it is imported, empty where it has no source that can be read."""
    from fti_assets.core.on_demand.meaning import meaning

    try:
        return meaning(function.__module__, function.__name__, requires)
    except DeclarationError:
        return ""


def in_order(functions: Sequence[OnDemand], *, what: str) -> list[OnDemand]:
    """Put functions behind those that they rest on; else they keep the order in which they are listed.

    Args:
        functions: in any order.
        what: who lists them, for errors.

    Raises:
        DeclarationError: some of them wait for each other.

    >>> import numpy as np
    >>> @on_demand(outputs={"price": float})
    ... def price(speed: np.ndarray) -> dict[str, np.ndarray]: ...
    >>> @on_demand(outputs={"speed": float})
    ... def speed(distance: np.ndarray) -> dict[str, np.ndarray]: ...
    >>> [function.name for function in in_order([price, speed], what="view 'trips'")]
    ['speed', 'price']
    """
    makers = {output.name: function for function in functions for output in function.outputs}
    waiting, results = list(functions), list[OnDemand]()
    while waiting:
        outputs = {output.name for function in results for output in function.outputs}
        ready = next((one for one in waiting if all(name in outputs for name in one.inputs if name in makers)), None)
        if ready is None:
            raise DeclarationError(
                f"{what}: {'; '.join(_waits(one, makers) for one in _circle(waiting, makers))}: so none of them can be the "
                "first; give one of them an input of the request or of a feature group instead"
            )
        waiting.remove(ready)
        results.append(ready)
    return results


def _circle(waiting: Sequence[OnDemand], makers: dict[str, OnDemand]) -> list[OnDemand]:
    """The functions that wait for each other, without those that only wait for them."""
    path = [waiting[0]]
    while True:
        following = next(makers[name] for name in path[-1].inputs if name in makers and makers[name] in waiting)
        if following in path:
            return path[path.index(following) :]
        path.append(following)


def _waits(function: OnDemand, makers: dict[str, OnDemand]) -> str:
    names = [name for name in function.inputs if name in makers]
    of = dict.fromkeys(makers[name].name for name in names)
    return f"on-demand feature {function.name!r} takes {list_some(names)} of {list_some(of)}"
