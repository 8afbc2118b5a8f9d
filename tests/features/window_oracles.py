"""What the design says about windows, in plain Python: each window's rows one by one, and fractions for sums."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from fti_assets.core.times import EPOCH, duration
from fti_assets.features.windows import (
    Aggregate,
    Count,
    DistinctCount,
    First,
    Last,
    Max,
    Mean,
    Min,
    Percentile,
    Rate,
    Sessions,
    Std,
    Sum,
)
from tests.features.oracles import Row, available, visible

Inside = Callable[[tuple[Any, ...], datetime, timedelta], list[Row]]


def aggregate_of(aggregate: Aggregate, rows: Sequence[Row], length: timedelta, available_at: str | None = "a") -> Any:
    """An aggregate over a window's rows; those that go by float rounding are to be compared with ``same``."""
    if isinstance(aggregate, Count):
        return len(rows)
    if isinstance(aggregate, Rate) and aggregate.column is None:
        return float(Fraction(len(rows)) * _ratio(aggregate, length))
    if isinstance(aggregate, Sessions):
        return _sessions(aggregate, rows)
    values = [row[aggregate.column] for row in rows if row[aggregate.column] is not None]
    match aggregate:
        case DistinctCount():
            return len(set(values))
        case First() | Last():
            return _nth(aggregate, rows, available_at)
        case Percentile():
            return _percentile(values, aggregate.share)
        case Std():
            return _deviation(values)
    if not values:
        return None
    match aggregate:
        case Min():
            return min(values)
        case Max():
            return max(values)
        case Sum():
            return sum(values) if isinstance(values[0], int) else _sum(values)
        case Mean():
            exact = Fraction(sum(map(Fraction, values))) if all(map(math.isfinite, values)) else None
            return _sum(values) / len(values) if exact is None else float(exact / len(values))
        case Rate():
            return float(sum(map(Fraction, values)) * _ratio(aggregate, length))


def _ratio(rate: Rate, length: timedelta) -> Fraction:
    return Fraction(duration(rate.per) // timedelta(microseconds=1), length // timedelta(microseconds=1))


def _nth(aggregate: First | Last, rows: Sequence[Row], available_at: str | None) -> Any:
    """The value, or of several as many as asked for, None for each that there is not."""

    def rank(row: Row) -> tuple[Any, ...]:
        value = row[aggregate.column]
        return row["e"], available(row, "e", available_at, timedelta(0)), value is not None, value

    ordered = sorted(rows, key=rank, reverse=isinstance(aggregate, Last))
    values = [row[aggregate.column] for row in ordered]
    if aggregate.distinct:
        values = list(dict.fromkeys(value for value in values if value is not None))
    values = (values + [None] * aggregate.n)[: aggregate.n]
    return values[0] if aggregate.n == 1 else values


def _percentile(values: Sequence[float], share: float) -> float | None:
    if not values:
        return None
    ordered = sorted(map(float, values), key=lambda value: (math.isnan(value), value))
    above = (len(ordered) - 1) * Fraction(str(share))
    place, part = math.floor(above), float(above - math.floor(above))
    low, high = ordered[place], ordered[min(place + 1, len(ordered) - 1)]
    if not part or low == high:
        return low
    between = low * (1 - part) + high * part
    return math.nan if math.isnan(between) else min(max(between, low), high)


def _sessions(aggregate: Sessions, rows: Sequence[Row]) -> Any:
    sessions: list[list[datetime]] = []
    for event in sorted(row["e"] for row in rows):
        if sessions and event - sessions[-1][-1] <= duration(aggregate.gap):
            sessions[-1].append(event)
        else:
            sessions.append([event])
    if aggregate.of == "number":
        return len(sessions)
    last = sessions[-1] if sessions else []
    if aggregate.of == "rows":
        return len(last)
    return (last[-1] - last[0]) / timedelta(seconds=1) if last else None


def _sum(values: Sequence[float]) -> float:
    if all(map(math.isfinite, values)):
        return float(sum(map(Fraction, values), Fraction(0)))
    return sum(value for value in values if not math.isfinite(value))


def _deviation(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    if not all(map(math.isfinite, values)):
        return math.nan
    exact = list(map(Fraction, values))
    mean = sum(exact, Fraction(0)) / len(exact)
    variance = sum(((value - mean) ** 2 for value in exact), Fraction(0)) / (len(exact) - 1)
    return _root(variance)


def _root(exact: Fraction) -> float:
    """The square root with 80 bits and more, rounded once."""
    shift = max(0, 160 - exact.numerator.bit_length() + exact.denominator.bit_length()) // 2
    return float(Fraction(math.isqrt((exact.numerator << (2 * shift)) // exact.denominator), 1 << shift))


def same(found: Any, expected: Any) -> bool:
    """Whether two values are equal, floats within four roundings."""
    if isinstance(expected, float) and isinstance(found, float):
        if math.isnan(expected) or math.isnan(found):
            return math.isnan(expected) and math.isnan(found)
        return math.isclose(found, expected, rel_tol=4 * 2.0**-53, abs_tol=0)
    return type(found) is type(expected) and bool(found == expected)


def inside(
    rows: Sequence[Row], key: Mapping[str, Any], at: datetime, length: timedelta, rows_by: str, *,
    own: bool = False, available_at: str | None = "a", delay: timedelta = timedelta(0), ends: timedelta = timedelta(0),
) -> list[Row]:  # fmt: skip
    """The rows of a key in the window of a length that ends ``ends`` before an instant; ``own`` leaves out those of that event time."""
    results = []
    for row in rows:
        observed = visible(row, "e", available_at, delay)
        if observed is None or any(row[name] != value for name, value in key.items()) or (own and row["e"] == at):
            continue
        if observed <= at and at - ends - length < (observed if rows_by == "visible_at" else row["e"]) <= at - ends:
            results.append(row)
    return results


def keys_of(rows: Sequence[Row], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The different keys without a null."""
    for key in {tuple(row[name] for name in names) for row in rows}:
        if None not in key:
            yield dict(zip(names, key, strict=True))


def grid_windows(
    rows: Sequence[Row], *, keys: Sequence[str], start: datetime, end: datetime, every: timedelta,
    lengths: Sequence[timedelta], aggregates: Sequence[Aggregate], rows_by: str,
    delays: Sequence[timedelta] = (), **times: Any,
) -> dict[tuple[Any, ...], list[Any]]:  # fmt: skip
    """Each aggregate over each window, by key and instant."""
    result = {}
    instant = EPOCH - ((EPOCH - start) // every) * every
    while instant < end:
        for key in keys_of(rows, keys):
            held = [
                inside(rows, key, instant, length, rows_by, ends=ends, **times)
                for length, ends in zip(lengths, delays or [timedelta(0)] * len(lengths), strict=True)
            ]
            if any(held):
                result[(*key.values(), instant)] = [
                    aggregate_of(aggregate, outcome, length, times.get("available_at", "a"))
                    for aggregate in aggregates
                    for outcome, length in zip(held, lengths, strict=True)
                ]
        instant += every
    return result


def row_windows(
    rows: Sequence[Row], *, own_keys: Sequence[str], keys: Sequence[str], start: datetime, end: datetime,
    lengths: Sequence[timedelta], aggregates: Sequence[Aggregate], rows_by: str,
    delays: Sequence[timedelta] = (), **times: Any,
) -> dict[tuple[Any, ...], list[Any]]:  # fmt: skip
    """Each aggregate over each window of a row, by its own keys, the keys and its event time."""
    result = {}
    names = list(dict.fromkeys([*own_keys, *keys]))
    names = [*(name for name in names if name not in keys), *keys]
    for row in rows:
        known = visible(row, "e", times.get("available_at", "a"), times.get("delay", timedelta(0)))
        if known is None or any(row[name] is None for name in names) or not start <= row["e"] < end:
            continue
        key = {name: row[name] for name in keys}
        result[(*(row[name] for name in names), row["e"])] = [
            aggregate_of(
                aggregate,
                inside(rows, key, row["e"], length, rows_by, own=True, ends=ends, **times),
                length,
                times.get("available_at", "a"),
            )
            for aggregate in aggregates
            for length, ends in zip(lengths, delays or [timedelta(0)] * len(lengths), strict=True)
        ]
    return result
