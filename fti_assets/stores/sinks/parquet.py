"""A folder of Parquet files, one a partition."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fti_assets.core.addresses import is_address, shown
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import PARTITION
from fti_assets.core.sql import literal
from fti_assets.errors import DeclarationError, excerpt
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.files import make_folder, sync_file, sync_renamed, written
from fti_assets.stores.locks import locked
from fti_assets.stores.sinks.sink import Sink, StoredPartition

_FILE = "rows.parquet"


@checked_arguments(itself=["folder"])
@dataclass(frozen=True)
class ParquetSink(Sink):
    """Answers as Parquet files, each replaced as a whole: ``<folder>/<table>/_partition=<key>/rows.parquet``.

    Whatever reads Parquet by hive partitions reads it, such as ``pd.read_parquet("exports/scores_v1")``.

    Args:
        folder: of this machine, or mounted; it is made.

    Raises:
        DeclarationError: ``folder`` is an address.

    >>> ParquetSink("exports").place
    'Parquet folder exports'
    """

    folder: str | Path

    def __post_init__(self) -> None:
        if is_address(self.folder) or not isinstance(self.folder, str | Path):
            folder = shown(self.folder) if isinstance(self.folder, str) else self.folder
            raise DeclarationError(f"ParquetSink has folder={excerpt(folder)}: give a folder of this machine")

    @property
    def place(self) -> str:
        return f"Parquet folder {self.folder}"

    def write(self, partition: StoredPartition) -> None:
        """Replace the partition's file.

        Raises:
            StoreError: the folder cannot be written; the old file is still there.
        """
        folder = Path(self.folder) / partition.table.name / f"{PARTITION}={quote(partition.key, safe='')}"
        file, temporary = folder / _FILE, folder / f".{_FILE}.tmp"
        with locked(folder.parent / ".lock"), written(file):
            make_folder(folder)
            temporary.unlink(missing_ok=True)  # what a killed run left
            try:
                rows = f"(FROM {relation_name(partition.rows())})"
                partition.lake.connection.execute(f"COPY {rows} TO {literal(str(temporary))} (FORMAT parquet)")
                sync_file(temporary)
                temporary.replace(file)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            sync_renamed(file)
