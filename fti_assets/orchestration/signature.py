"""What a user's function takes, its parameters and their types, and what the function takes that Dagster sees in its place."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fti_assets.errors import DeclarationError

CONTEXT = "context"


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """A function's parameters by name."""
    return inspect.signature(function).parameters


def annotations_of(function: Callable[..., Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """The real types of a function's parameters, text annotations read among its globals and its caller's names."""
    try:
        return typing.get_type_hints(function, localns=dict(names))
    except NameError as error:
        raise DeclarationError(
            f"a parameter of {function.__name__!r} is annotated with a name that is not known here: {error}"
        ) from error


def with_context(function: Callable[..., Any], given: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """The arguments of a call, the step's context among them if the function asks for it."""
    return {**given, **({CONTEXT: context} if CONTEXT in parameters_of(function) else {})}


def named_parameter(name: str, annotation: Any) -> inspect.Parameter:
    """A parameter that Dagster fills by its name."""
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)


def take(function: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> None:
    """Let a function that is called by name say what it takes: Dagster reads the signature and the annotations."""
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
