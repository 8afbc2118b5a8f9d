"""Whether a feature tells a label, asked in SQL: it is a copy of it, codes it, parts it or lies on a line with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from fti_assets.core.manifest import Column
from fti_assets.core.sql import quote
from fti_assets.core.types import NUMERIC
from fti_assets.errors import list_some
from fti_assets.training.datasets.leaks.orders import TOGETHER, below

FEWEST = 20
"""Of fewer rows chance alone may tell every label."""

AGREEING = 9
"""So many rows of other labels than the commonest, each alike to one before: fewer may agree by chance."""

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
        return self.column.type in ("integer", "number") and self.values >= FEWEST // 2

    @property
    def is_class(self) -> bool:
        """Whether its values come again."""
        return 2 <= self.values <= self.rows // 2

    @property
    def kind(self) -> tuple[bool, ...]:
        """What decides which ways of telling it are asked."""
        return self.values < 2, self.values == 2, self.is_amount, self.is_class, self.rows < FEWEST

    def of(self, source: str) -> str:
        """The SQL of the rows of a source with what is asked of their labels, to be run with ``parameters``."""
        return f"(SELECT *, {self.y} = $highest AS __fti_high, {self.y} = $commonest AS __fti_common FROM {source})"

    @property
    def parameters(self) -> dict[str, Any]:
        return {"highest": self.highest, "commonest": self.commonest}


def telling_features(
    connection: duckdb.DuckDBPyConnection, source: str, features: Sequence[Column], label: LabelFacts, *, least: int
) -> list[Column]:
    """The features that nothing contradicts to tell the label by their values, where they have at least that many rows."""
    results: list[Column] = []
    for first in range(0, len(features), TOGETHER):
        some = features[first : first + TOGETHER]
        verdicts = [_tells(feature, label, least) for feature in some]
        answers = connection.execute(
            f"SELECT {', '.join(verdicts)} FROM {label.of(source)}", label.parameters
        ).fetchall()[0]
        results += [feature for feature, tells in zip(some, answers, strict=True) if tells]
    return results


def not_ruled_out(
    connection: duckdb.DuckDBPyConnection, table: str, features: Sequence[Column], label: LabelFacts
) -> list[Column]:
    """The features that a few rows do not rule out, asked column below column: a query of the table's width plans for seconds."""
    sides = [f"(FROM {table} WHERE {label.y} {side} $highest LIMIT {_FIRST})" for side in ("=", "<>")]
    names: set[str] = set()
    for kind in dict.fromkeys(feature.type for feature in features):
        values = below(f"({' UNION ALL '.join(sides)})", label.y, [one.name for one in features if one.type == kind])
        tells = _tells(Column("__fti_value", kind), label, 0)
        rows = connection.execute(
            f"SELECT __fti_name FROM {label.of(f'({values})')} GROUP BY __fti_name HAVING {tells}", label.parameters
        ).fetchall()
        names |= {name for (name,) in rows}
    return [feature for feature in features if feature.name in names]


def _tells(feature: Column, label: LabelFacts, least: int) -> str:
    """The SQL of whether a feature tells the label: it equals it, parts it, lies on a line with it, decides it by its values,
    or by being null. Without ``least`` the rows are a sample, which can only rule that out."""
    f, y, kind = quote(feature.name), label.y, label.column.type
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
    """The SQL of whether each value of a feature comes again and has one label: null is a value too, or says nothing.

    Fractions, which rarely come again, are ruled out by how many they are: a few rows have no more values than all.
    """
    f, y = quote(feature.name), label.y
    values, pairs = f"count(DISTINCT {f})", f"count(DISTINCT {{'f': {f}, 'y': {y}}}) FILTER ({f} IS NOT NULL)"
    most = min(label.rows // 2, _FIRST) if feature.type == "number" else label.rows // 2
    fits = f"{values} <= {most} AND {values} = {pairs}"
    if not least:
        return fits
    uncommon = "FILTER (NOT __fti_common)"
    again = f"count(*) {uncommon} - count(DISTINCT {{'f': {f}}}) {uncommon} >= {AGREEING}"
    with_null = f"{null_has_one_label(feature.name, y)} AND {again}"
    again = f"count({f}) {uncommon} - count(DISTINCT {f}) {uncommon} >= {AGREEING}"
    both = f"min({y}) FILTER ({f} IS NOT NULL) < max({y}) FILTER ({f} IS NOT NULL)"
    if label.is_class:
        both = f"count({f}) FILTER (__fti_common) >= {least // 2}"
    without_null = f"{again} AND {both} AND count({f}) >= greatest({least}, 2 * {values})"
    return f"{fits} AND (({with_null}) OR ({without_null}))"


def null_has_one_label(name: str, y: str) -> str:
    """The SQL of whether the rows where a feature is null, if there are any, have one label."""
    null = f"FILTER ({quote(name)} IS NULL)"
    return f"coalesce(min({y}) {null} = max({y}) {null}, true)"


def telling_sentences(
    connection: duckdb.DuckDBPyConnection, source: str, names: Sequence[str], label: LabelFacts, *, train: bool
) -> list[str]:
    """What to say of features that tell the label: of every row, or of those that have a value, if null says nothing."""
    if not names:
        return []
    counts = ", ".join(f"count({quote(name)}), {null_has_one_label(name, label.y)}" for name in names)
    answers = connection.execute(f"SELECT {counts} FROM {source}").fetchall()[0]
    by_rows: dict[int, list[str]] = {}
    for name, count, null_tells in zip(names, answers[::2], answers[1::2], strict=True):
        by_rows.setdefault(label.rows if null_tells else count, []).append(name)
    of = "train rows" if train else "rows"
    sentences = []
    for rows, some in by_rows.items():
        whole = f"every one of {'the ' if train else ''}{rows} {of}"
        of_rows = whole if rows == label.rows else f"each of the {rows} {of} that have a value"
        sentences.append(f"{list_some(some)} alone tells the label {label.column.name!r} of {of_rows}")
    return sentences
