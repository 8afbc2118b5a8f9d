"""Which values the rules of a schema have accepted before, so that a small batch of them need not be judged again.

A query takes a millisecond however few rows it judges, which for the fifty rows of a turn is more than all else that is done to them.
Nothing is judged here: a rule of one column says the same of a value each time, and a rule that compares with bounds accepts whatever
lies between two values that it has accepted.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

ORDERED = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE"})
"""The DuckDB types whose values numpy puts in the same order, but for what is not a number."""

_TEXTS = 10_000
"""At most so many texts of a column are remembered."""


class AcceptedValues:
    """What of some columns was accepted.

    Args:
        not_null: columns of which a rule forbids nulls.
        bounded: columns whose other rules are all comparisons with bounds.
        judged: columns whose other rules are any of single values.
    """

    def __init__(self, not_null: Iterable[str], bounded: Iterable[str], judged: Iterable[str]) -> None:
        self._not_null = tuple(not_null)
        self._ranges: dict[str, tuple[float, float] | None] = dict.fromkeys(bounded)
        self._texts: dict[str, set[str | None]] = {name: {None} for name in judged}  # a null breaks no rule of values

    def covers(self, rows: pa.Table) -> bool:
        """Whether all values of some rows are among those that were accepted."""
        if any(rows.column(name).null_count for name in self._not_null):
            return False
        for name, accepted in self._ranges.items():
            ends = _ends(rows.column(name))
            if ends is not None and (accepted is None or not accepted[0] <= ends[0] <= ends[1] <= accepted[1]):
                return False
        return all(accepted.issuperset(_texts(rows.column(name))) for name, accepted in self._texts.items())

    def add(self, rows: pa.Table) -> None:
        """Note the values of rows that break no rule."""
        for name, accepted in self._ranges.items():
            ends = _ends(rows.column(name))
            if ends is not None and ends[0] <= ends[1]:  # not a number is less than nothing
                self._ranges[name] = (
                    ends if accepted is None else (min(accepted[0], ends[0]), max(accepted[1], ends[1]))
                )
        for name, texts in self._texts.items():
            new = _texts(rows.column(name))
            if len(texts) + len(new) <= _TEXTS:
                texts.update(new)


def _ends(column: pa.ChunkedArray) -> tuple[float, float] | None:
    """The least and the greatest value; not a number if one is; None of no value."""
    values = column.drop_null().to_numpy() if column.null_count else column.to_numpy()
    return (values.min().item(), values.max().item()) if len(values) else None


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    return list(column.to_pylist())
