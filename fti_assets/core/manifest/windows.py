"""Windows whose value is computed at the time of a prediction, as a record: over which rows, and where a window begins and ends."""

from collections.abc import Collection
from typing import Literal

from fti_assets.core.names import FEATURES, TableName, versioned_name
from fti_assets.core.records import record
from fti_assets.core.types import ColumnType

WindowKind = Literal[
    "count", "sum", "mean", "rate", "std", "min", "max", "first", "last", "distinct_count", "percentile", "sessions"
]
SessionsOf = Literal["number", "rows", "seconds"]

BEYOND_64_BITS = ", beyond the 64 bits of a whole number: store the column as DOUBLE, whose sums have no such end"
"""How the error of a sum of whole numbers ends that nobody can give."""


@record(frozen=True)
class WindowAggregate:
    """One aggregate: its name, what it computes, of which column (None for the rows themselves), and a rate's unit of time.

    Of first and last values ``n`` says how many, and ``distinct`` whether they are different; of a percentile ``share``, from 0 to 1, where
    it lies; of sessions ``gap_us`` the longest time between two rows, and ``of`` what is asked of them.
    """

    name: str
    kind: WindowKind
    column: str | None = None
    per_us: int | None = None
    n: int = 1
    distinct: bool = False
    share: float | None = None
    gap_us: int | None = None
    of: SessionsOf | None = None

    @property
    def is_placed(self) -> bool:
        """Whether it is several first or last values, or different ones."""
        return self.kind in ("first", "last") and (self.n > 1 or self.distinct)

    @property
    def names(self) -> list[str]:
        """What its columns are called, less their window."""
        return [self.name] if self.n == 1 else [f"{self.name}_{place}" for place in range(1, self.n + 1)]

    @property
    def problem(self) -> str:
        """What makes it impossible, in words; empty if nothing does."""
        if self.column is None and self.kind not in ("count", "rate", "sessions"):
            return "aggregates no column"
        if not 1 <= self.n <= 1000 or (self.n > 1 and self.kind not in ("first", "last")):
            return f"is of {self.n} values"
        if self.kind == "percentile" and not (self.share is not None and 0 <= self.share <= 1):
            return f"is at {self.share}"
        if self.kind == "sessions" and not (self.gap_us and self.gap_us > 0 and self.of):
            return f"has sessions with the gap {self.gap_us}, of {self.of}"
        return ""


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
    def columns(self) -> dict[str, tuple[WindowAggregate, WindowLength, int]]:
        """What each column is, such as ``late_rate_3h``, and which of the aggregate's values, counted from 0."""
        return {
            f"{name}_{length.text}": (one, length, place)
            for one in self.aggregates
            for place, name in enumerate(one.names)
            for length in self.lengths
        }

    @property
    def longest(self) -> WindowLength:
        return max(self.lengths, key=lambda one: one.us)

    def problem(self, columns: Collection[str]) -> str:
        """What makes it impossible to compute some columns of a namespace; empty if nothing does."""
        if not self.lengths or min([self.every_us, *(one.us for one in self.lengths)]) <= 0:
            return "have no lengths"
        types = {one.name: one.type for one in self.sources}
        lacking = [one.column for one in self.aggregates if one.column is not None and one.column not in types]
        if lacking:
            return f"do not say of what type {lacking[0]!r} is"
        impossible = [one for one in self.aggregates if one.problem]
        if impossible:
            return f"have {impossible[0].name!r}, which {impossible[0].problem}"
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
