"""The features whose values lie in an order that tells a label: one that grows with it, or a range of its own for each class."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from fti_assets.core.manifest import Column
from fti_assets.core.sql import literal, quoted

_IN_A_ROW = 30
"""So many rows in order are no chance. Few, since each needs a group of its own."""
TOGETHER = 50
"""The columns of one query: what planning one costs grows with the square of their number."""


def below(source: str, y: str, names: Sequence[str]) -> str:
    """The SQL of the columns of a source, one below the other, each value beside its label and its column's name."""
    named, values = (", ".join(map(one, names)) for one in (literal, quoted))
    return f"SELECT {y}, unnest([{named}]) AS __fti_name, unnest([{values}]) AS __fti_value FROM {source}"


def maybe_in_order(
    connection: duckdb.DuckDBPyConnection, table: str, features: Sequence[Column], y: str
) -> list[Column]:
    """The features whose order a few rows do not contradict, asked column below column."""
    left: set[str] = set()
    for kind in dict.fromkeys(feature.type for feature in features):
        values = below(f"(FROM {table} LIMIT {_IN_A_ROW})", y, [one.name for one in features if one.type == kind])
        each = (
            "SELECT __fti_name, min(__fti_value) AS lowest, max(__fti_value) AS greatest, max(greatest) OVER earlier AS below, "
            f"min(lowest) OVER earlier AS above FROM ({values}) GROUP BY __fti_name, {y} "
            f"{_earlier(y, 'PARTITION BY __fti_name ')}"
        )
        rows = connection.execute(
            f"SELECT __fti_name FROM ({each}) GROUP BY __fti_name HAVING {_ordered('lowest', 'greatest', 'below', 'above')}"
        ).fetchall()
        left |= {name for (name,) in rows}
    return [feature for feature in features if feature.name in left]


def in_order(
    connection: duckdb.DuckDBPyConnection, source: str, features: Sequence[Column], y: str, *, least: int = 0
) -> list[Column]:
    """The features that grow, or fall, wherever the label grows, on the rows where they are not null."""
    results: list[Column] = []
    for first in range(0, len(features), TOGETHER):
        some = features[first : first + TOGETHER]
        grouped, compared, asked = [], [], []
        for at, feature in enumerate(some):
            f = quoted(feature.name)
            grouped.append(f"min({f}) AS low{at}, max({f}) AS high{at}, count({f}) AS rows{at}")
            compared.append(f"max(high{at}) OVER earlier AS below{at}, min(low{at}) OVER earlier AS above{at}")
            enough = f"count(low{at}) >= {least // 2} AND sum(rows{at}) >= {least}"
            asked.append(f"{enough} AND ({_ordered(f'low{at}', f'high{at}', f'below{at}', f'above{at}')})")
        labels = f"SELECT {y} AS __fti_y, {', '.join(grouped)} FROM {source} GROUP BY 1"
        each = f"SELECT *, {', '.join(compared)} FROM ({labels}) {_earlier('__fti_y')}"
        answers = connection.execute(f"SELECT {', '.join(asked)} FROM ({each})").fetchall()[0]
        results += [feature for feature, ordered in zip(some, answers, strict=True) if ordered]
    return results


def in_ranges(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    features: Sequence[Column],
    y: str,
    *,
    least: int = 0,
    agreeing: int = 0,
) -> list[Column]:
    """The features of which each label has a range of values of its own, on the rows where they are not null.

    Args:
        least: how many rows have to have a value.
        agreeing: how many of these are of other labels than the commonest, each beside one more of its label.
    """
    left: set[str] = set()
    for kind in dict.fromkeys(feature.type for feature in features if feature.type not in ("boolean", "text")):
        values = below(source, y, [one.name for one in features if one.type == kind])
        each = (
            "SELECT __fti_name, count(__fti_value) AS number, min(__fti_value) AS lowest, max(__fti_value) AS greatest, "
            f"max(greatest) OVER lesser AS before FROM ({values}) GROUP BY __fti_name, {y} WINDOW "
            "lesser AS (PARTITION BY __fti_name ORDER BY lowest NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
        )
        enough = (
            f"sum(number) >= {least} AND sum(number) - max(number) - (count(lowest) - 1) >= {agreeing} AND "
            if least
            else ""
        )
        rows = connection.execute(
            f"SELECT __fti_name FROM ({each}) GROUP BY __fti_name HAVING {enough}coalesce(bool_and(lowest > before), true)"
        ).fetchall()
        left |= {name for (name,) in rows}
    return [feature for feature in features if feature.name in left]


def _earlier(y: str, partition: str = "") -> str:
    """The window of the lesser labels. Running extremes pass over labels whose rows have no value; ``lag`` would not."""
    return f"WINDOW earlier AS ({partition}ORDER BY {y} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"


def _ordered(low: str, high: str, below: str, above: str) -> str:
    return f"coalesce(bool_and({low} > {below}), true) OR coalesce(bool_and({high} < {above}), true)"
