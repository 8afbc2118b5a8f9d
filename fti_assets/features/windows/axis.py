"""The windows of a run: its instants as whole positions, and each row as the positions for which it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from fti_assets.core.manifest.windows import far_end
from fti_assets.core.sql import quote, timestamp
from fti_assets.core.times import from_microseconds, microseconds, naive_utc
from fti_assets.features.rows.table import Grid, Table
from fti_assets.features.rows.visibility import available_sql
from fti_assets.features.windows.aggregates import Aggregate
from fti_assets.stores.duckdb.relations import relation_name

RowsBy = Literal["visible_at", "event_time"]
AT = "__fti_at"
"""A position of a key."""
EVENT, VISIBLE = "__fti_event", "__fti_visible"
"""A row's event time, and when it became visible, in microseconds from the axis's first instant."""


@dataclass(frozen=True)
class Axis:
    """Positions ``0 .. number - 1``: position ``p`` is ``first + every * p``, in microseconds since 1970.

    Args:
        first: the first instant.
        every: the time between two positions; one microsecond in the per-row form.
        number: how many there are.
        own_left_out: whether a row counts only after its own event time, as it does in the per-row form.
        delay: how long after a position the instant is that it stands for, in microseconds: so long before it its windows end.
    """

    first: int
    every: int
    number: int
    own_left_out: bool = False
    delay: int = 0

    @property
    def start(self) -> int:
        """The instant that the first position stands for, in microseconds since 1970."""
        return self.first + self.delay

    @classmethod
    def of(cls, grid: Grid, every: int | None) -> Axis:
        """Multiples of ``every`` within the grid; without one, every microsecond of it."""
        start, end = microseconds(naive_utc(grid.start)), microseconds(naive_utc(grid.end))
        if every is None:
            return cls(start, 1, max(0, end - start), own_left_out=True)
        first = -(-start // every) * every
        return cls(first, every, max(0, -(-(end - first) // every)))

    def delayed(self, by: int) -> Axis:
        """The same instants with windows that end some microseconds before them, which a row of the instant is not in."""
        return replace(self, first=self.first - by, delay=by, own_left_out=False) if by else self

    def position_of(self, us: str) -> str:
        """The SQL of the number of positions before ``us``, which is counted from ``first``."""
        up = f" + {self.every - 1}) // {self.every}" if self.every > 1 else ")"
        return f"least((greatest({us}, 0){up}, {self.number})"

    def instant(self, position: str) -> str:
        """The SQL of the time at a position."""
        return f"make_timestamp({self.start} + {self.every} * {position})"


@dataclass(frozen=True)
class Windows:
    """Aggregates over the windows of a source's rows, on the axis of a run.

    Args:
        rows: the source; it has an event time and a grid.
        keys: the columns to aggregate by.
        aggregates: what to compute, by name.
        lengths: each window's length in microseconds, by its text.
        rows_by: what a window is measured by.
        axis: the run's instants.
        starts: when the later partitions of the run begin.
        delays: how long before its instant a window ends, in microseconds by its text; at once if it is not there.
        cell: windows longer than it have their far end on a whole multiple of it since 1970, in microseconds; 0 for none such.
    """

    rows: Table
    keys: Sequence[str]
    aggregates: Mapping[str, Aggregate]
    lengths: Mapping[str, int]
    rows_by: RowsBy
    axis: Axis
    starts: tuple[datetime, ...] = ()
    delays: Mapping[str, int] = field(default_factory=dict)
    cell: int = 0

    @property
    def grid(self) -> Grid:
        assert self.rows.grid is not None
        return self.rows.grid

    @property
    def names(self) -> str:
        """The keys, quoted for SQL."""
        return ", ".join(map(quote, self.keys))

    @property
    def event(self) -> str:
        """The SQL of a row's event time."""
        return quote(self.rows.event_time or "")

    @property
    def available(self) -> str:
        """The SQL of a row's available-at."""
        return available_sql(self.rows.times)

    @property
    def aggregated_columns(self) -> list[str]:
        """The columns that are aggregated."""
        columns = (getattr(aggregate, "column", None) for aggregate in self.aggregates.values())
        return [column for column in columns if column is not None]

    @property
    def longest(self) -> int:
        """The number of the longest window."""
        lengths = list(self.lengths.values())
        return lengths.index(max(lengths))

    def natural(self, window: int) -> int:
        """For how many positions a row counts that nothing cuts short."""
        return -(-list(self.lengths.values())[window] // self.axis.every)

    def by_delay(self) -> list[Windows]:
        """The windows that end the same time before their instants, each with an axis of its own."""
        return [
            replace(
                self,
                axis=self.axis.delayed(delay),
                lengths={text: us for text, us in self.lengths.items() if self.delays.get(text, 0) == delay},
                delays={},
            )
            for delay in dict.fromkeys(self.delays.get(text, 0) for text in self.lengths)
        ]

    def over(self, rows: Table, axis: Axis) -> Windows:
        """The same over other rows, which are of one partition."""
        return replace(self, rows=replace(rows, arrives=None, partitions=None), axis=axis, starts=())

    def complete(self, keys: Sequence[str] | None = None) -> str:
        """The SQL of the condition that a row has keys and times: others count nowhere."""
        names = [*map(quote, self.keys if keys is None else keys), self.event, self.available]
        return " AND ".join(f"{name} IS NOT NULL" for name in names)

    def _since(self, delay: timedelta = timedelta(0)) -> str:
        """The SQL of the instant: a row that became visible then or before, or for ``event_time`` was true then, is in no
        window; for rows that became visible ``delay`` after their event time, that event time."""
        # A window can reach to before the first instant that a datetime has.
        ends = ((self.axis.first - self.delays.get(text, 0), length) for text, length in self.lengths.items())
        us = min(far_end(end, length, self.cell or length) for end, length in ends) - microseconds(delay)
        return timestamp(from_microseconds(max(us, microseconds(datetime.min))))

    def recent(self) -> list[str]:
        """The SQL of conditions of which a row that counts somewhere fulfils exactly one: plain comparisons, which DuckLake
        answers for whole files by their least and greatest values."""
        if self.rows_by == "event_time":
            return [f"{self.event} > {self._since()}"]
        if self.rows.available_at is None:
            return [f"{self.event} > {self._since(self.rows.serving_delay)}"]
        late = f"{self.event} <= {self._since()} AND {self.available} > {self._since()}"
        return [f"{self.event} > {self._since()}", late]

    def spans(self, source: str, values: Sequence[str] = ()) -> str:
        """The SQL of the rows that count somewhere.

        Args:
            source: rows, as SQL that FROM takes.
            values: further SQL of a row's columns, each with its name.

        Returns:
            ``keys``, ``values``, ``__fti_event``, ``__fti_visible``, the first position of a row as ``__fti_enters`` and for
            each window the first at which it counts no more as ``__fti_leaves_<number>``.
        """
        # At its own event time a row is the one that the window is for; if it became visible later, it is past that anyway.
        entering = f"{VISIBLE} + ({EVENT} = {VISIBLE})::BIGINT" if self.axis.own_left_out else VISIBLE
        begin, begins = "", ""
        if self.rows.arrives is not None and self.starts:
            # A run of one partition does not see what arrives in a later one, so neither may that partition in a range.
            entering = f"greatest({entering}, coalesce(__fti_begins, 0))"
            begins = f", epoch_us(__fti_begin) - {self.axis.start} AS __fti_begins"
            starts = f"SELECT unnest([{', '.join(map(timestamp, self.starts))}]) AS __fti_begin"
            begin = f" ASOF LEFT JOIN ({starts}) ON {quote(self.rows.arrives)} >= __fti_begin"
        time = VISIBLE if self.rows_by == "visible_at" else EVENT
        leaves = [
            f"{self.axis.position_of(f'greatest({self._leaving(time, length)}, __fti_entering)')} AS __fti_leaves_{number}"
            for number, length in enumerate(self.lengths.values())
        ]
        visible = f"epoch_us(greatest({self.event}, {self.available}))"
        if self.axis.delay and self.rows_by == "event_time":
            # Seen at the instant itself, though the window ends before.
            visible = f"greatest(epoch_us({self.event}), epoch_us({self.available}) - {self.axis.delay})"
        columns = "".join(f"{column}, " for column in [*map(quote, self.keys), *values])
        return f"""
            SELECT * EXCLUDE (__fti_entering), {self.axis.position_of("__fti_entering")} AS __fti_enters, {", ".join(leaves)}
            FROM (SELECT *, {entering} AS __fti_entering
                  FROM (SELECT {columns}epoch_us({self.event}) - {self.axis.first} AS {EVENT},
                            {visible} - {self.axis.first} AS {VISIBLE}{begins}
                        FROM {source}{begin} WHERE {self.complete()}))
            WHERE __fti_enters < __fti_leaves_{self.longest}"""

    def _leaving(self, time: str, length: int) -> str:
        """The SQL of the instant at which a row leaves a window that it entered by a time."""
        if not 0 < self.cell < length:
            return f"{time} + {length}"
        # Up to the end of its cell. A remainder of DuckDB has the sign of what is divided.
        of_cell = f"(-({time} + {self.axis.first}) % {self.cell} + {self.cell}) % {self.cell}"
        return f"{time} + {of_cell} + {length}"

    def own_instants(self, extras: Sequence[str]) -> str:
        """The SQL of the run's own rows: columns that are kept, keys and positions."""
        names, first = [*extras, *self.keys], self.axis.start
        start, end = (timestamp(from_microseconds(us)) for us in (first, first + self.axis.number))
        return f"""
            SELECT DISTINCT {", ".join(map(quote, names))}, epoch_us({self.event}) - {first} AS {AT}
            FROM {relation_name(self.rows.relation)}
            WHERE {self.complete(names)} AND {self.event} >= {start} AND {self.event} < {end}"""
