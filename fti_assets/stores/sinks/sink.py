"""What a sink is: it takes a partition of a table that the lake has, and taking it again changes nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from fti_assets.core.addresses import scrub
from fti_assets.core.names import TableName
from fti_assets.errors import FtiError, StoreError
from fti_assets.stores.lake.reader import LakeReader


@dataclass(frozen=True)
class StoredPartition:
    """A partition of a table, whose rows are those that the lake has when they are asked for.

    A sink asks under its own lock: of two runs, the one that writes last then writes what was committed last.
    """

    lake: LakeReader
    table: TableName
    key: str

    def rows(self) -> duckdb.DuckDBPyRelation:
        """The rows, lazy, with the table's columns, in no order."""
        return self.lake.rows(self.table, partitions=[self.key])

    def version(self) -> str | None:
        """The version of these rows, None if there are none."""
        record = self.lake.ledger(self.table, partitions=[self.key]).get(self.key)
        return None if record is None else record.data_version


class Sink(ABC):
    """Where the rows of predictions go beside the lake."""

    @property
    @abstractmethod
    def place(self) -> str:
        """The sink in words, without credentials: ``Parquet folder exports/scores``."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may repeat."""
        return ()

    @abstractmethod
    def write(self, partition: StoredPartition) -> None:
        """Replace what the sink has of a partition by its rows: all or nothing."""

    def holding(
        self, lake: LakeReader, table: TableName, predicate: str, columns: Mapping[str, str]
    ) -> dict[str, int] | None:
        """How many rows of each partition a predicate finds in what the sink keeps of a table; None if it cannot be asked.

        Args:
            lake: whose connection the predicate is of.
            table: the table in the lake.
            predicate: SQL over the columns.
            columns: the columns that it names, and their DuckDB types.

        Raises:
            StoreError: what the sink keeps cannot be read.
        """
        return None


def write_partitions(sinks: Sequence[Sink], partitions: Sequence[StoredPartition]) -> None:
    """Write partitions that were committed to every sink, each by itself. A sink that fails keeps none of the others from theirs.

    Raises:
        StoreError: a sink did not take a partition; it names both, and what to do.
    """
    problems: list[str] = []
    cause: Exception | None = None
    for sink in sinks:
        for partition in partitions:
            try:
                sink.write(partition)
            except Exception as error:  # of the sink's own libraries, and a user's function raises what it likes
                cause = cause or error
                problems.append(f"{partition.key} is not in the {sink.place}: {reason_of(error, sink)}")
                break
    if problems:
        # Chained only where nothing is secret: a library may repeat what it was given.
        secret = any(sink.secrets for sink in sinks)
        raise StoreError(
            f"{partitions[0].table.name} is in the lake, but {'; '.join(problems)}. Run it again: its answers stay, and are written"
        ) from (None if secret else cause)


def reason_of(error: Exception, sink: Sink) -> str:
    """What a sink's error says, without its secrets."""
    return scrub(str(error) if isinstance(error, FtiError) else f"{type(error).__name__}: {error}", sink.secrets)
