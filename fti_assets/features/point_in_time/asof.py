"""The join of one group to numbered keys and times: sorted in memory where it is small, else by DuckDB's ASOF join.

Both give the same rows. Sorting numbers in memory takes a third of the time; DuckDB's join writes to disk what memory cannot hold.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core.manifest import JoinedGroup
from fti_assets.core.sql import literal, quote
from fti_assets.features.point_in_time.frontier import EVENT, VISIBLE, frontier
from fti_assets.features.rows.visibility import check_columns
from fti_assets.stores.duckdb.nul_texts import comparison
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb

ROW = "__fti_row"
"""The spine's row number, from 1."""

KEY = "__fti_key"
"""The number of the spine's keys, from 1."""

_AT = "__fti_at"
_IN_MEMORY_BYTES = 256 * 2**20
_BATCH_ROWS = 2**17
# Types that come back from Arrow as they were: HUGEINT comes back as DECIMAL, ENUM and UUID as text.
_SCALAR = re.compile(r"BOOLEAN|U?(TINY|SMALL|BIG)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)|VARCHAR|DATE|TIMESTAMP")


@dataclass(frozen=True)
class Points:
    """What a group is joined to.

    Args:
        spine: the table of the spine, its rows numbered by ``ROW``.
        codes: the table of its distinct keys, numbered by ``KEY``: one number sorts faster than texts, or than several keys.
        prediction_time: the spine's column.
        with_nul: the spine's keys in which a text has a NUL.
    """

    spine: str
    codes: str
    prediction_time: str
    with_nul: frozenset[str] = frozenset()


def candidates(
    connection: duckdb.DuckDBPyConnection, points: Points, group: JoinedGroup, rows: duckdb.DuckDBPyRelation
) -> duckdb.DuckDBPyRelation:
    """The frontier of the rows that have the spine's keys and are within its reach, with ``KEY`` for their keys."""
    keys, columns = [key.group for key in group.keys], [column.column for column in group.columns]
    names = list(dict.fromkeys([*columns, *group.times.columns]))
    check_columns([*keys, *names], rows.columns, of=group.table_name)
    same = same_keys(group, points.with_nul, spine="c", rows="r")
    items = ", ".join([f"c.{KEY}", *(f"r.{quote(name)}" for name in names)])
    reach = _within_reach(connection, points, group)
    matches = connection.sql(
        f"SELECT {items} FROM {relation_name(rows)} r JOIN {points.codes} c ON {same} WHERE {reach}"
    )
    return frontier(
        connection, matches, [KEY], columns, group.times, of=group.table_name, is_validated=not group.external
    )


def same_keys(group: JoinedGroup, with_nul: Container[str], *, spine: str, rows: str) -> str:
    """The SQL of whether a row has the keys of a spine's row; both are aliases of tables.

    Args:
        with_nul: the spine's keys in which a text has a NUL, with which no stored table can be asked.
    """
    pairs = []
    for key in group.keys:
        value = comparison(f"{rows}.{quote(key.group)}", to=key.spine, with_nul=with_nul)
        pairs.append(f"{spine}.{quote(key.spine)} = {value}")
    return " AND ".join(pairs)


def _have_fixed_delay(group: JoinedGroup) -> bool:
    """Whether all rows are the frontier."""
    # Of an external group nobody has checked that no two rows are alike.
    return group.times.have_fixed_delay and not group.external


def by_duckdb(points: Points, group: JoinedGroup, frontier_rows: duckdb.DuckDBPyRelation) -> str:
    """The SQL of the join: the spine's row numbers with the group's features, in no order."""
    at = f"s.{_AT}"
    # DuckDB's sorted ASOF join matches a null time to the last row, so a null one is ruled out here.
    alive = f"{at} IS NOT NULL" if group.ttl_us is None else f"f.{EVENT} >= {at} - to_microseconds({group.ttl_us})"
    if group.ttl_us is not None and _have_fixed_delay(group):  # one time fewer to sort
        alive = f"f.{VISIBLE} >= {at} - to_microseconds({group.ttl_us - group.serving_delay_us})"
    features = "".join(
        f", CASE WHEN {alive} THEN f.{quote(one.column)} END AS {quote(one.feature)}" for one in group.columns
    )
    return (
        f"SELECT s.{ROW}{features} FROM ({_number_points(points, group, 'LEFT JOIN')}) s "
        f"ASOF LEFT JOIN {relation_name(frontier_rows)} f ON s.{KEY} = f.{KEY} AND {at} >= f.{VISIBLE}"
    )


def in_memory(
    connection: duckdb.DuckDBPyConnection, points: Points, group: JoinedGroup, frontier_rows: duckdb.DuckDBPyRelation
) -> Any | None:
    """The join as an Arrow table in the spine's order, or None if it is too large or has types that Arrow may change."""
    import pyarrow

    columns = list(dict.fromkeys(column.column for column in group.columns))
    times = [VISIBLE] if group.ttl_us is None or _have_fixed_delay(group) else [VISIBLE, EVENT]
    wanted_rows = frontier_rows.project(", ".join(map(quote, [KEY, *times, *columns])))
    spine = connection.table(points.spine)
    at_type = str(spine.types[spine.columns.index(points.prediction_time)])
    total = spine.aggregate("count(*)").fetchall()[0][0]
    # Times with a zone or of another unit would have to be converted first, which DuckDB's own join does by itself.
    if at_type != "TIMESTAMP" or not all(_SCALAR.fullmatch(str(kind)) for kind in wanted_rows.types):
        return None
    if str(wanted_rows.types[1]) != "TIMESTAMP" or total * (len(columns) + 2) * 8 > _IN_MEMORY_BYTES:
        return None
    rows = _fetch(wanted_rows, _IN_MEMORY_BYTES)
    if rows is None or not _fits(rows, columns, total):
        return None
    # Inner: a row whose keys the group does not have, or without a time, has no winner whatever is sorted.
    keys_table = connection.sql(_number_points(points, group, "JOIN") + f" WHERE {_AT} IS NOT NULL").to_arrow_table()
    at = _microseconds(keys_table, _AT)
    winners = newest_before(keys_table[KEY].to_numpy(), at, rows[KEY].to_numpy(), _microseconds(rows, VISIBLE))
    if group.ttl_us is not None and len(rows):
        # With one fixed delay the event time is the visible time less that delay, so it need not be fetched.
        lasts = group.ttl_us - (group.serving_delay_us if times == [VISIBLE] else 0)
        winners[_microseconds(rows, times[-1])[winners] < at - lasts] = -1
    places = np.full(total, -1)
    places[keys_table[ROW].to_numpy().astype(np.int64) - 1] = winners
    features = rows.select(columns).take(pyarrow.array(places, mask=places < 0))
    # The types of the spine's own row numbers, so that the two sides join without a cast.
    numbers = pyarrow.array(np.arange(1, total + 1, dtype=np.uint32))
    return pyarrow.Table.from_arrays(
        [numbers, *(features[column.column] for column in group.columns)],
        [ROW, *(column.feature for column in group.columns)],
    )


def newest_before(keys: np.ndarray, times: np.ndarray, row_keys: np.ndarray, row_times: np.ndarray) -> np.ndarray:
    """The place of the row with an equal key and the greatest time at or before each time, or -1; of equal rows any one.

    Args:
        keys: ``(n,)`` uint32.
        times: ``(n,)`` int64.
        row_keys: ``(m,)`` uint32.
        row_times: ``(m,)`` int64.

    Returns:
        ``(n,)`` int64.

    Method: a key and a time become one number, so that one sort and one binary search find all. Where these numbers would be
    too large, the times' ranks stand for the times.
    """
    if not len(row_keys) or not len(keys):
        return np.full(len(keys), -1, dtype=np.int64)
    first, last = int(row_times.min()), int(row_times.max())
    width = last - first + 2
    # Key and time in one whole number of 64 bits, so that one search answers for all keys; else times are replaced by
    # ranks.
    if (int(max(keys.max(), row_keys.max())) + 1) * width < 2**63:
        row_ranks = row_times - first + 1
        ranks = np.where(times < first, 0, np.clip(times, first, last) - first + 1)
    else:
        distinct, inverse = np.unique(row_times, return_inverse=True)
        row_ranks = inverse.astype(np.int64) + 1
        ranks = np.searchsorted(distinct, times, side="right").astype(np.int64)
        width = len(distinct) + 1
    row_numbers = row_keys.astype(np.int64) * width + row_ranks
    order = np.argsort(row_numbers)
    numbers = keys.astype(np.int64) * width + ranks
    ascending = np.argsort(numbers)  # a search for rising numbers stays in the cache
    before = np.empty(len(keys), dtype=np.int64)
    before[ascending] = np.searchsorted(row_numbers[order], numbers[ascending], side="right") - 1
    place = order[np.maximum(before, 0)]
    place[(before < 0) | (row_keys[place] != keys)] = -1  # the number before may be of a smaller key
    return place


def _number_points(points: Points, group: JoinedGroup, join: str) -> str:
    equal = " AND ".join(f"s.{quote(key.spine)} = c.{quote(key.spine)}" for key in group.keys)
    at = f"s.{quote(points.prediction_time)} AS {_AT}"
    return f"SELECT s.{ROW}, c.{KEY}, {at} FROM {points.spine} s {join} {points.codes} c ON {equal}"


def _fetch(relation: duckdb.DuckDBPyRelation, limit: int) -> Any | None:
    """All rows as an Arrow table, or None as soon as they are larger than a number of bytes."""
    import pyarrow

    batches, size = [], 0
    with relation.to_arrow_reader(_BATCH_ROWS) as reader:
        for batch in reader:
            batches.append(batch)
            if (size := size + batch.nbytes) > limit:
                return None
        return pyarrow.Table.from_batches(batches, reader.schema)


def _fits(rows: Any, columns: Sequence[str], total: int) -> bool:
    """Whether the texts that may be repeated for each of the spine's rows are small enough."""
    import pyarrow
    import pyarrow.compute

    texts = [rows[column] for column in columns if pyarrow.types.is_string(rows[column].type)]
    longest = sum(pyarrow.compute.max(pyarrow.compute.binary_length(text)).as_py() or 0 for text in texts)
    return bool(longest * total <= _IN_MEMORY_BYTES)


def _microseconds(table: Any, column: str) -> np.ndarray:
    return np.asarray(table[column].to_numpy().astype("datetime64[us]").view(np.int64))


def _within_reach(connection: duckdb.DuckDBPyConnection, points: Points, group: JoinedGroup) -> str:
    """A condition on a group's rows: not visible after the last prediction time, not outlived before the first.

    It compares with constants, so that files and row groups beyond them are not read. Each row that it rules out is without
    effect: what one outlived row overtakes is outlived, too.
    """
    at = quote(points.prediction_time)
    first, last, kind = connection.execute(
        f"SELECT min({at})::VARCHAR, max({at})::VARCHAR, any_value(typeof({at})) FROM {points.spine}"
    ).fetchall()[0]
    if last is None:
        return "false"
    event = f"r.{quote(str(group.event_time))}"
    conditions = [f"{event} <= {literal(last)}::{kind}"]
    if group.available_at is not None:
        conditions.append(f"r.{quote(group.available_at)} <= {literal(last)}::{kind}")
    if group.ttl_us is not None:
        conditions.append(f"{event} >= {literal(first)}::{kind} - to_microseconds({group.ttl_us})")
    return " AND ".join(conditions)
