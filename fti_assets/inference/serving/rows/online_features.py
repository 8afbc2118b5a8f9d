"""The feature groups of a view, read from the online store as of an instant, all in one round trip."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from fti_assets.core.manifest import JoinedGroup
from fti_assets.core.times import from_microseconds
from fti_assets.core.types import EXACT
from fti_assets.errors import PredictionError, excerpt
from fti_assets.inference.serving.rows.columns import Columns, GroupColumns
from fti_assets.stores.online.store import OnlineStore
from fti_assets.stores.online.winners import WinningRows

Values = tuple[Any, ...]
Row = list[Any]
_EVER = 2**63
_least = np.minimum.reduce  # without the step of Python that min() takes


class LookupReport:
    """What the groups brought to ``n`` rows besides values.

    ``absent`` says of each group to which rows it has none, or a stale one: bool ``[n]``, None for no row.

    Args:
        rows: n.
        at_us: the instant that was asked for.
    """

    def __init__(self, rows: int, at_us: int) -> None:
        self.absent: list[np.ndarray | None] = []
        self._rows, self._at_us = rows, at_us
        self._groups: list[tuple[WinningRows, np.ndarray | None]] = []
        self._ages: list[np.ndarray] | None = None

    @classmethod
    def of_nothing(cls, groups: int) -> Self:
        """What so many groups bring to no rows."""
        report = cls(0, 0)
        report.absent, report._ages = [None] * groups, [np.empty(0) for _ in range(groups)]
        return report

    def add(self, winners: WinningRows, places: np.ndarray | None, absent: np.ndarray | None) -> None:
        """Take note of the next group: the winners of its keys, which of them is each row's, and to which rows it brings nothing."""
        self._groups.append((winners, places))
        self.absent.append(absent)

    @property
    def ages(self) -> list[np.ndarray]:
        """By group seconds since the event time, float64 ``[n]``, NaN without a row and for a lookup; a stale row has one."""
        if self._ages is None:  # of most rows nobody asks
            self._ages = [self._of(winners, places) for winners, places in self._groups]
        return self._ages

    def _of(self, winners: WinningRows, places: np.ndarray | None) -> np.ndarray:
        if winners.event_us is None:
            return np.full(self._rows, np.nan)
        ages_us = self._at_us - winners.event_us
        ages: np.ndarray = ages_us / 1_000_000
        if (abs(ages_us) >= EXACT).any():  # numpy rounds such a number to float64 before it divides
            ages[:] = [age / 1_000_000 for age in ages_us.tolist()]
        if winners.won is not None:
            ages[~winners.won] = np.nan
        return ages if places is None else ages[places]

    def pairs(self) -> list[tuple[int, int]]:
        """Each row and group, by their positions, that go without each other, by row."""
        return sorted(
            (index, position)
            for position, of_group in enumerate(self.absent)
            if of_group is not None
            for index in np.flatnonzero(of_group).tolist()
        )


class OnlineGroup:
    """One joined group: where a request has its key, and its ttl.

    Args:
        joined: the join as the model learned from it.
        key_slots: where a row of request values holds the parts of the key.
    """

    def __init__(self, group: JoinedGroup, key_slots: Sequence[int]) -> None:
        self.group = group
        self.table_name = group.table_name
        self.nothing: Values = (None,) * len(group.columns)
        self._slots = tuple(key_slots)
        self.ttl_us = _EVER if group.ttl_us is None else group.ttl_us
        self.types = tuple(column.type for column in group.columns)
        self.times = [i for i, column in enumerate(group.columns) if column.type == "timestamp"]

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
        parts = zip(self.group.keys, self._slots, strict=True)
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
        self.groups = tuple(OnlineGroup(record, slots) for record, slots in zip(joins, key_slots, strict=True))
        self._plans = [(group.ttl_us, group.times, group.nothing) for group in self.groups]
        self.labels = tuple(join_label(record, joins) for record in joins)
        """What each join is called: its table, and with the spine's columns if the table is joined more than once."""
        selections = [(one.table_name, [column.column for column in one.columns]) for one in joins]
        self._reader = store.readers(selections, key_slots)
        self._columns = self._check()

    def extend(self, row: Row, at_us: int) -> tuple[list[float | None], tuple[int, ...]]:
        """Put the values that were visible for one row at an instant (microseconds since 1970) behind it, None for what is missing.

        Returns:
            the age of each group's row in seconds, None without a row and for a lookup, and the positions of the groups that have no
            row to it, or a stale one.

        Raises:
            PredictionError: a namespace does not reach back to that instant.
        """
        winners = self._reader.find(row, at_us)
        if self._reader.columns is not self._columns:  # one was loaded again
            self._columns = self._check()
        all_ages: list[float | None] = []
        absent: tuple[int, ...] = ()
        for winner, (ttl_us, times, nothing) in zip(winners, self._plans, strict=True):
            if winner is None:
                all_ages.append(None)
            else:
                event_us, _, values = winner
                if event_us is None:
                    all_ages.append(None)
                    row += _with_times(values, times) if times else values
                    continue
                age_us = at_us - event_us
                all_ages.append(age_us / 1_000_000)
                if age_us <= ttl_us:
                    row += _with_times(values, times) if times else values
                    continue
            absent = (*absent, len(all_ages) - 1)
            row += nothing
        return all_ages, absent

    def extend_all(self, columns: Columns, request: Sequence[Sequence[Any]], at_us: int) -> LookupReport:
        """``extend`` for ``n`` rows in columns, of which ``request`` are the first."""
        results = self._reader.find_many(request, at_us)
        if self._reader.columns is not self._columns:
            self._columns = self._check()
        lookups = LookupReport(columns.rows, at_us)
        for (winners, places), group in zip(results, self.groups, strict=True):
            absent = None if winners.won is None else ~winners.won
            if winners.event_us is not None and at_us - int(_least(winners.event_us)) > group.ttl_us:
                is_stale = at_us - winners.event_us > group.ttl_us
                absent = is_stale if absent is None else absent | is_stale
            if absent is not None and not absent.any():
                absent = None
            _add(columns, winners, absent, places, group)
            if absent is not None and places is not None:
                absent = absent[places]
            lookups.add(winners, places, absent if absent is not None and absent.any() else None)
        return lookups

    def unknown(self, position: int, row: Sequence[Any]) -> str | None:
        """What to say of a row whose key has no row in a group at all, None if it has one."""
        group = self.groups[position]
        key = group.key(row)
        return None if key is not None and self._reader.holds(position, key) else group.no_row(row)

    def _check(self) -> Any:
        columns = self._reader.columns
        for group, key_types, match in zip(self.groups, self._reader.key_types, columns, strict=True):
            own_types = (key_types, tuple(column.type for column in match))
            record = group.group
            expected_types = (tuple(key.type for key in record.keys), tuple(one.type for one in record.columns))
            if own_types != expected_types:
                raise PredictionError(
                    f"online namespace {group.table_name!r} has keys of types {own_types[0]} and columns of types {own_types[1]}, "
                    f"the model learned from {expected_types[0]} and {expected_types[1]}: a group with another schema needs a new version"
                )
        return columns


def _add(
    columns: Columns, winners: WinningRows, absent: np.ndarray | None, places: np.ndarray | None, group: OnlineGroup
) -> None:
    """Put the values of a group into the next slots: those of its keys, by the places of the rows."""
    nulls = winners.nulls
    missing = nulls
    if absent is not None:
        missing = np.repeat(absent[:, None], len(group.nothing), axis=1)
        if nulls is not None:
            missing |= nulls
    numbers = winners.numbers
    if numbers is not None and missing is not None:
        numbers = numbers.copy()
        numbers[missing] = np.nan
    if places is not None:
        numbers = None if numbers is None else numbers[places]
        missing = None if missing is None else missing[places]
    columns.add_joined(GroupColumns(winners, places, missing, group.types, numbers))


def join_label(group: JoinedGroup, joins: Sequence[JoinedGroup]) -> str:
    """What a join is called in answers: its table, and with the spine's columns if the table is joined more than once."""
    if sum(other.table == group.table for other in joins) == 1:
        return group.table_name
    return f"{group.table_name}[{','.join(key.spine for key in group.keys)}]"


def _with_times(values: Sequence[Any], positions: Iterable[int]) -> list[Any]:
    results = list(values)
    for position in positions:
        if results[position] is not None:
            results[position] = from_microseconds(results[position])
    return results
