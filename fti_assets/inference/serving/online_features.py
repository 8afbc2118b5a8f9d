"""The feature groups of a view, read from the online store as of an instant, all in one round trip."""

from collections.abc import Iterable, Sequence
from typing import Any

from fti_assets.core.manifest import JoinedGroup
from fti_assets.core.times import from_microseconds
from fti_assets.errors import PredictionError, excerpt
from fti_assets.stores.online.store import OnlineStore, Winner

Values = tuple[Any, ...]
_EVER = -(2**63)


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
        self._slot = key_slots[0] if len(key_slots) == 1 else None
        self._ttl_us = joined.ttl_us
        self._times = [i for i, column in enumerate(joined.columns) if column.type == "timestamp"]

    def keys(self, rows: Sequence[Sequence[Any]]) -> list[Values | None]:
        """The group's key in each row of request values, None if a part is missing."""
        if (slot := self._slot) is not None:
            return [None if (part := row[slot]) is None else (part,) for row in rows]
        keys = [tuple([row[slot] for slot in self._slots]) for row in rows]
        return [None if None in key else key for key in keys]

    def ages(self, winners: Sequence[Winner | None], at_us: int) -> list[float | None]:
        """How old each winner's event time is at an instant, in seconds; None without a winner, and for a lookup's."""
        return [None if winner is None or winner[0] is None else (at_us - winner[0]) / 1_000_000 for winner in winners]

    def values(self, winners: Sequence[Winner | None], at_us: int) -> list[Values | None]:
        """What each winner brings at an instant, None if it is stale."""
        oldest_us = _EVER if self._ttl_us is None else at_us - self._ttl_us
        results: list[Values | None] = [
            None if winner is None or (winner[0] is not None and winner[0] < oldest_us) else winner[2]
            for winner in winners
        ]
        if self._times:
            results = [None if values is None else tuple(_with_times(values, self._times)) for values in results]
        return results

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
        self.labels = tuple(_label(joined, joins) for joined in joins)
        """What each join is called: its table, and with the spine's columns if the table is joined more than once."""
        self._reader = store.readers([(one.table_name, [column.column for column in one.columns]) for one in joins])
        self._columns = self._checked()

    def read(self, rows: Sequence[Sequence[Any]], at_us: int) -> list[tuple[list[Values | None], list[float | None]]]:
        """Of each group, the values that were visible for each row at an instant (microseconds since 1970), and their ages.

        None stands for no row, and for a stale one; a stale one has an age, in seconds since its event time.

        Raises:
            PredictionError: a namespace does not reach back to that instant.
        """
        if len(rows) == 1:
            keys = [group.keys(rows)[0] for group in self.groups]
            winners = [[winner] for winner in self._reader.get(keys, at_us)]
        else:
            winners = self._reader.get_many([group.keys(rows) for group in self.groups], at_us)
        if self._reader.columns is not self._columns:  # one was loaded anew
            self._columns = self._checked()
        return [
            (group.values(of_group, at_us), group.ages(of_group, at_us))
            for group, of_group in zip(self.groups, winners, strict=True)
        ]

    def unknown(self, position: int, row: Sequence[Any]) -> str | None:
        """What to say of a row whose key has no row in a group at all, None if it has one."""
        group = self.groups[position]
        [key] = group.keys([row])
        return None if key is not None and self._reader.holds(position, key) else group.no_row(row)

    def _checked(self) -> Any:
        columns = self._reader.columns
        for group, key_types, match in zip(self.groups, self._reader.key_types, columns, strict=True):
            there = (key_types, tuple(column.type for column in match))
            joined = group.joined
            learned = (tuple(key.type for key in joined.keys), tuple(one.type for one in joined.columns))
            if there != learned:
                raise PredictionError(
                    f"online namespace {group.table_name!r} has keys of types {there[0]} and columns of types {there[1]}, "
                    f"the model learned from {learned[0]} and {learned[1]}: a group with another schema needs a new version"
                )
        return columns


def _label(joined: JoinedGroup, joins: Sequence[JoinedGroup]) -> str:
    if sum(other.table == joined.table for other in joins) == 1:
        return joined.table_name
    return f"{joined.table_name}[{','.join(key.spine for key in joined.keys)}]"


def _with_times(values: tuple[Any, ...], positions: Iterable[int]) -> list[Any]:
    converted = list(values)
    for position in positions:
        if converted[position] is not None:
            converted[position] = from_microseconds(converted[position])
    return converted
