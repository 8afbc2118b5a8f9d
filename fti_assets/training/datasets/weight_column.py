"""The column of the spine that says what each row of a dataset counts."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np

from fti_assets.core.names import is_kept
from fti_assets.core.sql import quote
from fti_assets.core.types import ColumnType
from fti_assets.errors import DataError, DeclarationError, one_of
from fti_assets.training.views.view import FeatureView

_NUMBERS: tuple[ColumnType, ...] = ("number", "integer")


def check_weight(view: FeatureView, weight: str, query: Sequence[str], *, what: str) -> None:
    """Refuse what cannot say what a row counts. That the spine has the column is looked at beside its other columns.

    Raises:
        DeclarationError: it is no number, a label, or rows are ranked.
    """
    if query:
        raise DeclarationError(
            f"{what} has both query= and weight=: each list counts alike, and a row of one has no weight of its own. Leave weight= out"
        )
    if labels := [name for name, label in view.labels.items() if weight in (name, label.name)]:
        raise DeclarationError(f"{what} has weight={weight!r}, its label {labels[0]!r}: name another column")
    kind = (view.spine.columns or {}).get(weight)
    if kind is not None and kind not in _NUMBERS:
        raise DeclarationError(
            f"{what} has weight={weight!r}, which is of type {kind} in {view.spine.table_name}: what a row counts is a number"
        )


def refuse_wrong_weights(
    connection: duckdb.DuckDBPyConnection, rows: str, weight: str, condition: str, *, what: str, spine: str
) -> None:
    """Refuse rows of which nobody can say what they count.

    Args:
        rows: a table of the spine's columns.
        weight: the column.
        condition: of the rows that are looked at, in SQL.
        what: the dataset and its cutoff, for errors.
        spine: the table that the column comes from, for errors.

    Raises:
        DataError: the spine has no such column, it is no number, or a row has none that is finite and above 0.
    """
    relation = connection.table(rows)
    if weight not in relation.columns:
        own = [name for name in relation.columns if not is_kept(name)]
        raise DataError(f"{what} has weight={weight!r}, which its spine {spine} does not have: there is {one_of(own)}")
    kind = str(relation.select(quote(weight)).types[0])
    if (
        kind in ("VARCHAR", "BOOLEAN", "BLOB")
        or kind.startswith(("TIMESTAMP", "DATE", "TIME", "STRUCT", "MAP"))
        or "[" in kind
    ):
        raise DataError(f"{what} has weight={weight!r}, which is {kind} in {spine}: what a row counts is a number")
    number = f"{quote(weight)}::DOUBLE"
    wrong = f"({number} IS NULL OR NOT isfinite({number}) OR {number} <= 0)"
    count, examples = connection.execute(
        f"SELECT count(*), list(DISTINCT {quote(weight)}::VARCHAR)[:3] FROM {rows} WHERE {condition} AND {wrong}"
    ).fetchall()[0]
    if count:
        values = one_of(["null" if one is None else one for one in examples] or ["null"])
        raise DataError(
            f"{what} has {count} rows of which {weight!r} of {spine} says that they count {values}: a weight is a finite number above 0. "
            "Fill it, or leave out by where= what is to count nothing"
        )


def about_one(weights: np.ndarray) -> np.ndarray:
    """What rows count beside each other, brought to 1 on average, so that learning rates and penalties keep their meaning.

    >>> about_one(np.array([1.0, 3.0])).tolist()
    [0.5, 1.5]
    """
    return np.asarray(weights / weights.mean()) if len(weights) else weights
