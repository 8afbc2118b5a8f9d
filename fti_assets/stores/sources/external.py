"""Tables that another system computes, read where they lie: Parquet files, a Postgres table, a table in a DuckDB file.

Nothing of them is copied. A version says what a table held when it was looked at; going back to it is not possible.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import duckdb

from fti_assets.core.addresses import scrubbed, secrets_of, shown
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.sql import literal, quoted
from fti_assets.errors import DataError, DeclarationError, StoreError
from fti_assets.stores.duckdb.extensions import connect_in_memory, load_extension
from fti_assets.stores.duckdb.postgres_address import PostgresAddress, postgres_address
from fti_assets.stores.duckdb.s3_secret import read_s3
from fti_assets.stores.files import readable
from fti_assets.stores.duckdb.content_hash import content_sums, data_version
from fti_assets.stores.sources.delta_log import LOG, not_of_delta, without_wildcards

_VERSION = "1"
_BUCKETS = ("s3", "s3a", "gs", "r2")
_ANY_PARQUET = "*.[pP][aA][rR][qQ][uU][eE][tT]"


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

    def measured(self, connection: duckdb.DuckDBPyConnection, expressions: str) -> tuple[Any, ...]:
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
    """Give a source's value that is not of its declared type an error of the library's own.

    Raises:
        DataError: the block read such a value.
    """
    try:
        yield
    except duckdb.InvalidInputException as error:
        if NOT_AS_DECLARED not in str(error):
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
        message = scrubbed(str(error))
        if message == str(error):
            raise
        raise StoreError(
            f"a source cannot be read: {message}. Check that it is there and that it may be read"
        ) from None


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class ParquetFiles:
    """Parquet files in a folder or bucket. Their version is that of names, sizes, times of change and footers.

    Args:
        path: a file, a folder (all files below it whose names end with ``.parquet``, in small or capital letters), or a pattern
            with ``*``; a local path, ``s3://`` or ``https://``. A path that is there is that file or folder, whatever characters
            it has. Credentials for ``s3://`` come from the ``AWS_`` environment variables. What begins with ``_`` or ``.``, such
            as ``_temporary/`` and ``_delta_log/``, holds no rows and is left out, unless the path itself says so.
        hive_partitioning: whether ``name=value`` folders are columns.
    """

    path: str | Path
    hive_partitioning: bool = False

    def __post_init__(self) -> None:
        if urlsplit(str(self.path)).scheme in _BUCKETS and self.secrets:
            raise DeclarationError(
                f"Parquet files {shown(self.path)} have credentials in their path: leave them out, the AWS_ environment variables "
                "have them"
            )

    @property
    def pattern(self) -> str:
        """The files in words: a folder with all below it, or the path as it is."""
        text = str(self.path)
        if self._is_web or (not self._is_here(Path.is_dir) and ("*" in text or text.lower().endswith(".parquet"))):
            return text
        return f"{text.rstrip('/')}/**/*.parquet"

    @property
    def place(self) -> str:
        """Without a user and without the query, where a signed address has its signature."""
        return "Parquet files " + re.sub(r"//[^/@]*@", "//", shown(self.pattern))

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(secrets_of(self.path))

    def __repr__(self) -> str:
        path = shown(self.path) if isinstance(self.path, str) else self.path
        return f"ParquetFiles(path={path!r}, hive_partitioning={self.hive_partitioning!r})"

    def scan(self, connection: duckdb.DuckDBPyConnection) -> str:
        scheme = urlsplit(str(self.path)).scheme
        if scheme in _BUCKETS:
            read_s3(connection)
        elif self._is_web:
            load_extension(connection, "httpfs")
        hive = "true" if self.hive_partitioning else "false"
        return f"read_parquet({self._files(connection)}, hive_partitioning = {hive}, union_by_name = true)"

    def measured(self, connection: duckdb.DuckDBPyConnection, expressions: str) -> tuple[Any, ...]:
        return _one(connection, f"SELECT {expressions} FROM {self.scan(connection)}", self)

    def version(self, connection: duckdb.DuckDBPyConnection) -> str:
        self.scan(connection)
        files = self._files(connection)
        footers = _all(
            connection,
            "SELECT file_name::VARCHAR, count(*), sum(md5_number_lower(concat_ws('|', row_group_num_rows, path_in_schema, type, "
            f"stats_min_value, stats_max_value, stats_null_count, total_compressed_size))) FROM parquet_metadata({files}) "
            "GROUP BY 1 ORDER BY 1",
            self,
        )
        if self._is_local:
            with readable(Path(self.pattern)):
                changed = [(name, (stat := Path(name).stat()).st_size, stat.st_mtime_ns) for name, *_ in footers]
        else:
            changed = _all(
                connection,
                f"SELECT filename, size, last_modified::VARCHAR FROM read_blob({files}) ORDER BY 1",
                self,
            )
        return _digest([footers, changed])

    def _files(self, connection: duckdb.DuckDBPyConnection) -> str:
        """The files in SQL: what a pattern gives, without those that hold no rows.

        Raises:
            StoreError: there is none.
        """
        text = str(self.path)
        if self._is_web:
            return literal(text)
        if self._is_here(Path.is_file):
            return literal(without_wildcards(text))
        is_folder = self._is_folder(connection)
        if not is_folder and not any(sign in self.pattern for sign in "*?["):
            return literal(text)
        folder = f"{text.rstrip('/')}/" if is_folder else _spelled_folder(self.pattern)
        asked = f"{without_wildcards(folder)}**/{_ANY_PARQUET}" if is_folder else self.pattern
        there = [str(row[0]) for row in _all(connection, f"FROM glob({literal(asked)})", self)]
        hidden = [file for file in there if _is_hidden(self._below(folder, file), "" if is_folder else self.pattern)]
        self._refuse_tables(connection, folder)
        if len(hidden) == len(there):
            also = f", only {hidden[0]}, which is left out as what begins with _ or . is" if hidden else ""
            raise StoreError(
                f"{self.place} cannot be read: there are no such files{also}. Check that the path is right and that it may be read"
            )
        kept = sorted(set(there) - set(hidden))
        self._refuse_delta(connection, folder, kept)
        return f"[{', '.join(literal(without_wildcards(file)) for file in kept)}]"

    def _is_folder(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Whether the path names a folder; in a bucket, a name that may be a file's or a pattern's is looked for."""
        text = str(self.path)
        is_sure = not any(sign in text for sign in "*?[") and not text.lower().endswith(".parquet")
        if is_sure or self._is_here(Path.is_dir):
            return True
        if self._is_local or "*" in text:
            return False
        below = f"{without_wildcards(text.rstrip('/'))}/**/{_ANY_PARQUET}"
        return bool(_all(connection, f"FROM glob({literal(below)}) LIMIT 1", self))

    def _is_here(self, is_one: Callable[[Path], bool]) -> bool:
        """Whether the path itself is a file, or a folder, of this machine."""
        if not self._is_local:
            return False
        path = Path(re.sub(r"^file:(//)?", "", str(self.path)))
        with readable(path):
            return is_one(path)

    def _below(self, folder: str, file: str) -> str:
        """A file's path in a folder: DuckDB writes local ones without a doubled slash, or with ``./`` before."""
        if not self._is_local:
            return file.removeprefix(folder)
        return os.path.relpath(file, re.sub(r"^file:(//)?", "", folder) or ".")

    def _refuse_tables(self, connection: duckdb.DuckDBPyConnection, folder: str) -> None:
        """Refuse a table whose metadata alone says which files were deleted or replaced.

        Raises:
            StoreError: the folder, or the one around it, has such metadata, as with ``table/data/``.
        """
        before, data, _ = folder.rpartition("/data/")  # where Iceberg puts the files of a table
        for kind, table, marker in (
            ("an Iceberg table", folder, "metadata/*.metadata.json"),
            ("an Iceberg table", f"{before}/" if data else folder, "metadata/*.metadata.json"),
            ("a Hudi table", folder, ".hoodie/*"),
        ):
            found = _all(connection, f"FROM glob({literal(without_wildcards(table) + marker)}) LIMIT 1", self)
            if found:
                raise StoreError(
                    f"{self.place} cannot be read: {found[0][0]} says that it is {kind}, and files that it has deleted or replaced "
                    "would be rows. Read it with what knows the format and write plain Parquet"
                )

    def _refuse_delta(self, connection: duckdb.DuckDBPyConnection, folder: str, files: Sequence[str]) -> None:
        try:
            strange = not_of_delta(connection, folder, files)
        except (duckdb.Error, ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"{self.place} has a {LOG}/ that cannot be read: {scrubbed(str(error), self.secrets)}. Restore it, or name the files"
            ) from None
        if strange:
            raise StoreError(
                f"{self.place} cannot be read: it is a Delta table, and its log does not count {len(strange)} of the {len(files)} "
                f"files there, such as {strange[0]}, which were removed or never committed. Read it with what knows Delta and write "
                "plain Parquet, or have its VACUUM delete them"
            )

    @property
    def _is_web(self) -> bool:
        return urlsplit(str(self.path)).scheme in ("http", "https")

    @property
    def _is_local(self) -> bool:
        return urlsplit(str(self.path)).scheme in ("", "file") or Path(str(self.path)).is_absolute()


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

    dsn: Any = field(repr=False)
    table: str
    watermark: str | None = None

    def __post_init__(self) -> None:
        _refuse_table(self.table, "a Postgres table")

    @property
    def place(self) -> str:
        variable = getattr(self.dsn, "env_var_name", None)
        at = f"the database of ${variable}" if variable is not None else repr(scrubbed(self._address.text))
        return f"Postgres table {self.table} in {at}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return self._address.secrets

    def scan(self, connection: duckdb.DuckDBPyConnection) -> str:
        self._address.attach(connection, self._alias)
        return quoted(self._alias, *self._names)

    def measured(self, connection: duckdb.DuckDBPyConnection, expressions: str) -> tuple[Any, ...]:
        self.scan(connection)
        inner = f"SELECT {expressions} FROM {quoted(*self._names)}"
        return _one(connection, f"FROM postgres_query({literal(self._alias)}, {literal(inner)})", self)

    def version(self, connection: duckdb.DuckDBPyConnection) -> str:
        if self.watermark is None:
            return _content(connection, self.scan(connection), self)
        greatest = f"count(*), max({quoted(self.watermark)})::text"
        return _digest([self.watermark, *self.measured(connection, greatest)])

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
        if not file.is_file():
            raise StoreError(f"there is no DuckDB file {file} with the table {self.table}: run what writes it first")
        alias = f"__fti_{hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:12]}"
        try:
            connection.execute(f"ATTACH IF NOT EXISTS {literal(str(file))} AS {quoted(alias)} (TYPE duckdb, READ_ONLY)")
        except duckdb.Error as error:
            raise StoreError(
                f"{self.place} cannot be read: {error}. A DuckDB file that another process is writing is locked: run again "
                "when it has ended"
            ) from error
        names = self.table.split(".")
        return quoted(alias, *(names if len(names) == 2 else ["main", *names]))

    def measured(self, connection: duckdb.DuckDBPyConnection, expressions: str) -> tuple[Any, ...]:
        return _one(connection, f"SELECT {expressions} FROM {self.scan(connection)}", self)

    def version(self, connection: duckdb.DuckDBPyConnection) -> str:
        if self.watermark is None:
            return _content(connection, self.scan(connection), self)
        greatest = f"count(*), max({quoted(self.watermark)})::VARCHAR"
        return _digest([self.watermark, *self.measured(connection, greatest)])


def described(connection: duckdb.DuckDBPyConnection, source: ExternalSource) -> dict[str, str]:
    """Column names and DuckDB types of a source, in its order.

    Raises:
        StoreError: it cannot be read.
    """
    return {row[0]: row[1] for row in _all(connection, f"DESCRIBE FROM {source.scan(connection)}", source)}


def _is_hidden(file: str, pattern: str) -> bool:
    """Whether a writer put a file aside, by the convention of Hive and Spark: a folder or file that begins with ``_`` or ``.``.

    A partition's folder may begin with ``_`` (``_day=2013-01-01``); a name that the pattern itself spells out is meant.
    """
    spelled = [part for part in pattern.split("/") if part.startswith(("_", "."))]
    return any(
        (part.startswith(".") or (part.startswith("_") and "=" not in part) or part.endswith("._COPYING_"))
        and not any(fnmatchcase(part, one) for one in spelled)
        for part in file.split("/")
    )


def _spelled_folder(pattern: str) -> str:
    """The part of a pattern before its first wildcard, up to a slash: whatever it is called, it is meant."""
    before = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return before[: before.rfind("/") + 1]


def _content(connection: duckdb.DuckDBPyConnection, scan: str, source: ExternalSource) -> str:
    """A hash of every row and of the columns, that does not depend on the rows' order."""
    types = {row[0]: row[1] for row in _all(connection, f"DESCRIBE FROM {scan}", source)}
    sums = _one(connection, f"SELECT {content_sums(types)} FROM {scan}", source)
    return data_version(types, list(map(int, sums)))


def _digest(parts: Any) -> str:
    return f"{_VERSION}.{hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:24]}"


def _one(connection: duckdb.DuckDBPyConnection, sql: str, source: ExternalSource) -> tuple[Any, ...]:
    row: tuple[Any, ...] = _all(connection, sql, source)[0]
    return row


def _all(connection: duckdb.DuckDBPyConnection, sql: str, source: ExternalSource) -> list[tuple[Any, ...]]:
    try:
        rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
        return rows
    except duckdb.Error as error:
        # Not chained: DuckDB repeats the address that it was given.
        raise StoreError(
            f"{source.place} cannot be read: {scrubbed(str(error), source.secrets)}. Check that it is there and that it may be read"
        ) from None


def _refuse_table(table: str, what: str) -> None:
    if len(table.split(".")) > 2 or not all(table.split(".")):
        raise DeclarationError(
            f"{what} is called {table!r}: write its name, or its schema and name, as in 'public.weather'"
        )
