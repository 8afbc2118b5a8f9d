"""The rows of a spine as of their own prediction times: the one rule of datasets, batches, ad-hoc joins and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fti_assets.core.manifest import SpineTimes, ViewRecord
from fti_assets.core.names import PARTITION, in_partitions
from fti_assets.core.sql import quote
from fti_assets.features.rows.visibility import available_sql
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb

    from fti_assets.features.groups.group import FeatureGroup
    from fti_assets.stores.lake.lake import Lake

LATE = "_fti_late"
"""The column that says whether no version of a spine row was visible at its prediction time: a delay breach."""


def spine_times(spine: FeatureGroup) -> SpineTimes:
    """When a declared spine's rows are available, as a manifest has it."""
    return SpineTimes(spine.available_at, spine.delay_us, spine.tie_break)


def with_spine_times(view: ViewRecord, spine: FeatureGroup) -> ViewRecord:
    """A build's view; where its manifest does not say when spine rows are available, as the declared spine says it."""
    if view.spine_times is None and view.spine_table == spine.table:
        return replace(view, spine_times=spine_times(spine))
    return view


def spine_as_of(
    connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, view: ViewRecord
) -> duckdb.DuckDBPyRelation:
    """One row for each key and prediction time ``t``: the version that was visible at ``t``.

    Of the versions available at or before ``t`` the one that became available last wins. If there is none, the earliest
    does, and the row is a delay breach. Ties go to the greatest ``tie_break``, a null being the least.

    Args:
        connection: the connection that ``rows`` belongs to.
        rows: the spine's rows with all their versions; times are naive UTC ``TIMESTAMP``.
        view: the view, for the spine's keys and times.

    Returns:
        The columns of ``rows`` and ``_fti_late``, lazy and in no order.
    """
    if view.prediction_time is None:
        return connection.sql(f"SELECT *, false AS {LATE} FROM {relation_name(rows)}")
    times = view.times
    time = quote(view.prediction_time)
    available = available_sql(times)
    visible = f"coalesce({available} <= {time}, false)"
    one_version = ""
    if not times.have_fixed_delay:
        tie = [] if times.tie_break is None else [f"{quote(times.tie_break)} DESC NULLS LAST"]
        # Visible versions first, of these the last to come; without one, the first that came, which is marked late.
        order = [
            f"{visible} DESC",
            f"CASE WHEN {visible} THEN {available} END DESC NULLS LAST",
            f"{available} ASC NULLS LAST",
            *tie,
        ]
        one = ", ".join(map(quote, view.identity))
        one_version = f" QUALIFY row_number() OVER (PARTITION BY {one} ORDER BY {', '.join(order)}) = 1"
    return connection.sql(f"SELECT *, NOT {visible} AS {LATE} FROM {relation_name(rows)}{one_version}")


def stored_spine(
    lake: Lake, view: ViewRecord, *, snapshot: int | None = None, partitions: Sequence[str] | None = None
) -> duckdb.DuckDBPyRelation:
    """A view's spine as it is stored, each row as of its prediction time, with ``_fti_late``.

    Args:
        lake: the open lake.
        view: the view.
        snapshot: of the lake, the newest by default.
        partitions: only the rows whose version of their prediction time lies in one of them; corrections may lie in others.

    Raises:
        NotMaterializedError: the spine is not there.
    """
    table = view.spine_table
    if partitions is None:
        return spine_as_of(lake.connection, lake.rows(table, snapshot=snapshot), view)
    rows = lake.rows(table, snapshot=snapshot, with_partition=True)
    if PARTITION not in rows.columns:  # another system keeps it
        return spine_as_of(lake.connection, lake.rows(table, snapshot=snapshot, partitions=partitions), view)
    condition = in_partitions(partitions)
    # Then there is one row a key and time, which no row of another partition could win over.
    if view.times.have_fixed_delay:
        rows, condition = rows.filter(condition), "true"
    return lake.connection.sql(
        f"SELECT * EXCLUDE ({PARTITION}) FROM {relation_name(spine_as_of(lake.connection, rows, view))} WHERE {condition}"
    )
