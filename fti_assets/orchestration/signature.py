"""What a user's function takes, what it takes that Dagster sees in its place, and its call in a step."""

from __future__ import annotations

import inspect
import traceback
import typing
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import duckdb

from fti_assets.errors import DataError, DeclarationError

CONTEXT = "context"


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """A function's parameters by name."""
    return inspect.signature(function).parameters


def annotations_of(function: Callable[..., Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """The real types of a function's parameters, text annotations read among its globals and its caller's names."""
    try:
        # Under `from __future__ import annotations` every annotation is text, and Dagster needs the real types.
        return typing.get_type_hints(function, localns=dict(names))
    except NameError as error:
        raise DeclarationError(
            f"a parameter of {function.__name__!r} is annotated with a name that is not known here: {error}"
        ) from error


def with_context(function: Callable[..., Any], arguments: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """The arguments of a call, the step's context among them if the function asks for it."""
    return {**arguments, **({CONTEXT: context} if CONTEXT in parameters_of(function) else {})}


def take(function: Callable[..., Any], types: Mapping[str, Any]) -> None:
    """Let a function that is called by name say what it takes: Dagster reads the signature and the annotations."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind, annotation=annotation) for name, annotation in types.items()]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = dict(types)


def call_function(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    context: dg.AssetExecutionContext,
    *,
    what: str,
    instead: str,
) -> Any:
    """Call a function with what it takes, ``context`` too if it asks for that.

    Args:
        function: the user's function.
        arguments: its other arguments.
        context: the step's context.
        what: the declaration, for errors.
        instead: what a function of several partitions does that reads ``context.partition_key``.

    Raises:
        DataError: the function reads ``context.partition_key``, and the run has no one partition; or it reads a relation of one
            connection of DuckDB through another, or ends the process.
    """
    try:
        return function(**with_context(function, arguments, context))
    except duckdb.InvalidInputException as error:
        if "another Connection" not in str(error) and "different connections" not in str(error):
            raise
        raise DataError(
            f"{what} reads a relation of this run through another connection of DuckDB, as duckdb.sql(...) does, which cannot see it: "
            "ask the relation itself, table.relation.query('rows', 'SELECT ... FROM rows'), or read "
            "duckdb.sql over table.relation.arrow(). Nothing was stored"
        ) from error
    except SystemExit as error:  # nothing above takes it for an error, so that the run would never end
        raise DataError(
            f"{what} ends the process with exit code {error.code!r}, as sys.exit() and commands of other programs do: return, or raise an "
            "error. Nothing was stored"
        ) from error
    except dg.DagsterInvariantViolationError as error:
        # Dagster has one class for all its refusals, so it is told by where the error comes from.
        frames = [
            frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "partition_key"
        ]
        if not any(frame.f_globals.get("__name__", "").startswith("dagster.") for frame in frames):
            raise
        run = "it has no partitions: leave that out, or give it partitions_def="
        if context.has_partition_key or context.has_partition_key_range:
            keys = list(context.partition_keys)
            run = f"this run is of {len(keys)} partitions, {keys[0]} to {keys[-1]}: {instead}"
        raise DataError(f"{what} reads context.partition_key, but {run}. Nothing was stored") from error
