"""The features that alone tell a label of nearly every row: a leak with a few exceptions, which no rule without errors finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fti_assets.core.manifest import Column
from fti_assets.core.sql import quote
from fti_assets.core.types import NUMERIC
from fti_assets.training.datasets.leaks.orders import TOGETHER
from fti_assets.training.datasets.leaks.telling import AGREEING, LabelFacts

_WRONG = 0.005
"""A feature that is wrong of a larger share of the rows tells no label."""
_ROWS = 500
"""Of fewer rows a feature that is right of 98 % may have one wrong by chance; of so many it has at most 2 in one of 300 data sets."""
_LEFT = 0.1
"""Of the rows that the commonest label alone has wrong, a feature that tells the label leaves at most this share wrong."""
_AGAIN = 10
"""A value of fewer rows tells nothing: its commonest label may be chance. So each of its rows counts as wrong."""
_SAMPLE = 2_000
_CLASSES = 50
_LINES = 40
"""So many lines through two rows each: with 1 row in 200 wrong, all miss the line of the others in one of 10**80 draws."""
_CLOSE = 0.005
"""How far from the line a number still is the label, as a share of the middle half of the labels: what rounding takes."""


def near_tellers(
    connection: duckdb.DuckDBPyConnection, table: str, features: Sequence[Column], label: LabelFacts
) -> dict[str, int]:
    """Of how many rows each feature alone tells the label, for those that tell nearly all.

    It tells a class by the commonest one of each of its values that has ten rows, null being a value too, or by one threshold between two
    classes. It tells an amount that lies on a line with it, but for rounding. At most 0.5 % of the rows are wrong, and at most a tenth of
    those that the commonest label has wrong. Of fewer than 500 rows nothing is said.

    Args:
        table: the quoted name of a table with each feature and the label, which is never null.
        features: those that do not tell the label of every row.
        label: of all rows.
    """
    is_class = label.is_class and label.values <= _CLASSES
    if label.rows < _ROWS or not (is_class or label.is_amount):
        return {}
    candidates = list(features)
    if label.rows > 5 * _SAMPLE:
        # Three times as many wrong rows: of what is wrong of 1 in 200 a sample of 2,000 rows has 30 in one of 10**6 draws.
        sample = f"(FROM {table} USING SAMPLE reservoir({_SAMPLE} ROWS) REPEATABLE (1))"
        rights = _rights(connection, sample, candidates, label, is_class)
        candidates = [one for one in candidates if rights[one.name] >= _SAMPLE * (1 - 3 * _WRONG)]
    rights = _rights(connection, table, candidates, label, is_class)
    [(commonest,)] = connection.execute(
        f"SELECT count(*) FROM {table} WHERE {label.y} = $commonest", {"commonest": label.commonest}
    ).fetchall()
    uncommon = label.rows - commonest
    return {
        name: right
        for name, right in rights.items()
        if (wrong := label.rows - right) <= label.rows * _WRONG
        and wrong <= uncommon * _LEFT
        and uncommon - wrong >= AGREEING
    }


def _rights(
    connection: duckdb.DuckDBPyConnection, source: str, features: Sequence[Column], label: LabelFacts, is_class: bool
) -> dict[str, int]:
    """Of how many rows of a source each feature tells the label."""
    results: dict[str, int] = {}
    for first in range(0, len(features), TOGETHER):
        some = features[first : first + TOGETHER]
        columns = ", ".join(f"{quote(one.name)} AS f{at}" for at, one in enumerate(some))
        rows = connection.execute(f"SELECT {label.y} AS y, {columns} FROM {source}").to_arrow_table()
        y = _codes(rows["y"]) if is_class else rows["y"].to_numpy().astype(float)
        for at, feature in enumerate(some):
            right = 0
            if is_class:
                right = _by_value(_codes(rows[f"f{at}"]), y)
                if feature.type in ("integer", "number", "timestamp") and label.values == 2:
                    right = max(right, _by_threshold(rows[f"f{at}"], y))
            if label.is_amount and feature.type in NUMERIC:
                amounts = rows["y"].to_numpy().astype(float)
                right = max(right, _on_a_line(rows[f"f{at}"].cast(pa.float64()).to_numpy(), amounts))
            results[feature.name] = right
    return results


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """A column's values as numbers from 0, null being one."""
    return np.asarray(pc.dictionary_encode(column, null_encoding="encode").combine_chunks().indices)


def _by_value(codes: np.ndarray, y: np.ndarray) -> int:
    """The rows of which the commonest label of each value with enough rows is right."""
    pairs, counts = np.unique(codes.astype(np.int64) * (_CLASSES + 1) + y, return_counts=True)
    values = pairs // (_CLASSES + 1)
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    enough = np.add.reduceat(counts, starts) >= _AGAIN
    return int(np.maximum.reduceat(counts, starts)[enough].sum())


def _by_threshold(column: pa.ChunkedArray, y: np.ndarray) -> int:
    """The rows of which one threshold between two classes is right, and of nulls their commonest label."""
    null = np.asarray(column.is_null())
    nulls = np.bincount(y[null], minlength=2)
    right = int(nulls.max()) if null.sum() >= _AGAIN else 0
    numbers, labels = column.drop_null().to_numpy(), y[~null]
    if not len(numbers):
        return right
    order = np.argsort(numbers, kind="stable")
    numbers, labels = numbers[order], labels[order]
    ones = np.cumsum(labels)
    zeros = np.arange(1, len(labels) + 1) - ones
    last = np.append(numbers[1:] != numbers[:-1], True)  # equal numbers are on one side
    low = zeros + (ones[-1] - ones)
    return right + int(max(low[last].max(), (len(labels) - low)[last].max()))


def _on_a_line(numbers: np.ndarray, amounts: np.ndarray) -> int:
    """The rows that lie on a line through two of them, but for rounding; those without a number do not."""
    quarter, most = np.percentile(amounts, [25, 75])
    places = np.flatnonzero(np.isfinite(numbers) & np.isfinite(amounts) & (np.abs(numbers) < 1e100))
    if not most > quarter or len(places) < 2:
        return 0
    x, y = numbers[places], amounts[places]
    # Far apart, so that what rounding takes from the two rows does not turn the line.
    order = np.argsort(x, kind="stable")
    draw = np.random.default_rng(1)
    third = max(len(x) // 3, 1)
    best = 0
    for low, high in zip(
        order[draw.integers(0, third, _LINES)], order[-1 - draw.integers(0, third, _LINES)], strict=True
    ):
        if x[high] > x[low] and (slope := (y[high] - y[low]) / (x[high] - x[low])) != 0:
            best = max(best, int((np.abs(y[low] + slope * (x - x[low]) - y) <= _CLOSE * (most - quarter)).sum()))
    return best


def sentences_of(near: dict[str, int], label: Column, rows: int) -> list[str]:
    """What to say of the features that tell nearly all."""
    words: dict[int, list[str]] = {}
    for name, right in near.items():
        words.setdefault(right, []).append(repr(name))
    return [_sentence(names, label, right, rows) for right, names in sorted(words.items(), reverse=True)]


def _sentence(names: Sequence[Any], label: Column, right: int, rows: int) -> str:
    some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{some} alone predicts the label {label.name!r} of {right} of {rows} rows"
