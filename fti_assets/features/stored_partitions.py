"""The partitions that a table is stored in: those of one declaration, since rows in two kinds of them would be there twice."""

from __future__ import annotations

import json
from collections.abc import Sequence

import dagster as dg

from fti_assets.core.names import WHOLE
from fti_assets.errors import SchemaChangedError, listed
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.partitions import is_timed
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
    now, others = _cadence(group.partitions_def), {}
    for key, stored in lake.ledger(group.table).items():
        before = json.loads(stored.record).get(_CADENCE)
        known = before == now if before is not None else (key == WHOLE) == (group.partitions_def is None)
        if not known and stored.rows:
            others[key] = before
    if others:
        was = next(iter(others.values()))
        message = f", as {was!r}" if was is not None else ""
        raise SchemaChangedError(
            f"{group.table_name} is stored in other partitions, {listed(others)}{message}, and is now declared as {now!r}: its rows would "
            "be there twice. Nothing was stored. Raise the version, so that the new partitions get a table of their own, or give "
            f"partitions_def back what it was. While nobody needs what is stored, you can start over: fti reset {group.table_name}"
        )


def _cadence(partitions_def: dg.PartitionsDefinition[str] | None) -> str:
    if partitions_def is None:
        return "unpartitioned"
    if is_timed(partitions_def):
        return f"{partitions_def.cron_schedule} {partitions_def.timezone} {partitions_def.fmt}"
    return "keys"
