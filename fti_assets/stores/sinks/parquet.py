"""A folder of Parquet files, one a partition, on this machine or in a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from fti_assets.core.addresses import is_address, show_address
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import PARTITION, TableName
from fti_assets.core.sql import literal
from fti_assets.errors import DeclarationError, StoreError, excerpt
from fti_assets.stores.buckets.access import s3_access
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.file_kinds import check_file
from fti_assets.stores.files import guard_writes, is_folder, make_folder, paths_in, sync_file, sync_renamed
from fti_assets.stores.lake.reader import LakeReader
from fti_assets.stores.locks import hold_lock
from fti_assets.stores.sinks.bucket import SCHEME, ReplacedError, files_below, put, rows_of
from fti_assets.stores.sinks.sink import Sink, StoredPartition
from fti_assets.stores.temporary_folders import temporary_folder

_FILE = "rows.parquet"


_TRIES = 5
_ESCAPES = {ord(sign): f"[{sign}]" for sign in "*?["}
"""DuckDB reads the path of a file as a pattern."""


@checked_arguments(itself=["folder"])
@dataclass(frozen=True)
class ParquetSink(Sink):
    """Answers as Parquet files, each replaced as a whole: ``<folder>/<table>/_partition=<key>/rows.parquet``.

    Any reader of hive-partitioned Parquet can read it, such as ``pd.read_parquet("exports/scores_v1")``. In a bucket, a file is
    uploaded beside its place under a name that begins with ``.``. The store itself then copies it into place, which S3 does in one
    step for files of up to 5 GiB.

    Args:
        folder: a local or mounted folder, which is created; or ``s3://bucket/folder`` in an existing bucket. The ``AWS_``
            environment variables have the credentials, and ``AWS_ENDPOINT_URL`` the address of a store that is not Amazon's.

    Raises:
        DeclarationError: ``folder`` is another address, or one with credentials.

    >>> ParquetSink("exports").place, ParquetSink("s3://shop/exports").place
    ('Parquet folder exports', 'Parquet folder s3://shop/exports')
    """

    folder: str | Path

    def __post_init__(self) -> None:
        is_folder = isinstance(self.folder, Path) or (
            isinstance(self.folder, str)
            and show_address(self.folder) == self.folder
            and self.folder.strip() != ""
            and "\0" not in self.folder
        )
        if not self._is_in_bucket and (not is_folder or is_address(self.folder)):
            folder = show_address(self.folder) if isinstance(self.folder, str) else self.folder
            raise DeclarationError(
                f"ParquetSink has folder={excerpt(folder)}: give a folder of this machine, or s3://bucket/folder"
            )
        if self._is_in_bucket and (set(str(self.folder)) & set("@?#") or not urlsplit(str(self.folder)).netloc):
            raise DeclarationError(
                f"ParquetSink has folder={excerpt(show_address(str(self.folder)))}: give s3://bucket/folder alone; the AWS_ "
                "environment variables have the credentials"
            )

    @property
    def place(self) -> str:
        return f"Parquet folder {self.folder}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return s3_access().secrets if self._is_in_bucket else ()

    @property
    def _is_in_bucket(self) -> bool:
        return isinstance(self.folder, str) and self.folder.startswith(SCHEME)

    def write(self, partition: StoredPartition) -> None:
        """Replace the partition's file.

        Raises:
            StoreError: the folder or the bucket cannot be written; the old file is still there.
        """
        below = f"{partition.table.name}/{PARTITION}={quote(partition.key, safe='')}/{_FILE}"
        if self._is_in_bucket:
            _write_object(f"{str(self.folder).removeprefix(SCHEME).rstrip('/')}/{below}", partition)
            return
        file = Path(self.folder) / below
        folder, temporary = file.parent, file.parent / f".{_FILE}.tmp"
        with hold_lock(folder.parent / ".lock"), guard_writes(file):
            make_folder(folder)
            temporary.unlink(missing_ok=True)  # what a killed run left
            try:
                _copy(partition, temporary)
                sync_file(temporary)
                temporary.replace(file)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            sync_renamed(file)

    def holding(self, lake: LakeReader, table: TableName, predicate: str, columns: Mapping[str, str]) -> dict[str, int]:
        """How many rows of each partition a predicate finds. What a killed run left stands there as no rows, for it may hold some.

        Raises:
            StoreError: a file cannot be read.
        """
        folder = f"{str(self.folder).removeprefix(SCHEME).rstrip('/')}/{table.name}"
        names = files_below(folder) if self._is_in_bucket else _files_below(Path(folder))
        result = {}
        for below, files in names.items():
            if not below.startswith(f"{PARTITION}="):
                continue
            rows = 0
            if _FILE in files:
                rows = self._count(lake, f"{folder}/{below}/{_FILE}", predicate, columns)
            if rows or any(name.startswith(f".{_FILE}.") for name in files):
                result[unquote(below.removeprefix(f"{PARTITION}="))] = rows
        return result

    def _count(self, lake: LakeReader, path: str, predicate: str, columns: Mapping[str, str]) -> int:
        if self._is_in_bucket:
            relation = lake.connection.from_arrow(rows_of(path, columns))
        else:
            check_file(Path(path), "move it away")
            relation = lake.connection.read_parquet(path.translate(_ESCAPES), hive_partitioning=False)
        ((rows,),) = relation.filter(predicate).aggregate("count(*)").fetchall()
        return int(rows)


def _files_below(folder: Path) -> dict[str, list[str]]:
    return {below.name: [file.name for file in paths_in(below)] for below in paths_in(folder) if is_folder(below)}


def _copy(partition: StoredPartition, file: Path) -> None:
    rows = f"(FROM {relation_name(partition.rows())})"
    partition.lake.connection.execute(f"COPY {rows} TO {literal(str(file))} (FORMAT parquet)")


def _write_object(path: str, partition: StoredPartition) -> None:
    """Put the partition's file into a bucket, which has no locks: it is written again until it is of what the lake then has."""
    with temporary_folder("fti_sink_") as folder:
        file = folder / _FILE
        for _ in range(_TRIES):
            version = partition.version()
            file.unlink(missing_ok=True)
            _copy(partition, file)
            try:
                put(file, path)
            except ReplacedError:
                continue
            if partition.version() == version:
                return
    raise StoreError(f"{SCHEME}{path} is written by other runs at the same time, again and again")
