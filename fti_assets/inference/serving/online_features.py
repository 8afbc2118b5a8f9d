"""The feature groups of a view, read from the online store as of an instant, all in one round trip."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fti_assets.core.manifest import JoinedGroup
from fti_assets.core.times import from_microseconds
from fti_assets.errors import PredictionError, excerpt
from fti_assets.stores.online.blobs import RawWinner
from fti_assets.stores.online.store import OnlineStore

Values = tuple[Any, ...]
Row = list[Any]
_EVER = 2**63


class Brought(NamedTuple):
    """What the groups brought to ``n`` rows besides values.

    ``ages`` are seconds since the event time, by row and group, None without a row and for a lookup's; a stale row has one.
    ``absent`` names each row and group, by their positions, to which there is no row, or a stale one.
    """

    ages: list[list[float | None]]
    absent: list[tuple[int, int]]


class OnlineGroup:
    """One joined group: where a request has its key, and its ttl.

    Args:
        joined: the join as the model learned from it.
        key_slots: where a row of request values holds the parts of the key.
    """

    def __init__(self, joined: JoinedGroup, key_slots: Sequence[int]) -> None:
        self.joined = joined
        self.table_name = joined.table_name
        self.nothing: Values = (None,) * len(joined.columns)
        self._slots = tuple(key_slots)
        self.ttl_us = _EVER if joined.ttl_us is None else joined.ttl_us
        self.times = [i for i, column in enumerate(joined.columns) if column.type == "timestamp"]

    def key(self, row: Sequence[Any]) -> Values | None:
        """The group's key in a row of request values, None if a part is missing."""
        key = tuple([row[slot] for slot in self._slots])
        return None if None in key else key

    def no_row(self, row: Sequence[Any]) -> str:
        """What to say of a row whose key has no row in the group at all."""
        return f"{self.table_name} has no row for {self._key_in_words(row)}"

    def nothing_brought(self, row: Sequence[Any], age: float | None) -> str:
        """What to say of a row that the group brings nothing to: no row was visible, or it is stale and so many seconds old."""
        if age is None:
            return f"{self.table_name} brings no row for {self._key_in_words(row)}"
        return f"{self.table_name} brings a stale row for {self._key_in_words(row)}, {age:g} s old"

    def _key_in_words(self, row: Sequence[Any]) -> str:
        parts = zip(self.joined.keys, self._slots, strict=True)
        return ", ".join(f"{key.spine}={excerpt(row[slot])}" for key, slot in parts)


class OnlineFeatures:
    """The joined groups of a view, read together.

    Args:
        joins: the joins as the model learned from them.
        store: where the groups' namespaces are.
        key_slots: of each join, where a row of request values holds the parts of its key.

    Raises:
        NotMaterializedError: a namespace is not there.
        PredictionError: a namespace has other types than the model learned from.
    """

    def __init__(self, joins: Sequence[JoinedGroup], store: OnlineStore, key_slots: Sequence[Sequence[int]]) -> None:
        self.groups = tuple(OnlineGroup(joined, slots) for joined, slots in zip(joins, key_slots, strict=True))
        self._plans = [(group.ttl_us, group.times, group.nothing) for group in self.groups]
        self.labels = tuple(_label(joined, joins) for joined in joins)
        """What each join is called: its table, and with the spine's columns if the table is joined more than once."""
        wanted = [(one.table_name, [column.column for column in one.columns]) for one in joins]
        self._reader = store.readers(wanted, key_slots)
        self._columns = self._checked()

    def extend(self, rows: Sequence[Row], at_us: int) -> Brought:
        """Put the values that were visible for each row at an instant (microseconds since 1970) behind it, None for what is missing.

        Raises:
            PredictionError: a namespace does not reach back to that instant.
        """
        one = len(rows) == 1
        winners: Sequence[Sequence[RawWinner | None]]
        winners = [(won,) for won in self._reader.find(rows[0], at_us)] if one else self._reader.find_many(rows, at_us)
        if self._reader.columns is not self._columns:  # one was loaded anew
            self._columns = self._checked()
        all_ages: list[list[float | None]] = [[] for _ in rows]
        absent: list[tuple[int, int]] = []
        for position, (of_group, (ttl_us, times, nothing)) in enumerate(zip(winners, self._plans, strict=True)):
            for index, (winner, row, ages) in enumerate(zip(of_group, rows, all_ages, strict=True)):
                values: Sequence[Any] | None = None
                if winner is None:
                    ages.append(None)
                elif (event_us := winner[0]) is None:
                    ages.append(None)
                    values = winner[2]
                else:
                    age_us = at_us - event_us
                    ages.append(age_us / 1_000_000)
                    if age_us <= ttl_us:
                        values = winner[2]
                if values is None:
                    absent.append((index, position))
                    values = nothing
                elif times:
                    values = _with_times(values, times)
                row += values
        return Brought(all_ages, absent)

    def unknown(self, position: int, row: Sequence[Any]) -> str | None:
        """What to say of a row whose key has no row in a group at all, None if it has one."""
        group = self.groups[position]
        key = group.key(row)
        return None if key is not None and self._reader.holds(position, key) else group.no_row(row)

    def _checked(self) -> Any:
        columns = self._reader.columns
        for group, key_types, match in zip(self.groups, self._reader.key_types, columns, strict=True):
            stored = (key_types, tuple(column.type for column in match))
            joined = group.joined
            learned = (tuple(key.type for key in joined.keys), tuple(one.type for one in joined.columns))
            if stored != learned:
                raise PredictionError(
                    f"online namespace {group.table_name!r} has keys of types {stored[0]} and columns of types {stored[1]}, "
                    f"the model learned from {learned[0]} and {learned[1]}: a group with another schema needs a new version"
                )
        return columns


def _label(joined: JoinedGroup, joins: Sequence[JoinedGroup]) -> str:
    if sum(other.table == joined.table for other in joins) == 1:
        return joined.table_name
    return f"{joined.table_name}[{','.join(key.spine for key in joined.keys)}]"


def _with_times(values: Sequence[Any], positions: Iterable[int]) -> list[Any]:
    converted = list(values)
    for position in positions:
        if converted[position] is not None:
            converted[position] = from_microseconds(converted[position])
    return converted
