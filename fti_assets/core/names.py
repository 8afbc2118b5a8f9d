"""Tables of the lake, their partitions and what was written of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from fti_assets.core.records import record
from fti_assets.core.sql import literal, quote
from fti_assets.errors import DeclarationError, excerpt

FEATURES, DATASETS, PREDICTIONS, MONITORING = "features", "datasets", "predictions", "monitoring"
"""The schemas of the tables that declarations have."""

STREAMING = "streaming"
"""The schema of the events that a stream gave and a group could not take."""

PARTITION = "_partition"
WHOLE = "all"
"""The one partition of a table that is not partitioned."""

LEDGER = "ledger"
"""The schema of the ledgers, one beside each table."""

TILES = "tiles"
"""The schema of what windows keep of their sources, which can be made again."""


def is_kept(column: str) -> bool:
    """Whether plans keep a name for their own columns; upper case is the same to DuckDB.

    >>> is_kept("_fti_label"), is_kept("label")
    (True, False)
    """
    return column.lower() == PARTITION or column.lower().startswith(("_fti_", "__fti_"))


def in_partitions(partitions: Iterable[str]) -> str:
    """The SQL of whether a row is in one of some partitions.

    >>> in_partitions(["2013-01-01"])
    "_partition IN ('2013-01-01')"
    """
    # Literals, not a join or a parameter: DuckLake reads from them which files it need not open.
    key_list = ", ".join(map(literal, partitions))
    return f"{PARTITION} IN ({key_list})" if key_list else "false"  # IN (NULL) would open the files


_VERSIONS = 10**15


def versioned_name(name: str, version: int) -> str:
    """The name of one version: of an asset, of its table and of its online namespace.

    >>> versioned_name("weather", 1)
    'weather_v1'
    """
    return f"{name}_v{version}"


def checked_version(version: int, *, what: str) -> int:
    """Return ``version``, or raise a DeclarationError if it is not 1, 2, 3 and so on, of at most 15 digits."""
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version < _VERSIONS:
        raise DeclarationError(f"{what}: version is {excerpt(version)}; versions are 1, 2, 3 ... of at most 15 digits")
    return version


@record(frozen=True)
class TableName:
    """A table of the lake: its schema (``features``, ``datasets``, ``predictions`` or ``tiles``) and name (``weather_v1``)."""

    schema: str
    name: str

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return format(self.name, spec)

    @property
    def full_name(self) -> str:
        """The name with its schema, ``features.weather_v1``: what metadata, records and the errors of the lake call it."""
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        return quote("lake", self.schema, self.name)

    @property
    def ledger_sql(self) -> str:
        return quote("lake", LEDGER, f"{self.schema}_{self.name}")

    @property
    def dead_letters(self) -> TableName:
        """The table of the events of its stream that it could not take, which a table without a stream does not have."""
        return TableName(STREAMING, f"{self.name}_dead_letters")

    @property
    def positions_sql(self) -> str:
        """The table of how far it has come in its stream, which a table without a stream does not have."""
        return quote("lake", LEDGER, f"{self.schema}_{self.name}_positions")

    @property
    def contract(self) -> TableName:
        """The table of what its owner says of it, to whoever uses it from elsewhere; one of earlier code has none."""
        return TableName(LEDGER, f"{self.schema}_{self.name}_contract")


@record(frozen=True)
class PartitionRecord:
    """What the ledger says of one partition. ``committed_at`` is when its rows last changed, ``run_at`` when they were
    last written or found unchanged; both naive UTC. ``record`` is the writer's own JSON."""

    partition: str
    data_version: str
    rows: int
    committed_at: datetime
    run_at: datetime
    run_id: str
    record: str


@record(frozen=True)
class Commit:
    """What one transaction wrote, and the columns and DuckDB types that its table has then, without ``_partition``."""

    snapshot: int
    partitions: tuple[PartitionRecord, ...]
    changed: tuple[str, ...]
    types: Mapping[str, str]

    @property
    def rows(self) -> int:
        return sum(partition.rows for partition in self.partitions)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing to whoever reads it.

    >>> is_blank(" \u200b"), is_blank("moved to the new lake")
    (True, False)
    """
    return not any(letter.isprintable() and not letter.isspace() for letter in text)
