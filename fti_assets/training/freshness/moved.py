"""A join whose group has another serving delay: when its rows would become visible then, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import duckdb

from fti_assets.core.manifest import JoinedGroup, ViewRecord
from fti_assets.core.sql import quote
from fti_assets.core.times import microseconds

Rows = Callable[[JoinedGroup], duckdb.DuckDBPyRelation]

_AVAILABLE, _ORDER = "__fti_moved_available", "__fti_moved_order"


def timed_tables(view: ViewRecord) -> list[str]:
    """The tables of a view's joined groups that have an event time, each once: a lookup is always visible."""
    return list(dict.fromkeys(join.table_name for join in view.joins if join.event_time is not None))


def own_delay(view: ViewRecord, table_name: str) -> timedelta | None:
    """A joined group's serving delay; None if a column says when each row was available."""
    join = next(join for join in view.joins if join.table_name == table_name)
    return None if join.available_at is not None else timedelta(microseconds=join.serving_delay_us)


def moved_view(view: ViewRecord, table_name: str, delay: timedelta) -> ViewRecord:
    """What of a view changes if one group's values come ``delay`` after their event time: its joins, and what is computed from them.

    A group's rows become visible ``delay`` after their event time, in place of its serving delay. Where a column says when each row was
    available, no row comes sooner than it did. A time to live begins when the values are due, so it grows with the delay: stale
    values are joined, and none is lost only because it is late.

    Args:
        view: the view.
        table_name: the group's table, which all its joins are of.
        delay: 0 or more.

    Returns:
        The view with the joins of that group, the on-demand functions that rest on them, and the joins that these need besides.
    """
    moved = [_moved(join, microseconds(delay)) for join in view.joins if join.table_name == table_name]
    changed = {column.feature for join in moved for column in join.columns}
    calls = []
    for call in view.on_demand:
        if changed & set(call.inputs):
            calls.append(call)
            changed |= {output.name for output in call.outputs}
    needed = {name for call in calls for name in call.inputs} - changed
    while earlier := [
        call for call in view.on_demand if call not in calls and needed & {output.name for output in call.outputs}
    ]:
        calls += earlier
        needed |= {name for call in earlier for name in call.inputs}
    others = [
        join
        for join in view.joins
        if join.table_name != table_name and needed & {column.feature for column in join.columns}
    ]
    return replace(
        view,
        joins=(*moved, *others),
        on_demand=tuple(call for call in view.on_demand if call in calls),
        features=tuple(feature for feature in view.features if feature.name in changed),
    )


def _moved(join: JoinedGroup, delay_us: int) -> JoinedGroup:
    ttl_us = join.ttl_us
    if ttl_us is not None:
        ttl_us += max(0, delay_us - (0 if join.available_at else join.serving_delay_us))
    if join.available_at is None:
        return replace(join, serving_delay_us=delay_us, ttl_us=ttl_us)
    return replace(join, available_at=_AVAILABLE, tie_break=_ORDER, serving_delay_us=delay_us, ttl_us=ttl_us)


def moved_rows(rows: Rows, view: ViewRecord) -> Rows:
    """What gives the rows of the joins of ``moved_view``, with the times that these name.

    Args:
        rows: gives a group's rows as they are.
        view: the view as it is declared.
    """
    declared = {join.table_name: join for join in view.joins}

    def moved(join: JoinedGroup) -> duckdb.DuckDBPyRelation:
        relation = rows(join)
        if join.available_at != _AVAILABLE:
            return relation
        of = declared[join.table_name]
        available, event = quote(str(of.available_at)), quote(str(of.event_time))
        # Corrections of one row may become available at one instant by the delay alone: the last to come still wins.
        order = f"row({available}{'' if of.tie_break is None else f', {quote(of.tie_break)}'})"
        return relation.query(
            "moved",
            f"SELECT *, CASE WHEN {available} IS NOT NULL THEN greatest({available}, {event} + to_microseconds({join.serving_delay_us})) "
            f"END AS {_AVAILABLE}, {order} AS {_ORDER} FROM moved",
        )

    return moved
