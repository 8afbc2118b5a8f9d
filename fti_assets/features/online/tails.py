"""Windows at the time of a request as the online store holds them: made of the source's rows, and brought on by new ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from fti_assets.core.manifest import JoinedGroup, RequestWindows, WindowSource
from fti_assets.core.manifest.windows import far_end
from fti_assets.core.sql import quote, timestamp
from fti_assets.core.times import from_microseconds, microseconds
from fti_assets.core.types import SIDES, ColumnType, type_of_sql
from fti_assets.errors import DataError, DeclarationError
from fti_assets.features.online.keyed import places_of_keys
from fti_assets.features.online.rows import encoded_key, numpy_of, one_chunk, starts_of, whole_keys
from fti_assets.features.rows.visibility import available_sql
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.online.blobs import Blobs
from fti_assets.stores.online.keys import key_encoder
from fti_assets.stores.online.tails.layout import TailLayout
from fti_assets.stores.online.tails.occurrences import Rows
from fti_assets.stores.online.tails.tails import TailFormat
from fti_assets.stores.online.tails.values import array_of

_BATCH_ROWS = 100_000
_DECIMAL = re.compile(r"DECIMAL\((\d+),\d+\)")
_EXACT_DIGITS = 15
"""Decimals of so many digits are each a float of their own."""
_KEY, _VISIBLE, _EVENT, _AVAILABLE = "__fti_key", "__fti_visible", "__fti_event", "__fti_available"


def with_sources(windows: RequestWindows, sql_types: Mapping[str, str]) -> RequestWindows:
    """Windows that say the types of the aggregated columns, by DuckDB's types.

    Raises:
        DeclarationError: the online store could not tell two values of a column apart.
    """
    for one in windows.aggregates:
        digits = _DECIMAL.fullmatch(sql_types.get(one.column or "", ""))
        if (one.kind == "distinct_count" or one.distinct) and digits and int(digits[1]) > _EXACT_DIGITS:
            raise DeclarationError(
                f"{one.name!r} takes the different {one.column!r}, {digits[0]}, of which the online store could not tell some apart: "
                "store them as text or as whole numbers"
            )
    columns = dict.fromkeys(one.column for one in windows.aggregates if one.column is not None)
    types = {name: type_of_sql(sql_types[name]) for name in columns if name in sql_types}
    return replace(windows, sources=tuple(WindowSource(name, kind) for name, kind in types.items() if kind is not None))


def tails_of(
    connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, whole: JoinedGroup, since_us: int
) -> Blobs:
    """Each key's tail as one blob, in the order of the encoded keys: what instants from one on can need.

    Args:
        connection: the connection of ``rows``; it is not used otherwise before the last blob was taken.
        rows: rows of the source; those with a null key or time are left out.
        whole: the join, whose windows name the types of their sources.
        since_us: the earliest instant that is to be answered.

    Raises:
        DataError: a value does not fit its type.
    """
    assert whole.windows is not None
    tails = TailFormat(TailLayout(whole.windows))
    event, available = quote(str(whole.event_time)), available_sql(whole.times)
    items = [
        f"{encoded_key(whole.keys)} AS {_KEY}",
        f"epoch_us(greatest({event}, {available})) AS {_VISIBLE}",
        f"epoch_us({event}) AS {_EVENT}",
        f"epoch_us({available}) AS {_AVAILABLE}",
        *(f"{_value(quote(name), tails.layout.types[name])} AS c{i}" for i, name in enumerate(tails.layout.columns)),
    ]
    # Rows that no window of an instant from then on reaches.
    out = far_end(since_us, whole.windows.longest.us, whole.windows.every_us)
    conditions = [f"{quote(key.group)} IS NOT NULL" for key in whole.keys]
    conditions += [
        f"greatest({event}, {available}) > {_timestamp(out)}",
        f"{event} IS NOT NULL",
        f"{available} IS NOT NULL",
    ]
    relation = connection.sql(
        f"SELECT {', '.join(items)} FROM {relation_name(rows)} WHERE {' AND '.join(conditions)} ORDER BY {_KEY}, {_VISIBLE}"
    )
    try:
        for table in whole_keys(relation.to_arrow_reader(_BATCH_ROWS)):
            yield from tails.pack(tails.since(tails.of_rows(_rows(table, tails.layout)), since_us))
    except duckdb.Error as error:
        raise DataError(f"the rows of {whole.table_name} cannot be loaded to the online store: {error}") from error


class TailMerge:
    """Brings the tails of a few keys on by new rows of the source: what a load of all their rows would write.

    A streaming service holds one for each group of windows over its own group, and for a micro-batch, within the writer's lock of the
    windows' namespace and in the transaction in which it notes the position::

        merge = TailMerge(joined_whole(windows, types))          # types: the DuckDB types of the source's columns
        by_key = merge.rows_by_key(rows)                         # rows: the source's, as an Arrow table
        blobs = merge.blobs(by_key, writer.blobs(list(by_key)), since_us)
        writer.apply(iter(blobs.updates), blobs.removals, ...)

    ``since_us`` is the earliest instant that the namespace is to answer, ``microseconds(clock.now() - windows.online_history)``,
    never below the ``answers_from_us`` that it has. Each row counts once for each time that it is put in: rows that the namespace
    holds already must not be given again, which the position tells. A row that is gone or changed needs ``load_namespace``.

    Args:
        whole: the join of all columns that the namespace holds, from ``joined_whole``.
    """

    def __init__(self, whole: JoinedGroup) -> None:
        assert whole.windows is not None
        self._whole = whole
        self._tails = TailFormat(TailLayout(whole.windows))
        self._keys = [key.group for key in whole.keys]
        self._encode = key_encoder(tuple(key.type for key in whole.keys), whole.table_name)

    def rows_by_key(self, rows: pa.Table) -> KeyedRows:
        """The rows of a batch by their encoded keys, in the order of the bytes of the keys; those with a null key or time are left out.

        Args:
            rows: with the source's keys and times, and the columns that are aggregated.
        """
        whole, layout = self._whole, self._tails.layout
        keys, places = places_of_keys(_dates_as_times(rows, self._keys), self._keys, self._encode)
        event, has_event = _times(rows, str(whole.event_time))
        if whole.available_at is None:
            available, has_available = event + whole.serving_delay_us, has_event
        else:
            available, has_available = _times(rows, whole.available_at)
        usable = np.flatnonzero((places >= 0) & has_event & has_available)
        visible = np.maximum(event, available)
        order = usable[np.lexsort((available[usable], event[usable], visible[usable], places[usable]))]
        present, starts = np.unique(places[order], return_index=True)
        different = [keys[place] for place in present.tolist()]
        columns = {}
        for name in layout.columns:
            values, nulls = _column(rows, name, layout.types[name])
            columns[name] = values[order], nulls[order]
        visible, of_event, of_available = visible[order], event[order], available[order]
        return KeyedRows(Rows(different, starts, visible, of_event, of_available, columns))

    def blobs(self, rows: KeyedRows, old: Mapping[bytes, bytes], since_us: int) -> MergedTails:
        """The new blobs of the keys of some rows.

        Args:
            rows: the new rows, as ``rows_by_key`` gives them.
            old: the blobs of those keys that have one.
            since_us: the earliest instant that is to be answered.

        Raises:
            ValueError: an old blob is not what was written.
            DataError: a value does not fit its type.
        """
        tails = self._tails
        together = tails.together([tails.unpack(old), tails.of_rows(rows.rows)])
        updates = list(tails.pack(tails.since(together, since_us)))
        written = {key for key, _ in updates}
        return MergedTails(updates, [key for key in rows if key not in written])


class KeyedRows(Sequence[bytes]):
    """New rows of some keys; a sequence of the encoded keys."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows.keys)

    def __getitem__(self, place: Any) -> Any:
        return self.rows.keys[place]


class MergedTails:
    """What to write: blobs by key, in order, and the keys that have nothing left that any window reaches."""

    def __init__(self, updates: Sequence[tuple[bytes, bytes]], removals: Sequence[bytes]) -> None:
        self.updates, self.removals = updates, removals

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.updates)


def _timestamp(us: int) -> str:
    return timestamp(from_microseconds(max(us, microseconds(datetime.min))))


def _value(column: str, kind: ColumnType) -> str:
    return f"epoch_us({column}::TIMESTAMP)" if kind == "timestamp" else f"{column}::{SIDES[kind].sql}"


def _rows(table: pa.Table, layout: TailLayout) -> Rows:
    keys = one_chunk(table, _KEY)
    starts = starts_of(keys)
    columns = {}
    for i, name in enumerate(layout.columns):
        column, kind = one_chunk(table, f"c{i}"), layout.types[name]
        nulls = column.is_null().to_numpy(zero_copy_only=False)
        if column.null_count:
            column = column.fill_null("" if kind == "text" else False if kind == "boolean" else 0)
        columns[name] = array_of(numpy_of(column), kind), nulls
    visible, event, available = (numpy_of(one_chunk(table, name)) for name in (_VISIBLE, _EVENT, _AVAILABLE))
    different = [bytes(keys[int(start)].as_py()) for start in starts]
    return Rows(different, starts, visible, event, available, columns)


def _column(rows: pa.Table, name: str, kind: ColumnType) -> tuple[np.ndarray, np.ndarray]:
    """A column's values, times as microseconds, and where it is null."""
    column = one_chunk(rows, name)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    nulls = numpy_of(column.is_null())
    if column.null_count:
        column = column.fill_null("" if kind == "text" else False if pa.types.is_boolean(column.type) else 0)
    return array_of(numpy_of(column), kind), nulls


def _times(rows: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A column of times in microseconds since 1970, and where it is not null."""
    values, nulls = _column(rows, name, "timestamp")
    return values, ~nulls


def _dates_as_times(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    for name in names:
        if pa.types.is_date(rows.column(name).type):
            place = rows.column_names.index(name)
            rows = rows.set_column(place, name, rows.column(name).cast(pa.timestamp("us")))
    return rows
