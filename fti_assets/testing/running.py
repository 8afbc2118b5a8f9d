"""Running a user's function or asset in a Dagster run of its own that leaves nothing behind."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from fti_assets.core.times import Partition
from fti_assets.errors import DeclarationError, listed
from fti_assets.features.run import ALL_PARTITIONS
from fti_assets.orchestration.signature import CONTEXT, call_function, parameters_of
from fti_assets.testing.instance import ephemeral_instance

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The run config of a run that says nothing on the console."""


def call(function: Callable[..., Any], given: Mapping[str, Any], declaration: Any, windows: Sequence[Partition]) -> Any:
    """Call a declaration's function; one that takes a ``context`` gets that of a real step over the windows,
    or without partitions where there are none.

    A parameter annotated with a ``dg.Config`` that is not given gets its defaults.

    Raises:
        DeclarationError: an argument is missing, or there is no such parameter.
    """
    parameters = parameters_of(function)
    arguments = dict(given)
    for name, parameter in parameters.items():
        kind = declaration.annotations.get(name)
        is_config = (
            isinstance(kind, type) and issubclass(kind, dg.Config) and not issubclass(kind, dg.ConfigurableResource)
        )
        if name not in arguments and is_config:
            arguments[name] = kind()  # type: ignore[misc]
        elif name not in arguments and name != CONTEXT and parameter.default is parameter.empty:
            raise DeclarationError(f"{function.__name__} takes {name!r}, which was not given: give {name}=...")
    unknown = [name for name in arguments if name not in parameters]
    if unknown:
        raise DeclarationError(
            f"{function.__name__} takes no {listed(unknown)}: it takes {listed(parameters, limit=20)}"
        )
    if CONTEXT not in parameters or CONTEXT in arguments:
        return function(**arguments)
    made: list[Any] = []
    partitions_def = declaration.partitions_def if windows else None
    what = declaration.key.to_user_string()

    def does(context: dg.AssetExecutionContext) -> None:
        made.append(call_function(function, arguments, context, what=what, instead=ALL_PARTITIONS))

    step = _step(does, partitions_def)
    with ephemeral_instance() as instance:
        run([step], windows, partitions_def, instance=instance)
    return made[0]


def run(
    assets: Sequence[dg.AssetsDefinition],
    windows: Sequence[Partition],
    partitions_def: dg.PartitionsDefinition[str] | None,
    **options: Any,
) -> dg.ExecuteInProcessResult:
    """One in-process run over the windows: of nothing, one partition or a range."""
    keys = [window.key for window in windows]
    if isinstance(partitions_def, dg.DynamicPartitionsDefinition) and partitions_def.name is not None:
        options["instance"].add_dynamic_partitions(partitions_def.name, keys)  # they are what a test says that they are
    if partitions_def is not None and len(keys) == 1:
        options["partition_key"] = keys[0]
    elif partitions_def is not None:
        options["tags"] = {
            **(options.get("tags") or {}),
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
        }
    with _without_beta_warnings():
        return dg.materialize(assets, run_config={**QUIET, **(options.pop("run_config", None) or {})}, **options)


def _step(does: Callable[[Any], Any], partitions_def: dg.PartitionsDefinition[str] | None) -> dg.AssetsDefinition:
    ranged = {} if partitions_def is None else {"backfill_policy": dg.BackfillPolicy.single_run()}

    def step(context: dg.AssetExecutionContext) -> None:
        does(context)

    step.__annotations__ = {"context": dg.AssetExecutionContext, "return": None}
    with _without_beta_warnings():
        return dg.asset(name="step", partitions_def=partitions_def, **ranged)(step)  # type: ignore[call-overload,no-any-return]


@contextmanager
def _without_beta_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Parameter .* is currently in beta")
        yield
