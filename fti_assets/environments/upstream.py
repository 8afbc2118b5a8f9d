"""What the partitions of an environment rest on, and main has changed since the environment was made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import PartitionRecord, TableName
from fti_assets.environments.opening import OpenEnvironment
from fti_assets.errors import StoreError, list_some
from fti_assets.orchestration.declaration import declarations_of
from fti_assets.plan.reads import partitions_read, reads_of, tables_of
from fti_assets.stores.lake.branches.comparing import PartitionChange
from fti_assets.stores.lake.branches.contracts import contract_differences
from fti_assets.stores.lake.branches.notes import merge_notes


def changed_below(
    env: OpenEnvironment,
    changes: Sequence[PartitionChange],
    builds: Sequence[ModelManifest],
    definitions: dg.Definitions,
) -> Iterator[str]:
    """What partitions and builds rest on, and main has in other rows or under another contract than the environment had them.

    What they rest on and the environment has made itself, and merged before, counts with what that rests on.

    Args:
        env: the environment.
        changes: the partitions that were run there.
        builds: the builds that main gets.
        definitions: the system's.

    Raises:
        StoreError: a table is not declared.
    """
    by_table = tables_of(declarations_of(definitions))
    by_key = {one.key: one for one in by_table.values()}
    made, waiting, tables = (
        _by_table(changes),
        _by_table([one for one in changes if not one.is_in_main]),
        dict[TableName, None](),
    )
    for build in builds:
        table, key = build.dataset.table, build.dataset.partition
        if key in _moved_in_main(env, table):
            by = written_by(env.main.ledger(table).get(key))
            yield f"{table.full_name} {key!r}, which the build {build.reference} of model {build.model!r} rests on, has other rows{by}"
        waiting.setdefault(table, set()).add(key)
    visited: dict[TableName, set[str]] = {}
    while waiting:
        table, keys = waiting.popitem()
        keys -= visited.setdefault(table, set())
        visited[table] |= keys
        declaration = by_table.get(table)
        if declaration is None:
            raise StoreError(
                f"{table.full_name}, of which the environment {env.about.name!r} has {len(keys)} partitions, is not declared in "
                f"these definitions, "
                "so it is unknown what they rest on: merge with the code that made them, -f FILE or -m MODULE. Nothing was merged"
            )
        tables[table] = None
        for source in reads_of(declaration):
            below = by_key.get(source.key)
            if below is None or not keys:
                continue
            tables[below.table] = None
            changed = _moved_in_main(env, below.table)
            if read := partitions_read(source, sorted(keys), declaration.partitions_def, changed):
                by = written_by(env.main.ledger(below.table).get(read[0]))
                yield f"{below.table.full_name} {list_some(read)}, which {table.full_name} rests on, has other rows{by}"
            own = partitions_read(source, sorted(keys), declaration.partitions_def, made.get(below.table, ()))
            if more := {*own} - visited.get(below.table, set()):
                waiting.setdefault(below.table, set()).update(more)
    for table in tables:
        if names := contract_differences(env.main, env.own, env.about, table):
            yield f"{table.full_name} has another contract, in {list_some(names)}, than the rows of the environment were made under"


def written_by(record: PartitionRecord | None) -> str:
    """Which run of main has written a partition, as a refusal goes on to say; empty of none."""
    if record is None:
        return ""
    run = f"run {record.run_id}" if record.run_id else "a merge or a command"
    return f" (written by {run} at {record.committed_at:%Y-%m-%d %H:%M} UTC)"


def _by_table(changes: Sequence[PartitionChange]) -> dict[TableName, set[str]]:
    results: dict[TableName, set[str]] = {}
    for one in changes:
        results.setdefault(one.table, set()).add(one.partition)
    return results


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
