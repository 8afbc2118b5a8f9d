"""Row-level changes to a stored table without partitions: one commit, and its content hash without reading it whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from fti_assets.core import clock
from fti_assets.core.names import WHOLE, Commit, PartitionRecord, TableName
from fti_assets.core.sql import quote
from fti_assets.stores.duckdb.content_hash import content_sums, data_version, hash_of, with_content
from fti_assets.stores.duckdb.nul_texts import columns_with_nul, comparison
from fti_assets.stores.lake.files.current_files import refuse_damaged_files
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.tables.schema import as_fitted, fit, refuse_other_schema, settle

_SUMS, _POSITION = "content_sums", "position"
_NOTHING: tuple[int, ...] = (0, 0, 0)


@dataclass(frozen=True)
class RowChange:
    """What one commit does to a table.

    Args:
        rows: a temporary table of rows to be put, with ``_partition``; each replaces the stored row of its identity.
        identity: the columns that no two rows share.
        deletes: a temporary table of ``delete_by`` columns; every row that equals one of them goes first. None deletes nothing.
        delete_by: the columns of ``deletes``.
        position: where the change feed goes on, or None to leave it where it is.
    """

    rows: str
    identity: Sequence[str]
    deletes: str | None
    delete_by: Sequence[str]
    position: str | None


@dataclass(frozen=True)
class RowChangeResult:
    """What one commit did: rows that are new, rows that took the place of another, rows that are gone."""

    commit: Commit
    added: int
    replaced: int
    deleted: int


def feed_position(lake: Lake, table: TableName) -> str | None:
    """How far a table has come in its change feed, None before the first batch and after a full reload."""
    record = lake.ledger(table).get(WHOLE)
    position: str | None = None if record is None else json.loads(record.record).get(_POSITION)
    return position


def change_rows(
    lake: Lake,
    table: TableName,
    change: RowChange,
    *,
    asset: str,
    run_id: str,
    check: Callable[[], None],
    addable: Collection[str] = (),
) -> RowChangeResult:
    """Delete and put rows of a table without partitions, in one transaction, all or nothing.

    Args:
        lake: the open lake.
        table: the table, without partitions; made if it is not there.
        change: what to do.
        asset: the Dagster asset, for the commit's message.
        run_id: the Dagster run, for the ledger and the commit.
        check: run first under the writers' lock; what it raises leaves everything as it was.
        addable: columns that the stored table gets if it lacks them, null in the rows that stay.

    Raises:
        SchemaChangedError: the stored table has other columns or types.
        DamagedError: a FIFO, or anything else that is no file, is in place of one of its files.
        StoreError: the commit failed; the old rows are still there.
    """
    with lake.store.lock():
        # Under the lock: a feed's position must be the one that this batch follows.
        check()
        settle(lake, table, change.rows)
        old, types = lake.ledger(table).get(WHOLE), lake.staged_types(change.rows)
        refuse_other_schema(lake, table, change.rows, addable)
        of = hash_of(None if old is None else old.data_version)  # the sums go on in the hash in which they began
        results, before = _Effect("false", _NOTHING, _sums_of(lake, quote(change.rows), types, of), 0), _NOTHING
        if old is not None and old.rows:  # else there is nothing to meet, and its columns may be others
            refuse_damaged_files(lake, table)
            old_rows = as_fitted(lake, table, change.rows)
            results, before = _effect(lake, old_rows, change, types, of), _stored_sums(lake, old_rows, old, types, of)
        # The hash is a sum over rows, so it follows from what goes and what comes, and the table is not read.
        sums = tuple(a - b + c for a, b, c in zip(before, results.removals, results.additions, strict=True))
        new_record = _record(change, old, data_version(types, sums, of), sums, run_id)
        has_changed = old is None or new_record.data_version != old.data_version
        text = {"asset": asset, "run_id": run_id}
        message, folders, had = (
            f"change rows of {asset}",
            [WHOLE] if has_changed else [],
            [] if old is None else [WHOLE],
        )
        with lake.transaction(table, [new_record], old=had, folders=folders, message=message, extra=text):
            fit(lake, table, change.rows)
            # A batch that was applied before changes nothing, and still moves the feed's position on.
            if has_changed:
                lake.connection.execute(f"DELETE FROM {table.sql} WHERE {results.condition}")
                lake.connection.execute(f"INSERT INTO {table.sql} BY NAME SELECT * FROM {quote(change.rows)}")
        commit = lake.last_commit(table, [new_record], [WHOLE] if has_changed else [])
    return RowChangeResult(
        commit,
        results.additions[0] - results.replacements,
        results.replacements,
        results.removals[0] - results.replacements,
    )


def _record(
    change: RowChange, old: PartitionRecord | None, version: str, sums: tuple[int, ...], run_id: str
) -> PartitionRecord:
    record_before = {} if old is None else json.loads(old.record)
    position = change.position if change.position is not None else record_before.get(_POSITION)
    record = json.dumps({**record_before, _SUMS: sums, **({} if position is None else {_POSITION: position})})
    now = clock.now()
    committed_at = old.committed_at if old is not None and old.data_version == version else now
    return PartitionRecord(WHOLE, version, sums[0], committed_at, now, run_id, record)


@dataclass(frozen=True)
class _Effect:
    """What a change meets: which rows go, and the sums of those that go and of those that come."""

    condition: str
    removals: tuple[int, ...]
    additions: tuple[int, ...]
    replacements: int


def _effect(lake: Lake, old_rows: str, change: RowChange, types: dict[str, str], of: str) -> _Effect:
    execute = lake.connection.execute
    same = _equals_any(lake, change.rows, change.identity)
    deletion = "false" if change.deletes is None else _equals_any(lake, change.deletes, change.delete_by)
    *removals, replacements = execute(
        f"SELECT {content_sums(of)}, count(*) FILTER ({same}) FROM {with_content(types, old_rows, of)} WHERE {same} OR {deletion}"
    ).fetchall()[0]
    put = _sums_of(lake, quote(change.rows), types, of)
    return _Effect(f"{same} OR {deletion}", tuple(map(int, removals)), put, int(replacements))


def _equals_any(lake: Lake, rows: str, columns: Sequence[str]) -> str:
    """The condition that a stored row equals one of some rows in some columns."""
    with_nul = columns_with_nul(lake.connection, quote(rows), columns)
    own = ", ".join(comparison(quote(name), to=name, with_nul=with_nul) for name in columns)
    theirs = ", ".join(map(quote, columns))
    if len(columns) > 1:
        own, theirs = f"({own})", f"({theirs})"
    return f"{own} IN (SELECT {theirs} FROM {quote(rows)})"


def _stored_sums(lake: Lake, old_rows: str, old: PartitionRecord, types: dict[str, str], of: str) -> tuple[int, ...]:
    """The sums of what is stored: written down by the change before, or else added up once."""
    recorded_sums: Any = json.loads(old.record).get(_SUMS)
    if recorded_sums is not None and data_version(types, recorded_sums, of) == old.data_version:
        return tuple(recorded_sums)
    return _sums_of(lake, old_rows, types, of)


def _sums_of(lake: Lake, rows: str, types: dict[str, str], of: str) -> tuple[int, ...]:
    return tuple(
        map(
            int,
            lake.connection.execute(f"SELECT {content_sums(of)} FROM {with_content(types, rows, of)}").fetchall()[0],
        )
    )
