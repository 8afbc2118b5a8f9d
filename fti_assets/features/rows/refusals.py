"""What a result is refused for before any row of it is read: its columns, and the partitions that it is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from fti_assets.core.names import is_kept
from fti_assets.core.times import Partition
from fti_assets.errors import DataError, DeclarationError, excerpt, one_of
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.rename import refuse_no_names


def refuse_no_texts(columns: list[Any], layout: Layout) -> None:
    """Raise a DataError if a frame has a column without a name, or with one that no text can hold."""
    for place, column in enumerate(columns):
        if column is None or column is pd.NA or column != column:  # pandas makes NaN of None beside text
            raise DataError(
                f"{layout.what} gave a column whose name is missing ({column}), number {place + 1} of {len(columns)}: name it in the "
                "frame, frame.columns = [...], or leave it out"
            )
        try:
            str(column).encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{layout.what} gave a column {excerpt(column)}, whose name has half of a character (a lone surrogate), which is no "
                "text: name it in the frame, frame.columns = [...]"
            ) from None


def refuse_names(columns: list[str], layout: Layout) -> None:
    refuse_no_names(columns, what=layout.what)
    for column in columns:
        if is_kept(column):
            raise DataError(
                f"{layout.what} gave a column {column!r}, a name that the store keeps for itself: rename it"
            )
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DataError(f"{layout.what} gave two columns {one_of(twice)}: keep one of them")


def refuse_missing(columns: list[str], layout: Layout) -> None:
    names = dict.fromkeys([*layout.not_null, *layout.unique, *((layout.partition_by,) if layout.partition_by else ())])
    missing = [column for column in names if column not in columns]
    if missing:
        raise DataError(
            f"{layout.what} has no column {one_of(missing)}, a key or time; its result has {one_of(columns)}"
        )


def refuse_partitions(layout: Layout, partitions: Sequence[Partition]) -> None:
    if partitions[0].start is None and len(partitions) > 1:
        raise DeclarationError(
            f"{layout.what} was asked for {len(partitions)} partitions that are not spans of time in one run: give "
            "backfill_policy=dg.BackfillPolicy.multi_run()"
        )
    if partitions[0].start is not None and layout.partition_by is None:
        raise DeclarationError(
            f"{layout.what} has time partitions but neither event_time nor partition_by: say which column a row's partition "
            "is told by"
        )
