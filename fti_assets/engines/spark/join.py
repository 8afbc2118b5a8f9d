"""The point-in-time join as a plan of Spark: rows and points in one sorted pass, and of each point the greatest row before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fti_assets.core.manifest import JoinedGroup
from fti_assets.engines.spark.columns import column, equal_value, microseconds

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ROW, AT = "__fti_row", "__fti_at_us"
"""The columns of the points: the number of the spine's row, and its prediction time in microseconds."""

_VISIBLE, _WINNER, _CANDIDATE = "__fti_visible", "__fti_winner", "__fti_candidate"
_EVENT, _AVAILABLE = "__fti_event", "__fti_available"


def key_name(number: int) -> str:
    """The column that holds the n-th key of a join, in points and rows alike."""
    return f"__fti_key_{number}"


def feature_name(number: int) -> str:
    """The column that holds the n-th joined column, whatever the user calls it."""
    return f"__fti_feature_{number}"


def joined_in_time(points: DataFrame, rows: DataFrame, group: JoinedGroup, *, is_validated: bool) -> DataFrame:
    """Join to each point the row that ``point_in_time`` joins: of those visible by then the latest by event time, available-at and
    ``tie_break``, unless it is outlived.

    Args:
        points: ``ROW``, ``AT`` and the keys, none of them null.
        rows: the group's rows under the group's own column names; times are naive and UTC.
        group: how they are joined; it has an event time.
        is_validated: whether no two rows have equal keys and times; else the greatest columns win among them.

    Returns:
        ``ROW`` and the joined columns, one row a point, in no order.

    Method: rows and points are sorted together by key and moment, a row before the points of its moment, and a running maximum of
    (event time, available-at, tie_break, columns) says at each point which row is the newest. It is one shuffle and one sort, without
    the blow-up of a join on a range of times.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    keys, names = _keys(group), list(dict.fromkeys(joined.column for joined in group.columns))
    kinds, points = dict(rows.dtypes), _with_equal_keys(points, group)
    event = microseconds(column(str(group.event_time)))
    available = event + f.lit(group.serving_delay_us)
    if group.available_at is not None:
        available = microseconds(column(group.available_at))
    order: list[Column] = [event.alias(_EVENT), available.alias(_AVAILABLE)]
    ties = [group.tie_break] if group.tie_break is not None else []
    if ties or not is_validated:
        # A tie_break may itself tie, and a table that nobody has validated have equal rows: one answer all the same. Keys are equal.
        ties += names
    for number, name in enumerate(ties):
        # Whether a null is less or greater within a struct is otherwise on Spark and on Sail.
        order.append(column(name).isNotNull().alias(f"__fti_has_{number}"))
        order.append(equal_value(column(name), kinds[name]).alias(f"__fti_tie_{number}"))
    values = [column(name).alias(feature_name(number)) for number, name in enumerate(names)]
    candidates = _with_keys(rows, group, kinds).select(
        *keys,
        f.greatest(event, available).alias(_VISIBLE),
        f.struct(*order, *values).alias(_CANDIDATE),
        f.lit(None).cast("bigint").alias(ROW),
    )
    candidates = candidates.filter(f"{_VISIBLE} IS NOT NULL AND {_CANDIDATE}.{_EVENT} IS NOT NULL")
    if group.available_at is not None:  # greatest() passes nulls over
        candidates = candidates.filter(f"{_CANDIDATE}.{_AVAILABLE} IS NOT NULL")
    nothing = f.lit(None).cast(candidates.schema[_CANDIDATE].dataType).alias(_CANDIDATE)
    together = candidates.union(points.select(*keys, column(AT).alias(_VISIBLE), nothing, column(ROW)))
    # Written out: which nulls come first is a setting. A row, which has no number, comes before the points of its moment.
    window = (
        Window.partitionBy(*keys)
        .orderBy(f.col(_VISIBLE).asc_nulls_first(), f.col(ROW).asc_nulls_first())
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    winners = together.select(ROW, _VISIBLE, f.max(_CANDIDATE).over(window).alias(_WINNER)).filter(
        f.col(ROW).isNotNull()
    )
    alive = f.lit(True)
    if group.ttl_us is not None:
        alive = f.col(f"{_WINNER}.{_EVENT}") >= f.col(_VISIBLE) - f.lit(group.ttl_us)
    features = {name: f.col(f"{_WINNER}.{feature_name(number)}") for number, name in enumerate(names)}
    return winners.select(ROW, *_results(group, {name: f.when(alive, value) for name, value in features.items()}))


def joined_by_key(points: DataFrame, rows: DataFrame, group: JoinedGroup) -> DataFrame:
    """Join to each point the row of its keys, of a group that has one row a key.

    Args:
        points: ``ROW`` and the keys, none of them null.
        rows: the group's rows.
        group: how they are joined.

    Returns:
        ``ROW`` and the joined columns, one row a point, in no order.
    """
    keys, names = _keys(group), list(dict.fromkeys(joined.column for joined in group.columns))
    kinds, points = dict(rows.dtypes), _with_equal_keys(points, group)
    values = [column(name).alias(feature_name(number)) for number, name in enumerate(names)]
    looked_up = points.select(ROW, *keys).join(_with_keys(rows, group, kinds).select(*keys, *values), keys, "left")
    features = {name: column(feature_name(number)) for number, name in enumerate(names)}
    return looked_up.select(ROW, *_results(group, features))


def _keys(group: JoinedGroup) -> list[str]:
    return [key_name(number) for number in range(len(group.keys))]


def _with_keys(rows: DataFrame, group: JoinedGroup, kinds: Mapping[str, str]) -> DataFrame:
    """The rows without those that have a null key, with their keys under the names of the points' keys."""
    keys = {key_name(number): equal_value(column(key.group), kinds[key.group]) for number, key in enumerate(group.keys)}
    # Not dropna(), which drops NaN too.
    return rows.withColumns(keys).filter(" AND ".join(f"{name} IS NOT NULL" for name in keys))


def _with_equal_keys(points: DataFrame, group: JoinedGroup) -> DataFrame:
    kinds = dict(points.dtypes)
    return points.withColumns({name: equal_value(column(name), kinds[name]) for name in _keys(group)})


def _results(group: JoinedGroup, features: Mapping[str, Column]) -> Sequence[Column]:
    """The joined columns, numbered as the group has them, for a feature's name may be any."""
    return [features[joined.column].alias(feature_name(number)) for number, joined in enumerate(group.columns)]
