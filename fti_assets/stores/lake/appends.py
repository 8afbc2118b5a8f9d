"""Rows of a stream appended to their partitions, with the stream's position in the same commit: each event once.

A partition's data version is a sum over its rows, so after an append it is that of a run which replaces the whole partition with the
same rows, and the partition is not read. The position stands beside the ledger: runs that replace partitions leave it as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fti_assets.core import clock
from fti_assets.core.names import PARTITION, Commit, PartitionRecord, TableName, in_partitions
from fti_assets.core.sql import quote, temporary_name, timestamp
from fti_assets.errors import StoreError
from fti_assets.stores.duckdb.content_hash import content_sums, data_version, with_content
from fti_assets.stores.duckdb.nul_texts import equal_columns
from fti_assets.stores.lake.files.current_files import refuse_damaged_files
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.tables.schema import as_fitted, fit, refuse_other_schema, settle

_SUMS, _BASE = "content_sums", "appended_to"
Positions = Mapping[int, int]
"""The last sequence of each shard that is held."""

_Sums = tuple[int, ...]


@dataclass(frozen=True)
class Append:
    """What one commit adds.

    Args:
        rows: a temporary table of the rows, with ``_partition``.
        positions: of each shard, how far these rows reach.
        identity: the columns that no two rows of the table share.
        streams: of each shard what tells its stream from another of its name.
        bounds: a column of ``identity`` and its least and greatest value among the rows, in SQL: stored rows outside of these are not
            compared, and most files need not be opened.
        records: the writer's own JSON for a partition that is new.
        run_at: when a partition counts as run: an append is no run over it, so it stays provisional until there is one.
        refuse: takes the temporary table of rows whose identity is stored already with other values; they are not appended. It may add
            them to ``beside``.
        beside: rows of another table that go into the same commit, a temporary table by the table.
    """

    rows: str
    positions: Positions
    identity: Sequence[str]
    streams: Mapping[int, str] = field(default_factory=dict)
    bounds: tuple[str, str, str] | None = None
    records: Callable[[str], str] = lambda partition: "{}"
    run_at: Callable[[str], datetime] = lambda partition: clock.now()
    refuse: Callable[[str], None] = lambda rows: None
    beside: Mapping[TableName, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AppendResult:
    """What one commit added.

    Args:
        commit: the partitions that have new rows; none if nothing but the position has changed.
        additions: how many rows each of them got.
        present: how many rows were stored already, equal in every column, such as by a run over the same day.
        positions: where the stream stands.
    """

    commit: Commit
    additions: Mapping[str, int]
    present: int
    positions: Positions


def append_rows(
    lake: Lake,
    table: TableName,
    prepare: Callable[[Positions], Append],
    *,
    asset: str,
    run_id: str = "",
    addable: Collection[str] = (),
) -> AppendResult:
    """Add rows to their partitions, in one transaction with the stream's position, all or nothing.

    Args:
        lake: the open lake.
        table: the table; made if it is not there.
        prepare: asked under the writers' lock, with the position of then, for the rows behind it and how far they reach.
        asset: the Dagster asset, for the commit's message.
        run_id: the run, for the ledger and the commit.
        addable: columns that the stored table gets if it lacks them.

    Raises:
        SchemaChangedError: the stored table has other columns or types.
        DamagedError: a file that the rows are compared with is damaged.
        StoreError: the commit failed; everything is as it was.
    """
    # Before the lock is asked for nothing is known: another service, or a run of the batch, may hold it and move what is there.
    with lake.store.lock():
        with lake.one_snapshot():
            places = lake.stream_places(table)
            before = {shard: sequence for shard, (sequence, _) in places.items()}
            append = prepare(before)
            positions = {**before, **append.positions}
            settle(lake, table, append.rows)
            refuse_other_schema(lake, table, append.rows, addable)
            types = lake.staged_types(append.rows)
            present = _drop_present(lake, table, append)
            additions = _sums_by_partition(lake, quote(append.rows), types)
            old = lake.ledger(table, partitions=sorted(additions))
            records = [
                _record(lake, table, key, sums, old.get(key), types, append, run_id)
                for key, sums in sorted(additions.items())
            ]
        beside = {other: _beside(lake, other, rows, run_id) for other, rows in append.beside.items()}
        if positions == before and not records and not any(beside.values()):
            commit = Commit(lake.snapshot(), (), (), {})
            return AppendResult(commit, {}, present, positions)
        keys = [record.partition for record in records]
        with lake.transaction(
            table,
            records,
            old=old,
            folders=keys,
            message=f"append to {asset}",
            extra={"asset": asset, "run_id": run_id},
        ):
            fit(lake, table, append.rows)
            if records:
                lake.connection.execute(f"INSERT INTO {table.sql} BY NAME SELECT * FROM {quote(append.rows)}")
            streams = {**{shard: stream for shard, (_, stream) in places.items()}, **append.streams}
            _put_positions(lake, table, positions, streams)
            for other, its in beside.items():
                _put_beside(lake, other, append.beside[other], its)
        commit = lake.last_commit(table, records, keys)
    return AppendResult(commit, {key: sums[0] for key, sums in sorted(additions.items())}, present, positions)


def _record(
    lake: Lake,
    table: TableName,
    key: str,
    sums: _Sums,
    old: PartitionRecord | None,
    types: Mapping[str, str],
    append: Append,
    run_id: str,
) -> PartitionRecord:
    before: _Sums = (0, 0, 0)
    if old is not None and old.rows:
        before = _stored_sums(lake, table, key, old, append.rows)
    after = tuple(a + b for a, b in zip(before, sums, strict=True))
    own = json.loads(append.records(key) if old is None else old.record)
    base = "" if old is None else appended_to(old)
    run_at = append.run_at(key) if old is None else max(old.run_at, append.run_at(key))
    text = json.dumps({**own, _SUMS: after, _BASE: base})
    return PartitionRecord(key, data_version(types, after), after[0], clock.now(), run_at, run_id, text)


def appended_to(record: PartitionRecord) -> str:
    """The data version that a partition had when it was replaced last: the same after any number of appends, "" if it never was."""
    return str(json.loads(record.record).get(_BASE, record.data_version))


def taken_from(record: PartitionRecord) -> str:
    """The JSON of a partition that rows are taken out of: its service sees that it is not as its appends left it."""
    own = json.loads(record.record)
    if _BASE not in own:  # it has a new data version, by which that is seen
        return record.record
    return json.dumps({**own, _BASE: f"{own[_BASE]} less rows at {clock.now().isoformat()}"})


def has_appends(record: PartitionRecord) -> bool:
    """Whether rows were appended to a partition since it was replaced last."""
    return _BASE in json.loads(record.record)


def _stored_sums(lake: Lake, table: TableName, key: str, old: PartitionRecord, staging: str) -> _Sums:
    """The sums of what a partition holds: written down by the append before, or else added up once."""
    types, stored_types = lake.staged_types(staging), lake.types(table)
    recorded = json.loads(old.record).get(_SUMS)
    if types == stored_types and recorded is not None and data_version(types, recorded) == old.data_version:
        return tuple(recorded)
    refuse_damaged_files(lake, table, [key])
    # With the columns that the table is about to get, in the fixed hash: a version that DuckDB's own hash made ends here.
    rows = f"(FROM {as_fitted(lake, table, staging)} WHERE {in_partitions([key])})"
    sums = _sums_by_partition(lake, rows, types).get(key, (0, 0, 0))
    if sums[0] != old.rows:  # of flipped bytes, or another file in the place of its own
        lake.look_at_files(table, [key], snapshot=lake.snapshot(), whole=True)
        raise StoreError(
            f"{table.full_name} {key} holds {sums[0]} rows where {old.rows} were committed; nothing was added. Materialize the "
            "partition again"
        )
    return sums


def _sums_by_partition(lake: Lake, rows: str, types: Mapping[str, str]) -> dict[str, _Sums]:
    content = with_content(types, rows, columns=PARTITION)
    results = lake.connection.execute(f"SELECT {PARTITION}, {content_sums()} FROM {content} GROUP BY 1").fetchall()
    return {key: tuple(map(int, sums)) for key, *sums in results}


def _drop_present(lake: Lake, table: TableName, append: Append) -> int:
    """Drop the staged rows that are stored already, and those whose identity is another row's; how many there were of the first.

    A run that replaced a partition meanwhile may have had the same events from its archive.
    """
    types = lake.types(table)
    if not types or any(name not in types for name in append.identity):
        return 0
    execute, rows = lake.connection.execute, quote(append.rows)
    keys = [key for (key,) in execute(f"SELECT DISTINCT {PARTITION} FROM {rows}").fetchall()]
    stored = [key for key, record in lake.ledger(table, partitions=keys).items() if record.rows]
    if not stored:
        return 0
    refuse_damaged_files(lake, table, stored)
    where = in_partitions(stored)
    if append.bounds is not None:
        column, least, greatest = append.bounds
        where += f" AND {quote(column)} BETWEEN {least} AND {greatest}"
    names = {name: name for name in append.identity}
    same = equal_columns(lake.connection, rows, names, rows="new", target="stored")
    values = [name for name in lake.staged_types(append.rows) if name in types]
    is_equal = " AND ".join(f"new.{quote(name)} IS NOT DISTINCT FROM stored.{quote(name)}" for name in values)
    matches, those = temporary_name("matches"), temporary_name("those")
    execute(
        f"CREATE TEMP TABLE {quote(matches)} AS SELECT new.rowid AS id, bool_or({is_equal}) AS is_equal "
        f"FROM {rows} new JOIN (FROM {table.sql} WHERE {where}) stored ON {same} GROUP BY 1"
    )
    [(present, others)] = execute(
        f"SELECT count(*) FILTER (is_equal), count(*) FILTER (NOT is_equal) FROM {quote(matches)}"
    ).fetchall()
    if others:
        ids = f"SELECT id FROM {quote(matches)} WHERE NOT is_equal"
        execute(f"CREATE TEMP TABLE {quote(those)} AS FROM {rows} WHERE rowid IN ({ids})")
        append.refuse(those)
        execute(f"DROP TABLE {quote(those)}")
    if present or others:
        execute(f"DELETE FROM {rows} WHERE rowid IN (SELECT id FROM {quote(matches)})")
    execute(f"DROP TABLE {quote(matches)}")
    return int(present)


def _put_positions(lake: Lake, table: TableName, positions: Positions, streams: Mapping[int, str]) -> None:
    execute = lake.connection.execute
    execute(f'CREATE TABLE IF NOT EXISTS {table.positions_sql} (shard BIGINT, "sequence" BIGINT, "identity" VARCHAR)')
    execute(f"DELETE FROM {table.positions_sql}")
    if positions:
        execute(
            f"INSERT INTO {table.positions_sql} SELECT unnest($1), unnest($2), unnest($3)",
            [list(positions), list(positions.values()), [streams.get(shard, "") for shard in positions]],
        )


def _beside(lake: Lake, table: TableName, rows: str, run_id: str) -> list[PartitionRecord]:
    """The new records of a table beside the stream's own."""
    types = lake.staged_types(rows)
    with lake.one_snapshot():
        sums = _sums_by_partition(lake, quote(rows), types)
        old = lake.ledger(table, partitions=sorted(sums))
        append = Append(rows, {}, ())
        return [_record(lake, table, key, of, old.get(key), types, append, run_id) for key, of in sorted(sums.items())]


def _put_beside(lake: Lake, table: TableName, rows: str, records: Sequence[PartitionRecord]) -> None:
    if not records:
        return
    keys = [record.partition for record in records]
    fit(lake, table, rows)
    lake.put_records(table, records, keys)
    lake.connection.execute(f"INSERT INTO {table.sql} BY NAME SELECT * FROM {quote(rows)}")
    lake.sync_new_files(table, keys)


def time_bounds(column: str, least: datetime, greatest: datetime) -> tuple[str, str, str]:
    """The bounds of a column of times, of two naive UTC instants."""
    return column, timestamp(least), timestamp(greatest)
