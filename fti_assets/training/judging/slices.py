"""Slices: the rows with each value of a column, or with each pair of values of two, and so on.

Source: sliced evaluation as in TensorFlow Model Analysis.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fti_assets.core.types.vectors import are_vectors
from fti_assets.errors import DeclarationError, one_of

LARGEST_SLICES = 200
"""Of slices by a column with more values than this, those with the most rows are evaluated."""

_NAMED = 10  # of slices that are left out

By = str | tuple[str, ...]
"""The column of slices, or the columns of crossed ones."""


def columns_of(by: By) -> tuple[str, ...]:
    """The columns of slices."""
    return (by,) if isinstance(by, str) else by


def slices_key(by: By) -> str:
    """What slices are called in manifests and gates.

    >>> slices_key("origin"), slices_key(("origin", "carrier"))
    ('origin', 'origin, carrier')
    """
    return ", ".join(columns_of(by))


@dataclass(frozen=True)
class Division:
    """The rows that are evaluated by slice, and those of slices that are not.

    Args:
        evaluated: the positions of the rows of each slice by its value, the most rows first.
        slices_left_out: how many slices are too small, or beyond the ``LARGEST_SLICES``.
        largest_left_out: the rows of the largest of these by value.
    """

    evaluated: dict[str, np.ndarray]
    slices_left_out: int
    largest_left_out: dict[str, int]


def slice_rows(by: By, columns: Mapping[str, np.ndarray], min_rows: int = 1) -> dict[str, np.ndarray]:
    """The positions of the rows of each slice, by its value, the most rows first, at most ``LARGEST_SLICES`` of them.

    A missing value is ``""``; whole numbers are written without a point. Values of several columns are joined by commas, and one that
    is empty or has a comma or a quote is written as JSON text, so that no two slices have one name.

    Args:
        by: the column or columns.
        columns: each column's canonical array ``[n]``.
        min_rows: slices of fewer rows are left out.

    Raises:
        DeclarationError: a column is not there, or is of vectors.

    >>> columns = {"origin": np.array(["JFK", "EWR", "JFK"]), "day": np.array([1.0, 2.0, np.nan])}
    >>> {name: rows.tolist() for name, rows in slice_rows("origin", columns).items()}
    {'JFK': [0, 2], 'EWR': [1]}
    >>> list(slice_rows(("origin", "day"), columns))
    ['EWR, 2', 'JFK, 1', 'JFK, ""']
    """
    return divide(by, columns, min_rows).evaluated


def divide(by: By, columns: Mapping[str, np.ndarray], min_rows: int = 1) -> Division:
    """As ``slice_rows``, with what is left out.

    >>> division = divide("origin", {"origin": np.array(["JFK", "EWR", "JFK"])}, min_rows=2)
    >>> list(division.evaluated), division.largest_left_out
    (['JFK'], {'EWR': 1})
    """
    names = columns_of(by)
    for name in names:
        if name not in columns:
            raise DeclarationError(f"there is no column {name!r} to slice by: there are {one_of(columns)}")
        if are_vectors(columns[name]):
            raise DeclarationError(
                f"rows are sliced by {name!r}, a vector, which hardly two rows share: name another column"
            )
    positions = np.zeros(len(columns[names[0]]), dtype=np.int64)
    for name in names:
        _, of_column = np.unique(columns[name], return_inverse=True)
        # Made dense again after each column, so that the product stays small.
        _, positions = np.unique(positions * (of_column.max(initial=0) + 1) + of_column, return_inverse=True)
    rows = np.bincount(positions)
    by_value = np.split(np.argsort(positions, kind="stable"), np.cumsum(rows)[:-1])
    largest_first = np.argsort(-rows, kind="stable").tolist()
    evaluated = min(int((rows >= min_rows).sum()), LARGEST_SLICES)

    def by_name(slices: Sequence[int]) -> Iterator[tuple[str, np.ndarray]]:
        return ((_name([columns[name][by_value[at][0]] for name in names]), by_value[at]) for at in slices)

    return Division(
        dict(by_name(largest_first[:evaluated])),
        len(largest_first) - evaluated,
        {name: len(own) for name, own in by_name(largest_first[evaluated : evaluated + _NAMED])},
    )


def _name(values: Sequence[Any]) -> str:
    texts = [_text(value) for value in values]
    return texts[0] if len(texts) == 1 else ", ".join(map(_quoted, texts))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if not text or "," in text or '"' in text else text


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else str(int(value)) if float(value).is_integer() else str(float(value))
    return "" if isinstance(value, np.datetime64) and np.isnat(value) else str(value)
