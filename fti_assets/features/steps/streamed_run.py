"""A run over partitions of a group with a stream, whose service may add rows to them meanwhile: none of these is lost.

A run replaces its partitions by the rows that it gives. Two kinds of stored rows stay, unless the run gave a row of their keys and
times: those that the service flushed after the run began, and in a partition that is still open those that became available after all
that the run gave, since an archive is behind its stream.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from fti_assets.core import clock
from fti_assets.core.names import PARTITION, Commit, PartitionRecord
from fti_assets.core.sql import literal, quote, temporary_name
from fti_assets.core.times import Partition
from fti_assets.errors import DataError, StoreError, list_some, one_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.stored_partitions import partition_records
from fti_assets.stores.duckdb.nul_texts import equal_columns
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake

_ATTEMPTS = 5


@dataclass(frozen=True)
class StreamedCommit:
    """What a run stored.

    Args:
        commit: the partitions as they are now.
        kept: how many rows of the stream stayed beside those that the run gave.
    """

    commit: Commit
    kept: int


class _ChangedMeanwhile(Exception):
    """The service has flushed between the reading of what stays and the commit."""


def refuse_more_columns(group: FeatureGroup, columns: Collection[str]) -> None:
    """Raise a DataError if a run gave columns that no event has: the rows of run and stream would differ."""
    more = [name for name in columns if name not in (group.columns or {}) and name != PARTITION]
    if group.stream is not None and more:
        raise DataError(
            f"{group.table_name} gave {one_of(more)}, which its schema does not declare: events have the columns of the schema alone, "
            f"{list_some(group.columns or ())}. Leave it out, or declare it"
        )


def replace_streamed(
    lake: Lake,
    group: FeatureGroup,
    staging: str,
    partitions: Sequence[Partition],
    *,
    began: int,
    check: Callable[[], None],
    writer: Mapping[str, str],
    addable: Collection[str],
    records: Mapping[str, str] | None = None,
) -> StreamedCommit:
    """Replace partitions by staged rows and what of the stream stays beside them, in one transaction.

    Args:
        lake: the open lake.
        group: a group with a stream.
        staging: the temporary table of the rows that the run gave.
        partitions: those that are run.
        began: the snapshot at which the run began to read.
        check: run first under the writers' lock.
        writer: the asset and the run.
        addable: columns that the stored table gets if it lacks them.
        records: the ledger's JSON of the partitions, by default how long they are.

    Raises:
        StoreError: the commit failed, or the service flushed again and again meanwhile; nothing was changed.
    """
    keys = [partition.key for partition in partitions]
    for _ in range(_ATTEMPTS):
        with lake.one_snapshot():
            before = _versions(lake.ledger(group.table, partitions=keys))
            table, kept = _with_streamed(lake, group, staging, partitions, began)

        def unchanged(before: Mapping[str, str] = before) -> None:
            check()
            if _versions(lake.ledger(group.table, partitions=keys)) != before:
                raise _ChangedMeanwhile

        try:
            commit = lake.replace(
                group.table,
                table,
                keys,
                check=unchanged,
                asset=writer["asset"],
                run_id=writer["run_id"],
                records=records or partition_records(group, keys),
                addable=addable,
            )
        except _ChangedMeanwhile:
            continue
        return StreamedCommit(commit, kept)
    raise StoreError(
        f"{group.table_name} {list_some(keys)} was written by its service {_ATTEMPTS} times meanwhile; nothing of this run was stored: "
        "run it again, or have the service flush less often, --flush-every"
    )


def _versions(ledger: Mapping[str, PartitionRecord]) -> dict[str, str]:
    return {key: record.data_version for key, record in ledger.items()}


def _with_streamed(
    lake: Lake, group: FeatureGroup, staging: str, partitions: Sequence[Partition], began: int
) -> tuple[str, int]:
    """A temporary table of the staged rows and the stored ones that stay, and how many these are."""
    if not lake.types(group.table):
        return staging, 0
    now, ledger = clock.now(), lake.ledger(group.table)
    earlier = lake.ledger(group.table, snapshot=began)
    changed = [p.key for p in partitions if p.key in ledger and ledger[p.key] != earlier.get(p.key)]
    is_open = [p.key for p in partitions if p.key in ledger and p.end is not None and p.end > now]
    if not changed and not is_open:
        return staging, 0
    execute, available = lake.connection.execute, quote(str(group.available_at))
    names = {name: name for name in group.identity}
    table = temporary_name("streamed")
    execute(f"CREATE TEMP TABLE {quote(table)} AS FROM {quote(staging)}")
    stored = relation_name(
        lake.rows(group.table, partitions=[*dict.fromkeys([*changed, *is_open])], with_partition=True)
    )
    is_equal = equal_columns(lake.connection, quote(staging), names, rows="given", target="stored")
    stays = []
    if changed:
        partitions_changed = f"stored.{PARTITION} IN ({', '.join(map(literal, changed))})"
        old = "false"
        if any(key in earlier for key in changed):
            rows = relation_name(
                lake.rows(
                    group.table,
                    snapshot=began,
                    partitions=[key for key in changed if key in earlier],
                    with_partition=True,
                )
            )
            same = " AND ".join(f"old.{quote(name)} = stored.{quote(name)}" for name in names)
            old = f"EXISTS (SELECT 1 FROM {rows} old WHERE {same})"
        stays.append(f"({partitions_changed} AND NOT {old})")
    for key in is_open:
        newest = f"(SELECT max({available}) FROM {quote(staging)} WHERE {PARTITION} = {literal(key)})"
        stays.append(f"(stored.{PARTITION} = {literal(key)} AND (stored.{available} > {newest} OR {newest} IS NULL))")
    [(count,)] = execute(
        f"INSERT INTO {quote(table)} BY NAME SELECT stored.* FROM {stored} stored WHERE ({' OR '.join(stays)}) "
        f"AND NOT EXISTS (SELECT 1 FROM {quote(staging)} given WHERE {is_equal})"
    ).fetchall()
    return table, int(count)
