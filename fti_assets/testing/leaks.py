"""Leaks: features that know something from after the instant at which they are said to be there."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import PARTITION
from fti_assets.core.sql import quote, timestamp
from fti_assets.core.times import Partition, Times
from fti_assets.errors import DeclarationError, NotMaterializedError, list_some
from fti_assets.features.external.rows import read_external
from fti_assets.features.groups.group import FeatureGroup, layout_of
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import stage
from fti_assets.features.rows.table import Table
from fti_assets.features.rows.visibility import available_sql
from fti_assets.features.steps.inputs import input_table
from fti_assets.orchestration.partitions import partitions_between, partitions_of
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.signature import parameters_of
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.testing.failures import LeakFound
from fti_assets.testing.join_leaks import assert_join_is_honest
from fti_assets.testing.running import PartitionKeys, call, named_partitions
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.models.model import Model
from fti_assets.training.views.view import FeatureView

if TYPE_CHECKING:
    import pandas as pd


@checked_arguments(itself=["partition"])
def assert_no_leak(
    declaration: FeatureGroup | FeatureView | TrainingDataset | Model,
    /,
    *,
    stores: Stores,
    partition: PartitionKeys = None,
    sample: int = 10,
    seed: int = 0,
    **arguments: Any,
) -> None:
    """Assert that no feature changes when what became visible later is taken away.

    *A group* that reads other groups is computed again with its inputs as they were at sampled instants: a row that was
    visible by then must be there and must be the same. That catches a function that looks past its grid, sums over the
    whole day, fills from the next row, or scales by what the whole partition has.

    *A view* (or its dataset or model) is checked through all groups that it rests on, and for sampled spine rows: the
    spine's own columns are those of the version that was visible at the prediction time, or of the earliest if none was;
    what the join brings is what a search row by row in Python finds at that time; an on-demand feature is the same for a
    row alone as among others; and no outcome was visible at its own prediction time,
    as one on the spine row itself is.

    What it cannot see: an event time or ``available_at`` that says too early when a row was known, which is for the
    check ``rows_in_time`` and for whoever knows the source; spine columns that are filled in after the prediction
    without a later ``available_at``; and what a function reads past its inputs, from a resource or a file.

    Args:
        declaration: what to check; its rows and those of its inputs are materialized.
        stores: where they are stored.
        partition: a group's partition or the first and last of a range; a view's are those of its spine.
        sample: how many instants a group, and how many spine rows, are looked at.
        seed: which ones.
        arguments: what the functions take beside groups, by name: resources, config.

    Raises:
        LeakFound: something knows the future; its ``rows`` are those that differ.
        NotMaterializedError: something that is read is not there.

    >>> assert_no_leak(carrier_delays, stores=stores, partition="2013-02-14")  # doctest: +SKIP
    """
    view = declaration.view if isinstance(declaration, TrainingDataset | Model) else declaration
    if not isinstance(view, FeatureView | FeatureGroup):
        raise DeclarationError(f"{declaration!r} has no features to leak: give a feature group, view, dataset or model")
    with stores.offline_store().connect() as lake:
        read_external(lake, view.upstream)
        if isinstance(view, FeatureGroup):
            if view.windows is not None:
                raise DeclarationError(
                    f"{view.table_name} has no step: its windows are computed by the join. Check a view that takes them"
                )
            if not view.is_owned:
                raise DeclarationError(
                    f"{view.table_name} is made in another code location, which has its function: check it there"
                )
            if not view.inputs:
                raise DeclarationError(
                    f"{view.table_name} reads no other group, so there is no future to take away from it: check the groups "
                    "that are made of it, or a view"
                )
            _assert_group(lake, view, named_partitions(view, partition), arguments, sample, seed)
            return
        partitions = named_partitions(view.spine, partition)
        for group in view.upstream:
            if isinstance(group, FeatureGroup) and group.inputs and group.windows is None and group.is_owned:
                own = {name: value for name, value in arguments.items() if name in parameters_of(group.function)}
                _assert_group(lake, group, _stored_within(lake, group, partitions), own, sample, seed)
        assert_join_is_honest(lake, view, partitions, sample, seed)


def _stored_within(lake: Lake, group: FeatureGroup, partitions: Sequence[Partition]) -> list[Partition]:
    """The stored partitions of a group in the time of the spine's."""
    start, end = partitions[0].start, partitions[-1].end
    ledger = lake.ledger(group.table)
    if group.partitions_def is None:
        return partitions_of(None, [])
    if start is None or end is None:
        return partitions_of(group.partitions_def, list(ledger))
    within = [one for one in partitions_between(group.partitions_def, start, end) if one.key in ledger]
    if not within:
        raise NotMaterializedError(f"{group.table_name} has no partition from {start} to {end}: materialize it first")
    return within


def _assert_group(
    lake: Lake,
    group: FeatureGroup,
    partitions: Sequence[Partition],
    arguments: Mapping[str, Any],
    sample: int,
    seed: int,
) -> None:
    inputs = {name: input_table(lake, source, group, partitions) for name, source in group.inputs.items()}
    sources = [table.name for table in inputs.values() if table.event_time is not None]
    if not sources:
        return
    if group.event_time is None:
        raise LeakFound(
            f"{group.table_name} has no event time, so it is visible at every instant, but it is made of {list_some(sources)}, whose rows "
            "become known one after another: give it the event_time from which its rows are true",
            lake.rows(group.table).limit(0).df(),
        )
    whole = layout_of(group)
    layout = Layout(group.table_name, whole.not_null, (), None, types=whole.types, times=whole.times)

    def compute(tables: Mapping[str, Table], layout: Layout) -> str:
        result = call(group.function, {**arguments, **tables}, group, partitions)
        return stage(lake.connection, result, layout, [Partition("all")]).table

    visible = _visible(group.times)
    with_future = compute(inputs, layout)
    # Both get the types of the rows as they are, which a column without values in the past would not have.
    layout = replace(layout, stored_types=lake.staged_types(with_future))
    for moment in _moments(lake.connection, with_future, visible, sample, seed):
        try:
            without = compute({name: _as_of(table, moment) for name, table in inputs.items()}, layout)
        except Exception as error:
            error.add_note(f"while {group.table_name} was computed from what was visible by {moment}")
            raise
        _compare(lake.connection, group, sources, moment, with_future, without)
        lake.connection.execute(f"DROP TABLE {quote(without)}")


def _visible(times: Times) -> str:
    return f"greatest({quote(str(times.event_time))}, {available_sql(times)})"


def _as_of(table: Table, moment: datetime) -> Table:
    """The table without the rows that became visible after an instant; a lookup is always visible."""
    if table.event_time is None:
        return table
    visible = _visible(table.times)
    return table.with_relation(table.relation.filter(f"{visible} <= {timestamp(moment)}"))


def _moments(connection: duckdb.DuckDBPyConnection, table: str, visible: str, sample: int, seed: int) -> list[datetime]:
    rows = connection.execute(
        f"SELECT DISTINCT {visible} AS moment FROM {quote(table)} WHERE moment IS NOT NULL ORDER BY 1"
    ).fetchall()
    moments = [moment for (moment,) in rows]
    # Seeded, so that a leak that was found once is found again.
    return sorted(random.Random(seed).sample(moments, min(sample, len(moments))))


def _compare(
    connection: duckdb.DuckDBPyConnection, group: FeatureGroup, inputs: Sequence[str], moment: datetime, *tables: str
) -> None:
    """Rows visible by the moment are the same in both tables, made with the future and without."""
    first, second = (
        relation_name(
            connection.sql(
                f"SELECT * EXCLUDE ({PARTITION}) FROM {quote(table)} WHERE {_visible(group.times)} <= {timestamp(moment)}"
            )
        )
        for table in tables
    )
    # ALL, so that one of two equal rows that is lost is a difference too.
    with_future = connection.sql(f"FROM {first} EXCEPT ALL SELECT * FROM {second}").df()
    without = connection.sql(f"SELECT * FROM {second} EXCEPT ALL FROM {first}").df()
    if len(with_future) or len(without):
        raise LeakFound(
            f"{group.table_name} knows the future: of its rows visible by {moment}, {max(len(with_future), len(without))} change when "
            f"the rows of {list_some(inputs)} that became visible after {moment} are taken away",
            _side_by_side(group, with_future, without),
        )


def _side_by_side(group: FeatureGroup, with_future: pd.DataFrame, without: pd.DataFrame) -> pd.DataFrame:
    """A row for each value that differs: the keys and times, the column, and both values."""
    identity = list(group.identity)
    columns = [column for column in with_future.columns if column not in identity]
    sides = [
        frame.astype(object).melt(id_vars=identity, value_vars=columns, var_name="column", value_name=value)
        for frame, value in ((with_future, "with the future"), (without, "without"))
    ]
    both = sides[0].merge(sides[1], on=[*identity, "column"], how="outer")
    same = (both["with the future"] == both["without"]) | (both["with the future"].isna() & both["without"].isna())
    result: pd.DataFrame = both[~same].reset_index(drop=True)
    return result
