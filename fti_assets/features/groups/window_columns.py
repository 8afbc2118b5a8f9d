"""The columns of windows at the time of a request: their types, as those of the source's columns tell them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from fti_assets.core.manifest import RequestWindows, WindowAggregate
from fti_assets.core.types import NUMERIC, ColumnType
from fti_assets.errors import DeclarationError

_COMPARED = ("min", "max", "first", "last", "distinct_count")


def window_types(
    windows: RequestWindows, keys: tuple[str, ...], source_types: Mapping[str, ColumnType | None], *, of: str
) -> dict[str, ColumnType | None]:
    """The types of the keys and of each window's column, None where the source does not tell.

    Args:
        windows: what is computed.
        keys: the keys, which are columns of the source.
        source_types: the types of the source's columns, those of a schema or of a table; a column that is not there is not known.
        of: the group, for errors.

    Raises:
        DeclarationError: a column has a type that cannot be aggregated so.
    """
    types: dict[str, ColumnType | None] = {key: source_types.get(key) for key in keys}
    for name, (aggregate, *_) in windows.columns.items():
        column = aggregate.column
        if column is None:
            types[name] = _type_of(aggregate, None)
        elif column in source_types:
            types[name] = _checked_type(aggregate, source_types[column], windows, of)
        else:
            types[name] = (
                None if aggregate.kind in ("sum", "min", "max", "first", "last") else _type_of(aggregate, None)
            )
    return types


def in_words(aggregate: WindowAggregate, place: int = 0) -> str:
    """What is computed, such as ``mean of is_late`` or ``percentile 0.95 of amount``; of several values the one in a place."""
    of = "" if aggregate.column is None else f" of {aggregate.column}"
    if aggregate.is_placed:
        return f"{aggregate.kind} {'different ' if aggregate.distinct else ''}value{of}, number {place + 1}"
    if aggregate.kind == "percentile":
        return f"percentile {aggregate.share}{of}"
    if aggregate.kind == "sessions":
        what = {
            "number": "number of sessions",
            "rows": "rows of the last session",
            "seconds": "seconds of the last session",
        }
        return f"{what[aggregate.of or 'number']} with gaps up to {timedelta(microseconds=aggregate.gap_us or 0)}"
    per = "" if aggregate.per_us is None else f" per {timedelta(microseconds=aggregate.per_us)}"
    return f"{aggregate.kind.replace('_', ' ')}{of}{per}"


def windows_in_words(windows: RequestWindows) -> str:
    """All that is computed, on one line."""
    lengths = ", ".join(one.text for one in windows.lengths)
    aggregates = ", ".join(f"{one.name} ({in_words(one)})" for one in windows.aggregates)
    every = timedelta(microseconds=windows.every_us)
    return f"{aggregates}, each over {lengths} of {windows.source_table} before each prediction; far ends of longer ones every {every}"


def _checked_type(
    aggregate: WindowAggregate, kind: ColumnType | None, windows: RequestWindows, of: str
) -> ColumnType | None:
    compared = aggregate.kind in _COMPARED
    if kind in ("vector", None) if compared else kind not in NUMERIC:
        expected = (
            "numbers, times, text and booleans can be compared" if compared else "numbers and booleans can be summed"
        )
        raise DeclarationError(
            f"{of} takes the {aggregate.kind} of {aggregate.column!r}, which {windows.source_table} has as "
            f"{kind or 'a type that no feature can have'}: only {expected}"
        )
    return _type_of(aggregate, kind)


def _type_of(aggregate: WindowAggregate, kind: ColumnType | None) -> ColumnType | None:
    match aggregate.kind:
        case "count" | "distinct_count":
            return "integer"
        case "sessions":
            return "number" if aggregate.of == "seconds" else "integer"
        case "mean" | "rate" | "std" | "percentile":
            return "number"
        case "sum":
            return "number" if kind == "number" else "integer"
    return kind
