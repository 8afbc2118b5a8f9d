"""Declaring windows that are computed at the time of a request, over the rows of a feature group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NoReturn, Unpack

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import RequestWindows, WindowLength
from fti_assets.core.names import is_kept
from fti_assets.core.sql import checked_name
from fti_assets.core.times import LIFETIME, duration, microseconds
from fti_assets.errors import DeclarationError, excerpt, one_of
from fti_assets.features.asset import request_windows_asset
from fti_assets.features.groups.checks import check_group, checked_terms
from fti_assets.features.groups.group import DEFAULT_ONLINE_HISTORY, FeatureGroup
from fti_assets.features.windows.aggregates import Aggregate
from fti_assets.features.windows.records import record_of
from fti_assets.features.windows.window import Window, refuse_doubled
from fti_assets.orchestration.options import AssetOptions


@checked_arguments(options=AssetOptions, itself=["source", "version", "aggregates"])
def request_windows(
    source: FeatureGroup,
    *,
    name: str,
    keys: str | Sequence[str],
    every: str | timedelta,
    windows: Sequence[str | timedelta | Window],
    aggregates: Mapping[str, Aggregate],
    version: int = 1,
    online: bool = False,
    online_history: str | timedelta | None = None,
    **options: Unpack[AssetOptions],
) -> FeatureGroup:
    """Declare windows over a group's rows whose value is computed at the time of the prediction, both online and offline.

    At ``t`` a window of length ``w`` holds the rows of the key that became visible after its far end and at or before ``t``. The
    far end is ``t - w`` for a window that is no longer than ``every``; for a longer one it is the last whole multiple of ``every``
    since 1970 at or before ``t - w``, so that it holds between ``w`` and ``w + every``. Aggregates are those of
    ``fti.window_aggregate`` and just as exact. Every row counts, including corrections. A key without a row in its longest window
    has no row at all; otherwise a Count over none is 0 and a Mean is null.

    The group stores no rows of its own: a join reads those of the source, and with ``online=True`` the online store holds the
    newest rows of each key and, for older rows, their aggregates in cells of ``every``. The predictor combines these.

    Args:
        source: the group whose rows count; it has an event time and is not an external group.
        name: the group's name, that of its asset and online namespace.
        keys: the columns of the source to aggregate by.
        every: the distance between the far ends of long windows, and how long the newest rows are held one by one online.
        windows: the lengths ``w``, without a delay and not a lifetime.
        aggregates: what to compute, by name; the columns are ``<name>_<window as written>``, such as ``spent_30d``.
        version: names the asset (``card_windows_v1``); raise it when what is computed changes.
        online: hold the keys in the online store.
        online_history: how far back the online store answers, ``predict(at=...)`` too; 7 days by default. Each row of that time is
            held separately.
        options: every parameter of ``@dg.asset`` but ``partitions_def``, which is the source's.

    Raises:
        DeclarationError: the declaration is impossible.

    >>> import pandas as pd
    >>> import fti_assets as fti
    >>> @fti.feature_group(keys=["payment"], event_time="paid_at", serving_delay="0s")
    ... def payments() -> pd.DataFrame: ...
    >>> spending = fti.request_windows(
    ...     payments, name="spending", keys=["card"], every="1h", windows=["10min", "30d"],
    ...     aggregates={"spent": fti.Sum("amount"), "paid": fti.Count()},
    ... )
    >>> spending["spent_10min", "paid_30d"].columns
    ('spent_10min', 'paid_30d')
    """
    what = f"request windows {checked_name(name, what='request windows')!r}"
    _check_source(source, online, what)
    lengths = _lengths(windows, what)
    cell = microseconds(duration(every, what=f"every of {what}"))
    if not lengths or not aggregates or not cell or not min(lengths.values()):
        raise DeclarationError(
            f"{what} takes at least one window, one aggregate and a length of time for each: windows={excerpt(windows)}, "
            f"every={excerpt(every)}, aggregates={excerpt(dict(aggregates))}"
        )
    record = RequestWindows(
        source.name,
        source.version,
        cell,
        tuple(WindowLength(text, us) for text, us in lengths.items()),
        tuple(record_of(checked_name(one, what="aggregate"), aggregate) for one, aggregate in aggregates.items()),
    )
    if "partitions_def" in options:
        raise DeclarationError(f"{what} has the partitions of {source.table_name}: leave partitions_def out")
    terms = checked_terms(keys, None, source.serving_delay, None, None, what=what)
    read = [*terms["keys"], *(one.column for one in record.aggregates if one.column is not None)]
    source.refuse_unknown_columns(list(dict.fromkeys(read)))
    _check_names(record, terms["keys"], source, what)

    def no_function(*_: Any, **__: Any) -> NoReturn:
        raise DeclarationError(f"{what} has no function: its values are computed over the rows of {source.table_name}")

    history = (
        DEFAULT_ONLINE_HISTORY if online_history is None else duration(online_history, what=f"online_history of {what}")
    )
    group = FeatureGroup(
        name=name,
        version=version,
        function=no_function,
        event_time=source.event_time,
        available_at=source.available_at,
        tie_break=None,
        duplicates="error",
        partition_by=source.partition_by,
        lookback=timedelta(microseconds=record.reach_us),
        online=online,
        online_history=history,
        inputs={source.name: source},
        annotations={},
        asset_ins={},
        options={**options, "partitions_def": source.partitions_def},
        to_asset=request_windows_asset,
        windows=record,
        **terms,
    )
    check_group(group)
    _ = group.columns  # says which aggregate its column's type does not allow
    return group


def _check_source(source: Any, online: bool, what: str) -> None:
    if not isinstance(source, FeatureGroup):
        raise DeclarationError(
            f"{what} is over {excerpt(source)}, which is no feature group: give the group whose rows count"
        )
    if source.windows is not None or source.source is not None:
        kind = "request windows themselves" if source.windows is not None else "an external group"
        raise DeclarationError(
            f"{what} is over {source.table_name}, {kind}, of which the lake has no rows: give a feature group whose rows it has"
        )
    if source.event_time is None:
        raise DeclarationError(
            f"{what} is over {source.table_name}, a lookup without an event time, which has no windows"
        )
    if online and source.available_at is None and source.serving_delay is None:
        raise DeclarationError(
            f"{what} is online, but {source.table_name} does not say when its rows can be used: give that group an available_at "
            "column or a serving_delay"
        )


def _lengths(windows: Sequence[str | timedelta | Window], what: str) -> dict[str, int]:
    """Each window's length in microseconds, by its text."""
    several = [one if isinstance(one, Window) else Window(one) for one in windows]
    for one in several:
        if one.delay_us or one.length == LIFETIME:
            kind = "is a lifetime" if one.length == LIFETIME else "ends some time before"
            raise DeclarationError(
                f"{what} has the window {one.text!r}, which {kind}: at the time of a request a window has a length and ends at once. "
                "fti.window_aggregate computes it at the instants of a grid"
            )
    refuse_doubled(several, what=what)
    return {one.text: one.us for one in several}


def _check_names(record: RequestWindows, keys: Sequence[str], source: FeatureGroup, what: str) -> None:
    names = [f"{name}_{length.text}" for one in record.aggregates for name in one.names for length in record.lengths]
    times = [source.event_time, source.available_at]
    for name in names:
        if names.count(name) > 1 or name in keys or name in times:
            raise DeclarationError(f"{what} would have two columns {name!r}: name one otherwise")
        if is_kept(name):
            raise DeclarationError(
                f"{what} would have a column {name!r}, a name that plans keep for themselves: it has {one_of(names)}"
            )
