"""On-demand features: one function of arrays, run on the training set and on each request alike.

A module that declares them is shipped with the app, so this one imports only numpy and the standard library.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fti_assets.core.arguments import checked_arguments, checked_function
from fti_assets.core.manifest import DECLARED, Column, OnDemandCall, OnDemandModule
from fti_assets.core.sql import checked_name
from fti_assets.core.types import SIDES
from fti_assets.errors import DeclarationError, one_of

_TYPES = {sides.plain: kind for kind, sides in SIDES.items()}


@dataclass(frozen=True)
class OnDemand:
    """An on-demand feature function and what it makes. Calling it calls the function."""

    name: str
    version: int
    function: Callable[..., Mapping[str, np.ndarray]]
    inputs: tuple[str, ...]
    outputs: tuple[Column, ...]

    def __call__(self, *arrays: Any, **named: Any) -> Mapping[str, np.ndarray]:
        return self.function(*arrays, **named)

    @property
    def features(self) -> tuple[Column, ...]:
        """The outputs that a model can learn from: all but times, which are for other on-demand functions."""
        return tuple(output for output in self.outputs if output.type != "timestamp")

    @property
    def call(self) -> OnDemandCall:
        """The function as a manifest names it."""
        from fti_assets.core.on_demand.meaning import meaning
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
            meaning=meaning(self.function.__module__, self.function.__name__),
        )


@checked_arguments(itself=["outputs"])
def on_demand(
    *, outputs: Mapping[str, type], version: int = 1, name: str | None = None
) -> Callable[[Callable[..., Any]], OnDemand]:
    """Declare a function that computes features from a request's fields and other features.

    Its parameters are fields of the request, features, and outputs of other on-demand functions, by name, in whatever order
    they are listed; each comes as an array of shape ``[n]``: float64 with NaN for numbers, booleans and whole numbers, ``str``
    objects with ``""`` for text, ``datetime64[us]`` in UTC for times. It gives an array of shape ``[n]`` for each output, with
    NaN, None or NaT for what is missing; a value of another type is an error, in training as when it serves.

    Its module is shipped with the app: a view refuses one that imports more than numpy, ``fti_assets``, what is
    deterministic in the standard library, and modules that keep to the same.

    Args:
        outputs: the type of each output: ``int``, ``float``, ``bool`` or ``str``; ``datetime`` for what only another
            on-demand function takes.
        version: raise it when the meaning changes.
        name: the function's own name by default.

    Raises:
        DeclarationError: the function cannot be imported by name, or gives what it may not.

    >>> @on_demand(outputs={"length": int})
    ... def text_length(text: np.ndarray) -> dict[str, np.ndarray]:
    ...     return {"length": np.array([len(item) for item in text])}
    >>> text_length.inputs
    ('text',)
    """

    def declare(function: Callable[..., Any]) -> OnDemand:
        checked_function(function, over="fti.on_demand")
        own = checked_name(name or function.__name__, what="on-demand feature")
        if not isinstance(outputs, Mapping):
            raise DeclarationError(
                f"outputs of on-demand feature {own!r} are {outputs!r}: give the type of each, as in outputs={{'hour_of_day': int}}"
            )
        unsupported = [output for output, kind in outputs.items() if kind not in _TYPES]
        if unsupported or not outputs:
            raise DeclarationError(
                f"outputs of on-demand feature {own!r}: {one_of(unsupported)} must be int, float, bool, str or datetime, as in "
                "outputs={'hour_of_day': int}"
            )
        columns = tuple(
            Column(checked_name(output, what=f"output of {own!r}"), _TYPES[kind]) for output, kind in outputs.items()
        )
        setattr(function, DECLARED, _meaning_of(function))
        return OnDemand(own, version, function, tuple(inspect.signature(function).parameters), columns)

    return declare


def _meaning_of(function: Callable[..., Any]) -> str:
    """What a function means as it is imported, empty where it has no source that can be read."""
    from fti_assets.core.on_demand.meaning import meaning

    try:
        return meaning(function.__module__, function.__name__)
    except DeclarationError:
        return ""
