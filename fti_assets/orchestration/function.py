"""The call of a user's function in a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import dagster as dg

from fti_assets.errors import DataError
from fti_assets.orchestration.signature import with_context


def call_function(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    context: dg.AssetExecutionContext,
    *,
    what: str,
    instead: str,
) -> Any:
    """Call a function with what it takes, ``context`` too if it asks for that.

    Args:
        function: the user's function.
        given: its other arguments.
        context: the step's context.
        what: the declaration, for errors.
        instead: what a function of several partitions does that reads ``context.partition_key``.

    Raises:
        DataError: the function reads ``context.partition_key``, and the run has no one partition.
    """
    try:
        return function(**with_context(function, given, context))
    except dg.DagsterInvariantViolationError as error:
        if not _reads_partition_key(error.__traceback__):
            raise
        raise DataError(
            f"{what} reads context.partition_key, but {_run(context, instead)}. Nothing was stored"
        ) from error


def _run(context: dg.AssetExecutionContext, instead: str) -> str:
    if not (context.has_partition_key or context.has_partition_key_range):
        return "it has no partitions: leave that out, or give it partitions_def="
    keys = list(context.partition_keys)
    return f"this run is of {len(keys)} partitions, {keys[0]} to {keys[-1]}: {instead}"


def _reads_partition_key(traceback: TracebackType | None) -> bool:
    """Whether an error comes from Dagster's ``partition_key``, whatever it says."""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_name == "partition_key" and traceback.tb_frame.f_globals.get("__name__", "").startswith("dagster."):
            return True
        traceback = traceback.tb_next
    return False
