"""What Dagster recorded of the stored partitions, compared with what the lake holds: a lake can lose its newest commits silently.

A commit is in the journal of the catalog until SQLite takes it over. If the journal is lost or damaged, or the catalog is put back
from a copy, the lake is whole, and older.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from fti_assets.core.names import WHOLE, TableName
from fti_assets.errors import DamagedError, listed
from fti_assets.orchestration.dagster_internals import DATA_VERSION_TAG
from fti_assets.orchestration.resources import TABLE
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.upkeep.repair import RecordedVersion


@dataclass(frozen=True)
class LostPartition:
    """A partition that Dagster has in a version which the lake never replaced and does not have."""

    table: TableName
    partition: str
    snapshot: int
    """The snapshot that Dagster recorded."""
    stored: str | None
    """The data version that the lake has, None if it has none."""

    def __str__(self) -> str:
        return f"{self.table} {self.partition}"


def tables_of(assets: Iterable[dg.AssetsDefinition]) -> dict[dg.AssetKey, TableName]:
    """The tables of the lake that assets are stored in."""
    results = {}
    for asset in assets:
        for key, metadata in asset.metadata_by_key.items():
            name = metadata.get(TABLE)
            if name is not None and asset.is_materializable:
                results[key] = TableName(*str(getattr(name, "value", name)).split(".", 1))
    return results


def lost_partitions(
    lake: Lake, instance: dg.DagsterInstance, tables: Mapping[dg.AssetKey, TableName]
) -> list[LostPartition]:
    """The partitions whose newest version in Dagster is not in the lake, and was not replaced there after it was recorded.

    A run that was killed between its commit and its event leaves a lake that is ahead of Dagster: that is no loss.

    Args:
        lake: the open lake.
        instance: the Dagster instance whose runs wrote it.
        tables: the tables of its assets.
    """
    results = []
    for key, table in tables.items():
        versions = recorded_versions(instance, key)
        with lake.one_snapshot():
            ledger, since = lake.ledger(table), lake.ledger_snapshots(table)
        for partition, version in versions.items():
            stored = ledger.get(partition)
            if stored is not None and stored.data_version == version:
                continue
            event = _event(instance, key, partition)
            snapshot = None if event is None else _snapshot(event)
            if snapshot is not None and (stored is None or since[partition] <= snapshot):
                results.append(
                    LostPartition(table, partition, snapshot, None if stored is None else stored.data_version)
                )
    return results


def refuse_lost(lake: Lake, instance: dg.DagsterInstance, tables: Mapping[dg.AssetKey, TableName]) -> None:
    """Raise an error if the lake lacks what Dagster recorded.

    Raises:
        DamagedError: it does.
    """
    if lost := lost_partitions(lake, instance, tables):
        raise DamagedError(
            f"the offline store at {lake.store.root}, at snapshot {lake.snapshot()}, lacks what Dagster recorded of {len(lost)} "
            f"partitions, up to snapshot {max(one.snapshot for one in lost)}: {listed(lost)}. Its catalog has lost commits, or is an old "
            "copy, or another lake than that of Dagster's runs. Nothing was changed. Put the right catalog back, or register the files "
            f"that are there: fti lake repair --lake {lake.store.root}; then materialize what is missing still"
        )


def recorded_versions(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, str]:
    """The newest data version of each partition of an asset, since it was last wiped."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    results = {partition: said[DATA_VERSION_TAG] for partition, said in tags.items() if DATA_VERSION_TAG in said}
    whole = instance.get_latest_materialization_event(key)
    event = None if whole is None else whole.asset_materialization
    if event is not None and event.partition is None and DATA_VERSION_TAG in (event.tags or {}):
        results[WHOLE] = event.tags[DATA_VERSION_TAG]
    return results


def named_like(instance: dg.DagsterInstance, tables: Iterable[TableName]) -> dict[dg.AssetKey, TableName]:
    """The assets that Dagster knows by the names of some tables, whatever their prefix."""
    by_name = {table.name: table for table in tables}
    return {key: by_name[key.path[-1]] for key in instance.all_asset_keys() if key.path[-1] in by_name}


def recorded_by(
    instance: dg.DagsterInstance, tables: Iterable[TableName]
) -> dict[TableName, dict[str, RecordedVersion]]:
    """What Dagster recorded of some tables, and by which runs."""
    results: dict[TableName, dict[str, RecordedVersion]] = {}
    for key, table in named_like(instance, tables).items():
        for partition, version in recorded_versions(instance, key).items():
            event = _event(instance, key, partition)
            if event is not None:
                at = datetime.fromtimestamp(event.timestamp, UTC).replace(tzinfo=None)
                results.setdefault(table, {})[partition] = RecordedVersion(version, at, event.run_id)
    return results


def highest_snapshot(instance: dg.DagsterInstance, tables: Iterable[TableName]) -> int:
    """The highest snapshot that the newest events of some tables name; 0 without one."""
    records = (
        one for key in named_like(instance, tables) for one in instance.fetch_materializations(key, limit=20).records
    )
    return max((number for record in records if (number := _snapshot(record)) is not None), default=0)


def _event(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> dg.EventLogRecord | None:
    of_partition = None if partition == WHOLE else [partition]
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=of_partition)
    records = instance.fetch_materializations(wanted, limit=1).records
    return records[0] if records else None


def _snapshot(record: dg.EventLogRecord) -> int | None:
    event = record.asset_materialization
    value = None if event is None else event.metadata.get("snapshot")
    return int(str(value.value)) if value is not None else None
