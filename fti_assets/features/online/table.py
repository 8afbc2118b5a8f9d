"""What is loaded to the online store: a feature group, or the answers of a model."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from fti_assets.core.manifest import RequestWindows
from fti_assets.core.names import TableName
from fti_assets.core.times import Times
from fti_assets.stores.sources.source import ExternalSource


class OnlineTable(Protocol):
    """What is loaded to the online store: a feature group, or the answers of a model."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def table(self) -> TableName: ...
    @property
    def table_name(self) -> str: ...
    @property
    def keys(self) -> tuple[str, ...]: ...
    @property
    def event_time(self) -> str | None: ...
    @property
    def times(self) -> Times: ...
    @property
    def online_history(self) -> timedelta: ...
    @property
    def source(self) -> ExternalSource | None: ...
    @property
    def as_json(self) -> tuple[str, ...]: ...
    @property
    def windows(self) -> RequestWindows | None: ...
