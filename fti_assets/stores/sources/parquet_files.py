"""Parquet files that another system writes, in a folder or a bucket."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb

from fti_assets.core.addresses import scrub, secrets_of, show_address
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.sql import literal
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.stores.duckdb.extensions import load_extension
from fti_assets.stores.duckdb.s3_secret import read_s3
from fti_assets.stores.file_kinds import check_file
from fti_assets.stores.files import readable
from fti_assets.stores.sources.delta_log import LOG, not_of_delta, path_of, without_wildcards
from fti_assets.stores.sources.file_types import names_in_files, scan_of_files
from fti_assets.stores.sources.links import refuse_dangling_links, refuse_repeated_files, refuse_unread_folders
from fti_assets.stores.sources.put_aside import is_put_aside, spelled_folder
from fti_assets.stores.sources.source import digest, files_of, one_row, rows_of

_BUCKETS = ("s3", "s3a", "gs", "r2")
_ANY_PARQUET = "*.[pP][aA][rR][qQ][uU][eE][tT]"


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class ParquetFiles:
    """Parquet files in a folder or bucket. Their version depends on names, sizes, modification times and footers.

    Args:
        path: a file, a folder (all files below it whose names end with ``.parquet``, in lower or upper case), or a pattern with
            ``*``; a local path, ``s3://`` or ``https://``. A path that exists is that file or folder, whatever characters it
            contains. Credentials for ``s3://`` come from the ``AWS_`` environment variables. Files and folders whose names begin
            with ``_`` or ``.``, such as ``_temporary/`` and ``_delta_log/``, hold no rows and are left out, unless the path itself
            names them. Three kinds of links are refused: a dangling link, a link to a folder that ``**`` does not go through, whose
            rows would be missed, and a link to a file that is also read, whose rows would come twice. A column may have different
            types in different files as long as no value changes: whole numbers beside floats stay whole if each float is whole.
        hive_partitioning: whether ``name=value`` folders are columns.
    """

    path: str | Path
    hive_partitioning: bool = False

    def __post_init__(self) -> None:
        try:
            scheme = urlsplit(str(self.path)).scheme
        except ValueError:
            raise DeclarationError(
                f"Parquet files {show_address(self.path)} have an address that cannot be read: write the host's brackets as in [::1]"
            ) from None
        if scheme in _BUCKETS and self.secrets:
            raise DeclarationError(
                f"Parquet files {show_address(self.path)} have credentials in their path: leave them out, the AWS_ environment variables "
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
        return "Parquet files " + re.sub(r"//[^/@]*@", "//", show_address(self.pattern))

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(secrets_of(self.path))

    def __repr__(self) -> str:
        path = show_address(self.path) if isinstance(self.path, str) else self.path
        return f"ParquetFiles(path={path!r}, hive_partitioning={self.hive_partitioning!r})"

    def scan(self, connection: duckdb.DuckDBPyConnection) -> str:
        self._load(connection)
        hive = "true" if self.hive_partitioning else "false"
        return scan_of_files(connection, self._files(connection), f"hive_partitioning = {hive}", self)

    def parts(self, connection: duckdb.DuckDBPyConnection) -> Iterable[tuple[str, str]]:
        self._load(connection)
        for file in self._files(connection):
            yield path_of(file), f"read_parquet({literal(file)}, hive_partitioning = false)"

    def column_names(self, connection: duckdb.DuckDBPyConnection) -> Iterable[tuple[str, Sequence[str]]]:
        self._load(connection)
        return names_in_files(connection, self._files(connection), self)

    def measure(self, connection: duckdb.DuckDBPyConnection, expressions: str) -> tuple[Any, ...]:
        return one_row(connection, f"SELECT {expressions} FROM {self.scan(connection)}", self)

    def version(self, connection: duckdb.DuckDBPyConnection) -> str:
        self._load(connection)
        files = f"[{', '.join(map(literal, self._files(connection)))}]"
        footers = rows_of(
            connection,
            "SELECT file_name::VARCHAR, count(*), sum(md5_number_lower(concat_ws('|', row_group_num_rows, path_in_schema, type, "
            f"stats_min_value, stats_max_value, stats_null_count, total_compressed_size))) FROM parquet_metadata({files}) "
            "GROUP BY 1 ORDER BY 1",
            self,
        )
        if self._is_local:
            with readable(Path(self.pattern)):
                stamps = [(name, (stat := Path(name).stat()).st_size, stat.st_mtime_ns) for name, *_ in footers]
        else:
            stamps = rows_of(
                connection,
                f"SELECT filename, size, last_modified::VARCHAR FROM read_blob({files}) ORDER BY 1",
                self,
            )
        return digest([footers, stamps])

    def _load(self, connection: duckdb.DuckDBPyConnection) -> None:
        if urlsplit(str(self.path)).scheme in _BUCKETS:
            read_s3(connection)
        elif self._is_web:
            load_extension(connection, "httpfs")

    def _files(self, connection: duckdb.DuckDBPyConnection) -> list[str]:
        """The files as patterns of one each: what a pattern gives, without those that hold no rows.

        Raises:
            StoreError: there is none.
        """
        text = str(self.path)
        if self._is_web:
            return [text]
        if self._is_here(Path.is_file):
            return [without_wildcards(text)]
        is_folder = self._is_folder(connection)
        if not is_folder and not any(sign in self.pattern for sign in "*?["):
            self._refuse_not_files([re.sub(r"^file:(//)?", "", text)])
            return [text]
        folder = f"{text.rstrip('/')}/" if is_folder else spelled_folder(self.pattern)
        files_pattern = f"{without_wildcards(folder)}**/{_ANY_PARQUET}" if is_folder else self.pattern
        matches = files_of(connection, files_pattern, self)
        exclusions = [
            file for file in matches if is_put_aside(self._below(folder, file), "" if is_folder else self.pattern)
        ]
        self._refuse_tables(connection, folder)
        self._refuse_lost_links(folder, "**/*.parquet" if is_folder else self.pattern.removeprefix(folder))
        if len(exclusions) == len(matches):
            also = f", only {exclusions[0]}, which is left out as what begins with _ or . is" if exclusions else ""
            raise StoreError(
                f"{self.place} cannot be read: there are no such files{also}. Check that the path is right and that it may be read"
            )
        names = sorted(set(matches) - set(exclusions))
        self._refuse_delta(connection, folder, names)
        self._refuse_not_files(names)
        if self._is_local:
            refuse_repeated_files(names)
        return list(map(without_wildcards, names))

    def _refuse_not_files(self, files: Iterable[str]) -> None:
        """DuckDB would wait for a FIFO, and read a device, without end.

        Raises:
            DamagedError: a FIFO, or anything else that is no file, is in place of one.
        """
        if self._is_local:
            for file in map(Path, files):
                with readable(file):
                    check_file(file, "move it away")

    def _refuse_lost_links(self, folder: str, pattern: str) -> None:
        if self._is_local:
            local = re.sub(r"^file:(//)?", "", folder)
            refuse_dangling_links(local, pattern)
            refuse_unread_folders(local, pattern)

    def _is_folder(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Whether the path names a folder; in a bucket, a name that may be a file's or a pattern's is looked for."""
        text = str(self.path)
        is_sure = not any(sign in text for sign in "*?[") and not text.lower().endswith(".parquet")
        if is_sure or self._is_here(Path.is_dir):
            return True
        if self._is_local or "*" in text:
            return False
        below = f"{without_wildcards(text.rstrip('/'))}/**/{_ANY_PARQUET}"
        return bool(files_of(connection, below, self, "LIMIT 1"))

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
            markers = files_of(connection, without_wildcards(table) + marker, self, "LIMIT 1")
            if markers:
                raise StoreError(
                    f"{self.place} cannot be read: {markers[0][0]} says that it is {kind}, and files that it has deleted or replaced "
                    "would be rows. Read it with what knows the format and write plain Parquet"
                )

    def _refuse_delta(self, connection: duckdb.DuckDBPyConnection, folder: str, files: Sequence[str]) -> None:
        try:
            strange = not_of_delta(connection, folder, files)
        except (duckdb.Error, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StoreError(
                f"{self.place} has a {LOG}/ that cannot be read: {scrub(str(error), self.secrets)}. Restore it, or name the files"
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
