"""The partitions that a test names: one key, a first and a last one, or none."""

from __future__ import annotations

from typing import Any

import dagster as dg

from fti_assets.core.times import Partition
from fti_assets.errors import DeclarationError
from fti_assets.orchestration.partitions import windows_of

PartitionKeys = str | tuple[str, str] | None
"""A partition key, the first and the last key of a range, or None for what is not partitioned."""


def _ends(name: str, partition: object) -> tuple[str, str]:
    """The first and the last key of what was named."""
    match partition:
        case str():
            return partition, partition
        case (str() as first, str() as last):
            return first, last
        case (str() as only,):
            return only, only
    raise DeclarationError(
        f"partition is {partition!r} for {name}: name one, as in partition='2024-01-01', or the first and the last of a range, "
        "as in partition=('2024-01-01', '2024-01-31')"
    )


def named_partitions(declaration: Any, partition: PartitionKeys) -> list[Partition]:
    """The windows of the partitions that are named, in the order of time.

    Raises:
        DeclarationError: none is named for a partitioned declaration, or the other way round, or there is none of that key.
    """
    partitions_def: dg.PartitionsDefinition[str] | None = declaration.partitions_def
    name = declaration.key.to_user_string()
    if partitions_def is None:
        if partition is not None:
            raise DeclarationError(f"{name} is not partitioned, so it has no partition {partition!r}: name none")
        return windows_of(None, [])
    if partition is None:
        dynamic = isinstance(partitions_def, dg.DynamicPartitionsDefinition)
        example = "'a key'" if dynamic else repr(partitions_def.get_first_partition_key())
        or_range = "" if dynamic else ", or the first and the last of a range"
        raise DeclarationError(f"{name} is partitioned: name a partition, as in partition={example}{or_range}")
    first, last = _ends(name, partition)
    if isinstance(partitions_def, dg.DynamicPartitionsDefinition):
        if first != last:
            raise DeclarationError(
                f"{name} has dynamic partitions, which have no range from {first!r} to {last!r}: run them one at a time, "
                f"partition={first!r}"
            )
        return windows_of(partitions_def, [first])
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
    return windows_of(partitions_def, within)
