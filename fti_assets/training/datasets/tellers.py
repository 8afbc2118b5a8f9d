"""The features that alone tell a label: copies of it, codes, what parts or orders it. Samples rule out most of them first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from fti_assets.core.manifest import Column
from fti_assets.core.sql import quoted
from fti_assets.core.types import NUMERIC
from fti_assets.training.datasets.orders import TOGETHER, below, in_order, in_runs, maybe_in_order, maybe_in_runs

_FEWEST = 20
"""Of fewer rows chance alone may tell every label."""
_AGREEING = 9
"""So many rows of other labels than the commonest, each alike to one before: fewer may agree by chance."""
_SAMPLE = 2_000
"""A feature that does not tell the labels of so many rows does not tell those of all."""
_FIRST = 100
"""Of each side of the label, the rows that rule out most features for little. Fractions of more values are no codes."""


@dataclass(frozen=True)
class LabelFacts:
    """A label: its name and type, its quoted column, how many values it has, the highest, the commonest, and how many rows."""

    column: Column
    y: str
    values: int
    highest: Any
    commonest: Any
    rows: int

    @property
    def is_amount(self) -> bool:
        """Whether it is a number of so many values that an order of them is no chance."""
        return self.column.type in ("integer", "number") and self.values >= _FEWEST // 2

    @property
    def is_class(self) -> bool:
        """Whether its values come again."""
        return 2 <= self.values <= self.rows // 2

    @property
    def kind(self) -> tuple[bool, ...]:
        """What decides which ways of telling it are asked."""
        return self.values < 2, self.values == 2, self.is_amount, self.is_class, self.rows < _FEWEST

    def of(self, source: str) -> str:
        """The SQL of the rows of a source with what is asked of their labels, to be run with ``asked``."""
        return f"(SELECT *, {self.y} = $highest AS __fti_high, {self.y} = $commonest AS __fti_common FROM {source})"

    @property
    def asked(self) -> dict[str, Any]:
        return {"highest": self.highest, "commonest": self.commonest}


def tellers_of_train(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    train: str,
    features: Sequence[Column],
    label: LabelFacts,
    of_train: LabelFacts,
    *,
    dull: Collection[str],
) -> tuple[list[str], list[str]]:
    """The names of the features that tell the label of every row, and of those that tell only that of every train row.

    Args:
        connection: the connection of the table.
        table: the quoted name of a table with each feature and the label, which is never null.
        train: the SQL of its train rows.
        features: the features that are not null in every row, nor of one value in all.
        label: the label of all rows.
        of_train: the label of the train rows.
        dull: the names of the features that are null in every train row, or of one value in all.
    """
    if not of_train.rows or of_train.rows == label.rows:
        left = candidates(connection, table, features, label)
        return decided(connection, table, left, label), []
    if label.kind == of_train.kind:
        # What train rows contradict all rows do: they are asked once for both, by the facts that allow more.
        left = left_of_train = candidates(connection, train, features, label, rows=of_train.rows)
    else:
        left = candidates(connection, table, features, label)
        left_of_train = candidates(connection, train, features, of_train)
    of_all = decided(connection, table, left, label)
    only = left_of_train.without({*dull, *of_all})
    return of_all, decided(connection, train, only, of_train)


@dataclass(frozen=True)
class Candidates:
    """The features that a few rows leave open: by their values, by their order, by the runs of classes."""

    by_value: Sequence[Column] = ()
    orderly: Sequence[Column] = ()
    apart: Sequence[Column] = ()

    def without(self, names: Collection[str]) -> Candidates:
        return Candidates(
            *([one for one in some if one.name not in names] for some in (self.by_value, self.orderly, self.apart))
        )


def candidates(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    features: Sequence[Column],
    label: LabelFacts,
    *,
    rows: int | None = None,
) -> Candidates:
    """The features that a few rows of a source do not rule out; of a source of fewer rows than the label has, how many."""
    if label.values < 2 or label.rows < _FEWEST:
        return Candidates()
    by_value = not_ruled_out(connection, source, features, label)
    orderly = [one for one in features if one.type in ("integer", "number")] if label.is_amount else []
    orderly = maybe_in_order(connection, source, orderly, label.y)
    sides = " UNION ALL ".join(
        f"(FROM {source} WHERE {label.y} {side} $commonest LIMIT {_FEWEST})" for side in ("=", "<>")
    )
    asked = {"commonest": label.commonest}
    apart = maybe_in_runs(connection, f"({sides})", features, label.y, asked) if label.is_class else []
    if label.rows > 5 * _SAMPLE:
        # A sample rules out almost every feature; only what is left is asked of all rows. Repeatable, so that a rerun
        # says the same.
        few = (label.rows if rows is None else rows) <= 5 * _SAMPLE
        sample = source if few else f"(FROM {source} USING SAMPLE reservoir({_SAMPLE} ROWS) REPEATABLE (1))"
        by_value = telling(connection, sample, by_value, label, least=0)
        orderly = in_order(connection, sample, orderly, label.y)
        apart = maybe_in_runs(connection, sample, apart, label.y)
    return Candidates(by_value, orderly, apart)


def decided(connection: duckdb.DuckDBPyConnection, source: str, left: Candidates, label: LabelFacts) -> list[str]:
    """The names of the candidates that tell the label of every row of a source."""
    if label.values < 2 or label.rows < _FEWEST:
        return []
    results = {
        *telling(connection, source, left.by_value, label, least=_FEWEST),
        *in_order(connection, source, left.orderly, label.y, least=_FEWEST),
    }
    names = {one.name for one in results}
    apart = left.without(names).apart
    names |= {one.name for one in in_runs(connection, source, apart, label.y, least=_FEWEST, agreeing=_AGREEING)}
    every = dict.fromkeys(one.name for some in (left.by_value, left.orderly, left.apart) for one in some)
    return [name for name in every if name in names]


def telling(
    connection: duckdb.DuckDBPyConnection, source: str, features: Sequence[Column], label: LabelFacts, *, least: int
) -> list[Column]:
    """The features that nothing contradicts to tell the label by their values, where they have at least that many rows."""
    results: list[Column] = []
    for first in range(0, len(features), TOGETHER):
        some = features[first : first + TOGETHER]
        asked = [_tells(feature, label, least) for feature in some]
        answers = connection.execute(f"SELECT {', '.join(asked)} FROM {label.of(source)}", label.asked).fetchall()[0]
        results += [feature for feature, tells in zip(some, answers, strict=True) if tells]
    return results


def not_ruled_out(
    connection: duckdb.DuckDBPyConnection, table: str, features: Sequence[Column], label: LabelFacts
) -> list[Column]:
    """The features that a few rows do not rule out, asked column below column: a query of the table's width plans for seconds."""
    sides = [f"(FROM {table} WHERE {label.y} {side} $highest LIMIT {_FIRST})" for side in ("=", "<>")]
    left: set[str] = set()
    for kind in dict.fromkeys(feature.type for feature in features):
        values = below(f"({' UNION ALL '.join(sides)})", label.y, [one.name for one in features if one.type == kind])
        tells = _tells(Column("__fti_value", kind), label, 0)
        rows = connection.execute(
            f"SELECT __fti_name FROM {label.of(f'({values})')} GROUP BY __fti_name HAVING {tells}", label.asked
        ).fetchall()
        left |= {name for (name,) in rows}
    return [feature for feature in features if feature.name in left]


def _tells(feature: Column, label: LabelFacts, least: int) -> str:
    """The SQL of whether a feature tells the label: it equals it, parts it, lies on a line with it, decides it by its values,
    or by being null. Without ``least`` the rows are a sample, which can only rule that out."""
    f, y, kind = quoted(feature.name), label.y, label.column.type
    enough = f"count({f}) >= {least}"
    ways = []
    if feature.type in NUMERIC and kind in NUMERIC:
        ways.append(f"({enough} AND coalesce(bool_and({f}::DOUBLE = {y}::DOUBLE), true))")
        if label.values > 2:
            line = f"corr({f}::DOUBLE, {y}::DOUBLE) FILTER (abs({f}::DOUBLE) < 1e100 AND abs({y}::DOUBLE) < 1e100)"
            # Of one value there is no line: that is NaN, which DuckDB takes for greater than any number.
            line = f"coalesce(abs(nullif({line}, 'nan'::DOUBLE)) > 1 - {1e-12 if least else 1e-6}, {not least})"
            ways.append(f"({enough} AND {line})")
    elif feature.type == kind:
        ways.append(f"({enough} AND coalesce(bool_and({f} = {y}), true))")
    if label.values == 2:
        each = f"least(count({f}) FILTER (__fti_high), count({f}) FILTER (NOT __fti_high)) >= {least // 2}"
        if feature.type != "text":
            low, high = "FILTER (NOT __fti_high)", "FILTER (__fti_high)"
            parts = f"max({f}) {low} < min({f}) {high} OR min({f}) {low} > max({f}) {high}"
            ways.append(f"({each} AND coalesce({parts}, true))")
        both = f"least(count(*) FILTER (__fti_high), count(*) FILTER (NOT __fti_high)) >= {least // 2}"
        null = f"bool_and(__fti_high = ({f} IS NULL)) OR bool_and(__fti_high = ({f} IS NOT NULL))"
        ways.append(f"({both} AND coalesce({null}, true))")
    ways.append(f"({_decides(feature, label, least)})")
    return f"({' OR '.join(ways)})"


def _decides(feature: Column, label: LabelFacts, least: int) -> str:
    """The SQL of whether each value of a feature comes again and has one label, null being a value too.

    Fractions, which rarely come again, are ruled out by how many they are: a few rows have no more values than all.
    """
    f = quoted(feature.name)
    values, pairs = f"count(DISTINCT {{'f': {f}}})", f"count(DISTINCT {{'f': {f}, 'y': {label.y}}})"
    most = min(label.rows // 2, _FIRST) if feature.type == "number" else label.rows // 2
    uncommon = "FILTER (NOT __fti_common)"
    again = f"count(*) {uncommon} - count(DISTINCT {{'f': {f}}}) {uncommon} >= {_AGREEING} AND " if least else ""
    return f"{again}{values} <= {most} AND {values} = {pairs}"
