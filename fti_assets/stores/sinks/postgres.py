"""A table in Postgres."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from fti_assets.core.addresses import scrub
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.extras import named_extras
from fti_assets.core.names import PARTITION, TableName
from fti_assets.core.sql import literal, quote
from fti_assets.errors import DeclarationError, SchemaChangedError, StoreError
from fti_assets.stores.duckdb.json_text import json_text
from fti_assets.stores.duckdb.postgres_address import PostgresAddress, database_in_words, postgres_address
from fti_assets.stores.lake.reader import LakeReader
from fti_assets.stores.sinks.sink import Sink, StoredPartition
from fti_assets.stores.temporary_folders import temporary_folder

if TYPE_CHECKING:
    import psycopg

_WHAT = "PostgresSink"
_BATCH_ROWS = 50_000
_TYPES = {
    "BOOLEAN": "boolean", "TINYINT": "smallint", "UTINYINT": "smallint", "SMALLINT": "smallint", "USMALLINT": "integer",
    "INTEGER": "integer", "UINTEGER": "bigint", "BIGINT": "bigint", "FLOAT": "real", "DOUBLE": "double precision",
    "DATE": "date", "TIMESTAMP": "timestamp without time zone",
}  # fmt: skip
"""Postgres' own names of the types, as it tells them of a table."""


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class PostgresSink(Sink):
    """Answers as rows of a Postgres table, which is created. A run replaces exactly the rows of its partitions, each in one
    transaction.

    The table has the columns of the answers and ``_partition``. Times are UTC, without a zone; lists, and probabilities by class, are
    ``jsonb``.

    Args:
        dsn: ``dg.EnvVar`` of a connection string, or the string itself; the password never leaves memory.
        table: its name, with its schema or in ``public``; by default the name of the predictions' table.

    Raises:
        DeclarationError: ``table`` is not a name, or a schema's and a name.

    >>> PostgresSink(dsn="postgresql://ann:pw@db/shop", table="serving.scores").place
    "Postgres table serving.scores in 'user=ann dbname=shop host=db'"
    """

    dsn: str = field(repr=False)
    table: str | None = None

    def __post_init__(self) -> None:
        if self.table is not None and (len(self.table.split(".")) > 2 or not all(self.table.split("."))):
            raise DeclarationError(
                f"PostgresSink has table={self.table!r}: write its name, or its schema and name, as in 'public.scores'"
            )

    @property
    def place(self) -> str:
        return f"Postgres table{'' if self.table is None else f' {self.table}'} in {database_in_words(self.dsn, what=_WHAT)}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return self._address.secrets

    def write(self, partition: StoredPartition) -> None:
        """Replace the partition's rows.

        Raises:
            SchemaChangedError: the table has other columns or types.
            StoreError: Postgres cannot be reached, or refuses the rows; the old ones are still there.
        """
        with named_extras("a Postgres sink"):
            import psycopg
        schema, name = self._names(partition.table)
        table = quote(schema, name)
        address = self._address
        try:
            with psycopg.connect(address.text, password=address.password) as connection, connection.cursor() as cursor:
                # One writer at a time, and what the lake has is read by whoever holds the lock.
                cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"fti_assets {schema}.{name}"])
                rows = partition.rows()
                kinds = dict(zip(rows.columns, map(str, rows.types), strict=True))
                columns = {**{column: postgres_type(kind) for column, kind in kinds.items()}, PARTITION: "text"}
                _make(cursor, schema, name, columns)
                cursor.execute(f"DELETE FROM {table} WHERE {quote(PARTITION)} = %s".encode(), [partition.key])
                column_list = ", ".join(map(quote, columns))
                with cursor.copy(f"COPY {table} ({column_list}) FROM STDIN (FORMAT csv)".encode()) as copy:
                    for lines in _csv(partition, kinds):
                        copy.write(lines)
        except psycopg.Error as error:
            # Not chained: libpq may repeat what it was given.
            raise StoreError(scrub(str(error).strip() or type(error).__name__, self.secrets)) from None

    def holding(self, lake: LakeReader, table: TableName, predicate: str, columns: Mapping[str, str]) -> dict[str, int]:
        """How many rows of each partition a predicate finds: the columns that it names are read, and compared as in the lake.

        Raises:
            StoreError: Postgres cannot be reached, or its table lacks a column.
        """
        with named_extras("a Postgres sink"):
            import psycopg
        schema, name = self._names(table)
        address = self._address
        types = {**columns, PARTITION: "VARCHAR"}
        column_list = ", ".join(map(quote, types))
        try:
            with (
                temporary_folder("fti_sink_") as folder,
                psycopg.connect(address.text, password=address.password) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute("SELECT to_regclass(%s)", [quote(schema, name)])
                if cursor.fetchall() == [(None,)]:
                    return {}
                file = folder / "rows.csv"
                query = f"COPY (SELECT {column_list} FROM {quote(schema, name)}) TO STDOUT (FORMAT csv)"
                with file.open("wb") as lines, cursor.copy(query.encode()) as copy:
                    for part in copy:
                        lines.write(part)
                rows = lake.connection.execute(
                    f"SELECT {quote(PARTITION)}, count(*) FROM read_csv({literal(str(file))}, header = false, allow_quoted_nulls = false, "
                    f"delim = ',', quote = '\"', escape = '\"', columns = {{{_struct(types)}}}) WHERE {predicate} GROUP BY 1"
                ).fetchall()
                return {str(partition): int(number) for partition, number in rows}
        except psycopg.Error as error:
            raise StoreError(scrub(str(error).strip() or type(error).__name__, self.secrets)) from None

    def _names(self, table: TableName) -> tuple[str, str]:
        names = (self.table or table.name).split(".")
        return (names[0], names[1]) if len(names) == 2 else ("public", names[0])

    @property
    def _address(self) -> PostgresAddress:
        return postgres_address(self.dsn, what=_WHAT)


def _struct(types: Mapping[str, str]) -> str:
    return ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items())


def postgres_type(sql_type: str) -> str:
    """What a DuckDB type is in Postgres.

    >>> postgres_type("DOUBLE"), postgres_type("DECIMAL(18,3)"), postgres_type("BIGINT[]")
    ('double precision', 'numeric(18,3)', 'jsonb')
    """
    if sql_type in _TYPES:
        return _TYPES[sql_type]
    if re.fullmatch(r"DECIMAL\(\d+,\d+\)", sql_type):
        return sql_type.replace("DECIMAL", "numeric")
    if sql_type in ("UBIGINT", "HUGEINT", "UHUGEINT"):
        return "numeric(39,0)"
    return "jsonb" if sql_type.endswith("]") or sql_type.startswith(("STRUCT(", "MAP(")) else "text"


def _make(cursor: psycopg.Cursor[Any], schema: str, name: str, columns: Mapping[str, str]) -> None:
    """Make the table, or see that it has these columns."""
    query = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 "
        "AND NOT attisdropped"
    )
    cursor.execute(query, [quote(schema, name)])
    types = dict(cursor.fetchall())
    if not types:
        definitions = ", ".join(f"{quote(column)} {kind}" for column, kind in columns.items())
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}".encode())
        cursor.execute(f"CREATE TABLE {quote(schema, name)} ({definitions})".encode())
        cursor.execute(f"CREATE INDEX ON {quote(schema, name)} ({quote(PARTITION)})".encode())
        return
    other = [f"{column} {kind}" for column, kind in columns.items() if types.get(column) != kind]
    other += [f"no {column}" for column in types if column not in columns]
    if other:
        raise SchemaChangedError(
            f"{schema}.{name} has the columns {', '.join(f'{column} {kind}' for column, kind in types.items())}, where "
            f"{', '.join(other)} is written: give the sink another table, or drop that one"
        )


def _csv(partition: StoredPartition, kinds: Mapping[str, str]) -> Iterator[bytes]:
    """The rows as lines of CSV, some at a time: empty for a null, quoted for a text."""
    import pyarrow.csv

    texts = {column: _text(column, kind) for column, kind in kinds.items()}
    items = [f"{sql} AS {quote(column)}" for column, sql in texts.items()]
    rows = partition.rows().project(", ".join([*items, f"{literal(partition.key)} AS {quote(PARTITION)}"]))
    options = pyarrow.csv.WriteOptions(include_header=False)
    with rows.to_arrow_reader(_BATCH_ROWS) as reader:
        for batch in reader:
            lines = BytesIO()
            pyarrow.csv.write_csv(batch, lines, options)
            yield lines.getvalue()


def _text(column: str, kind: str) -> str:
    if postgres_type(kind) == "jsonb":
        return json_text(column, kind)
    return quote(column) if kind in _TYPES or kind.startswith("DECIMAL(") else f"{quote(column)}::VARCHAR"
