"""What the rows of a source's partition come to in a day, kept in the lake: a long lookback then costs no re-reading.

A tile holds, for a partition, keys and the day in which rows became visible (for ``event_time`` also the day of the event),
the totals and extremes that aggregates are made of. All rows of a tile count together where a day enters no window and
leaves none during a run; of the other days the rows themselves are read. A tile names the data version of its partition, so
that one of other rows is never used but made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fti_assets.core.names import PARTITION, TILES, TableName, in_partitions
from fti_assets.core.sql import quote, temporary_name, timestamp
from fti_assets.core.times import Partition, from_microseconds, microseconds
from fti_assets.errors import NotMaterializedError
from fti_assets.features.rows.table import SourcePartitions
from fti_assets.features.windows.aggregates import Aggregate, First, Last, is_ordered
from fti_assets.features.windows.axis import Windows
from fti_assets.features.windows.exact import Spread
from fti_assets.features.windows.results import Results, RowTerms, Spreads
from fti_assets.stores.duckdb.relations import relation_name

DAY = 86_400_000_000
_VERSION = 2
_FEWEST = 3
"""Tiles of fewer partitions save no more than they cost."""
_FOREVER = 10**7


@dataclass(frozen=True)
class _Days:
    """Which days enter or leave a window during a run: numbers of days since 1970.

    Args:
        first_entry: the first day of which a row may enter a window after the first instant.
        first_seen: the first day of which a row may become visible after the first instant.
        edges: for each window the first day that leaves it during the run, and the first that stays in it.
    """

    first_entry: int
    first_seen: int
    edges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, windows: Windows) -> _Days:
        axis = windows.axis
        last = axis.first + axis.every * (axis.number - 1)
        edges = (((axis.first + 1 - w) // DAY, (last - w) // DAY + 1) for w in windows.lengths.values())
        by_event = windows.rows_by == "event_time"
        return cls(axis.first // DAY, (axis.start if by_event else axis.first) // DAY, tuple(edges))

    def ranges(self, *more: tuple[int, int]) -> list[tuple[int, int]]:
        """The days that leave some window during the run, and ``more``, as ranges that do not overlap."""
        results: list[tuple[int, int]] = []
        for first, end in sorted([*(edge for edge in self.edges if edge[0] < edge[1]), *more]):
            if results and first <= results[-1][1]:
                results[-1] = results[-1][0], max(end, results[-1][1])
            else:
                results.append((first, end))
        return results

    def has_settled_days(self, partition: Partition, longest: int) -> bool:
        """Whether a partition has days that neither enter nor leave during the run but stay in the longest window."""
        if partition.start is None or partition.end is None:
            return False
        first, end = microseconds(partition.start) // DAY, -(-microseconds(partition.end) // DAY)
        days = range(max(first, self.edges[longest][1]), min(end, self.first_entry))
        return any(not any(out <= day < within for out, within in self.ranges()) for day in days)


@dataclass(frozen=True)
class Tiles:
    """Tiles of some partitions, and the rows that they do not answer for.

    Args:
        rows: the SQL of those rows.
        spreads: the spread of each DOUBLE in the tiles.
        days: the days of the run.
        parts: for each list of measures, the SQL of the tiles that have it.
    """

    rows: str
    spreads: Mapping[str, Spread]
    days: _Days
    parts: Sequence[tuple[tuple[str, ...], str]]

    def spans(self, windows: Windows, terms: RowTerms) -> list[str]:
        """The SQL of the tiles as spans, as ``Windows.spans`` gives those of rows."""
        conditions = [
            f"__fti_seen_day < {self.days.first_seen}",
            f"__fti_day < {self.days.first_entry}",
            f"__fti_day >= {self.days.edges[windows.longest][1]}",
        ]
        conditions += [f"(__fti_day < {out} OR __fti_day >= {within})" for out, within in self.days.edges]
        columns = [f"__fti_value_{place}" for place in range(len(terms.values))]
        columns += [f"__fti_state_{place}" for place in range(len(terms.states))]
        columns += [
            "0 AS __fti_enters",
            *(
                f"CASE WHEN __fti_day >= {within} THEN {windows.axis.number} ELSE 0 END AS __fti_leaves_{window}"
                for window, (_, within) in enumerate(self.days.edges)
            ),
        ]
        results = []
        for digests, source in self.parts:
            # A bin of exponents in which a partition has no float adds nothing.
            places = [digests.index(one) + 1 if (one := _digest(sql)) in digests else None for sql in terms.measures]
            sums = [
                f"{f'__fti_sums[{place}]' if place else '0'}::HUGEINT AS __fti_measure_{number}"
                for number, place in enumerate(places)
            ]
            columns_sql = ", ".join([windows.names, *sums, *columns])
            results.append(f"SELECT {columns_sql} FROM {source} WHERE {' AND '.join(conditions)}")
        return results


def _aggregate_text(aggregate: Aggregate) -> str:
    # Tiles that were made before Last had more than a column stay in use: what it has by default is not said.
    if isinstance(aggregate, First | Last) and not is_ordered(aggregate):
        return f"{type(aggregate).__name__}(column={aggregate.column!r})"
    return repr(aggregate)


def tiles_of(windows: Windows) -> Tiles | None:
    """Tiles of the partitions that a run would else re-read, made now where they are missing; None if that saves nothing,
    or the source is not read as it is stored."""
    partitions = windows.rows.partitions
    if partitions is None:
        return None
    days = _Days.of(windows)
    whole = [one.key for one in partitions.before if days.has_settled_days(one, windows.longest)]
    if windows.axis.number == 0 or len(whole) < _FEWEST:
        return None
    lake, rows = partitions.lake, windows.rows
    types = dict(zip(rows.relation.columns, map(str, rows.relation.types), strict=True))
    read = [
        *map(_aggregate_text, windows.aggregates.values()),
        *(types[name] for name in [*windows.keys, *windows.aggregated_columns]),
    ]
    declaration = [_VERSION, partitions.table.full_name, windows.keys, windows.rows_by == "event_time", rows.event_time,
                rows.available_at, microseconds(rows.serving_delay), read]  # fmt: skip
    # Whatever changes a tile's content is in its table's name, so that no tile is read under another meaning.
    digest = hashlib.sha256(json.dumps(declaration).encode()).hexdigest()
    table = TableName(TILES, f"{partitions.table.name}_{digest[:16]}")
    versions = {key: partitions.versions[key] for key in whole}
    # Before the snapshot is taken, which has to have them.
    _make_missing(windows, partitions, table, versions)
    snapshot = lake.snapshot()
    records = {key: json.loads(entry.record) for key, entry in lake.ledger(table, snapshot=snapshot).items()}
    # Of another version they are of rows that were replaced since: the rows themselves are read instead.
    usable = {key: record for key, record in records.items() if record["version"] == versions.get(key)}
    spreads: dict[str, Spread] = {}
    by_measures: dict[tuple[str, ...], list[str]] = {}
    for key, record in usable.items():
        by_measures.setdefault(tuple(record["measures"]), []).append(key)
        for value, spread in record["spreads"].items():
            spreads[value] = spreads.get(value, Spread()) | Spread(*spread)
    try:
        parts = [
            (measures, relation_name(lake.rows(table, snapshot=snapshot, partitions=keys)))
            for measures, keys in by_measures.items()
        ]
    except NotMaterializedError:  # dropped just now: they are a cache
        return None
    return Tiles(_rows_sql(windows, partitions, sorted(usable), days), spreads, days, parts)


def _make_missing(
    windows: Windows, partitions: SourcePartitions, table: TableName, versions: Mapping[str, str]
) -> None:
    """Store the tiles of partitions that have none, or one of other rows."""
    lake = partitions.lake
    versions_before = {key: json.loads(record.record)["version"] for key, record in lake.ledger(table).items()}
    missing = [key for key, version in versions.items() if versions_before.get(key) != version]
    if not missing:
        return
    source = f"(SELECT * FROM {relation_name(partitions.all_rows)} WHERE {in_partitions(missing)})"
    results = Results(windows, Spreads(lake.connection, source, {}))
    terms = results.terms
    terms.total("1", 0)
    for aggregate in windows.aggregates.values():
        results.sql(aggregate, 0)
    visible_day = _day_sql(f"greatest({windows.event}, {windows.available})")
    # Parquet has no whole numbers of 128 bits: DuckDB would write them as DOUBLE.
    sums = ", ".join(f"sum({sql})::DECIMAL(38, 0)" for sql in terms.measures)
    group_columns = [
        PARTITION,
        *map(quote, windows.keys),
        f"{visible_day} AS __fti_seen_day",
        f"{_day_sql(windows.event) if windows.rows_by == 'event_time' else visible_day} AS __fti_day",
        *(f"{sql} AS __fti_value_{place}" for place, sql in enumerate(terms.values)),
    ]
    states = [f"{of}({sql}) AS __fti_state_{place}" for place, (sql, of) in enumerate(terms.states)]
    columns = ", ".join([*group_columns, f"[{sums}]::DECIMAL(38, 0)[] AS __fti_sums", *states])
    places = ", ".join(map(str, range(1, len(group_columns) + 1)))
    staging = temporary_name("tiles")
    lake.connection.execute(
        f"CREATE TEMP TABLE {quote(staging)} AS SELECT {columns} FROM {source} WHERE {windows.complete()} GROUP BY {places}"
    )
    measures = [_digest(sql) for sql in terms.measures]
    spreads = {value: [one.least, one.greatest, one.odd] for value, one in results.spreads.items()}
    lake.replace(
        table,
        staging,
        missing,
        asset=f"tiles of {partitions.table.full_name}",
        records={
            key: json.dumps({"version": versions[key], "measures": measures, "spreads": spreads}) for key in missing
        },
    )
    lake.connection.execute(f"DROP TABLE {quote(staging)}")


def _rows_sql(windows: Windows, partitions: SourcePartitions, tiles: Sequence[str], days: _Days) -> str:
    """The SQL of the rows that tiles do not answer for: those of partitions without, and of days that enter or leave.

    Each is a plain comparison of columns with constants, of which DuckLake leaves out files by their least and greatest values.
    """
    event, available = windows.event, windows.rows.available_at and windows.available
    delay = microseconds(windows.rows.serving_delay) if available is None else 0

    def at(day: int, ahead: int = 0) -> str:
        us = max(min(day * DAY - ahead, microseconds(datetime.max)), microseconds(datetime.min))
        return timestamp(from_microseconds(us))

    def within(column: str, first: int, end: int, ahead: int = 0) -> str:
        return f"{column} >= {at(first, ahead)} AND {column} < {at(end, ahead)}"

    by_event, entering = windows.rows_by == "event_time", (days.first_entry, _FOREVER)
    at_once = by_event and available is None and days.first_seen == days.first_entry
    ranges = days.ranges() if at_once else days.ranges(entering)
    if by_event:
        conditions = [within(event, *one) for one in ranges]
        late = f"{available} >= {at(days.first_seen)}" if available else f"{event} >= {at(days.first_seen, delay)}"
        conditions.append(" AND ".join([late, *(f"NOT ({one})" for one in conditions)]))
    elif available is None:
        conditions = [within(event, *one, delay) for one in ranges]
    else:
        conditions = [f"{within(event, *one)} AND {available} < {at(one[1])}" for one in ranges]
        conditions += [f"{event} < {at(one[0])} AND {within(available, *one)}" for one in ranges]
    parts = [f"{in_partitions(tiles)} AND {condition}" for condition in conditions]
    recent = " OR ".join(f"({one})" for one in windows.recent())
    parts.append(f"{in_partitions([key for key in partitions.versions if key not in tiles])} AND ({recent})")
    source = relation_name(partitions.rows)
    return "(" + " UNION ALL ".join(f"SELECT * FROM {source} WHERE {condition}" for condition in parts) + ")"


def _day_sql(time: str) -> str:
    # DuckDB divides towards zero, and a day before 1970 is one less.
    return f"(epoch_us({time}) - (epoch_us({time}) % {DAY} + {DAY}) % {DAY}) // {DAY}"


def _digest(measure: str) -> str:
    return hashlib.sha256(measure.encode()).hexdigest()[:16]
