"""What the step of a feature group does: read, call, validate, store, load."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import dagster as dg
import duckdb

from fti_assets.core import clock
from fti_assets.core.names import Commit
from fti_assets.core.rules import Verdict
from fti_assets.core.sql import literal, quote, timestamp
from fti_assets.core.times import Partition
from fti_assets.errors import DataError, count_of, list_some
from fti_assets.features.events.checks import left_to_service
from fti_assets.features.external.rows import read_external
from fti_assets.features.files.readable import file_errors
from fti_assets.features.groups.columns import group_columns, stored_schema
from fti_assets.features.groups.freshness import delays, fresh, future_sql, is_backfill, was_in_time
from fti_assets.features.groups.group import IN_TIME, NOT_FUTURE, FeatureGroup, judges_time, layout_of
from fti_assets.features.online.joined import joined_whole
from fti_assets.features.online.load import load_online
from fti_assets.features.publish import Outcome, Part, publish_rows
from fti_assets.features.published.contract import state_contract
from fti_assets.features.rows.changes import ChangeFeed, Changes, FeedPosition
from fti_assets.features.rows.duplicates import KeepLast
from fti_assets.features.rows.frames.relations import naive_times
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import StagedRows, stage
from fti_assets.features.steps.change_run import StagedChanges, stage_changes, store_changes
from fti_assets.features.steps.inputs import input_table
from fti_assets.features.steps.page import lineage_of_run, statistics_metadata
from fti_assets.features.steps.spark_inputs import as_relation, spark_arguments
from fti_assets.features.steps.stream_check import StreamCheck, check_stream_rows
from fti_assets.features.steps.streamed_run import refuse_more_columns, replace_streamed
from fti_assets.features.stored_partitions import partition_records, refuse_other_partitions
from fti_assets.features.uniqueness import comparable, count_clashes, with_duplicates_in_table
from fti_assets.features.validation.schema import decimal_types, vector_types
from fti_assets.orchestration.engine import engine_metadata
from fti_assets.orchestration.partitions import is_timed, running_partitions
from fti_assets.orchestration.resources import ONLINE_KEYS, Stores
from fti_assets.orchestration.signature import call_function
from fti_assets.stores.duckdb.relations import recording_relations, relation_name
from fti_assets.stores.lake.files.damage import without_unreadable
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.row_changes import feed_position
from fti_assets.stores.lake.tables.placeholders import has_no_value

ALL_PARTITIONS = (
    'take them all, by fti.read_files(context, "landing/{partition}.parquet") or in a loop over context.partition_keys; or have '
    "each run by itself, backfill_policy=dg.BackfillPolicy.multi_run(1)"
)
"""What a feature function of several partitions does instead of reading ``context.partition_key``."""

_warned_groups: set[str] = set()


def run_feature_group(
    group: FeatureGroup, context: dg.AssetExecutionContext, stores: Stores, arguments: Mapping[str, Any]
) -> Iterator[Any]:
    """Materialize the partitions that are run, or withhold them all if a blocking rule is broken."""
    partitions = running_partitions(context)
    with (
        stores.offline_store().connect() as lake,
        stores.engine(group.engine, lake, what=group.table_name, log=context.log.info) as engine,
    ):
        read_external(lake, group.inputs.values())
        state_contract(lake, group)
        with lake.one_snapshot():
            refuse_other_partitions(lake, group)
            # One snapshot: a position and types of different commits would fit each other by chance.
            since, began = FeedPosition(feed_position(lake, group.table)), lake.snapshot()
            layout = _with_stored_types(lake, group)
            tables = {name: input_table(lake, source, group, partitions) for name, source in group.inputs.items()}
        parameters: dict[str, Any] = {**arguments, **tables, **dict.fromkeys(group.position_parameters, since)}
        if group.engine == "spark":
            parameters |= spark_arguments(lake, group, partitions, tables, engine, snapshot=began)
        with file_errors():
            with recording_relations() as relations:
                result = call_function(
                    group.function, parameters, context, what=group.table_name, instead=ALL_PARTITIONS
                )
            result = as_relation(group, result, engine)
            batch = _stage(lake, group, layout, result, partitions)
        staged_rows = batch.staged_rows
        refuse_more_columns(group, lake.staged_types(staged_rows.table))
        verdicts = [*staged_rows.verdicts, *_in_time(lake, group, staged_rows, partitions)]
        verdicts += _not_future(lake, group, staged_rows)
        compared = None
        if group.stream is not None:
            compared = check_stream_rows(lake, group, staged_rows, partitions, snapshot=began)
            verdicts += [compared.verdict, *left_to_service()]
            staged_rows = replace(staged_rows, verdicts=[*staged_rows.verdicts, compared.verdict])
        _warn_naive_times_once(context, group, result)
        _log_casts(context, group, staged_rows)
        # Before anything is stored: a key that the online store cannot hold is then no half-done run.
        if group.online and staged_rows.is_accepted:
            joined_whole(group, lake.staged_types(staged_rows.table))

        def store_rows() -> Outcome:
            writer = {"asset": context.assets_def.key.to_user_string(), "run_id": context.run.run_id}
            commit, details = _store(lake, group, batch, since, partitions, writer, began, compared)
            metadata: dict[str, Any] = {
                **stored_schema(group_columns(group), commit.types),
                **lineage_of_run(lake, group, result, relations),
                **engine_metadata(engine),
                **details,
            }
            if isinstance(group.duplicates, KeepLast):
                metadata["duplicates_dropped"] = staged_rows.duplicates_dropped
            if group.online:
                metadata[ONLINE_KEYS] = load_online(lake, stores.online_store(), group)
            results = [*verdicts, *fresh(lake, group, partitions)]
            statistics, by_partition = statistics_metadata(lake, group, staged_rows, partitions, results)
            delay = group.serving_delay or timedelta(0)
            return Outcome(commit, metadata | statistics, results, delay, by_partition)

        part = Part(staged_rows, group.table_name, f"{context.run.run_id}.jsonl")
        yield from publish_rows(context, lake, group.table, [part], verdicts, store=store_rows)


@dataclass(frozen=True)
class _Partitions:
    """Whole partitions, staged, and stored partitions whose files cannot be read, with which they could not be compared."""

    staged_rows: StagedRows
    unreadable: Sequence[str] = ()


def _with_stored_types(lake: Lake, group: FeatureGroup) -> Layout:
    """The group's layout with the types of its table; a decimal's stated digits hold as long as no value is stored in others."""
    layout, stored_types, table = layout_of(group), lake.types(group.table), group.table
    decimals = decimal_types(layout.schema) | vector_types(layout.schema)

    def is_placeholder(column: str) -> bool:
        return column in stored_types and column not in decimals and has_no_value(lake, table, column)

    fixed = {column for column in decimals.keys() & stored_types.keys() if not has_no_value(lake, table, column)}
    types = stored_types | {column: kind for column, kind in decimals.items() if column not in fixed}
    return replace(layout, stored_types=types, is_placeholder=is_placeholder)


def _stage(
    lake: Lake, group: FeatureGroup, layout: Layout, result: Any, partitions: Sequence[Partition]
) -> _Partitions | StagedChanges:
    if isinstance(result, Changes | ChangeFeed):
        return stage_changes(lake, group, layout, result)
    keys = [partition.key for partition in partitions]
    staged_rows = stage(lake.connection, result, layout, partitions)
    if _has_partition_by_time(group):
        return _Partitions(staged_rows)
    same = f"of {group.table_name} with the same {', '.join(group.identity)} as rows of other partitions"

    # A damaged file of another partition must not stand in the way of a run that mends one.
    def compare(unreadable: Sequence[str]) -> _Partitions:
        clashes = _clashes(lake, group, staged_rows, keys, unreadable)
        return _Partitions(with_duplicates_in_table(staged_rows, clashes, same), unreadable)

    return without_unreadable(lake, group.table, compare)


def _store(
    lake: Lake,
    group: FeatureGroup,
    batch: _Partitions | StagedChanges,
    since: FeedPosition,
    partitions: Sequence[Partition],
    writer: Mapping[str, str],
    began: int,
    compared: StreamCheck | None,
) -> tuple[Commit, dict[str, Any]]:
    """Commit what was staged, and what to say of it beside."""
    addable = _may_be_added(group, lake.staged_types(batch.staged_rows.table))
    if isinstance(batch, StagedChanges):
        result = store_changes(
            lake, group, batch, since, asset=writer["asset"], run_id=writer["run_id"], addable=addable
        )
        counts = {"added": result.added, "replaced": result.replaced, "deleted": result.deleted}
        position = feed_position(lake, group.table)
        return result.commit, {
            **{f"rows_{name}": number for name, number in counts.items()},
            **({} if position is None else {"feed_position": position}),
        }
    keys = [partition.key for partition in partitions]

    def check() -> None:
        # Under the writers' lock, where no other run can store between the check and the commit.
        _refuse_clashes(lake, group, batch.staged_rows, keys, batch.unreadable)

    if compared is not None:
        records = compared.added_to(partition_records(group, keys))
        streamed = replace_streamed(
            lake, group, batch.staged_rows.table, partitions, began=began, check=check, writer=writer, addable=addable,
            records=records,
        )  # fmt: skip
        return streamed.commit, {"rows_kept_of_stream": streamed.kept}
    commit = lake.replace(
        group.table,
        batch.staged_rows.table,
        keys,
        check=check,
        asset=writer["asset"],
        run_id=writer["run_id"],
        records=partition_records(group, keys),
        addable=addable,
    )
    return commit, {}


def _warn_naive_times_once(context: dg.AssetExecutionContext, group: FeatureGroup, result: Any) -> None:
    if group.table_name in _warned_groups:
        return
    frames = [result]
    if isinstance(result, Changes):
        frames = [frame for frame in (result.upserts, result.appends, result.deletes) if frame is not None]
    elif isinstance(result, ChangeFeed):
        frames = [result.rows]
    naive = dict.fromkeys(name for frame in frames for name in naive_times(frame))
    if naive:
        _warned_groups.add(group.table_name)
        context.log.info(f"{group.table_name}: times without a zone are taken as UTC: {list_some(naive)}")


def _may_be_added(group: FeatureGroup, columns: Iterable[str]) -> list[str]:
    """The columns that rows stored before may lack: no keys, no times, and none that the schema says is never null."""
    schema_columns = {} if group.schema is None else group.schema.columns
    never_null = {*layout_of(group).not_null, group.partition_by, group.tie_break}
    never_null |= {name for name, column in schema_columns.items() if not column.nullable}
    return [column for column in columns if column not in never_null]


def _log_casts(context: dg.AssetExecutionContext, group: FeatureGroup, staged_rows: StagedRows) -> None:
    """Tell of columns that are stored in another type than they came in, and of checks that held columns in memory."""
    if staged_rows.casts:
        context.log.info(f"{group.table_name}: {'; '.join(staged_rows.casts)}")
    if staged_rows.whole:
        context.log.info(
            f"{group.table_name}: {list_some(staged_rows.whole)} fetched whole, for checks or types that only Pandera can answer; a check "
            "of single values (pa.Check(..., element_wise=True)) is run in batches"
        )


def _clashes(
    lake: Lake, group: FeatureGroup, staged_rows: StagedRows, partitions: Sequence[str], unreadable: Sequence[str]
) -> duckdb.DuckDBPyRelation | None:
    """Staged rows whose keys and times are stored in a partition that is none of these and can be read; None where that cannot be."""
    if _has_partition_by_time(group) or not comparable(lake, group, staged_rows.table):
        return None
    elsewhere = lake.rows(group.table, with_partition=True, partitions=_readable(lake, group, unreadable)).filter(
        f"_partition NOT IN ({', '.join(literal(partition) for partition in partitions)})"
    )
    same = " AND ".join(f"others.{quote(name)} = staged.{quote(name)}" for name in group.identity)
    return lake.connection.sql(
        f"SELECT staged.* EXCLUDE (_partition) FROM {quote(staged_rows.table)} staged SEMI JOIN {relation_name(elsewhere)} others ON {same}"
    )


def _has_partition_by_time(group: FeatureGroup) -> bool:
    """Whether all rows of one key and time lie in one partition, which is replaced whole, so that none clash with stored ones."""
    if group.partitions_def is None:
        return True
    return is_timed(group.partitions_def) and group.partition_by in group.identity


def _readable(lake: Lake, group: FeatureGroup, unreadable: Sequence[str]) -> list[str] | None:
    """The partitions that can be read, named so that no other file is opened; None for all."""
    return [key for key in lake.ledger(group.table) if key not in unreadable] if unreadable else None


def _refuse_clashes(
    lake: Lake, group: FeatureGroup, staged_rows: StagedRows, partitions: Sequence[str], unreadable: Sequence[str]
) -> None:
    """Under the writers' lock: another run may have stored the same keys and times meanwhile."""
    if count_clashes(_clashes(lake, group, staged_rows, partitions, unreadable)):
        raise DataError(
            f"rows of {group.table_name} with the same {', '.join(group.identity)} were stored by another run meanwhile; nothing of "
            "this run was stored"
        )


def _not_future(lake: Lake, group: FeatureGroup, staged_rows: StagedRows) -> list[Verdict]:
    """Count the rows from after now: local times that are taken as UTC, which no delay breach shows.

    Those that alone their ``available_at`` hides until later are a fact: so look embargoes, and a load time that is local.
    """
    if group.event_time is None or not judges_time(group):
        return []
    now = clock.now()
    event, available, wrong = (
        quote(group.event_time),
        quote(group.available_at or group.event_time),
        future_sql(group, now),
    )
    number, latest, later = lake.connection.execute(
        f"SELECT count(*) FILTER ({wrong}), max({event}) FILTER ({wrong}), count(*) FILTER ({available} > {timestamp(now)}) "
        f"FROM {quote(staged_rows.table)}"
    ).fetchall()[0]
    what = " and ".join(repr(name) for name in dict.fromkeys(group.time_columns))
    rows = f"{count_of(number, 'row')} of {group.table_name}"
    problem = f"{rows} with {what} after now, up to {latest}, where it is {now} UTC: are they local times?"
    facts = {"rows_available_later": int(later)} if later > number else {}
    return [Verdict(NOT_FUTURE, int(number), (), problem if number else "", facts)]


def _in_time(
    lake: Lake, group: FeatureGroup, staged_rows: StagedRows, partitions: Sequence[Partition]
) -> list[Verdict]:
    """Count the delay breaches: new rows that are stored later than they are said to be available.

    A partition that ended longer ago than it is long is a backfill, whose rows were available in their own time; unless it was last run
    in its time: then what is new in it has come since, as of a late file.
    """
    if group.event_time is None or not judges_time(group):
        return []
    now = clock.now()
    with lake.one_snapshot():
        ledger = lake.ledger(group.table)
        again = [one.key for one in partitions if is_backfill(one, now) and was_in_time(one, ledger)]
        recent = [*(one.key for one in partitions if not is_backfill(one, now)), *again]
        if not recent or (recent == ["all"] and not ledger):
            return [Verdict(IN_TIME)]
        not_stored = ""
        if ledger and comparable(lake, group, staged_rows.table):
            same = " AND ".join(f"old.{quote(c)} IS NOT DISTINCT FROM staged.{quote(c)}" for c in group.identity)
            not_stored = f" AND NOT EXISTS (FROM {group.table.sql} old WHERE {same})"
        recent_keys = ", ".join(map(literal, recent))

        def counted_late(unreadable: Sequence[str]) -> tuple[int, dict[str, Any]]:
            stored_rows = not_stored
            if unreadable:  # nobody can say which rows of these are new
                readable = ", ".join(map(literal, _readable(lake, group, unreadable) or ())) or "NULL"
                rows = f"(FROM {group.table.sql} WHERE _partition IN ({readable}))"
                stored_rows = not_stored.replace(group.table.sql, rows, 1)
                stored_rows += f" AND _partition NOT IN ({', '.join(map(literal, unreadable))})"
            new_rows = f"FROM {quote(staged_rows.table)} staged WHERE _partition IN ({recent_keys}){stored_rows}"
            return delays(lake.connection, group, new_rows, now)

        late, facts = without_unreadable(lake, group.table, counted_late)
    problem = f"{late} new rows of {group.table_name} are stored after they are said to be available" if late else ""
    if late and again:
        days = f"{list_some(again)} ended long before this run, and was run in its time"
        problem += f"; {days}: its new rows came late, or other code gives them"
    return [Verdict(IN_TIME, late, (), problem, facts)]
