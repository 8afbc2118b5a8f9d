"""The rows that a run gives beside those that a stream gave: which are in one alone, and which have other values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from fti_assets.core.names import PARTITION
from fti_assets.core.sql import quote, temporary_name
from fti_assets.errors import excerpt
from fti_assets.stores.duckdb.content_hash import with_content

SAMPLE_ROWS = 20
_CONTENT = "__fti_content"
_KINDS = ("only in batch", "only in stream", "other values")


@dataclass(frozen=True)
class Differences:
    """How the rows of some partitions differ.

    Args:
        counts: of each partition that differs, how many rows are only in the batch, only in the stream, and in both with other values.
        sample: some of these rows, by their keys and times, of each kind by turns.
    """

    counts: Mapping[str, tuple[int, int, int]]
    sample: tuple[dict[str, Any], ...]

    @property
    def totals(self) -> tuple[int, int, int]:
        """The counts of all partitions."""
        one, two, three = (sum(counts[kind] for counts in self.counts.values()) for kind in range(3))
        return one, two, three


def differences(
    connection: duckdb.DuckDBPyConnection,
    batch: str,
    stream: str,
    types: Mapping[str, str],
    identity: Sequence[str],
    *,
    batch_counts: str = "true",
    stream_counts: str = "true",
) -> Differences:
    """Compare rows by their identity, and those that both have by what the content hash says of them.

    Args:
        connection: where both are.
        batch: the rows of the run with ``_partition``, as they stand behind FROM.
        stream: the rows of the stream, alike; a column that they lack is null.
        types: the DuckDB type of each column, without ``_partition``.
        identity: the columns that no two rows of either share.
        batch_counts: the SQL, over ``batch``, of whether a row that the stream lacks is a difference.
        stream_counts: the same, over ``stream``, of a row that the batch lacks.
    """
    table, execute = temporary_name("differences"), connection.execute
    keys = ", ".join(map(quote, identity))
    stream_types = dict(zip((it := connection.sql(f"FROM {stream}")).columns, map(str, it.types), strict=True))
    columns = [
        f"{quote(name)}::{kind} AS {quote(name)}" if name in stream_types else f"NULL::{kind} AS {quote(name)}"
        for name, kind in types.items()
    ]
    aligned = f"(SELECT {', '.join(columns)}, {PARTITION} FROM {stream})"

    def rows(of: str, counts: str) -> str:
        content = with_content(types, of, columns="*")
        return f"(SELECT {keys}, {PARTITION}, {_CONTENT}, ({counts}) AS __fti_counts FROM {content})"

    same = " AND ".join(f"b.{quote(name)} IS NOT DISTINCT FROM s.{quote(name)}" for name in identity)
    kind = f"CASE WHEN s.{_CONTENT} IS NULL THEN 0 WHEN b.{_CONTENT} IS NULL THEN 1 ELSE 2 END"
    both = ", ".join(
        f"CASE WHEN b.{_CONTENT} IS NULL THEN s.{quote(name)} ELSE b.{quote(name)} END AS {quote(name)}"
        for name in [*identity, PARTITION]
    )
    execute(
        f"CREATE TEMP TABLE {quote(table)} AS SELECT {both}, {kind} AS __fti_kind "
        f"FROM {rows(batch, batch_counts)} b FULL JOIN {rows(aligned, stream_counts)} s ON {same} "
        f"WHERE b.{_CONTENT} IS DISTINCT FROM s.{_CONTENT} "
        f"AND CASE WHEN s.{_CONTENT} IS NULL THEN b.__fti_counts WHEN b.{_CONTENT} IS NULL THEN s.__fti_counts ELSE true END"
    )
    try:
        counts: dict[str, list[int]] = {}
        for key, number, count in execute(
            f"SELECT {PARTITION}, __fti_kind, count(*) FROM {quote(table)} GROUP BY ALL ORDER BY ALL"
        ).fetchall():
            counts.setdefault(key, [0, 0, 0])[number] = count
        sample = _sample(connection, table, batch, aligned, types, identity) if counts else ()
    finally:
        execute(f"DROP TABLE {quote(table)}")
    return Differences({key: (one[0], one[1], one[2]) for key, one in counts.items()}, sample)


def _sample(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    batch: str,
    stream: str,
    types: Mapping[str, str],
    identity: Sequence[str],
) -> tuple[dict[str, Any], ...]:
    keys = ", ".join(map(quote, identity))
    chosen = (
        f"(SELECT *, row_number() OVER (PARTITION BY __fti_kind ORDER BY {keys}) AS __fti_turn FROM {quote(table)} "
        f"QUALIFY __fti_turn <= {SAMPLE_ROWS} ORDER BY __fti_turn, __fti_kind LIMIT {SAMPLE_ROWS})"
    )

    def same(alias: str) -> str:
        return " AND ".join(f"{alias}.{quote(name)} IS NOT DISTINCT FROM c.{quote(name)}" for name in identity)

    values = [name for name in types if name not in identity]
    pairs = "".join(f", b.{quote(name)}, s.{quote(name)}" for name in values)
    rows = connection.execute(
        f"SELECT c.__fti_kind, {', '.join(f'c.{quote(name)}' for name in identity)}{pairs} FROM {chosen} c "
        f"LEFT JOIN {batch} b ON {same('b')} LEFT JOIN {stream} s ON {same('s')} ORDER BY c.__fti_kind, c.__fti_turn"
    ).fetchall()
    records = []
    for number, *differing in rows:
        own, others = differing[: len(identity)], differing[len(identity) :]
        record = {"difference": _KINDS[number], "row": ", ".join(map(_term, identity, own))}
        changed = [
            f"{name} is {_text(one)} in batch and {_text(two)} in stream"
            for name, one, two in zip(values, others[::2], others[1::2], strict=True)
            if number == 2 and one != two and str(one) != str(two)
        ]
        records.append({**record, "values": "; ".join(changed)})
    return tuple(records)


def _term(name: str, value: Any) -> str:
    return f"{name} {_text(value)}"


def _text(value: Any) -> str:
    return str(value) if isinstance(value, datetime) else excerpt(value)
