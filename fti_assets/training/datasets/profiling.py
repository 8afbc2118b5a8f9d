"""The reference profile of a dataset: bins, counts, nulls and categories of its train rows, for monitoring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import duckdb
import numpy as np

from fti_assets.core.manifest import Column, SampleRecord
from fti_assets.core.manifest.profiles import CATEGORIES, RANKS, Bins, ColumnProfile, Profile, edges_of_ranks
from fti_assets.core.mixing import mixed
from fti_assets.core.sql import literal, quote
from fti_assets.core.types import ColumnType
from fti_assets.training.datasets.sampling.sample import class_sql

_AT_ONCE = 200
"""The columns of one query: planning costs more than that many are worth."""
_NUMBERS = ("number", "integer", "vector")
"""What has bins: numbers, and vectors, of which the norm does."""
DIRECTIONS = 8
"""So many directions a vector is looked at from: all of them see less than a third of a shift once in 40,000 times."""

_LARGEST_WEIGHT = 127


def profile_of(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    features: Sequence[Column],
    label: Column,
    label_column: str,
    sample: SampleRecord | None = None,
) -> Profile:
    """Count the train rows of a dataset: their edges in one pass over all numbers, their counts in one more.

    Args:
        rows: the SQL of the train rows, as a table.
        features: the columns.
        label: the label.
        label_column: what the table calls it.
        sample: what was kept of the rows, so that their counts are those of the rows before.
    """
    columns = [(feature.name, feature.type) for feature in features] + [(label_column, label.type)]
    weight = _weight(sample, quote(label_column), label.type)
    numbers = [(name, kind, binned_sql(quote(name), kind)) for name, kind in columns if kind in _NUMBERS]
    profiles = {one.name: one for one in _of_numbers(connection, rows, numbers, weight)}
    for name, kind in columns:
        if kind not in _NUMBERS:
            profiles[name] = _of_categories(connection, rows, name, kind, weight)
    for name in (name for name, kind in columns if kind == "vector"):
        dim = usual_length(connection, rows, name)
        along: list[tuple[str, ColumnType, str]] = [
            (name, "number", sql) for sql in projections_sql(quote(name), dim or 0)
        ]
        directions = [Bins(one.edges, one.counts) for one in _of_numbers(connection, rows, along, weight)]
        profiles[name] = replace(profiles[name], dim=dim, directions=tuple(directions))
    own = profiles[label_column]
    return Profile(
        tuple(profiles[feature.name] for feature in features),
        ColumnProfile(
            label.name, *[getattr(own, field) for field in ColumnProfile.__dataclass_fields__ if field != "name"]
        ),
    )


def _weight(sample: SampleRecord | None, label: str, kind: ColumnType) -> str:
    """The SQL of how many rows before the sample a row stands for."""
    if sample is None or "" in sample.shares:
        return "1"
    cases = " ".join(f"WHEN {literal(name)} THEN {rows / sample.kept[name]!r}" for name, rows in sample.rows.items())
    return f"CASE {class_sql(label, kind)} {cases} ELSE 1.0 END"


def _of_numbers(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    columns: Sequence[tuple[str, ColumnType, str]],
    weight: str,
) -> Iterator[ColumnProfile]:
    """The profiles of columns, each a name, its type and the SQL of what is put into bins."""
    for first in range(0, len(columns), _AT_ONCE):
        some = columns[first : first + _AT_ONCE]
        values = [f"nullif({sql}, 'nan'::DOUBLE)" for _, _, sql in some]
        # Every value counts as often as it is there: what a sample left out is not known, so edges are of what was kept.
        bins = edges_of(connection, rows, values)
        items = [
            f"count({value}), {f'histogram({value}, {_list(own)})' if own else 'NULL'}"
            for value, own in zip(values, bins, strict=True)
        ]
        groups = connection.execute(
            f"SELECT {weight}, count(*), {', '.join(items)} FROM {rows} GROUP BY 1 ORDER BY 1"
        ).fetchall()
        for at, ((name, kind, _), own) in enumerate(zip(some, bins, strict=True)):
            all_rows = sum(float(share) * count for share, count, *_ in groups)
            with_value = sum(float(share) * counts[2 * at] for share, _, *counts in groups)
            below = [
                sum(float(share) * (counts[2 * at + 1] or {}).get(edge, 0) for share, _, *counts in groups)
                for edge in own
            ]
            counts_of_bins = (*below, max(0.0, with_value - sum(below))) if with_value else ()
            yield ColumnProfile(name, kind, all_rows, all_rows - with_value, own, tuple(counts_of_bins))


def edges_of(connection: duckdb.DuckDBPyConnection, rows: str, values: Sequence[str]) -> list[tuple[float, ...]]:
    """The edges of the bins of some numbers, by ``RULE``.

    Args:
        rows: the SQL of the rows, as a table.
        values: the SQL of each number, null for NaN.
    """
    # As decimals: of 11/20 as a double, DuckDB takes the 56th of 100 values.
    ranks = ", ".join(f"{rank:.3f}::DECIMAL(4, 3)" for rank in RANKS)
    [edges] = connection.execute(
        f"SELECT {', '.join(f'quantile_disc({value}, [{ranks}])' for value in values)} FROM {rows}"
    ).fetchall()
    return [edges_of_ranks(one or ()) for one in edges]


def directions(dim: int) -> np.ndarray:
    """The pinned directions of vectors of a length: whole numbers ``[DIRECTIONS, dim]`` from -127 to 127 that look random.

    A direction begins alike for all lengths. That random projections tell distributions apart: Cuesta-Albertos, Fraiman and Ransford,
    "A sharp form of the Cramér-Wold theorem" (2007).

    >>> directions(3)[0].tolist()
    [101, 112, -63]
    """
    places = np.arange(DIRECTIONS, dtype=np.uint64)[:, None] * np.uint64(2**32) + np.arange(dim, dtype=np.uint64)
    weights = (mixed(places) >> np.uint64(32)) % np.uint64(2 * _LARGEST_WEIGHT + 1)
    return np.asarray(weights.astype(np.int64) - _LARGEST_WEIGHT)


def binned_sql(value: str, kind: ColumnType) -> str:
    """The SQL of what of a value is put into bins: a number itself, of a vector its Euclidean norm to five digits, missing numbers being 0.

    The further digits of vectors that were made to be of length 1 are the noise of whoever did so.
    """
    if kind != "vector":
        return f"{value}::DOUBLE"
    return f"format('{{:.4e}}', sqrt(list_sum(list_transform({_numbers(value)}, lambda x: x * x))))::DOUBLE"


def projections_sql(value: str, dim: int) -> list[str]:
    """The SQL of a vector's projection on each of ``directions``: missing numbers are 0, and so are those that a shorter one lacks."""
    if not dim:
        return []
    numbers = f"list_resize({_numbers(value)}, {dim}, 0::DOUBLE)"
    return [
        f"list_inner_product({numbers}, [{', '.join(map(str, weights))}]::DOUBLE[])"
        for weights in directions(dim).tolist()
    ]


def usual_length(connection: duckdb.DuckDBPyConnection, rows: str, name: str) -> int | None:
    """How many numbers most vectors of a column have; None if there are none."""
    length = f"len({quote(name)})"
    lengths = connection.execute(
        f"SELECT {length} FROM {rows} WHERE {length} IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
    ).fetchall()
    return int(lengths[0][0]) if lengths else None


def _numbers(value: str) -> str:
    """The numbers of a vector as a model gets them, so that what is stored wide and what was logged are alike."""
    single = "TRY_CAST(x AS FLOAT)"
    return f"list_transform({value}, lambda x: CASE WHEN isfinite({single}) THEN {single}::DOUBLE ELSE 0 END)"


def _list(edges: Sequence[float]) -> str:
    return f"[{', '.join(f'{literal(repr(float(edge)))}::DOUBLE' for edge in edges)}]"


def _of_categories(
    connection: duckdb.DuckDBPyConnection, rows: str, name: str, kind: ColumnType, weight: str
) -> ColumnProfile:
    value = quote(name)
    groups = connection.execute(
        f"SELECT nullif({value}::VARCHAR, '') AS value, sum({weight})::DOUBLE AS rows FROM {rows} GROUP BY 1"
    )
    counts = sorted(
        ((str(one), rows) for one, rows in groups.fetchall() if one is not None), key=lambda x: (-x[1], x[0])
    )
    [(total, missing)] = connection.execute(
        f"SELECT coalesce(sum({weight}), 0)::DOUBLE, coalesce(sum({weight}) FILTER (nullif({value}::VARCHAR, '') IS NULL), 0)::DOUBLE "
        f"FROM {rows}"
    ).fetchall()
    top, further = counts[:CATEGORIES], counts[CATEGORIES:]
    return ColumnProfile(
        name,
        kind,
        total,
        missing,
        categories=dict(top),
        rest=sum(count for _, count in further),
        further_categories=len(further),
    )
