"""A batch of row-level changes in the step of a group: staged and validated as rows, stored in one commit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from fti_assets.core.names import PARTITION, WHOLE
from fti_assets.core.sql import quote
from fti_assets.core.times import Partition
from fti_assets.core.types import SIDES
from fti_assets.errors import DataError, DeclarationError, count_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.changes import ChangeFeed, Changes, FeedPosition, net_changes
from fti_assets.features.rows.deletes import staged_deletes
from fti_assets.features.rows.frames.relations import has_no_columns, relation_of
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.rename import rename_columns, renamed_names
from fti_assets.features.rows.staging import StagedRows, stage
from fti_assets.features.rows.stored_types import storage_of_iso_text
from fti_assets.features.uniqueness import comparable, count_clashes, with_duplicates_in_table
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.files.current_files import refuse_damaged_files
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.row_changes import RowChange, RowChangeResult, change_rows, feed_position


@dataclass(frozen=True)
class StagedChanges:
    """Changes whose rows are staged and judged.

    Attributes:
        staged_rows: the rows to be put.
        deletes: a temporary table of what to delete, or None.
        delete_by: its columns: the group's keys, or its keys and times.
        position: where the feed goes on.
        appends: whether the rows must be new.
    """

    staged_rows: StagedRows
    deletes: str | None
    delete_by: tuple[str, ...]
    position: str | None
    appends: bool


def refuse_partitioned(group: FeatureGroup) -> None:
    """Changes go to a group without partitions: a partition's run gives all of its rows.

    Raises:
        DeclarationError: the group has partitions.
    """
    if group.partitions_def is not None:
        raise DeclarationError(
            f"{group.table_name} gave row-level changes but has partitions, whose runs replace all of their rows: return every row "
            "of the partition, or leave out partitions_def; a source of appended rows can be partitioned by their arrival"
        )


def stage_changes(lake: Lake, group: FeatureGroup, layout: Layout, changes: Changes | ChangeFeed) -> StagedChanges:
    """Validate a batch and put its rows and deletions into temporary tables.

    Raises:
        DeclarationError: the group has partitions.
        DataError: the batch says both upserts and appends, lacks a column, or has deletes of other types than the stored ones.
    """
    refuse_partitioned(group)
    rows, deletes, position, appends = _resolve(lake, group, layout, changes)
    of_rows = of_deletes = layout
    if isinstance(changes, ChangeFeed):  # its rows were renamed before their operations were read
        of_rows = of_deletes = replace(layout, rename={})
    if rows is None:
        rows, of_rows = _no_rows(lake, group, layout), replace(layout, rename={})
    staged_rows = stage(lake.connection, rows, of_rows, [Partition(WHOLE)])
    table: str | None = None
    by: tuple[str, ...] = ()
    if deletes is not None:
        has_rows, types = _has_rows(lake, group), lake.staged_types(staged_rows.table)
        table, by = staged_deletes(
            lake.connection,
            deletes,
            of_deletes,
            keys=group.keys,
            identity=group.identity,
            types=types | lake.types(group.table) if has_rows else types,
            has_rows=has_rows,
        )
    if appends:
        same = f"to append with the same {', '.join(group.identity)} as stored rows of {group.table_name}"
        staged_rows = with_duplicates_in_table(
            staged_rows, _stored_already(lake, group, staged_rows.table, table, by), same
        )
    return StagedChanges(staged_rows, table, by, position, appends)


def store_changes(
    lake: Lake,
    group: FeatureGroup,
    batch: StagedChanges,
    since: FeedPosition,
    *,
    asset: str,
    run_id: str,
    addable: Collection[str],
) -> RowChangeResult:
    """Store a batch in one commit, unless another run moved the feed's position meanwhile.

    Raises:
        DataError: another run stored a batch meanwhile.
        SchemaChangedError: the rows have other columns than the stored ones, beyond those in ``addable``, or other types.
        StoreError: the commit failed; the old rows are still there.
    """

    def check() -> None:
        position = feed_position(lake, group.table)
        # Under the writers' lock: of two runs from one position the second would put its older rows over the newer ones.
        if position != since.value:
            raise DataError(
                f"another run moved {group.table_name} from position {since.value!r} of its change feed to {position!r} meanwhile; "
                "nothing of this run was stored: run it again"
            )
        rows = batch.staged_rows.table
        if batch.deletes is not None and _has_rows(lake, group):
            types, delete_types = lake.types(group.table), lake.staged_types(batch.deletes)
            if any(types.get(name, delete_types[name]) != delete_types[name] for name in batch.delete_by):
                raise DataError(
                    f"another run stored the first rows of {group.table_name} meanwhile, whose keys have other types than the deletes; "
                    "nothing of this run was stored: run it again"
                )
        clashes = _stored_already(lake, group, rows, batch.deletes, batch.delete_by) if batch.appends else None
        if number := count_clashes(clashes):
            raise DataError(
                f"another run stored {count_of(number, 'row')} to append to {group.table_name} meanwhile; nothing of this run was stored"
            )

    change = RowChange(batch.staged_rows.table, group.identity, batch.deletes, batch.delete_by, batch.position)
    return change_rows(lake, group.table, change, asset=asset, run_id=run_id, check=check, addable=addable)


def _resolve(
    lake: Lake, group: FeatureGroup, layout: Layout, changes: Changes | ChangeFeed
) -> tuple[Any, Any, str | None, bool]:
    """The rows to put, what to delete, the feed's position, and whether the rows must be new."""
    if isinstance(changes, ChangeFeed):
        if has_no_columns(changes.rows):
            return None, None, changes.position, False
        rows = rename_columns(
            relation_of(lake.connection, changes.rows, what=layout.what), group.rename, what=layout.what
        )
        rows = _with_instants(lake, rows, group)
        operation, order = renamed_names([changes.operation, changes.order], group.rename)
        net = net_changes(
            lake.connection,
            rows,
            replace(changes, operation=operation, order=order),
            keys=group.keys,
            identity=group.identity,
            extras=[*group.identity, *(group.columns or ())],
            what=group.table_name,
        )
        return net.upserts, net.deletes, net.position, False
    if changes.upserts is not None and changes.appends is not None:
        raise DataError(
            f"{group.table_name} gave both upserts and appends in one batch: give one of them; an upsert of new rows appends them"
        )
    appends = changes.appends is not None
    rows, deletes = (
        None if frame is not None and has_no_columns(frame) else frame
        for frame in (changes.appends if appends else changes.upserts, changes.deletes)
    )
    return rows, deletes, changes.position, appends


def _no_rows(lake: Lake, group: FeatureGroup, layout: Layout) -> duckdb.DuckDBPyRelation:
    """No rows, with the stored columns; before any are stored, with those that the group declares, of any type until rows come."""
    if lake.has(group.table):
        return lake.rows(group.table).limit(0)
    names = [
        *group.identity,
        *group.time_columns,
        *layout.types,
        *layout.stored_types,
        *filter(None, [layout.keep_last_by]),
    ]
    items = []
    for name in dict.fromkeys(names):
        column_type = layout.types.get(name)
        kind = "TIMESTAMP" if name in layout.times else "VARCHAR" if column_type is None else SIDES[column_type].sql
        items.append(f"NULL::{layout.stored_types.get(name, kind)} AS {quote(name)}")
    return lake.connection.sql(f"SELECT {', '.join(items)} WHERE false")


def _has_rows(lake: Lake, group: FeatureGroup) -> bool:
    return any(record.rows for record in lake.ledger(group.table).values())


def _with_instants(lake: Lake, rows: duckdb.DuckDBPyRelation, group: FeatureGroup) -> duckdb.DuckDBPyRelation:
    """Rows with the group's times as instants where they came as ISO text, of which two may write one instant."""
    kinds = dict(zip(rows.columns, map(str, rows.types), strict=True))
    texts = [name for name in group.time_columns if kinds.get(name) == "VARCHAR"]
    if not texts:
        return rows
    read = ", ".join(f"{storage_of_iso_text(lake.connection, name).sql} AS {quote(name)}" for name in texts)
    return lake.connection.sql(f"SELECT * REPLACE ({read}) FROM {relation_name(rows)}")


def _stored_already(
    lake: Lake, group: FeatureGroup, rows: str, deletes: str | None, by: Sequence[str]
) -> duckdb.DuckDBPyRelation | None:
    """Rows to append that are stored already and not deleted before; None where that cannot be."""
    if not (_has_rows(lake, group) and comparable(lake, group, rows)):
        return None
    refuse_damaged_files(lake, group.table)
    same = " AND ".join(f"old.{quote(name)} = new.{quote(name)}" for name in group.identity)
    where = ""
    if deletes is not None:
        same_key = " AND ".join(f"gone.{quote(name)} = old.{quote(name)}" for name in by)
        where = f" WHERE NOT EXISTS (FROM {quote(deletes)} gone WHERE {same_key})"
    old_rows = f"(SELECT * FROM {group.table.sql} old{where})"
    return lake.connection.sql(
        f"SELECT new.* EXCLUDE ({PARTITION}) FROM {quote(rows)} new SEMI JOIN {old_rows} old ON {same}"
    )
