"""What the partitions of an environment rest on, and main has changed since the environment was made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from fti_assets.core.names import TableName
from fti_assets.environments.opening import OpenEnvironment
from fti_assets.errors import StoreError, list_some
from fti_assets.orchestration.declaration import declarations_of
from fti_assets.plan.reads import partitions_read, reads_of, tables_of
from fti_assets.stores.lake.branches.comparing import PartitionChange
from fti_assets.stores.lake.branches.contracts import contract_differences
from fti_assets.stores.lake.branches.notes import merge_notes


def changed_below(env: OpenEnvironment, moves: Sequence[PartitionChange], definitions: dg.Definitions) -> Iterator[str]:
    """What partitions rest on, and main has in other rows or under another contract than the environment had them.

    Raises:
        StoreError: a table is not declared.
    """
    declarations = declarations_of(definitions)
    by_table = tables_of(declarations)
    by_key = {one.key: one for one in by_table.values()}
    by_reader: dict[TableName, list[str]] = {}
    for move in moves:
        by_reader.setdefault(move.table, []).append(move.partition)
    tables = dict.fromkeys(by_reader)
    for table, keys in by_reader.items():
        declaration = by_table.get(table)
        if declaration is None:
            raise StoreError(
                f"{table.full_name}, of which the environment {env.about.name!r} has {len(keys)} partitions, is not declared in "
                f"these definitions, "
                "so nobody can say what they rest on: merge with the code that made them, -f FILE or -m MODULE. Nothing was merged"
            )
        for source in reads_of(declaration):
            below = by_key.get(source.key)
            if below is None:
                continue
            tables[below.table] = None
            changed = _moved_in_main(env, below.table)
            if read := partitions_read(source, keys, declaration.partitions_def, changed):
                yield f"{below.table.full_name} {list_some(read)}, which {table.full_name} rests on, has other rows"
    for table in tables:
        if names := contract_differences(env.main, env.own, env.about, table):
            yield f"{table.full_name} has another contract, in {list_some(names)}, than the rows of the environment were made under"


def _moved_in_main(env: OpenEnvironment, table: TableName) -> set[str]:
    """The partitions that main has in rows that are neither those of the beginning nor the environment's."""
    base = _versions(env.own.ledger(table, snapshot=env.about.snapshot))
    own, mains = _versions(env.own.ledger(table)), _versions(env.main.ledger(table))
    merged = merge_notes(env.main.store, env.about.name).versions.get(table.full_name, {})
    return {
        key
        for key in {*base, *mains}
        if mains.get(key) not in (base.get(key), own.get(key), merged.get(key, base.get(key)))
    }


def _versions(ledger: Any) -> dict[str, str]:
    return {key: record.data_version for key, record in ledger.items()}
