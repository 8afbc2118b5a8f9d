"""The features whose values lie in an order that tells a label: one that grows with it, or in which the classes have few runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from fti_assets.core.manifest import Column
from fti_assets.core.sql import literal, quote

_IN_A_ROW = 30
"""So many rows in order are no chance. Few, since each needs a group of its own."""
_MORE_RUNS = 2
"""So many runs more than classes: one on both sides of another, or two classes in turn, as a tree of three or four leaves finds them."""
_RUN = 10
"""Where a class has several runs, each has at least so many rows; fewer are exceptions, which clear a feature. By chance 20 rows of
one class lie around 10 of another in one of a million orders: 19 of C(30, 10). More rows, runs or classes make that rarer."""
TOGETHER = 50
"""The columns of one query: what planning one costs grows with the square of their number."""


def below(source: str, y: str, names: Sequence[str]) -> str:
    """The SQL of the columns of a source, one below the other, each value beside its label and its column's name."""
    name_list, values = (", ".join(map(one, names)) for one in (literal, quote))
    return f"SELECT {y}, unnest([{name_list}]) AS __fti_name, unnest([{values}]) AS __fti_value FROM {source}"


def maybe_in_order(
    connection: duckdb.DuckDBPyConnection, table: str, features: Sequence[Column], y: str
) -> list[Column]:
    """The features whose order a few rows do not contradict, asked column below column."""
    names: set[str] = set()
    for kind in dict.fromkeys(feature.type for feature in features):
        values = below(f"(FROM {table} LIMIT {_IN_A_ROW})", y, [one.name for one in features if one.type == kind])
        each = (
            "SELECT __fti_name, min(__fti_value) AS lowest, max(__fti_value) AS greatest, max(greatest) OVER earlier AS below, "
            f"min(lowest) OVER earlier AS above FROM ({values}) GROUP BY __fti_name, {y} "
            f"{_earlier(y, 'PARTITION BY __fti_name ')}"
        )
        rows = connection.execute(
            f"SELECT __fti_name FROM ({each}) GROUP BY __fti_name HAVING {_is_ordered('lowest', 'greatest', 'below', 'above')}"
        ).fetchall()
        names |= {name for (name,) in rows}
    return [feature for feature in features if feature.name in names]


def in_order(
    connection: duckdb.DuckDBPyConnection, source: str, features: Sequence[Column], y: str, *, least: int = 0
) -> list[Column]:
    """The features that grow, or fall, wherever the label grows, on the rows where they are not null."""
    results: list[Column] = []
    for first in range(0, len(features), TOGETHER):
        some = features[first : first + TOGETHER]
        extremes, bounds, verdicts = [], [], []
        for at, feature in enumerate(some):
            f = quote(feature.name)
            extremes.append(f"min({f}) AS low{at}, max({f}) AS high{at}, count({f}) AS rows{at}")
            bounds.append(f"max(high{at}) OVER earlier AS below{at}, min(low{at}) OVER earlier AS above{at}")
            enough = f"count(low{at}) >= {least // 2} AND sum(rows{at}) >= {least}"
            verdicts.append(f"{enough} AND ({_is_ordered(f'low{at}', f'high{at}', f'below{at}', f'above{at}')})")
        labels = f"SELECT {y} AS __fti_y, {', '.join(extremes)} FROM {source} GROUP BY 1"
        each = f"SELECT *, {', '.join(bounds)} FROM ({labels}) {_earlier('__fti_y')}"
        answers = connection.execute(f"SELECT {', '.join(verdicts)} FROM ({each})").fetchall()[0]
        results += [feature for feature, is_ordered in zip(some, answers, strict=True) if is_ordered]
    return results


def maybe_in_runs(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    features: Sequence[Column],
    y: str,
    parameters: Mapping[str, Any] | None = None,
) -> list[Column]:
    """The features that a few rows do not contradict to have few runs, asked column below column.

    Fewer rows have no more runs beyond one a class: without a row a run is gone or shorter, and its neighbours may become one.
    """
    wrong: set[str] = set()
    features = [feature for feature in features if feature.type not in ("boolean", "text")]
    for kind in dict.fromkeys(feature.type for feature in features):
        starts = _starts(below(source, y, [one.name for one in features if one.type == kind]), y)
        rows = connection.execute(
            f"SELECT __fti_name FROM ({starts}) GROUP BY __fti_name "
            f"HAVING NOT bool_and(pure) OR sum(starts) - count(DISTINCT label) > {_MORE_RUNS}",
            parameters,
        ).fetchall()
        wrong |= {name for (name,) in rows}
    return [feature for feature in features if feature.name not in wrong]


def in_runs(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    features: Sequence[Column],
    y: str,
    *,
    least: int,
    agreeing: int,
) -> list[Column]:
    """The features in whose order the classes follow one another in few runs, on the rows where they are not null.

    A tree with a leaf a run tells the class. Each class has a run, and two more may be, as where one lies on both sides of another.

    Args:
        least: how many rows have to have a value.
        agreeing: how many of these are of other labels than the commonest, each beside one more of its label.
    """
    results: list[Column] = []
    # One at a time: what passed a sample is rarely more, and the rows of each are sorted.
    for feature in features:
        each = f"SELECT *, sum(starts) OVER (ORDER BY __fti_value) AS run FROM ({_starts(below(source, y, [feature.name]), y)})"
        runs = f"SELECT label, bool_and(pure) AS pure, sum(number) AS number FROM ({each}) GROUP BY label, run"
        classes = (
            "SELECT bool_and(pure) AS pure, count(*) AS runs, min(number) AS shortest, sum(number) AS number "
            f"FROM ({runs}) GROUP BY label"
        )
        [(fine,)] = connection.execute(
            f"SELECT bool_and(pure) AND sum(runs) - count(*) <= {_MORE_RUNS} AND bool_and(runs = 1 OR shortest >= {_RUN}) "
            f"AND sum(number) >= {least} AND sum(number) - max(number) - (count(*) - 1) >= {agreeing} FROM ({classes})"
        ).fetchall()
        if fine:
            results.append(feature)
    return results


def _starts(values: str, y: str) -> str:
    """The SQL of each value of what ``below`` gives: its class, whether that is the only one, its rows, and whether it starts a run."""
    points = (
        f"SELECT __fti_name, __fti_value, min({y}) AS label, min({y}) = max({y}) AS pure, count(*) AS number FROM ({values}) "
        "WHERE __fti_value IS NOT NULL GROUP BY __fti_name, __fti_value"
    )
    before = "lag(label) OVER (PARTITION BY __fti_name ORDER BY __fti_value)"
    return f"SELECT *, (label IS DISTINCT FROM {before})::INTEGER AS starts FROM ({points})"


def _earlier(y: str, partition: str = "") -> str:
    """The window of the lesser labels. Running extremes pass over labels whose rows have no value; ``lag`` would not."""
    return f"WINDOW earlier AS ({partition}ORDER BY {y} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"


def _is_ordered(low: str, high: str, below: str, above: str) -> str:
    return f"coalesce(bool_and({low} > {below}), true) OR coalesce(bool_and({high} < {above}), true)"
