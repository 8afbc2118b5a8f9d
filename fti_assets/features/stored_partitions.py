"""The partitions that a group is stored in: those of one declaration, and which of them are missing or provisional."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import dagster as dg

from fti_assets.core.names import WHOLE
from fti_assets.core.rules import Rule
from fti_assets.errors import SchemaChangedError, list_some
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.partitions import is_timed, partitions_between
from fti_assets.stores.lake.lake import Lake

_CADENCE = "cadence"


def partition_records(group: FeatureGroup, partitions: Sequence[str]) -> dict[str, str]:
    """What the ledger keeps of each partition: how long it is and where it begins."""
    return dict.fromkeys(partitions, json.dumps({_CADENCE: _cadence(group.partitions_def)}))


def refuse_other_partitions(lake: Lake, group: FeatureGroup) -> None:
    """Refuse to add to a table that was stored under other partitions.

    Raises:
        SchemaChangedError: it was; the first partitions are named.
    """
    now, cadences = _cadence(group.partitions_def), {}
    for key, record in lake.ledger(group.table).items():
        before = json.loads(record.record).get(_CADENCE)
        is_same = before == now if before is not None else (key == WHOLE) == (group.partitions_def is None)
        if not is_same and record.rows:
            cadences[key] = before
    if cadences:
        was = next(iter(cadences.values()))
        message = f", as {was!r}" if was is not None else ""
        raise SchemaChangedError(
            f"{group.table_name} is stored in other partitions, {list_some(cadences)}{message}, and is now declared as {now!r}: its rows "
            "would be there twice. Nothing was stored. Raise the version, so that the new partitions get a table of their own, or give "
            f"partitions_def back what it was. While what is stored is not needed, you can start over: fti reset {group.table_name}"
        )


def _cadence(partitions_def: dg.PartitionsDefinition[str] | None) -> str:
    if partitions_def is None:
        return "unpartitioned"
    if is_timed(partitions_def):
        return f"{partitions_def.cron_schedule} {partitions_def.timezone} {partitions_def.fmt}"
    return "keys"


COMPLETE = Rule("upstream_complete", "Every partition that is read was materialized after it ended", blocking=False)


def missing_partitions(lake: Lake, group: FeatureGroup, start: datetime, end: datetime, *, snapshot: int) -> list[str]:
    """The group's partitions in ``[start, end)`` that are not stored, as ``weather_v1 2013-06-01``."""
    if not is_timed(group.partitions_def):
        return []
    ledger = lake.ledger(group.table, snapshot=snapshot)
    partitions = partitions_between(group.partitions_def, start, end)
    return [f"{group.table_name} {partition.key}" for partition in partitions if partition.key not in ledger]


Span = tuple[datetime | None, datetime | None]
"""From an instant to another, naive UTC; None is without a bound."""


def complete_spans(lake: Lake, group: FeatureGroup, until: datetime, *, snapshot: int) -> tuple[Span, ...]:
    """The spans of time, before an instant, of which a group has every row that there is, in the order of time.

    Of partitions in time these are those that were run once they were over and their delay had passed; what adjoins in the calendar is one
    span. Another group is complete up to its last run, one with a list of partitions up to the earliest of theirs, and an external
    table always.
    """
    if group.source is not None:
        return ((None, None),)
    ledger, delay = lake.ledger(group.table, snapshot=snapshot), group.serving_delay or timedelta(0)
    if not is_timed(group.partitions_def):
        keys: set[str] = set()
        if isinstance(group.partitions_def, dg.StaticPartitionsDefinition):
            keys = set(group.partitions_def.get_partition_keys())
        is_whole = bool(ledger) and keys <= ledger.keys()
        return ((None, min(one.run_at for one in ledger.values())),) if is_whole else ()
    spans: list[Span] = []
    is_next = False
    for partition in partitions_between(group.partitions_def, datetime.min, until):
        record = ledger.get(partition.key)
        assert partition.end is not None
        if record is None or record.run_at < partition.end + delay:
            is_next = False
            continue
        spans.append((spans.pop()[0] if is_next else partition.start, partition.end))
        is_next = True
    return tuple(spans)


def provisional_partitions(
    lake: Lake, group: FeatureGroup, start: datetime, end: datetime, *, snapshot: int
) -> list[str]:
    """The group's partitions in ``[start, end)`` whose last run was before their end and delay had passed."""
    if not is_timed(group.partitions_def):
        return []
    ledger, delay = lake.ledger(group.table, snapshot=snapshot), group.serving_delay or timedelta(0)
    return [
        f"{group.table_name} {partition.key}"
        for partition in partitions_between(group.partitions_def, start, end)
        if partition.key in ledger
        and partition.end is not None
        and ledger[partition.key].run_at < partition.end + delay
    ]
