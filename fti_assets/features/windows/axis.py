"""The instants of a run as whole positions, and each row as the positions for which it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from fti_assets.core.sql import quoted, timestamp
from fti_assets.core.times import from_microseconds, microseconds, naive_utc
from fti_assets.features.point_in_time.frontier import available_sql
from fti_assets.features.rows.table import Grid, Table

RowsBy = Literal["visible_at", "event_time"]
EVENT, SEEN = "__fti_event", "__fti_seen"
"""A row's event time, and when it became visible, in microseconds from the axis's first instant."""


@dataclass(frozen=True)
class Axis:
    """Positions ``0 .. number - 1``: position ``p`` is ``first + every * p``, in microseconds since 1970.

    Args:
        first: the first instant.
        every: the time between two positions; one microsecond in the per-row form.
        number: how many there are.
        own_left_out: whether a row counts only after its own event time, as it does in the per-row form.
    """

    first: int
    every: int
    number: int
    own_left_out: bool = False

    @classmethod
    def of(cls, grid: Grid, every: int | None) -> Axis:
        """Multiples of ``every`` within the grid; without one, every microsecond of it."""
        start, end = microseconds(naive_utc(grid.start)), microseconds(naive_utc(grid.end))
        if every is None:
            return cls(start, 1, max(0, end - start), own_left_out=True)
        first = -(-start // every) * every
        return cls(first, every, max(0, -(-(end - first) // every)))

    def reached(self, us: str) -> str:
        """The SQL of the number of positions before ``us``, which is counted from ``first``."""
        up = f" + {self.every - 1}) // {self.every}" if self.every > 1 else ")"
        return f"least((greatest({us}, 0){up}, {self.number})"

    def instant(self, position: str) -> str:
        """The SQL of the time at a position."""
        return f"make_timestamp({self.first} + {self.every} * {position})"


@dataclass(frozen=True)
class Windows:
    """The windows of a declaration on the axis of a run.

    Args:
        axis: the run's instants.
        lengths: each window's length in microseconds, by its text.
        rows_by: what a window is measured by.
        starts: when the later partitions of the run begin.
    """

    axis: Axis
    lengths: dict[str, int]
    rows_by: RowsBy
    starts: tuple[datetime, ...] = ()

    @property
    def longest(self) -> int:
        """The number of the longest window."""
        lengths = list(self.lengths.values())
        return lengths.index(max(lengths))

    def since(self, delay: timedelta = timedelta(0)) -> str:
        """The SQL of the instant: a row that became visible then or before, or for ``event_time`` was true then, is in no
        window; for rows that became visible ``delay`` after their event time, that event time."""
        us = self.axis.first - max(self.lengths.values()) - microseconds(delay)
        return timestamp(from_microseconds(max(us, microseconds(datetime.min))))

    def natural(self, window: int) -> int:
        """For how many positions a row counts that nothing cuts short."""
        return -(-list(self.lengths.values())[window] // self.axis.every)

    def recent(self, rows: Table) -> list[str]:
        """The SQL of conditions of which a row that counts somewhere fulfils exactly one: plain comparisons, which DuckLake
        answers for whole files by their least and greatest values."""
        event = quoted(rows.event_time or "")
        if self.rows_by == "event_time":
            return [f"{event} > {self.since()}"]
        if rows.available_at is None:
            return [f"{event} > {self.since(rows.serving_delay)}"]
        return [
            f"{event} > {self.since()}",
            f"{event} <= {self.since()} AND {quoted(rows.available_at)} > {self.since()}",
        ]

    def spans(self, rows: Table, source: str, keys: Sequence[str], values: Sequence[str] = ()) -> str:
        """The SQL of the rows that count somewhere.

        Args:
            rows: what the source's columns mean.
            source: rows, as SQL that FROM takes.
            keys: the columns to keep under their names.
            values: further SQL of a row's columns, each with its name.

        Returns:
            ``keys``, ``values``, ``__fti_event``, ``__fti_seen``, the first position of a row as ``__fti_enters`` and for
            each window the first at which it counts no more as ``__fti_leaves_<number>``.
        """
        available = available_sql(rows.times)
        event = quoted(rows.event_time or "")
        known = " AND ".join(f"{name} IS NOT NULL" for name in [*map(quoted, keys), event, available])
        entering = f"{SEEN} + ({EVENT} = {SEEN})::BIGINT" if self.axis.own_left_out else SEEN
        held, begins = "", ""
        if rows.arrives is not None and self.starts:
            # A run of one partition does not see what arrives in a later one, so neither may that partition in a range.
            entering = f"greatest({entering}, coalesce(__fti_begins, 0))"
            begins = f", epoch_us(__fti_begin) - {self.axis.first} AS __fti_begins"
            starts = ", ".join(map(timestamp, self.starts))
            held = (
                f" ASOF LEFT JOIN (SELECT unnest([{starts}]) AS __fti_begin) ON {quoted(rows.arrives)} >= __fti_begin"
            )
        counted = SEEN if self.rows_by == "visible_at" else EVENT
        leaves = [
            f"{self.axis.reached(f'greatest({counted} + {length}, __fti_entering)')} AS __fti_leaves_{number}"
            for number, length in enumerate(self.lengths.values())
        ]
        named = ", ".join([*map(quoted, keys), *values, ""]) if keys or values else ""
        return f"""
            SELECT * EXCLUDE (__fti_entering), {self.axis.reached("__fti_entering")} AS __fti_enters, {", ".join(leaves)}
            FROM (SELECT *, {entering} AS __fti_entering
                  FROM (SELECT {named}epoch_us({event}) - {self.axis.first} AS {EVENT},
                            epoch_us(greatest({event}, {available})) - {self.axis.first} AS {SEEN}{begins}
                        FROM {source}{held} WHERE {known}))
            WHERE __fti_enters < __fti_leaves_{self.longest}"""
