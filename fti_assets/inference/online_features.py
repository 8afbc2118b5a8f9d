"""One feature group of a view, read from the online store as of an instant."""

from collections.abc import Iterable, Sequence
from typing import Any

from fti_assets.errors import PredictionError
from fti_assets.stores.manifest import Column, JoinedGroup
from fti_assets.stores.online import OnlineStore, Winner
from fti_assets.times import from_microseconds


class OnlineGroup:
    """The rows of one joined group by key, with its ttl.

    Args:
        joined: the join as the model learned from it.
        store: where the group's namespace is.
        key_slots: where a row of request values holds the parts of the key.

    Raises:
        NotMaterializedError: the namespace is not there.
        PredictionError: the namespace has other types than the model learned from.
    """

    def __init__(self, joined: JoinedGroup, store: OnlineStore, key_slots: Sequence[int]) -> None:
        self.table = joined.table
        self.nothing: tuple[Any, ...] = (None,) * len(joined.columns)
        self._reader = store.reader(joined.table, columns=[column.column for column in joined.columns])
        self._slots = tuple(key_slots)
        self._key_names = tuple(key.spine for key in joined.keys)
        self._ttl_us = joined.ttl_us
        self._times = [i for i, column in enumerate(joined.columns) if column.type == "timestamp"]
        self._joined = joined
        self._columns = self._checked()

    def read(self, rows: Sequence[Sequence[Any]], at_us: int) -> list[tuple[Any, ...] | None]:
        """The values that were visible for each row at an instant (microseconds since 1970), None for no or stale ones.

        Raises:
            PredictionError: the namespace does not reach back to that instant.
        """
        if len(rows) == 1:
            key = self.key(rows[0])
            winners = [None if None in key else self._reader.get(key, at_us)]
        else:
            winners = self._read_many([self.key(row) for row in rows], at_us)
        if self._reader.columns is not self._columns:  # it was loaded anew
            self._columns = self._checked()
        return [self._values(winner, at_us) for winner in winners]

    def key(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """The group's key in a row of request values."""
        return tuple([row[slot] for slot in self._slots])

    def unknown(self, row: Sequence[Any]) -> str | None:
        """What to say of a row whose key has no row in the group at all, None if it has one."""
        key = self.key(row)
        if None not in key and self._reader.holds(key):
            return None
        named = ", ".join(f"{name}={part!r:.80}" for name, part in zip(self._key_names, key, strict=True))
        return f"{self.table} has no row for {named}"

    def _checked(self) -> tuple[Column, ...]:
        columns = self._reader.columns
        found = (self._reader.key_types, tuple(column.type for column in columns))
        learned = (tuple(key.type for key in self._joined.keys), tuple(one.type for one in self._joined.columns))
        if found != learned:
            raise PredictionError(
                f"online namespace {self.table!r} has keys of types {found[0]} and columns of types {found[1]}, "
                f"the model learned from {learned[0]} and {learned[1]}: a group with another schema needs a new version"
            )
        return columns

    def _read_many(self, keys: list[tuple[Any, ...]], at_us: int) -> list[Winner | None]:
        known = [key for key in keys if None not in key]
        found = dict(zip(known, self._reader.get_many(known, at_us), strict=True))
        return [found.get(key) for key in keys]

    def _values(self, winner: Winner | None, at_us: int) -> tuple[Any, ...] | None:
        if winner is None:
            return None
        event_us, _, values = winner
        if self._ttl_us is not None and event_us is not None and event_us < at_us - self._ttl_us:
            return None
        if self._times:
            return tuple(_with_times(values, self._times))
        return values


def _with_times(values: tuple[Any, ...], positions: Iterable[int]) -> list[Any]:
    converted = list(values)
    for position in positions:
        if converted[position] is not None:
            converted[position] = from_microseconds(converted[position])
    return converted
