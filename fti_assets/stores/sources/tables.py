"""Tables that another system keeps in Postgres, or in a DuckDB file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.sql import literal, quote
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.stores.duckdb.postgres_address import PostgresAddress, database_in_words, postgres_address
from fti_assets.stores.files import readable
from fti_assets.stores.sources.source import content_version, digest, one_row, rows_of


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class PostgresTable:
    """A table or view in Postgres, attached read-only. Only the columns that are asked for come over the wire.

    Args:
        dsn: ``dg.EnvVar`` of a connection string, or the string itself; the password never leaves memory.
        table: its name, with its schema or that of ``public``.
        watermark: a column that grows with every change, such as ``updated_at``. The version is then its greatest value
            and the number of rows, computed in Postgres; by default it is a hash of every row, which reads the table.
    """

    dsn: str = field(repr=False)
    table: str
    watermark: str | None = None

    def __post_init__(self) -> None:
        _refuse_table(self.table, "a Postgres table")

    @property
    def place(self) -> str:
        table = f"Postgres table {self.table}"
        return f"{table} in {database_in_words(self.dsn, what=table)}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return self._address.secrets

    def scan(self, connection: duckdb.DuckDBPyConnection) -> str:
        self._address.attach(connection, self._alias)
        return quote(self._alias, *self._names)

    def parts(self, connection: duckdb.DuckDBPyConnection) -> Sequence[tuple[str, str]]:
        return ()

    def column_names(self, connection: duckdb.DuckDBPyConnection) -> Iterable[tuple[str, Sequence[str]]]:
        self.scan(connection)
        table = literal(quote(*self._names))
        columns = f"FROM pg_attribute WHERE attrelid = {table}::regclass AND attnum > 0 AND NOT attisdropped"
        inner = f"SELECT attname::text {columns} ORDER BY attnum"
        rows = rows_of(connection, f"FROM postgres_query({literal(self._alias)}, {literal(inner)})", self)
        yield self.place, [name for (name,) in rows]

    def measure(self, connection: duckdb.DuckDBPyConnection, expressions: str) -> tuple[Any, ...]:
        self.scan(connection)
        inner = f"SELECT {expressions} FROM {quote(*self._names)}"
        return one_row(connection, f"FROM postgres_query({literal(self._alias)}, {literal(inner)})", self)

    def version(self, connection: duckdb.DuckDBPyConnection) -> str:
        if self.watermark is None:
            return content_version(connection, self.scan(connection), self)
        greatest = f"count(*), max({quote(self.watermark)})::text"
        return digest([self.watermark, *self.measure(connection, greatest)])

    @property
    def _address(self) -> PostgresAddress:
        return postgres_address(self.dsn, what=f"Postgres table {self.table}")

    @property
    def _alias(self) -> str:
        return f"__fti_{hashlib.sha256(repr(self._address).encode()).hexdigest()[:12]}"

    @property
    def _names(self) -> list[str]:
        names = self.table.split(".")
        return names if len(names) == 2 else ["public", *names]


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class DuckDBTable:
    """A table or view in a DuckDB file, such as dbt-duckdb writes, attached read-only.

    Args:
        file: the DuckDB file.
        table: its name, with its schema or that of ``main``.
        watermark: a column that grows with every change. The version is then its greatest value and the number of rows;
            by default it is a hash of every row.
    """

    file: str | Path
    table: str
    watermark: str | None = None

    def __post_init__(self) -> None:
        _refuse_table(self.table, "a table of a DuckDB file")

    @property
    def place(self) -> str:
        return f"table {self.table} of the DuckDB file {self.file}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return ()

    def scan(self, connection: duckdb.DuckDBPyConnection) -> str:
        file = Path(self.file)
        with readable(file):
            exists = file.is_file()
        if not exists:
            raise StoreError(f"there is no DuckDB file {file} with the table {self.table}: run what writes it first")
        alias = f"__fti_{hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:12]}"
        try:
            connection.execute(f"ATTACH IF NOT EXISTS {literal(str(file))} AS {quote(alias)} (TYPE duckdb, READ_ONLY)")
        except duckdb.Error as error:
            raise StoreError(
                f"{self.place} cannot be read: {error}. A DuckDB file that another process is writing is locked: run again "
                "when it has ended"
            ) from error
        names = self.table.split(".")
        return quote(alias, *(names if len(names) == 2 else ["main", *names]))

    def parts(self, connection: duckdb.DuckDBPyConnection) -> Sequence[tuple[str, str]]:
        return [(str(self.file), self.scan(connection))]

    def column_names(self, connection: duckdb.DuckDBPyConnection) -> Sequence[tuple[str, Sequence[str]]]:
        return ()  # DuckDB itself makes no table with two such columns

    def measure(self, connection: duckdb.DuckDBPyConnection, expressions: str) -> tuple[Any, ...]:
        return one_row(connection, f"SELECT {expressions} FROM {self.scan(connection)}", self)

    def version(self, connection: duckdb.DuckDBPyConnection) -> str:
        if self.watermark is None:
            return content_version(connection, self.scan(connection), self)
        greatest = f"count(*), max({quote(self.watermark)})::VARCHAR"
        return digest([self.watermark, *self.measure(connection, greatest)])


def _refuse_table(table: str, what: str) -> None:
    if len(table.split(".")) > 2 or not all(table.split(".")):
        raise DeclarationError(
            f"{what} is called {table!r}: write its name, or its schema and name, as in 'public.weather'"
        )
