"""Windows whose value is computed at the time of a prediction, as a record: over which rows, and where a window begins and ends."""

from collections.abc import Collection
from typing import Literal

from fti_assets.core.names import FEATURES, TableName, versioned_name
from fti_assets.core.records import record
from fti_assets.core.types import ColumnType

WindowKind = Literal["count", "sum", "mean", "rate", "std", "min", "max", "first", "last", "distinct_count"]

BEYOND_64_BITS = ", beyond the 64 bits of a whole number: store the column as DOUBLE, whose sums have no such end"
"""How the error of a sum of whole numbers ends that nobody can give."""


@record(frozen=True)
class WindowAggregate:
    """One aggregate: its name, what it computes, of which column (None for the rows themselves), and a rate's unit of time."""

    name: str
    kind: WindowKind
    column: str | None = None
    per_us: int | None = None


@record(frozen=True)
class WindowLength:
    """One window's length, as it was written and in microseconds."""

    text: str
    us: int


@record(frozen=True)
class WindowSource:
    """A column of the source that is aggregated, and its type."""

    name: str
    type: ColumnType


@record(frozen=True)
class RequestWindows:
    """What is computed of a source group's rows at each prediction time ``t``, where a window of length ``w`` begins and ends.

    A row counts if it became visible after the far end and at or before ``t``. The far end of a window that is no longer than
    ``every_us`` is ``t - w``; that of a longer one is the last whole multiple of ``every_us`` since 1970 at or before ``t - w``, so
    that such a window holds between ``w`` and ``w + every_us``. Where ``t`` and ``w`` are whole multiples of it, that is the window
    at an instant of a grid.

    A key without a row in the longest window has no value at all: nobody can tell it from a key that never had one.
    ``sources`` says the types of the aggregated columns where that is needed, in an online namespace.
    """

    source: str
    source_version: int
    every_us: int
    lengths: tuple[WindowLength, ...]
    aggregates: tuple[WindowAggregate, ...]
    sources: tuple[WindowSource, ...] = ()

    @property
    def source_table(self) -> TableName:
        """The table whose rows count."""
        return TableName(FEATURES, versioned_name(self.source, self.source_version))

    @property
    def columns(self) -> dict[str, tuple[WindowAggregate, WindowLength]]:
        """What each column is, such as ``late_rate_3h``."""
        return {f"{one.name}_{length.text}": (one, length) for one in self.aggregates for length in self.lengths}

    @property
    def longest(self) -> WindowLength:
        return max(self.lengths, key=lambda one: one.us)

    def problem(self, columns: Collection[str]) -> str:
        """What makes it impossible to compute some columns of a namespace; empty if nothing does."""
        if not self.lengths or min([self.every_us, *(one.us for one in self.lengths)]) <= 0:
            return "have no lengths"
        types = {one.name: one.type for one in self.sources}
        lacking = [one.column for one in self.aggregates if one.column is not None and one.column not in types]
        lacking += [one.name for one in self.aggregates if one.column is None and one.kind not in ("count", "rate")]
        if lacking:
            return f"do not say of what type {lacking[0]!r} is"
        strangers = [name for name in columns if name not in self.columns]
        return f"do not have the column {strangers[0]!r}" if strangers else ""

    @property
    def reach_us(self) -> int:
        """How far before a prediction the earliest row may lie that it counts: below that."""
        return max(one.us + (self.every_us if one.us > self.every_us else 0) for one in self.lengths)

    @property
    def raw_us(self) -> int:
        """How far before a prediction each row must be known by its own time, as some window's far end may lie anywhere there."""
        return max([0, *(one.us for one in self.lengths if one.us <= self.every_us)])


def sum_over(column: str, length: str) -> str:
    """What an error says of a sum before it says its value."""
    return f"the sum of {column!r} over {length} is "


def far_end(at_us: int, length_us: int, every_us: int) -> int:
    """Where a window at an instant begins: rows that became visible then or before are not in it; all in microseconds since 1970.

    >>> far_end(95, 20, 30), far_end(95, 40, 30), far_end(90, 60, 30)
    (75, 30, 30)
    """
    begins = at_us - length_us
    return begins if length_us <= every_us else begins // every_us * every_us
