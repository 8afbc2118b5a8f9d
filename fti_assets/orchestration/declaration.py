"""What is declared: a name, a version, what it rests on, and the asset that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import dagster as dg

from fti_assets.core.names import TableName, versioned
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.step import asset_key


@dataclass(frozen=True, eq=False, kw_only=True)
class Declaration:
    """What a feature group, a training dataset, a model and batch predictions share.

    Args:
        name: its name.
        version: names the asset, ``weather_v1``.
        options: the ``@dg.asset`` parameters that the user gave.
        to_asset: makes the asset of it; a declaration itself knows nothing that runs.
    """

    name: str
    version: int
    options: AssetOptions = field(repr=False)
    to_asset: Callable[[Any], dg.AssetsDefinition] = field(repr=False)

    @property
    def asset_name(self) -> str:
        """The asset's name: ``weather_v1``."""
        return versioned(self.name, self.version)

    @property
    def partitions_def(self) -> dg.PartitionsDefinition[str] | None:
        return self.options.get("partitions_def")

    @property
    def rests_on(self) -> Sequence[Declaration]:
        """The declarations that it takes itself."""
        raise NotImplementedError

    @property
    def key(self) -> dg.AssetKey:
        """The asset's key, for ``deps=[...]``."""
        return asset_key(self.options, self.asset_name)

    @cached_property
    def assets_def(self) -> dg.AssetsDefinition:
        """The Dagster asset, built once."""
        return self.to_asset(self)


@dataclass(frozen=True, eq=False, kw_only=True)
class TableDeclaration(Declaration):
    """A declaration whose rows are a table of the lake."""

    schema_name: ClassVar[str]

    @property
    def table(self) -> str:
        """Its table, asset and, for a feature group, online namespace: ``weather_v1``."""
        return self.asset_name

    @property
    def table_name(self) -> TableName:
        return TableName(self.schema_name, self.table)


def walk(declarations: Iterable[Declaration]) -> list[Declaration]:
    """The declarations and all that they rest on, each once and after what it rests on itself."""
    walked: dict[Declaration, None] = {}
    for declaration in declarations:
        if declaration not in walked:
            walked |= dict.fromkeys(walk(declaration.rests_on))
            walked[declaration] = None
    return list(walked)
