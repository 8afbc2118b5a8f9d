"""Windows of many keys at an instant, in columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fti_assets.core.manifest import Column
from fti_assets.stores.online.tails.reading import WindowsFormat
from fti_assets.stores.online.versions import RawWinner
from fti_assets.stores.online.winners import ColumnValues

_DTYPES = {"number": np.float64, "integer": np.int64, "boolean": np.uint8, "timestamp": np.int64}


class WinningWindows:
    """What windows come to for ``n`` keys, as ``winners.WinningRows`` says.

    Args:
        columns: the wanted ones, in order.
        found: of each key, None where it has none.
    """

    def __init__(self, columns: Sequence[Column], winners: Sequence[RawWinner | None], at_us: int) -> None:
        self._columns = columns
        nothing = (None,) * len(columns)
        self._rows = [nothing if one is None else one[2] for one in winners]
        has_none = any(one is None for one in winners)
        self.won = np.array([one is not None for one in winners], dtype=bool) if has_none else None
        self.event_us: np.ndarray | None = np.full(len(winners), at_us)

    @property
    def numbers(self) -> np.ndarray | None:
        if not self._columns or any(column.type != "number" for column in self._columns):
            return None
        return np.array([[0.0 if value is None else value for value in row] for row in self._rows]).reshape(
            len(self._rows), len(self._columns)
        )

    @property
    def nulls(self) -> np.ndarray | None:
        nulls = np.array([[value is None for value in row] for row in self._rows], dtype=bool)
        return nulls.reshape(len(self._rows), len(self._columns)) if nulls.any() else None

    def values(self, position: int) -> ColumnValues:
        kind = self._columns[position].type
        column = [row[position] for row in self._rows]
        if kind == "text":
            return ["" if value is None else value for value in column]
        return np.array([0 if value is None else value for value in column], dtype=_DTYPES[kind])


class ManyWindows:
    """How windows of many keys are read from their blobs.

    Args:
        windows: how they are read of one.
        columns: the wanted columns, in order.
    """

    def __init__(self, windows: WindowsFormat, columns: Sequence[Column]) -> None:
        self._windows, self._columns = windows, columns

    def find_whole(self, blobs: Sequence[bytes | None], at_us: int) -> WinningWindows:
        """What windows come to at ``at_us`` for ``n`` keys from their blobs, None where a key has none, which are what was written."""
        find = self._windows.find_whole
        winners = [None if blob is None else find(blob, at_us) for blob in blobs]
        return WinningWindows(self._columns, winners, at_us)
