"""A group's rows as the online store holds them, packed into blobs column by column, and what it answers at an instant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fti_assets.core.manifest import Column, JoinedGroup, JoinedKey
from fti_assets.core.sql import quote, timestamp
from fti_assets.core.types import SIDES, ColumnType
from fti_assets.core.types.vectors import vectors
from fti_assets.errors import DataError, NotMaterializedError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.point_in_time.frontier import EVENT, VISIBLE, frontier
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.online.about import WINDOWS_FORMAT
from fti_assets.stores.online.blobs import FORMAT, BlobFormat, Blobs
from fti_assets.stores.online.store import Schema

_BATCH_ROWS = 100_000
_KEY, _TEXTS = "__fti_key", "__fti_texts"


def online_schema(whole: JoinedGroup, *, as_json: tuple[str, ...] = ()) -> Schema:
    """The types of a group's namespace, of which some texts are JSON."""
    return Schema(
        tuple(key.type for key in whole.keys),
        tuple(Column(column.column, column.type) for column in whole.columns),
        event_time=whole.event_time is not None,
        format=FORMAT if whole.windows is None else WINDOWS_FORMAT,
        as_json=as_json,
        windows=whole.windows,
        ttl_us=whole.ttl_us,
    )


def winners_since(
    connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, whole: JoinedGroup, since_us: int
) -> duckdb.DuckDBPyRelation:
    """The frontier's rows that win at ``since_us`` or later: those that become visible after it, and the one before them."""
    keys, columns = ", ".join(quote(key.group) for key in whole.keys), [column.column for column in whole.columns]
    every = relation_name(
        frontier(
            connection,
            rows,
            [key.group for key in whole.keys],
            columns,
            whole.times,
            of=whole.table_name,
            is_validated=not whole.external,
        )
    )
    return connection.sql(
        f"SELECT every.* FROM {every} every LEFT JOIN (SELECT {keys}, max({VISIBLE}) AS __fti_last FROM {every} "
        f"WHERE {VISIBLE} <= make_timestamp({since_us}) GROUP BY ALL) USING ({keys}) "
        f"WHERE __fti_last IS NULL OR {VISIBLE} >= __fti_last"
    )


def encoded_key(keys: Sequence[JoinedKey]) -> str:
    """The SQL of a key's bytes, those of ``stores.online_keys.key_encoder``."""
    if [key.type for key in keys] == ["text"]:
        return f"encode({quote(keys[0].group)})"
    return f"encode({' || '.join(_part(quote(key.group), key.type) for key in keys)})"


def _part(key: str, kind: ColumnType) -> str:
    if kind == "text":
        return f"strlen({key})::VARCHAR || ':' || {key}"
    number = f"epoch_us({key}::TIMESTAMP)" if kind == "timestamp" else f"{key}::TINYINT" if kind == "boolean" else key
    return f"{number}::VARCHAR || ';'"


def blobs_of(connection: duckdb.DuckDBPyConnection, versions: duckdb.DuckDBPyRelation, whole: JoinedGroup) -> Blobs:
    """Each key's versions as one blob, in the order of the encoded keys.

    Args:
        connection: the connection of ``versions``; it is not used otherwise before the last blob was taken.
        versions: rows of a lookup, or of a frontier; those with a null key are left out.
        whole: the join of the columns that are stored.

    Raises:
        DataError: two rows of one key have the same times, or a value does not fit its type.
    """
    has_times = whole.event_time is not None
    texts = [quote(column.column) for column in whole.columns if column.type == "text"]
    items = [
        f"{encoded_key(whole.keys)} AS {_KEY}",
        *([f"epoch_us({VISIBLE}) AS {VISIBLE}", f"epoch_us({EVENT}) AS {EVENT}"] if has_times else []),
        *([f"concat({', '.join(texts)}) AS {_TEXTS}"] if texts else []),
        *(f"{_value(quote(column.column), column.type)} AS c{i}" for i, column in enumerate(whole.columns)),
    ]
    not_null = " AND ".join(f"{quote(key.group)} IS NOT NULL" for key in whole.keys)
    # Ordered by the bytes of the key, as the store keeps them, so that it can append instead of searching.
    order = f"{_KEY}, {VISIBLE}" if has_times else _KEY
    relation = connection.sql(
        f"SELECT {', '.join(items)} FROM {relation_name(versions)} WHERE {not_null} ORDER BY {order}"
    )
    try:
        for table in whole_keys(relation.to_arrow_reader(_BATCH_ROWS)):
            yield from _pack(table, whole)
    except duckdb.Error as error:
        raise DataError(f"the rows of {whole.table_name} cannot be loaded to the online store: {error}") from error


def _value(column: str, kind: ColumnType) -> str:
    match kind:
        case "timestamp":
            return f"epoch_us({column}::TIMESTAMP)"
        case "text":
            # In bytes, as the texts lie behind one another in a blob; length() counts characters.
            return f"strlen({column})"
        case "vector":
            return f"{column}[:]"  # of an array a list
        case "boolean":
            return f"{column}::UTINYINT"
    return f"{column}::{SIDES[kind].sql}"


def whole_keys(batches: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """The batches, cut so that all rows of a key are in one."""
    remainder: pa.Table | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        if remainder is not None:
            table = pa.concat_tables([remainder, table])
        # The last key of a batch may go on in the next: its rows wait there.
        last = int(starts_of(one_chunk(table, _KEY))[-1]) if table.num_rows else 0
        if last:
            yield table.slice(0, last)
        remainder = table.slice(last)
    if remainder is not None and remainder.num_rows:
        yield remainder


def _pack(table: pa.Table, whole: JoinedGroup) -> Blobs:
    keys = one_chunk(table, _KEY)
    starts = starts_of(keys)
    times = None
    if whole.event_time is not None:
        times = numpy_of(one_chunk(table, VISIBLE)), numpy_of(one_chunk(table, EVENT))
        _check_times(*times, starts, keys, whole.table_name)
    values, nulls = [], []
    behind = [text_bytes(one_chunk(table, _TEXTS))] if _TEXTS in table.column_names else []
    for i, of_column in enumerate(whole.columns):
        column = one_chunk(table, f"c{i}")
        nulls.append(column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None)
        if of_column.type == "vector":
            behind.append(vector_bytes(column))
            values.append(np.diff(behind[-1][1]))
            continue
        # Arrow gives floats for whole numbers with nulls; the nulls are kept beside and a zero stands in their place.
        values.append(numpy_of(column.fill_null(0) if column.null_count else column))
    schema = online_schema(whole)
    content, offsets = text_bytes(keys)
    bounds = offsets[starts].tolist(), offsets[starts + 1].tolist()
    yield from BlobFormat(schema.columns, event_time=schema.event_time).pack_columns(
        [content[start:end] for start, end in zip(*bounds, strict=True)],
        np.diff(starts, append=table.num_rows),
        times=times,
        values=values,
        nulls=nulls,
        texts=texts_by_row(behind) if behind else None,
    )


def starts_of(keys: pa.Array) -> np.ndarray:
    """Where each key's rows begin."""
    is_new = pc.not_equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.flatnonzero(is_new) + 1])


def _check_times(visible: np.ndarray, event: np.ndarray, starts: np.ndarray, keys: pa.Array, table: str) -> None:
    wrong = (np.diff(visible) <= 0) | (np.diff(event) < 0)
    # Between the last row of a key and the first of the next one times may fall.
    wrong[starts[1:] - 1] = False
    if wrong.any():
        key = keys[int(np.flatnonzero(wrong)[0])].as_py().decode()
        raise DataError(f"key {key!r} of {table} has two rows that became visible at once: one would win by chance")


def one_chunk(table: pa.Table, name: str) -> pa.Array:
    chunks = table.column(name)
    return chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()


def numpy_of(column: pa.Array) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def text_bytes(column: pa.Array) -> tuple[bytes, np.ndarray]:
    """The bytes of a text or binary column behind one another, and where each begins and the last ends."""
    # Arrow's own buffers: text by text, each would be a Python object.
    _, offsets, content = column.buffers()
    wide = pa.types.is_large_binary(column.type) or pa.types.is_large_string(column.type)
    dtype = np.int64 if wide else np.int32
    bounds = np.frombuffer(offsets, dtype=dtype)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    first, last = int(bounds[0]), int(bounds[-1])
    return (b"" if content is None else content.slice(first, last - first).to_pybytes()), bounds - first


def vector_bytes(column: pa.Array) -> tuple[bytes, np.ndarray]:
    """The numbers of a list column as float32 behind one another, and where each row's begin and the last end, in bytes."""
    rows = vectors(column.to_numpy(zero_copy_only=False))
    lengths = [0 if row is None else 4 * len(row) for row in rows]
    content = b"".join([row.astype("<f4", copy=False).tobytes() for row in rows if row is not None])
    return content, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def texts_by_row(parts: Sequence[tuple[bytes, np.ndarray]]) -> tuple[bytes, np.ndarray]:
    """The bytes of several columns behind one another row by row, and the bounds of the rows."""
    if len(parts) == 1:
        return parts[0]
    bounds = [offsets.tolist() for _, offsets in parts]
    rows = range(len(bounds[0]) - 1)
    pieces = [
        content[of_part[row] : of_part[row + 1]]
        for row in rows
        for (content, _), of_part in zip(parts, bounds, strict=True)
    ]
    return b"".join(pieces), np.sum([offsets for _, offsets in parts], axis=0)


def visible_at(
    connection: duckdb.DuckDBPyConnection, group: FeatureGroup, rows: duckdb.DuckDBPyRelation, at: datetime
) -> duckdb.DuckDBPyRelation:
    """The one row a key that a request at an instant would have been answered with, its times included.

    Among the rows visible at or before ``at`` the one with the latest event time wins; one from before ``at - ttl`` is no
    answer. All rows of a group without an event time, which are always visible.

    Args:
        connection: the connection that ``rows`` belongs to.
        group: the group, for its keys, times and ttl.
        rows: the group's rows as they are stored.
        at: naive UTC.

    Raises:
        NotMaterializedError: no row was visible yet.
    """
    if group.event_time is None:
        return rows
    times = group.times
    every = relation_name(
        frontier(
            connection, rows, group.keys, rows.columns, times, of=group.table_name, is_validated=group.source is None
        )
    )
    first = connection.sql(f"SELECT min({VISIBLE}) FROM {every}").fetchall()[0][0]
    if first is None or at < first:
        message = "it has no rows" if first is None else f"its first became visible at {first}"
        raise NotMaterializedError(f"{group.table_name} had no row that was visible at {at}: {message}")
    partition = ", ".join(map(quote, group.keys))
    alive = "" if times.ttl_us is None else f" WHERE {EVENT} >= {timestamp(at)} - to_microseconds({times.ttl_us})"
    return connection.sql(
        f"SELECT {', '.join(map(quote, rows.columns))} FROM (FROM {every} WHERE {VISIBLE} <= {timestamp(at)} "
        f"QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {VISIBLE} DESC) = 1){alive}"
    )
