"""A table with keys and times, which groups may take as an input: another group, or the figures of a monitor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from fti_assets.core.types import ColumnType
from fti_assets.orchestration.declaration import TableDeclaration
from fti_assets.stores.sources.source import ExternalSource


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class TimedTable(TableDeclaration):
    """What the step of a group needs to know of a table that it takes as an ``fti.Table``."""

    keys: tuple[str, ...]
    event_time: str | None
    available_at: str | None
    serving_delay: timedelta | None
    partition_by: str | None
    source: ExternalSource | None = None

    @property
    def columns_of_schema(self) -> Mapping[str, ColumnType | None]:
        """The columns whose types a schema declares."""
        return {}

    @property
    def upstream(self) -> tuple[TimedTable, ...]:
        """The tables of this kind that it rests on, near and far."""
        return ()

    @property
    def depth(self) -> int:
        """How many of them stand behind it, one behind another."""
        return 0
