"""The partitions of a branch moved into main: all tables in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from fti_assets.core.names import DATASETS, PartitionRecord, TableName, in_partitions
from fti_assets.core.sql import quote, temporary_name
from fti_assets.errors import DamagedError, StoreError, list_some
from fti_assets.stores.lake.branches.branch import Branch
from fti_assets.stores.lake.branches.comparing import PartitionChange
from fti_assets.stores.lake.branches.contracts import contract_to_state
from fti_assets.stores.lake.lake import Lake, TableWrite
from fti_assets.stores.lake.reader import LakeReader
from fti_assets.stores.lake.tables.schema import fit, refuse_other_schema, settle
from fti_assets.stores.lake.tables.staged_contents import contents_of

_OTHER = "fti_branch"
_SNAPSHOT = "snapshot"


@dataclass(frozen=True)
class _Move:
    """What goes into one table of main: rows that are staged, and records of the ledger."""

    table: TableName
    staging: str | None
    rows: Sequence[str]
    records: Sequence[PartitionRecord]
    old: Sequence[str]


def move_partitions(
    main: Lake, branch: LakeReader, about: Branch, changes: Sequence[PartitionChange], *, message: str
) -> int:
    """Give main the rows and the ledger's records of some partitions of a branch, all in one transaction or none.

    The caller holds the writers' lock of main, and found no conflict under it.

    Args:
        main: the open lake that is written.
        branch: the open branch.
        about: what the branch says of itself.
        changes: the partitions.
        message: the commit's message.

    Returns:
        The snapshot of main that has them.

    Raises:
        DamagedError: a file of the branch is gone or damaged.
        StoreError: a dataset rests on rows that the branch has no more, or the commit failed; nothing was changed.
    """
    if not changes:
        return main.snapshot()
    by_table: dict[TableName, list[PartitionChange]] = {}
    for change in changes:
        by_table.setdefault(change.table, []).append(change)
    with _attached(main, branch):
        with main.one_snapshot():
            following = main.snapshot() + 1
            moves = [_staged(main, branch, about, table, its, following) for table, its in by_table.items()]
        writes = [TableWrite(move.table, move.records, move.old, move.rows) for move in moves]
        for table in by_table:
            if contract := contract_to_state(main, branch, about, table):
                main.state_contract(table, contract)
        extra = {"asset": ", ".join(table.full_name for table in by_table), "run_id": "", "environment": about.name}
        with main.transaction_over(writes, message=message, extra=extra):
            for move in moves:
                _replace_rows(main, move)
    number = main.last_commit(moves[0].table, (), ()).snapshot
    if number != following:  # somebody else has committed in between, without the lock
        raise StoreError(
            f"the environment {about.name!r} was merged into {main.store.root} as snapshot {number} and not {following}, to which its "
            "datasets are pinned: materialize them again"
        )
    return number


def remapped_record(
    record: PartitionRecord, table: TableName, branch: LakeReader, about: Branch, snapshot: int
) -> PartitionRecord:
    """A ledger's record as main keeps it: what it says of the branch's snapshots says the one of main that has the same rows.

    Raises:
        StoreError: the branch has no longer the rows that it says it was made of.
    """
    content = json.loads(record.record)
    nested = [number for number in _numbers_within(content) if number >= about.first]
    if not nested:
        return record
    pinned = content.get(_SNAPSHOT)
    if nested != [pinned] or table.schema != DATASETS:
        raise StoreError(
            f"{table.full_name} {record.partition} names snapshots of the environment that main does not have: materialize it in "
            f"main instead"
        )
    if changed_tables := tables_changed_since(branch, content.get("upstream", {}), int(pinned)):
        raise StoreError(
            f"{table.full_name} {record.partition} was made of rows that the environment {about.name!r} has no more: "
            f"{list_some(changed_tables)} was "
            "run again after it. Materialize it again there, then merge; nothing was changed"
        )
    return replace(record, record=json.dumps({**content, _SNAPSHOT: snapshot}))


def tables_changed_since(branch: LakeReader, upstream: Mapping[str, str], snapshot: int) -> list[str]:
    """Those of the tables that a dataset was made of whose rows are not those of a snapshot any more."""
    names = {table.name: table for table in branch.tables() if table.schema != DATASETS}
    return [
        name
        for name in upstream
        if name in names and _versions(branch, names[name], None) != _versions(branch, names[name], snapshot)
    ]


def _versions(lake: LakeReader, table: TableName, snapshot: int | None) -> dict[str, str]:
    return {key: record.data_version for key, record in lake.ledger(table, snapshot=snapshot).items()}


def _numbers_within(content: Any) -> Iterator[int]:
    """The snapshots that a record names, at any depth."""
    if isinstance(content, dict):
        for name, value in content.items():
            if name == _SNAPSHOT and isinstance(value, int):
                yield value
            else:
                yield from _numbers_within(value)
    elif isinstance(content, list):
        for one in content:
            yield from _numbers_within(one)


def _staged(
    main: Lake, branch: LakeReader, about: Branch, table: TableName, changes: Sequence[PartitionChange], snapshot: int
) -> _Move:
    keys = [change.partition for change in changes if change.moves_rows]
    records = [remapped_record(change.own, table, branch, about, snapshot) for change in changes]
    if branch.stream_positions(table) != main.stream_positions(table):
        raise StoreError(
            f"{table.full_name} has come to another place in its stream in main than in the environment {about.name!r}: materialize it in "
            "main instead; nothing was changed"
        )
    old = list(main.ledger(table, partitions=[change.partition for change in changes]))
    if not keys:
        return _Move(table, None, (), records, old)
    branch.look_at_files(table, keys, snapshot=branch.snapshot(), whole=True)
    staging = temporary_name("merged")
    main.connection.execute(
        f"CREATE TEMP TABLE {quote(staging)} AS FROM {quote(_OTHER, table.schema, table.name)} WHERE {in_partitions(keys)}"
    )
    settle(main, table, staging)
    refuse_other_schema(main, table, staging, list(main.staged_types(staging)))
    contents = contents_of(main, staging, keys)
    for number, record in enumerate(records):
        if record.partition in contents:
            version, rows = contents[record.partition]
            if rows != record.rows:
                raise DamagedError(
                    f"{table.full_name} {record.partition} of the environment {about.name!r} holds {rows} rows where {record.rows} were "
                    "committed: materialize it again there; nothing was changed"
                )
            # Another one only where the table has got columns since: the rows are then stored with them.
            records[number] = replace(record, data_version=version)
    return _Move(table, staging, keys, records, old)


def _replace_rows(main: Lake, move: _Move) -> None:
    if move.staging is None:
        return
    fit(main, move.table, move.staging)
    execute = main.connection.execute
    if old := [key for key in move.rows if key in move.old]:
        execute(f"DELETE FROM {move.table.sql} WHERE {in_partitions(old)}")
    execute(f"INSERT INTO {move.table.sql} BY NAME SELECT * FROM {quote(move.staging)}")


@contextmanager
def _attached(main: Lake, branch: LakeReader) -> Iterator[None]:
    """The branch beside main on main's connection."""
    execute = main.connection.execute
    try:
        branch.store.attach_beside(main.connection, _OTHER)
    except duckdb.Error as error:
        raise StoreError(
            f"the environment at {branch.store.root} cannot be read: {error}. Nothing was changed"
        ) from error
    try:
        yield
    finally:
        execute(f"DETACH {quote(_OTHER)}")
