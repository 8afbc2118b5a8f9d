"""The SQL of each aggregate, and what it needs of each row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from fti_assets.core.manifest.windows import BEYOND_64_BITS, sum_over
from fti_assets.core.sql import literal, quote
from fti_assets.core.times import duration, microseconds
from fti_assets.core.types import SIDES, WHOLE, WIDE
from fti_assets.errors import DeclarationError
from fti_assets.features.windows.aggregates import (
    Aggregate,
    Count,
    DistinctCount,
    First,
    Last,
    Max,
    Mean,
    Min,
    Rate,
    Std,
    Sum,
)
from fti_assets.features.windows.axis import Windows
from fti_assets.features.windows.exact import (
    WHOLE_DIGITS,
    Spread,
    float_deviation,
    float_sum,
    nearest_double,
    ratio,
    spread_sql,
    whole_deviation,
)

if TYPE_CHECKING:
    import duckdb

_SMALL = {"boolean", *(kind.lower() for kind in WHOLE if kind != "BIGINT")}
_LARGE = {"bigint", *map(str.lower, WIDE), "uhugeint"}
_FLOATS = {kind.lower() for kind in (*SIDES["number"].same, *SIDES["number"].further)}
_TIMES = {"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone", "date", "time"}
_PREPARATION = re.compile(r"__fti_prepared_(\d+)")
_COMPARABLE = _SMALL | _LARGE | _FLOATS | _TIMES | {"varchar"}


@dataclass
class RowTerms:
    """What each row must give, as SQL of its columns; a number names its place.

    Args:
        measures: whole numbers that are summed.
        states: values of which the least or the greatest is taken, each with ``min`` or ``max``.
        values: values of which the different ones are counted.
        preparations: what is computed of totals before the results are.
    """

    measures: list[str] = field(default_factory=list)
    states: list[tuple[str, str]] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    preparations: list[str] = field(default_factory=list)

    def total(self, measure: str, window: int) -> str:
        """The column with a measure's total over a window."""
        return f"__fti_total_{window}_{_place(self.measures, measure)}"

    def prepare(self, sql: str) -> str:
        """The column with what SQL over totals gives."""
        return f"__fti_prepared_{_place(self.preparations, sql)}"

    def steps(self) -> list[str]:
        """What is prepared, as further columns of a SELECT each, after one another: some rest on others."""
        # DuckDB puts an alias's expression wherever it is named in the same SELECT: a chain of carries would double at each link.
        levels: list[int] = []
        for sql in self.preparations:
            levels.append(max((levels[int(place)] + 1 for place in _PREPARATION.findall(sql)), default=0))
        return [
            ", ".join(
                f"{sql} AS __fti_prepared_{place}"
                for place, (sql, level) in enumerate(zip(self.preparations, levels, strict=True))
                if level == step
            )
            for step in range(max(levels, default=-1) + 1)
        ]

    def extreme(self, state: str, of: str, window: int) -> str:
        """The column with the least or greatest state in a window."""
        return f"__fti_extreme_{window}_{_place(self.states, (state, of))}"

    def distinct(self, value: str, window: int) -> str:
        """The column with the number of different values in a window."""
        return f"__fti_distinct_{window}_{_place(self.values, value)}"


class Spreads(dict[str, Spread]):
    """The spread of each DOUBLE of a source and of its tiles, asked for when it is first needed."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, source: str, tiles: Mapping[str, Spread]) -> None:
        self._connection, self._source, self._tiles = connection, source, tiles

    def __missing__(self, value: str) -> Spread:
        of_rows = Spread(*self._connection.sql(spread_sql(value, self._source)).fetchall()[0])
        self[value] = of_rows | self._tiles.get(value, Spread())
        return self[value]


@dataclass(frozen=True)
class Results:
    """The aggregates of windows, as SQL over the columns that ``terms`` names.

    Args:
        windows: what is declared.
        spreads: the spread of each DOUBLE.
    """

    windows: Windows
    spreads: Mapping[str, Spread]
    terms: RowTerms = field(default_factory=RowTerms)

    @cached_property
    def types(self) -> dict[str, str]:
        relation = self.windows.rows.relation
        return {name: str(kind.id) for name, kind in zip(relation.columns, relation.types, strict=True)}

    def sql(self, aggregate: Aggregate, window: int) -> str:
        """An aggregate over a window.

        Raises:
            DeclarationError: it cannot be made of a column of that type.
        """
        match aggregate:
            case Count():
                return f"{self.terms.total('1', window)}::BIGINT"
            case Rate(column=None):
                return self._rate(self.terms.total("1", window), aggregate, window)
            case Min(column) | Max(column):
                of = "min" if isinstance(aggregate, Min) else "max"
                return self.terms.extreme(self.comparable(column), of, window)
            case First(column) | Last(column):
                value = self.comparable(column)
                of = "min" if isinstance(aggregate, First) else "max"
                # DuckDB compares structs field by field, so their greatest is the last row and their least the first, ties included.
                state = (
                    f"{{'event': epoch_us({self.windows.event}), 'available': epoch_us({self.windows.available}), "
                    f"'known': {value} IS NOT NULL, 'value': {value}}}"
                )
                return f"{self.terms.extreme(state, of, window)}.value"
            case DistinctCount(column):
                return f"{self.terms.distinct(self.comparable(column), window)}::BIGINT"
        assert isinstance(aggregate, Sum | Mean | Rate | Std)
        column = str(aggregate.column)
        self.check_type(
            column, _SMALL | _LARGE | _FLOATS, "only booleans and numbers can be summed; count its rows, or"
        )
        values = self.terms.total(f"CASE WHEN {quote(column)} IS NULL THEN 0 ELSE 1 END", window)
        if isinstance(aggregate, Std):
            return f"CASE WHEN {values} > 1 THEN {self._deviation(column, values, window)} END"
        is_float = self.types[column] in _FLOATS
        if is_float and isinstance(aggregate, Mean | Rate):
            return f"CASE WHEN {values} > 0 THEN {self._ratio(column, aggregate, values, window)} END"
        total = f"({self._sum(column, window)})"
        if isinstance(aggregate, Mean | Rate) and not is_float and self.types[column] != "boolean":
            total = nearest_double(total)
        if isinstance(aggregate, Mean):
            total = f"{total}::DOUBLE / {values}::DOUBLE"
        elif isinstance(aggregate, Rate):
            total = self._rate(total, aggregate, window)
        elif not is_float:
            total = self._within_64_bits(column, total, window)
        return f"CASE WHEN {values} > 0 THEN {total} END"

    def _sum(self, column: str, window: int) -> str:
        name, kind, total = quote(column), self.types[column], partial(self.terms.total, window=window)
        if kind in _FLOATS:
            value = f"{name}::DOUBLE"
            return float_sum(value, self.spreads[value], total, self.terms.prepare)
        return total(f"coalesce({name}::{'BIGINT' if kind in _SMALL else 'HUGEINT'}, 0)")

    def _within_64_bits(self, column: str, total: str, window: int) -> str:
        before = literal(sum_over(column, list(self.windows.lengths)[window]))
        problem = f"error({before} || {total}::VARCHAR || {literal(BEYOND_64_BITS)})"
        return f"CASE WHEN TRY_CAST({total} AS BIGINT) IS NULL THEN {problem} ELSE {total}::BIGINT END"

    def _ratio(self, column: str, aggregate: Mean | Rate, values: str, window: int) -> str:
        """The mean or rate of a DOUBLE."""
        value, total = f"{quote(column)}::DOUBLE", partial(self.terms.total, window=window)
        times, over = (1, values) if isinstance(aggregate, Mean) else self._per(aggregate, window)
        return ratio(value, self.spreads[value], total, self.terms.prepare, times=times, over=over)

    def _deviation(self, column: str, values: str, window: int) -> str:
        name, kind, total = quote(column), self.types[column], partial(self.terms.total, window=window)
        if kind not in _FLOATS:
            return whole_deviation(name, WHOLE_DIGITS.get(kind, 2), values, total, self.terms.prepare)
        value = f"{name}::DOUBLE"
        return float_deviation(value, self.spreads[value], values, total, self.terms.prepare)

    def _rate(self, total: str, rate: Rate, window: int) -> str:
        per, length = self._per(rate, window)
        return f"{total}::DOUBLE * {per}::DOUBLE / {length}::DOUBLE"

    def _per(self, rate: Rate, window: int) -> tuple[int, str]:
        """A unit of time and the length of a window, in microseconds."""
        return microseconds(duration(rate.per)), str(list(self.windows.lengths.values())[window])

    def number(self, column: str) -> str:
        """A column as ``DOUBLE``, each value the nearest."""
        self.check_type(column, _SMALL | _LARGE | _FLOATS, "only booleans and numbers have percentiles;")
        kind, name = self.types[column], quote(column)
        if kind == "boolean" or kind in _SMALL:
            return f"{name}::BIGINT::DOUBLE"
        return f"({name}::DOUBLE + 0)" if kind in _FLOATS else nearest_double(f"{name}::HUGEINT")

    def comparable(self, column: str) -> str:
        """A column whose values can be compared, of floats without a negative zero."""
        self.check_type(column, _COMPARABLE, "only numbers, times, text and booleans can be compared;")
        return f"({quote(column)} + 0)" if self.types[column] in ("float", "double") else quote(column)  # -0.0 is 0.0

    def check_type(self, column: str, possible: set[str], problem: str) -> None:
        """Refuse a column of another type."""
        kind = self.types[column]
        if kind not in possible:
            raise DeclarationError(
                f"{self.windows.rows.name} has {column!r} as {kind.upper()}: {problem} select one of these from it first"
            )


def _place(things: list[Any], thing: Any) -> int:
    if thing not in things:
        things.append(thing)
    return things.index(thing)
