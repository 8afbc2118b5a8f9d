"""Which feature groups are stale: a partition that has ended and is due is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import dagster as dg

from fti_assets.alerts.causes import Cause, Findings
from fti_assets.core.times import Partition
from fti_assets.errors import list_some
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.due import due_at, due_partition
from fti_assets.orchestration.partitions import is_timed, partitions_between, partitions_of

_MOST = 100


def findings_of_groups(instance: dg.DagsterInstance, groups: Iterable[FeatureGroup], now: datetime) -> Findings:
    """The groups of which a due partition is missing, among the newest 100 since the first that is materialized.

    A partition is due once it has ended for as long as it is itself, and for the group's serving delay. What has no partitions of time
    has no due date, and neither has what lies outside.

    Args:
        instance: Dagster's.
        groups: those that are watched.
        now: the instant of this look.
    """
    causes = []
    for group in groups:
        due = due_partition(group.partitions_def, group.serving_delay, now) if group.source is None else None
        if due is not None:
            made = instance.get_materialized_partitions(group.key)
            missing = missing_partitions(group.partitions_def, due, made)
            stopped = _after_all(group.partitions_def, missing, made)
            causes += stale_causes(group.table_name, missing, overdue_since(group, missing), stopped=stopped)
    return Findings(tuple(causes))


def overdue_since(group: FeatureGroup, missing: Sequence[Partition]) -> datetime | None:
    """When the oldest of some missing partitions was due; None if none is missing."""
    return due_at(missing[-1], group.partitions_def, group.serving_delay) if missing else None


def _after_all(
    partitions_def: dg.PartitionsDefinition[str] | None, missing: Sequence[Partition], made: Collection[str]
) -> int:
    """How many of some missing partitions come after all that are there."""
    last = partitions_of(partitions_def, [max(made)])[0].start if made else None
    return sum(last is None or (one.start is not None and one.start > last) for one in missing)


def stale_causes(table: str, missing: Sequence[Partition], since: datetime | None, *, stopped: int = 0) -> list[Cause]:
    """What is wrong with a group of which partitions are missing, the newest first, since the oldest was due; nothing if none is.

    A feed that has stopped is one cause, however many partitions fall due; a gap before what is there is one by itself.

    Args:
        table: the group's.
        missing: its missing partitions.
        since: when the oldest was due.
        stopped: how many of them come after all that are there.
    """
    if not missing:
        return []
    count = "a partition is" if len(missing) == 1 else f"{len(missing)} partitions are"
    cause = Cause(
        subject=f"stale {table}",
        occurrence="\n".join([*(["stopped"] if stopped else []), *(one.key for one in missing[stopped:])]),
        title=f"{table} is stale: {count} missing, {list_some([one.key for one in missing], 3)}",
        text=f"The newest ended at {missing[0].end}. Materialize them, or see why their runs did not begin.",
        end=f"{table} is fresh again",
        since=since,
    )
    return [cause]


def missing_partitions(
    partitions_def: dg.PartitionsDefinition[str] | None, due: Partition, made: Collection[str]
) -> list[Partition]:
    """The partitions until the due one that are not materialized, the newest first, of the newest 100 since the first that is.

    >>> days = dg.DailyPartitionsDefinition(start_date="2024-01-01")
    >>> due = partitions_of(days, ["2024-01-06"])[0]
    >>> [one.key for one in missing_partitions(days, due, {"2024-01-02", "2024-01-04", "2024-01-05"})]
    ['2024-01-06', '2024-01-03']
    """
    assert is_timed(partitions_def)
    assert due.start is not None
    assert due.end is not None
    if not made:
        return [due]
    # Partitions of one calendar differ in length by an hour or by days, so a few more than 100 lengths hold 100 of them.
    newest = partitions_between(partitions_def, due.start - (due.end - due.start) * (_MOST + 10), due.end)[-_MOST:]
    begin = partitions_of(partitions_def, [min(made)])[0].start
    assert begin is not None
    return [one for one in reversed(newest) if one.key not in made and one.start is not None and one.start >= begin]
