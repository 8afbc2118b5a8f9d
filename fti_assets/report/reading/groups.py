"""How fresh the feature groups are, and how late their rows really come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fti_assets.alerts.staleness import missing_partitions, overdue_since
from fti_assets.core.times import Partition
from fti_assets.errors import FtiError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.monitoring.delays.audit import DelayAudit
from fti_assets.monitors.delays.delay_audit import delay_audit
from fti_assets.orchestration.due import due_partition
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake


@dataclass(frozen=True)
class Freshness:
    """How fresh a group is: its newest partition by when it was run, the one that is due, and whether that is missing.

    ``state`` is ``fresh``, ``stale``, ``empty``, ``outside`` or ``not due``: a group without partitions of time has no due date. It is
    ``unknown`` where the lake cannot be read.
    """

    table: str
    state: str
    newest: str = ""
    rows: int = 0
    committed_at: datetime | None = None
    due: str = ""
    missing: tuple[Partition, ...] = ()
    overdue_since: datetime | None = None


@dataclass(frozen=True)
class Delay:
    """A group's delay audit; ``problem`` is why there is none."""

    table: str
    audit: DelayAudit | None = None
    problem: str = ""


def freshness_of(lake: Lake, group: FeatureGroup, now: datetime) -> Freshness:
    """How fresh a group is, by the lake's ledger."""
    if group.source is not None:
        return Freshness(group.table_name, "outside")
    ledger = lake.ledger(group.table) if lake.has(group.table) else {}
    due = due_partition(group.partitions_def, group.serving_delay, now)
    due_key = "" if due is None else due.key
    if not ledger:
        return Freshness(group.table_name, "empty", due=due_key)
    missing = () if due is None else tuple(missing_partitions(group.partitions_def, due, ledger))
    state = "not due" if due is None else "stale" if missing else "fresh"
    newest = max(ledger.values(), key=lambda one: (one.run_at, one.partition))
    since = overdue_since(group, missing)
    return Freshness(
        group.table_name, state, newest.partition, newest.rows, newest.committed_at, due_key, missing, since
    )


def delay_of(group: FeatureGroup, stores: Stores, since: datetime | None) -> Delay:
    """How late a group's rows were committed; of one that cannot be judged, why."""
    try:
        return Delay(group.table_name, delay_audit(group, stores=stores, since=since))
    except FtiError as error:
        return Delay(group.table_name, problem=str(error))
