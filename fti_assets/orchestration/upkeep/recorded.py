"""What Dagster recorded of stored partitions and online loads, compared with the stores: they can lose their newest commits silently.

A commit is in the journal of a SQLite file, the lake's catalog or a namespace, until SQLite takes it over. If the journal is lost or
damaged, or the file is put back from a copy, the store is whole, and older; SQLite says nothing. A run that was killed between its
commit and its event leaves a store that is ahead of Dagster: that is no loss.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from itertools import chain
from math import inf
from typing import NamedTuple

import dagster as dg

from fti_assets.core.names import WHOLE, TableName
from fti_assets.errors import DamagedError, StoreError, count_of, list_some
from fti_assets.orchestration.dagster_internals import DATA_VERSION_TAG
from fti_assets.orchestration.declaration import TableDeclaration, declaration_of
from fti_assets.orchestration.resources import ONLINE_KEYS, stored_table
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.upkeep.repair import RecordedVersion
from fti_assets.stores.lake.upkeep.unnamed_files import unnamed_tables
from fti_assets.stores.online.store import OnlineStore

_CLOCKS_DIFFER = 5.0
"""So many seconds the clocks of two machines may be apart."""
_EVENTS = 20  # the newest of an asset: those of a forgotten key say nothing of a load


class LostPartition(NamedTuple):
    """A partition that Dagster has in a version which the lake never replaced and does not have, and the snapshot of that."""

    table: TableName
    partition: str
    snapshot: int

    def __str__(self) -> str:
        return f"{self.table.full_name} {self.partition}"


def tables_of(assets: Iterable[dg.AssetsDefinition]) -> dict[dg.AssetKey, TableName]:
    """The tables of the lake that assets are stored in."""
    metadata_of_assets = [asset.metadata_by_key for asset in assets if asset.is_materializable]
    tables = ((key, stored_table(metadata)) for by_key in metadata_of_assets for key, metadata in by_key.items())
    return {key: table for key, table in tables if table is not None}


def namespaces_of(assets: Iterable[dg.AssetsDefinition]) -> dict[dg.AssetKey, str]:
    """The namespaces of the assets that are loaded to the online store."""
    declarations = (declaration_of(asset) for asset in assets)
    return {
        one.key: one.table_name
        for one in declarations
        if isinstance(one, TableDeclaration) and getattr(one, "online", False)
    }


def named_like(instance: dg.DagsterInstance, tables: Iterable[TableName]) -> dict[dg.AssetKey, TableName]:
    """The assets that Dagster knows by the names of some tables, whatever their prefix."""
    by_name = {table.name: table for table in tables}
    return {key: by_name[key.path[-1]] for key in instance.all_asset_keys() if key.path[-1] in by_name}


def lost_partitions(
    lake: Lake, instance: dg.DagsterInstance, tables: Mapping[dg.AssetKey, TableName]
) -> list[LostPartition]:
    """The partitions whose newest version in Dagster is not in the lake, and was not replaced there after it was recorded."""
    lost = []
    for key, table in tables.items():
        versions = _recorded_versions(instance, key)
        with lake.one_snapshot():
            ledger, since = lake.ledger(table), lake.ledger_snapshots(table)
        for partition, version in versions.items():
            if partition in ledger and ledger[partition].data_version == version:
                continue
            record = _newest_record(instance, key, partition)
            snapshot = None if record is None else _snapshot(record)
            # A partition that was written after the recorded snapshot was replaced, by a command for one, and is not
            # lost.
            if snapshot is not None and (partition not in ledger or since[partition] <= snapshot):
                lost.append(LostPartition(table, partition, snapshot))
    return lost


def refuse_lost(lake: Lake, instance: dg.DagsterInstance, tables: Mapping[dg.AssetKey, TableName]) -> None:
    """Raise a ``DamagedError`` if the lake lacks what Dagster recorded."""
    if lost := lost_partitions(lake, instance, tables):
        snapshot, names = max(one.snapshot for one in lost), list_some(map(str, lost))
        raise DamagedError(
            f"the offline store at {lake.store.root}, at snapshot {lake.snapshot()}, lacks what Dagster recorded of "
            f"{count_of(len(lost), 'partition')}, up to snapshot {snapshot}: {names}. Its catalog has lost commits, or is an old "
            "copy, or another lake than that of Dagster's runs. Nothing was changed. Put the right catalog back, or register the files "
            f"that are there: fti lake repair --lake {lake.store.root}; then materialize what is missing still"
        )


def compared_tables(lake: Lake, instance: dg.DagsterInstance) -> frozenset[TableName]:
    """Compare the tables that files which no snapshot names are of with the assets of their names; the caller holds the writers' lock.

    Returns:
        The tables that Dagster knows: it has no version of a partition of theirs that the lake lacks.

    Raises:
        DamagedError: the lake lacks what Dagster recorded of one, so that those files may be the only copy of rows.
    """
    tables = named_like(instance, unnamed_tables(lake))
    refuse_lost(lake, instance, tables)
    return frozenset(tables.values())


def recorded_tables(
    lake: Lake, instance: dg.DagsterInstance, tables_compared: Collection[TableName]
) -> frozenset[TableName]:
    """Those of some compared tables of which Dagster recorded every partition that the catalog has, and whose files that no snapshot
    names were written while it recorded a run; the caller holds the writers' lock.

    A record that lacks some is of another lake, or began later, and says nothing of files that the catalog does not name; nor does
    one that was put back from an old copy together with the catalog, which knows no run that wrote the files since. Of a table
    without stored partitions only a record that has all others whole says anything: that it was never stored.
    """
    tables = named_like(instance, {*tables_compared, *lake.tables()})
    versions: dict[TableName, set[str]] = {}
    for key, table in tables.items():
        versions.setdefault(table, set()).update(_recorded_versions(instance, key))
    whole = {
        table for table in {*tables_compared, *lake.tables()} if lake.ledger(table).keys() <= versions.get(table, set())
    }
    never_stored_too = whole >= {*lake.tables()} and any(versions.values())
    times = unnamed_tables(lake)
    runs = _times_of_runs(instance, since=min(chain.from_iterable(times.values()), default=0.0))
    return frozenset(
        table
        for table in tables_compared
        if table in whole
        and (versions.get(table) or never_stored_too)
        and all(any(start <= at <= end for start, end in runs) for at in times.get(table, ()))
    )


def _times_of_runs(instance: dg.DagsterInstance, *, since: float) -> list[tuple[float, float]]:
    """When the runs that ended after a time began and ended; one that was killed has no end."""
    after = datetime.fromtimestamp(max(0.0, since - _CLOCKS_DIFFER), UTC)
    times = []
    for record in instance.get_run_records(dg.RunsFilter(updated_after=after)):
        start = record.start_time or record.create_timestamp.timestamp()
        times.append((start - _CLOCKS_DIFFER, (record.end_time or inf) + _CLOCKS_DIFFER))
    return times


def recorded_partitions(instance: dg.DagsterInstance, tables: Mapping[dg.AssetKey, TableName]) -> dict[TableName, int]:
    """How many partitions Dagster recorded of each table; those of which it recorded none are left out."""
    counts = {table: len(_recorded_versions(instance, key)) for key, table in tables.items()}
    return {table: count for table, count in counts.items() if count}


def stale_namespaces(
    online: OnlineStore, instance: dg.DagsterInstance, namespaces: Mapping[dg.AssetKey, str]
) -> dict[str, str]:
    """The namespaces that are older than what Dagster recorded of their newest load, damaged, not there, or have not as many keys as
    they say, each with a sentence.
    """
    sentences = {}
    for key, namespace in namespaces.items():
        records = instance.fetch_materializations(key, limit=_EVENTS).records
        loads = [
            one for one in records if one.asset_materialization and ONLINE_KEYS in one.asset_materialization.metadata
        ]
        snapshot = max((number for one in loads if (number := _snapshot(one)) is not None), default=None)
        if snapshot is not None and (problem := _problem(online, namespace, snapshot)) is not None:
            sentences[namespace] = (
                f"the online namespace of {namespace} in {online} {problem}. Materialize {namespace} again"
            )
    return sentences


def _problem(online: OnlineStore, namespace: str, snapshot: int) -> str | None:
    try:
        about = online.about(namespace)
        keys, rows = (0, 0) if about is None else online.counts(namespace)
    except StoreError as error:
        return f"cannot be read: {error}"
    if about is None:
        return f"is not there, and Dagster recorded its load from snapshot {snapshot}"
    if about.snapshot < snapshot:
        return (
            f"has the rows of snapshot {about.snapshot}, and Dagster recorded its load from snapshot {snapshot}: its file has lost what "
            "was loaded since, or is an old copy, so that it serves old rows"
        )
    if rows != keys:
        return f"says that it has {keys} keys, and has {rows}: someone removed rows of it, or put others there"
    return None


def recorded_by(
    instance: dg.DagsterInstance, tables: Iterable[TableName]
) -> dict[TableName, dict[str, RecordedVersion]]:
    """What Dagster recorded of some tables, and by which runs."""
    versions: dict[TableName, dict[str, RecordedVersion]] = {}
    for key, table in named_like(instance, tables).items():
        for partition, version in _recorded_versions(instance, key).items():
            record = _newest_record(instance, key, partition)
            if record is not None:
                at = datetime.fromtimestamp(record.timestamp, UTC).replace(tzinfo=None)
                versions.setdefault(table, {})[partition] = RecordedVersion(version, at, record.run_id)
    return versions


def highest_snapshot(instance: dg.DagsterInstance, tables: Iterable[TableName]) -> int:
    """The highest snapshot that the newest events of some tables name; 0 without one."""
    keys = named_like(instance, tables)
    records = (one for key in keys for one in instance.fetch_materializations(key, limit=_EVENTS).records)
    return max((number for record in records if (number := _snapshot(record)) is not None), default=0)


def _recorded_versions(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, str]:
    """The newest data version of each partition of an asset, since it was last wiped."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    versions = {partition: of[DATA_VERSION_TAG] for partition, of in tags.items() if DATA_VERSION_TAG in of}
    newest = instance.get_latest_materialization_event(key)
    event = None if newest is None else newest.asset_materialization
    if event is not None and event.partition is None and DATA_VERSION_TAG in (event.tags or {}):
        versions[WHOLE] = event.tags[DATA_VERSION_TAG]
    return versions


def _newest_record(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> dg.EventLogRecord | None:
    of_partition = dg.AssetRecordsFilter(asset_key=key, asset_partitions=None if partition == WHOLE else [partition])
    return next(iter(instance.fetch_materializations(of_partition, limit=1).records), None)


def _snapshot(record: dg.EventLogRecord) -> int | None:
    event = record.asset_materialization
    value = None if event is None else event.metadata.get("snapshot")
    return int(str(value.value)) if value is not None else None
