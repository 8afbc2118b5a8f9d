"""A spine of instants that lie ahead: what will be predicted, made from a schedule and not from a source."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Unpack

import dagster as dg

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.sql import checked_name, quote
from fti_assets.core.times import duration, naive_utc
from fti_assets.core.types import ColumnType
from fti_assets.errors import DataError, DeclarationError, excerpt, list_some
from fti_assets.features.feature_group import feature_group
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.groups.schedule import SUMMER_TIME, Schedule
from fti_assets.features.rows.table import Table
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.partitions import is_timed, running_partitions
from fti_assets.orchestration.signature import CONTEXT, take

_ENTITIES = "entities"
_KINDS: dict[type, ColumnType] = {str: "text", int: "integer", bool: "boolean"}
_WINDOWS = 24


@checked_arguments(options=AssetOptions, itself=["version", "cross"])
def prediction_times(
    *,
    name: str,
    every: str | timedelta,
    horizon: str | timedelta,
    step: str | timedelta | None = None,
    ahead: str | timedelta = "0s",
    cross: Mapping[str, Sequence[str | int | bool]] | FeatureGroup | None = None,
    lags: Sequence[str] = (),
    event_time: str = "predict_at",
    target: str = "target_at",
    version: int = 1,
    schema: Any = None,
    **options: Unpack[AssetOptions],
) -> FeatureGroup:
    """Declare a spine of future instants: at each prediction time a row for every target and entity.

    No source has such rows. They follow from the schedule, so a partition can be materialized as soon as it begins, and by default
    it is. The prediction time is the spine's event time: features are joined as of it. The target is a time and a key, and the
    label is joined by it: ``fti.Label(demand.on(target_at="at")["demand"], maturity="25h")``, from a group with the keys
    ``["region", "at"]``. Facts about a target are also joined by it, and what was true a fixed time before it is joined by the
    column of a lag. Both are visible only if they were known at the prediction time.

    Args:
        name: the group's name.
        every: the time from one prediction to the next, counted from the start of each partition; a partition is a multiple of it,
            and at least as long. So the partitions determine the hour and the time zone. A day of 25 hours has one daily prediction
            as others have, and its last hour is beyond a horizon of 24 hours.
        horizon: the length of time that each prediction covers, a multiple of ``step``.
        step: the time from one target to the next; by default the horizon, so that a prediction has one target.
        ahead: the time from a prediction to its first target, such as ``"12h"`` for a forecast made at noon for the next day.
        cross: what is predicted for: the values of one or more key columns, ``{"region": ["north", "south"]}``, in every
            combination, or every key of a lookup, a group without an event time. Without it there is one series.
        lags: how long before the target earlier instants are: ``["7d"]`` makes the column ``target_at_7d_before``.
        event_time: the column of the prediction time.
        target: the column of the target.
        version: names the asset and its table; a changed schedule needs a new one.
        schema: a Pandera model or schema of the rows.
        options: every parameter of ``@dg.asset``, with its own meaning; ``partitions_def`` must be of time.

    Raises:
        DeclarationError: the schedule is impossible.

    >>> days = dg.DailyPartitionsDefinition(start_date="2025-03-01", end_offset=1)
    >>> hours = prediction_times(
    ...     name="hours", every="1d", horizon="24h", step="1h", cross={"region": ["north"]}, lags=["7d"], partitions_def=days
    ... )
    >>> hours.keys, hours.event_time, hours.schedule.farthest
    (('region', 'target_at'), 'predict_at', datetime.timedelta(seconds=82800))
    """
    what = f"spine {checked_name(name, what='spine')!r}"
    schedule = _schedule(
        what,
        {"every": every, "horizon": horizon, "step": horizon if step is None else step},
        {"ahead": duration(ahead, what=f"ahead of {what}")},
        lags,
        (event_time, target),
        cross,
    )
    partitions_def = options.get("partitions_def")
    _check_partitions(what, schedule, partitions_def)
    own = [*schedule.key_types, schedule.time, schedule.target, *schedule.lags]
    if twice := [one for one in dict.fromkeys(own) if own.count(one) > 1]:
        raise DeclarationError(f"{what} has the column {list_some(twice)} twice: give one of them another name")
    function = _function(schedule, what)
    ins = {_ENTITIES: cross} if isinstance(cross, FeatureGroup) else {}
    group = feature_group(
        name=name,
        keys=[*schedule.key_types, schedule.target],
        version=version,
        event_time=schedule.time,
        schema=schema,
        ins=ins,
        **options,
    )(function)
    return dataclasses.replace(group, schedule=schedule)


def _schedule(
    what: str,
    lengths: Mapping[str, str | timedelta],
    ahead: Mapping[str, timedelta],
    lags: Sequence[str],
    columns: tuple[str, str],
    cross: Any,
) -> Schedule:
    time, target = (checked_name(one, what=f"column of {what}") for one in columns)
    spans = {one: duration(value, what=f"{one} of {what}") for one, value in lengths.items()}
    for one, span in spans.items():
        if not span:
            raise DeclarationError(f"{what} has {one}={span}, in which there is no next instant: write '30min' or '1d'")
    if spans["horizon"] % spans["step"]:
        raise DeclarationError(
            f"{what} has a horizon of {spans['horizon']}, which is no multiple of its step of {spans['step']}: the last target would be "
            "cut off"
        )
    before = {one: duration(one, what=f"lag of {what}") for one in lags}
    if nothing := [one for one, lag in before.items() if not lag]:
        raise DeclarationError(f"{what} has the lag {list_some(nothing)}, which is the target itself: leave it out")
    if len(set(before.values())) < len(lags):
        raise DeclarationError(f"{what} has the lags {list_some(lags)}, of which two are the same: name each once")
    key_types = _key_types(what, cross)
    return Schedule(
        **spans,
        **ahead,
        time=time,
        target=target,
        lags={checked_name(f"{target}_{one}_before", what=f"lag of {what}"): lag for one, lag in before.items()},
        crossed=cross.table_name if isinstance(cross, FeatureGroup) else dict(cross or {}),
        key_types=key_types,
    )


def _check_partitions(what: str, schedule: Schedule, partitions_def: Any) -> None:
    """Refuse partitions in which predictions would not be made at even times."""
    if not is_timed(partitions_def):
        raise DeclarationError(
            f"{what} has {'no partitions' if partitions_def is None else type(partitions_def).__name__}: give it "
            "partitions_def=dg.DailyPartitionsDefinition(...) or others of time, which say from when on, and at what hour"
        )
    # Lengths differ by the calendar and by summer time; more windows than those of two years of months tell nothing new.
    window = partitions_def.get_next_partition_window(partitions_def.start, respect_bounds=False)
    for _ in range(_WINDOWS):
        if window is None:
            return
        length = naive_utc(window.end) - naive_utc(window.start)
        on_the_clock = window.end.replace(tzinfo=None) - window.start.replace(tzinfo=None)
        is_cut_off = length % schedule.every and on_the_clock % schedule.every
        if length + SUMMER_TIME < schedule.every or is_cut_off:
            raise DeclarationError(
                f"{what} predicts every {schedule.every}, counted from the start of each partition, and the partition of "
                f"{window.start:%Y-%m-%d %H:%M} is {length} long: make every= a part of it, or the partitions longer"
            )
        window = partitions_def.get_next_partition_window(window.end, respect_bounds=False)


def _key_types(what: str, cross: Any) -> dict[str, ColumnType | None]:
    if cross is None:
        return {}
    if isinstance(cross, FeatureGroup):
        if cross.event_time is not None:
            raise DeclarationError(
                f"{what} is crossed with {cross.table_name}, which has an event time, so that its keys come and go: give a lookup, a "
                "group without event_time, or the values themselves, cross={'region': ['north']}"
            )
        return {key: (cross.columns or {}).get(key) for key in cross.keys}
    if not isinstance(cross, Mapping) or not cross:
        raise DeclarationError(
            f"{what} has cross={excerpt(cross)}: give the values of key columns, cross={{'region': ['north', 'south']}}, or a lookup"
        )
    for key, values in cross.items():
        checked_name(key, what=f"key of {what}")
        kinds = {type(value) for value in values} if isinstance(values, list | tuple) else set()
        if len(kinds) != 1 or not kinds <= set(_KINDS):
            raise DeclarationError(
                f"{what} is crossed with {key}={excerpt(values)}: give a list of texts, of whole numbers or of booleans"
            )
        if len(set(values)) < len(values):
            raise DeclarationError(f"{what} is crossed with {key}={excerpt(values)}, which has a value twice")
    return {key: _KINDS[type(values[0])] for key, values in cross.items()}


def _function(schedule: Schedule, what: str) -> Callable[..., Any]:
    """What a step calls: the rows of its partitions."""
    crossed = schedule.crossed

    def run(context: Any, **tables: Table) -> Any:
        if tables:
            (table,) = tables.values()
            names = ", ".join(map(quote, table.keys))
            entities = table.relation.project(names).distinct().order(names).to_arrow_table()
            if not entities.num_rows:
                raise DataError(f"{table.name} has no row, so {what} has nothing to predict for: materialize it first")
        else:
            entities = _combinations({} if isinstance(crossed, str) else crossed)
        return schedule.rows(running_partitions(context), entities)

    run.__name__ = run.__qualname__ = "prediction_times"
    run.__doc__ = f"What is predicted {schedule}."
    take(run, {CONTEXT: dg.AssetExecutionContext, **({_ENTITIES: Table} if isinstance(crossed, str) else {})})
    run.__annotations__["return"] = Any
    return run


def _combinations(values: Mapping[str, Sequence[Any]]) -> Any:
    import pyarrow as pa

    rows = list(itertools.product(*values.values()))
    return pa.table({key: [row[place] for row in rows] for place, key in enumerate(values)})
