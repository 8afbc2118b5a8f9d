"""What the rows of a source's partition come to in a day, kept in the lake: a long lookback then costs no re-reading.

A tile holds, for a partition, keys and the day in which rows became visible (for ``event_time`` also the day of the event),
the totals and extremes that aggregates are made of. All rows of a tile count together where a day enters no window and
leaves none during a run; of the other days the rows themselves are read. A tile names the data version of its partition, so
that one of other rows is never used but made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fti_assets.core.names import PARTITION, TILES, PartitionRecord, TableName
from fti_assets.core.sql import literal, quoted, temporary_name, timestamp
from fti_assets.core.times import Partition, from_microseconds, microseconds
from fti_assets.errors import NotMaterializedError
from fti_assets.features.point_in_time.frontier import available_sql
from fti_assets.features.windows.exact import Spread, spread_sql
from fti_assets.stores.duckdb.relations import view_of

if TYPE_CHECKING:
    from fti_assets.features.rows.table import SourcePartitions, Table
    from fti_assets.features.windows.axis import Windows
    from fti_assets.features.windows.results import RowTerms

DAY = 86_400_000_000
_VERSION = 2
_FEWEST = 3
"""Tiles of fewer partitions save no more than they cost."""
_FOREVER = 10**7


@dataclass(frozen=True)
class _Days:
    """Which days enter or leave a window during a run: numbers of days since 1970.

    Args:
        entered: the first day of which a row may become visible after the first instant.
        edges: for each window the first day that leaves it during the run, and the first that stays in it.
    """

    entered: int
    edges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, windows: Windows) -> _Days:
        axis = windows.axis
        last = axis.first + axis.every * (axis.number - 1)
        return cls(
            axis.first // DAY,
            tuple(((axis.first + 1 - w) // DAY, (last - w) // DAY + 1) for w in windows.lengths.values()),
        )

    def ranges(self, *more: tuple[int, int]) -> list[tuple[int, int]]:
        """The days that leave some window during the run, and ``more``, as ranges that do not overlap."""
        merged: list[tuple[int, int]] = []
        for first, end in sorted([*(edge for edge in self.edges if edge[0] < edge[1]), *more]):
            if merged and first <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((first, end))
        return merged


@dataclass(frozen=True)
class Tiles:
    """Tiles of some partitions, and the rows that they do not answer for.

    Args:
        rows: the SQL of those rows.
        spreads: the spread of each DOUBLE in the tiles.
        days: the days of the run.
        parts: for each list of measures, the SQL of the tiles that hold it.
    """

    rows: str
    spreads: Mapping[str, Spread]
    days: _Days
    parts: Sequence[tuple[tuple[str, ...], str]]

    def spans(self, keys: Sequence[str], windows: Windows, needed: RowTerms) -> list[str]:
        """The SQL of the tiles as spans, as ``Windows.spans`` gives those of rows."""
        number, names = windows.axis.number, ", ".join(map(quoted, keys))
        settled = [f"__fti_seen_day < {self.days.entered}"]
        settled += [f"(__fti_day < {out} OR __fti_day >= {within})" for out, within in self.days.edges]
        leaves = ", ".join(
            f"CASE WHEN __fti_day >= {within} THEN {number} ELSE 0 END AS __fti_leaves_{window}"
            for window, (_, within) in enumerate(self.days.edges)
        )
        other = [f"__fti_value_{place}" for place in range(len(needed.values))]
        other += [f"__fti_state_{place}" for place in range(len(needed.states))]
        results = []
        for held, source in self.parts:
            measures = [
                f"{f'__fti_sums[{held.index(_digest(sql)) + 1}]' if _digest(sql) in held else '0'}::HUGEINT "
                f"AS __fti_measure_{place}"
                for place, sql in enumerate(needed.measures)
            ]
            columns = ", ".join([*measures, *other, "0 AS __fti_enters", leaves])
            results.append(
                f"SELECT {names}, {columns} FROM {source} WHERE {' AND '.join(settled)} "
                f"AND __fti_day >= {self.days.edges[windows.longest][1]}"
            )
        return results


def tiled(
    rows: Table,
    partitions: SourcePartitions,
    keys: Sequence[str],
    windows: Windows,
    needed_of: Callable[[Callable[[str], Spread]], RowTerms],
    declared: Sequence[object],
) -> Tiles | None:
    """Tiles of the partitions that a run would else re-read, made now where they are missing; None if that saves nothing.

    Args:
        rows: what the source's columns mean.
        partitions: its partitions.
        keys: the columns to aggregate by.
        windows: the windows.
        needed_of: gives what rows must give, for the spread of each DOUBLE.
        declared: what else the tiles depend on, as JSON takes it.
    """
    days = _Days.of(windows)
    whole = [window for window in partitions.windows if _saves(window, days, windows.longest)]
    if windows.axis.number == 0 or len(whole) < _FEWEST:
        return None
    by_event = windows.rows_by == "event_time"
    digest = hashlib.sha256(
        json.dumps([_VERSION, str(partitions.table), keys, by_event, rows.event_time, rows.available_at,
                    microseconds(rows.serving_delay), declared]).encode()
    ).hexdigest()  # fmt: skip
    table = TableName(TILES, f"{partitions.table.name}_{digest[:16]}")
    wanted = {window.key: partitions.versions[window.key] for window in whole}
    _make_missing(rows, partitions, table, wanted, keys, by_event, needed_of)
    lake = partitions.lake
    snapshot = lake.snapshot()
    records = {key: json.loads(r.record) for key, r in lake.ledger(table, snapshot=snapshot).items() if key in wanted}
    usable = {key: record for key, record in records.items() if record["version"] == wanted[key]}
    spreads: dict[str, Spread] = {}
    by_measures: dict[tuple[str, ...], list[str]] = {}
    for key, record in usable.items():
        by_measures.setdefault(tuple(record["measures"]), []).append(key)
        for value, spread in record["spreads"].items():
            spreads[value] = spreads.get(value, Spread()) | Spread(*spread)
    try:
        parts = [
            (measures, view_of(lake.rows(table, snapshot=snapshot, partitions=held)))
            for measures, held in by_measures.items()
        ]
    except NotMaterializedError:  # dropped just now: they are a cache
        return None
    return Tiles(_rest_sql(rows, partitions, sorted(usable), windows, days), spreads, days, parts)


def _saves(window: Partition, days: _Days, longest: int) -> bool:
    """Whether a partition has days that neither enter nor leave during the run but stay in the longest window."""
    if window.start is None or window.end is None:
        return False
    first, end = microseconds(window.start) // DAY, -(-microseconds(window.end) // DAY)
    first, end, ranges = max(first, days.edges[longest][1]), min(end, days.entered), days.ranges()
    return any(not any(a <= day < b for a, b in ranges) for day in range(first, end))


def _make_missing(
    rows: Table,
    partitions: SourcePartitions,
    table: TableName,
    wanted: Mapping[str, str],
    keys: Sequence[str],
    by_event: bool,
    needed_of: Callable[[Callable[[str], Spread]], RowTerms],
) -> None:
    """Store the tiles of partitions that have none, or one of other rows."""
    lake = partitions.lake
    stored: Mapping[str, PartitionRecord] = lake.ledger(table)
    missing = [key for key in wanted if key not in stored or json.loads(stored[key].record)["version"] != wanted[key]]
    if not missing:
        return
    names = ", ".join(literal(key) for key in missing)
    source = f"(SELECT * FROM {view_of(partitions.stored)} WHERE {PARTITION} IN ({names}))"
    spreads: dict[str, Spread] = {}

    def spread(value: str) -> Spread:
        if value not in spreads:
            spreads[value] = Spread(*lake.connection.sql(spread_sql([value], source)).fetchall()[0])
        return spreads[value]

    needed = needed_of(spread)
    event = quoted(rows.event_time or "")
    available = available_sql(rows.times)
    known = " AND ".join(f"{name} IS NOT NULL" for name in [*map(quoted, keys), event, available])
    seen_day = _day_sql(f"greatest({event}, {available})")
    event_day = _day_sql(event) if by_event else seen_day
    same = [PARTITION, *map(quoted, keys)]
    values = [f"{sql} AS __fti_value_{place}" for place, sql in enumerate(needed.values)]
    sums = ", ".join(f"sum({sql})::DECIMAL(38, 0)" for sql in needed.measures)
    states = [f"{of}({sql}) AS __fti_state_{place}" for place, (sql, of) in enumerate(needed.states)]
    columns = [
        *same,
        f"{seen_day} AS __fti_seen_day",
        f"{event_day} AS __fti_day",
        *values,
        f"[{sums}]::DECIMAL(38, 0)[] AS __fti_sums",
        *states,
    ]
    places = ", ".join(str(place + 1) for place in range(len(same) + 2 + len(values)))
    staged = temporary_name("tiles")
    lake.connection.execute(
        f"CREATE TEMP TABLE {quoted(staged)} AS SELECT {', '.join(columns)} FROM {source} WHERE {known} GROUP BY {places}"
    )
    results = {value: [one.least, one.greatest, one.odd] for value, one in spreads.items()}
    digests = [_digest(sql) for sql in needed.measures]
    lake.replace(
        table,
        staged,
        missing,
        asset=f"tiles of {partitions.table}",
        records={key: json.dumps({"version": wanted[key], "measures": digests, "spreads": results}) for key in missing},
    )
    lake.connection.execute(f"DROP TABLE {quoted(staged)}")


def _rest_sql(rows: Table, partitions: SourcePartitions, tiles: Sequence[str], windows: Windows, days: _Days) -> str:
    """The SQL of the rows that tiles do not answer for: those of partitions without, and of days that enter or leave."""
    source = view_of(partitions.rows)
    held = f"{PARTITION} IN ({', '.join(literal(key) for key in tiles) or 'NULL'})"
    event, available = quoted(rows.event_time or ""), rows.available_at and quoted(rows.available_at)

    def at(day: int, ahead: int = 0) -> str:
        us = max(min(day * DAY - ahead, microseconds(datetime.max)), microseconds(datetime.min))
        return timestamp(from_microseconds(us))

    delay = microseconds(rows.serving_delay) if available is None else 0
    conditions = []
    if windows.rows_by == "visible_at":
        for first, end in days.ranges((days.entered, _FOREVER)):
            conditions.append(f"{event} >= {at(first, delay)} AND {event} < {at(end, delay)}")
            if available is not None:
                conditions[-1] += f" AND {available} < {at(end)}"
                conditions.append(f"{event} < {at(first)} AND {available} >= {at(first)} AND {available} < {at(end)}")
    elif available is None:
        spans = [(at(first), at(end)) for first, end in days.ranges()]
        late = f"{event} >= {at(days.entered, delay)}"
        left = " AND ".join([f"NOT ({event} >= {a} AND {event} < {b})" for a, b in spans] or ["true"])
        conditions = [f"{event} >= {a} AND {event} < {b}" for a, b in spans] + [f"{late} AND {left}"]
    else:
        spans = [(at(first), at(end)) for first, end in days.ranges((days.entered, _FOREVER))]
        left = " AND ".join(f"NOT ({event} >= {a} AND {event} < {b})" for a, b in spans)
        conditions = [f"{event} >= {a} AND {event} < {b}" for a, b in spans]
        conditions.append(f"{available} >= {at(days.entered)} AND {left}")
    apart = [f"{held} AND {condition}" for condition in conditions]
    recent = " OR ".join(f"({one})" for one in windows.recent(rows))
    others = ", ".join(literal(key) for key in partitions.versions if key not in tiles)
    apart.append(f"{PARTITION} IN ({others or 'NULL'}) AND ({recent})")
    return "(" + " UNION ALL ".join(f"SELECT * FROM {source} WHERE {condition}" for condition in apart) + ")"


def _day_sql(time: str) -> str:
    return f"(epoch_us({time}) - (epoch_us({time}) % {DAY} + {DAY}) % {DAY}) // {DAY}"


def _digest(measure: str) -> str:
    return hashlib.sha256(measure.encode()).hexdigest()[:16]
