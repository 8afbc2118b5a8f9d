"""A table that another system computes, read where it lies: what each kind of one can do, and how it is asked.

Nothing of it is copied. A version says what a table held when it was looked at; going back to it is not possible.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import duckdb

from fti_assets.core.addresses import scrub
from fti_assets.core.manifest.windows import BEYOND_64_BITS
from fti_assets.core.sql import literal, names_alike
from fti_assets.errors import DataError, StoreError
from fti_assets.stores.duckdb.content_hash import content_sums, data_version, with_content
from fti_assets.stores.duckdb.extensions import connect_in_memory
from fti_assets.stores.sources.damage import damage_of_source

_VERSION = "1"
_INVENTED = re.compile(r"_\d")
"""What names have that DuckDB makes up, such as ``a_1`` for the second of ``A`` and ``a``; others may have it as well."""


class ExternalSource(Protocol):
    """Where a table lies that another system computes."""

    @property
    def place(self) -> str:
        """The source in words, without credentials: ``Parquet files s3://bucket/weather/*.parquet``."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may repeat."""

    def scan(self, connection: duckdb.DuckDBPyConnection) -> str:
        """Make the table known to a connection, and give the SQL that follows FROM."""

    def parts(self, connection: duckdb.DuckDBPyConnection) -> Iterable[tuple[str, str]]:
        """The files that it lies in, each with the SQL of its rows that follows FROM; none of a server's table."""

    def column_names(self, connection: duckdb.DuckDBPyConnection) -> Iterable[tuple[str, Sequence[str]]]:
        """The names of columns as they are written there, and those within each struct, with the place that has them."""

    def measure(self, connection: duckdb.DuckDBPyConnection, expressions: str) -> tuple[Any, ...]:
        """One row of aggregates over the table, computed as near to it as can be."""

    def version(self, connection: duckdb.DuckDBPyConnection) -> str:
        """The data version of the table as it is now."""


@contextmanager
def source_connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of no lake for a block: UTC, no access to Python variables."""
    connection = connect_in_memory()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET enable_progress_bar = false")
        with without_secrets(), value_errors():
            yield connection
    finally:
        connection.close()


NOT_AS_DECLARED = "cannot be read as it is declared: "
"""What a query says of a source's value that is not of its declared type, after the group's table."""


@contextmanager
def value_errors() -> Iterator[None]:
    """Give a value that a query refuses an error of the library's own: a source's that is not of its declared type, or a sum of whole
    numbers beyond 64 bits.

    Raises:
        DataError: the block met such a value.
    """
    try:
        yield
    except duckdb.InvalidInputException as error:
        if NOT_AS_DECLARED not in str(error) and BEYOND_64_BITS not in str(error):
            raise
        raise DataError(str(error).removeprefix("Invalid Input Error: ")) from None


@contextmanager
def without_secrets() -> Iterator[None]:
    """Hide the passwords and signatures of addresses that DuckDB repeats in an error.

    Raises:
        StoreError: the block raised an error of DuckDB's with one.
    """
    try:
        yield
    except duckdb.Error as error:
        message = scrub(str(error))
        if message == str(error):
            raise
        raise StoreError(
            f"a source cannot be read: {message}. Check that it is there and that it may be read"
        ) from None


def column_types(connection: duckdb.DuckDBPyConnection, source: ExternalSource) -> dict[str, str]:
    """Column names and DuckDB types of a source, in its order.

    Raises:
        StoreError: it cannot be read, or two of its names differ in capitals alone.
    """
    types = {row[0]: row[1] for row in rows_of(connection, f"DESCRIBE FROM {source.scan(connection)}", source)}
    if any(_INVENTED.search(text) for item in types.items() for text in item):
        for place, names in source.column_names(connection):
            if alike := names_alike(names):
                raise StoreError(
                    f"{place} has columns {alike[0]!r} and {alike[1]!r}, which SQL takes for one, so that one of them would be read under "
                    "a name that is not its own: give it another name there"
                )
    return types


def content_version(connection: duckdb.DuckDBPyConnection, scan: str, source: ExternalSource) -> str:
    """A hash of every row and of the columns, that does not depend on the rows' order."""
    types = {row[0]: row[1] for row in rows_of(connection, f"DESCRIBE FROM {scan}", source)}
    sums = one_row(connection, f"SELECT {content_sums()} FROM {with_content(types, scan)}", source)
    return data_version(types, list(map(int, sums)))


def digest(parts: Any) -> str:
    return f"{_VERSION}.{hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:24]}"


def one_row(connection: duckdb.DuckDBPyConnection, sql: str, source: ExternalSource) -> tuple[Any, ...]:
    row: tuple[Any, ...] = rows_of(connection, sql, source)[0]
    return row


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str, source: ExternalSource) -> list[tuple[Any, ...]]:
    with read_errors(source):
        rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
    return rows


def files_of(connection: duckdb.DuckDBPyConnection, pattern: str, source: ExternalSource, limit: str = "") -> list[str]:
    """The files of a source that fit a pattern of DuckDB's."""
    with read_errors(source, search=False):  # a list of files opens none of them
        return [str(row[0]) for row in connection.execute(f"FROM glob({literal(pattern)}) {limit}").fetchall()]


@contextmanager
def read_errors(source: ExternalSource, *, search: bool = True) -> Iterator[None]:
    """Give DuckDB's errors of a block the source's name, and that of its damaged file, for which the source is searched.

    Raises:
        DamagedError: a file of it is damaged.
        StoreError: the block could not read it.
    """
    try:
        yield
    except duckdb.Error as error:
        if search and (damage := damage_of_source(source, error)) is not None:
            raise damage from None
        # Not chained: DuckDB repeats the address that it was given.
        raise StoreError(
            f"{source.place} cannot be read: {scrub(str(error), source.secrets)}. Check that it is there and that it may be read"
        ) from None
