"""The values of many requests by slot, as they were given or read, until they are asked for in another form."""

from collections.abc import Sequence
from struct import error as StructError  # noqa: N812
from struct import pack
from typing import Any, NamedTuple

import numpy as np

from fti_assets.core.times import from_microseconds
from fti_assets.core.types import ColumnType
from fti_assets.core.types.columns import canonical
from fti_assets.stores.online.winners import WinningRows


class GroupColumns(NamedTuple):
    """The columns of one group as its namespace holds them.

    Attributes:
        winners: of the different keys.
        places: which of them is each row's, int64 ``[n]``; None if they are the rows' in order.
        missing: where a column has no value, bool ``[n, k]``; None for nowhere.
        types: of the ``k`` columns.
        numbers: all columns together if each is of numbers, float64 ``[n, k]`` with NaN for what is missing, to be read only; they
            may lie where no float may begin.
    """

    winners: WinningRows
    places: np.ndarray | None
    missing: np.ndarray | None
    types: tuple[ColumnType, ...]
    numbers: np.ndarray | None

    def values(self, position: int) -> np.ndarray | list[Any]:
        """One column, ``[n]``; anything where it is missing."""
        values = self.winners.values(position)
        if isinstance(values, np.ndarray):
            values = values.astype(bool) if self.types[position] == "boolean" else values
            return values if self.places is None else values[self.places]
        return values if self.places is None else [values[place] for place in self.places.tolist()]

    def plain(self, position: int) -> list[Any]:
        """One column as plain values, None where it is missing."""
        column = self.values(position)
        values: list[Any] = column if isinstance(column, list) else column.tolist()
        missing = [] if self.missing is None else np.flatnonzero(self.missing[:, position]).tolist()
        if self.types[position] == "timestamp":
            for index in missing:
                values[index] = 0
            values = [from_microseconds(value) for value in values]
        for index in missing:
            values[index] = None
        return values

    def floats(self, position: int) -> np.ndarray:
        """One column as float64 ``[n]``, NaN where it is missing."""
        if self.numbers is not None:
            return self.numbers[:, position].copy()
        values: np.ndarray = self.values(position).astype(np.float64)  # type: ignore[union-attr]
        if self.missing is not None:
            values[self.missing[:, position]] = np.nan
        return values


class Columns:
    """``n`` rows of values by slot; where a row has none it is None, among numbers NaN.

    Args:
        rows: n.
        columns: plain values of the first slots, ``n`` each.
    """

    def __init__(self, rows: int, columns: Sequence[list[Any]]) -> None:
        self.rows = rows
        self._plain: list[list[Any] | None] = [*columns]
        self._joined: dict[int, GroupColumns] = {}
        self._group_of: dict[int, int] = {}
        self._numbers: dict[int, np.ndarray] = {}
        self._overridden: set[int] = set()

    @property
    def width(self) -> int:
        """How many slots there are by now."""
        return len(self._plain)

    def add(self, values: list[Any]) -> None:
        """Put plain values into the next slot."""
        self._plain.append(values)

    def add_joined(self, group: GroupColumns) -> None:
        """Put the columns of a group into the next slots."""
        first = len(self._plain)
        self._joined[first] = group
        self._group_of.update(dict.fromkeys(range(first, first + len(group.types)), first))
        self._plain += [None] * len(group.types)

    def put(self, index: int, slot: int, value: Any) -> None:
        """Put a value in place of that of a row."""
        self.plain(slot)[index] = value
        self._numbers.pop(slot, None)
        self._overridden.add(self._group_of.pop(slot, slot))

    def plain(self, slot: int) -> list[Any]:
        """The plain Python values of a slot."""
        values = self._plain[slot]
        if values is None:
            first = self._group_of[slot]
            values = self._plain[slot] = self._joined[first].plain(slot - first)
        return values

    def numbers(self, slot: int) -> np.ndarray:
        """The numbers of a slot, float64 ``[n]``, to be read only."""
        result = self._numbers.get(slot)
        if result is None:
            if slot in self._group_of:
                first = self._group_of[slot]
                result = self._joined[first].floats(slot - first)
            else:
                result = _floats(self._plain[slot])  # type: ignore[arg-type]
            self._numbers[slot] = result
        return result

    def block(self, first: int) -> np.ndarray | None:
        """The numbers of the slots of a group from one on, float64 ``[n, k]``, if they stand together."""
        return None if first in self._overridden or first not in self._joined else self._joined[first].numbers

    def canonical(self, slot: int, column_type: ColumnType) -> np.ndarray:
        """The canonical array of a slot, for a function that may change it."""
        if column_type in ("text", "timestamp", "vector"):
            return canonical(self.plain(slot), column_type)
        return self.numbers(slot).copy()

    def row(self, index: int, width: int) -> list[Any]:
        """The first values of one row."""
        return [self.plain(slot)[index] for slot in range(width)]


def _floats(values: list[Any]) -> np.ndarray:
    """Numbers as float64 ``[n]``, to be read only, with NaN for None."""
    try:
        return np.frombuffer(pack(f"{len(values)}d", *values))  # in half the time of np.array
    except StructError:
        return np.array(values, dtype=np.float64)
