"""Running a user's function or asset over the partitions that a test names, in a Dagster run that leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from fti_assets.core.times import Partition, instant, naive_utc
from fti_assets.errors import DeclarationError, list_some
from fti_assets.features.steps.run import ALL_PARTITIONS
from fti_assets.orchestration.dagster_internals import partition_loading_context
from fti_assets.orchestration.partitions import RANGE_TAGS, partitions_of
from fti_assets.orchestration.signature import CONTEXT, call_function, parameters_of
from fti_assets.orchestration.step import beta_accepted

# A test prints what it asserts, not the log of a run.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

PartitionKeys = str | tuple[str, str] | None
"""A partition key, the first and the last key of a range, or None for what is not partitioned."""


@contextmanager
def partitions_by(now: str | datetime | None) -> Iterator[None]:
    """For a block the partitions are those that have ended by an instant too, which may lie ahead of the system's own clock."""
    latest = naive_utc(datetime.now(UTC))
    with partition_loading_context(None if now is None or instant(now) <= latest else instant(now).replace(tzinfo=UTC)):
        yield


def named_partitions(declaration: Any, partition: PartitionKeys) -> list[Partition]:
    """The partitions that a test names, in the order of time."""
    partitions_def: dg.PartitionsDefinition[str] | None = declaration.partitions_def
    name = declaration.key.to_user_string()
    if partitions_def is None:
        if partition is not None:
            raise DeclarationError(f"{name} is not partitioned, so it has no partition {partition!r}: name none")
        return partitions_of(None, [])
    if partition is None:
        dynamic = isinstance(partitions_def, dg.DynamicPartitionsDefinition)
        example = "'a key'" if dynamic else repr(partitions_def.get_first_partition_key())
        or_range = "" if dynamic else ", or the first and the last of a range"
        raise DeclarationError(f"{name} is partitioned: name a partition, as in partition={example}{or_range}")
    ends = [partition] if isinstance(partition, str) else partition
    if not isinstance(ends, Sequence) or len(ends) not in (1, 2) or not all(isinstance(key, str) for key in ends):
        raise DeclarationError(
            f"partition is {partition!r} for {name}: name one, as in partition='2024-01-01', or the first and the last of a range, "
            "as in partition=('2024-01-01', '2024-01-31')"
        )
    first, last = ends[0], ends[-1]
    if isinstance(partitions_def, dg.DynamicPartitionsDefinition):
        if first != last:
            raise DeclarationError(
                f"{name} has dynamic partitions, which have no range from {first!r} to {last!r}: run them one at a time, "
                f"partition={first!r}"
            )
        return partitions_of(partitions_def, [first])
    unknown = [key for key in (first, last) if not partitions_def.has_partition_key(key)]
    if unknown:
        raise DeclarationError(
            f"{name} has no partition {unknown[0]!r}: its partitions are {partitions_def.get_first_partition_key()} to "
            f"{partitions_def.get_last_partition_key()}"
        )
    within = list(partitions_def.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))
    if not within:
        raise DeclarationError(
            f"{name} has no partitions from {first!r} to {last!r}: name the first and then the last, partition=({last!r}, {first!r})"
        )
    return partitions_of(partitions_def, within)


def call(
    function: Callable[..., Any], arguments: Mapping[str, Any], declaration: Any, partitions: Sequence[Partition]
) -> Any:
    """Call a declaration's function; one that takes a ``context`` gets that of a real step over the partitions.

    A parameter annotated with a ``dg.Config`` that is not given gets its defaults.
    """
    parameters = parameters_of(function)
    arguments = dict(arguments)
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
            f"{function.__name__} takes no {list_some(unknown)}: it takes {list_some(parameters, limit=20)}"
        )
    if CONTEXT not in parameters or CONTEXT in arguments:
        return function(**arguments)
    results: list[Any] = []
    partitions_def = declaration.partitions_def if partitions else None
    what = declaration.key.to_user_string()

    def step(context: dg.AssetExecutionContext) -> None:
        results.append(call_function(function, arguments, context, what=what, instead=ALL_PARTITIONS))

    # Not text: Dagster reads the annotations here, and an IO manager of its own would take what has no annotation of None.
    step.__annotations__ = {CONTEXT: dg.AssetExecutionContext, "return": None}
    policy = None if partitions_def is None else dg.BackfillPolicy.single_run()
    with beta_accepted():
        asset = dg.asset(name="step", partitions_def=partitions_def, backfill_policy=policy)(step)
    # A real run, since a context that is built by hand has no partitions and resources as a step's has.
    with dg.DagsterInstance.ephemeral() as instance:
        run([asset], partitions, partitions_def, instance=instance)
    return results[0]


def run(
    assets: Sequence[dg.AssetsDefinition],
    partitions: Sequence[Partition],
    partitions_def: dg.PartitionsDefinition[str] | None,
    **options: Any,
) -> dg.ExecuteInProcessResult:
    """One in-process run over the partitions: of nothing, one partition or a range."""
    keys = [window.key for window in partitions]
    if isinstance(partitions_def, dg.DynamicPartitionsDefinition) and partitions_def.name is not None:
        options["instance"].add_dynamic_partitions(partitions_def.name, keys)  # they are what a test says that they are
    if partitions_def is not None and len(keys) == 1:
        options["partition_key"] = keys[0]
    elif partitions_def is not None:
        options["tags"] = dict(zip(RANGE_TAGS, (keys[0], keys[-1]), strict=True))
    with beta_accepted():
        return dg.materialize(assets, run_config={**_QUIET, **(options.pop("run_config", None) or {})}, **options)
