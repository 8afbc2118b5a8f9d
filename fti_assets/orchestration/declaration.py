"""What is declared: a name, a version, what it rests on, and the asset that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import dagster as dg

from fti_assets.core.names import TableName, versioned_name
from fti_assets.orchestration.dagster_internals import ObjectMetadataValue
from fti_assets.orchestration.options import AssetOptions, asset_key

DECLARATION = "fti/declaration"
"""The metadata in which an asset keeps its declaration, in whatever definitions it is, merged or mapped.

Within the process it is the object itself, as Dagster keeps the component of an asset; elsewhere it is the name of its class.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Declaration:
    """What a feature group, a training dataset, a model and batch predictions share.

    Args:
        name: its name.
        version: names the asset, ``weather_v1``.
        options: the ``@dg.asset`` parameters that the user gave.
        to_asset: makes the asset of it; a declaration itself knows nothing that runs.
        users: the declarations that use it, by what its page calls them. It is made before those, and its asset is built once, when a
            ``Definitions`` asks for it: until then each user writes itself down here.
    """

    is_owned: ClassVar[bool] = True
    """Whether this code location makes it; what another one makes is only named here."""

    name: str
    version: int
    options: AssetOptions = field(repr=False)
    to_asset: Callable[[Any], dg.AssetsDefinition] = field(repr=False)
    users: dict[str, Declaration] = field(default_factory=dict, init=False, repr=False)

    @property
    def asset_name(self) -> str:
        """The asset's name: ``weather_v1``."""
        return versioned_name(self.name, self.version)

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

    @property
    def requests_inputs(self) -> bool:
        """Whether a run of it is requested together with what it rests on, by a sensor of its own."""
        return False

    @property
    def links(self) -> dict[str, Any]:
        """The metadata that leads from its asset to itself, and to the users that it has by now."""
        users = {name: dg.MetadataValue.asset(user.key) for name, user in self.users.items()}
        return {DECLARATION: ObjectMetadataValue(self), **users}


def record_use(declarations: Iterable[Declaration], name: str, user: Declaration) -> None:
    """Write down that ``user`` uses some declarations, as ``name`` on their pages, and by its own name too if that is taken."""
    for one in declarations:
        is_taken = name in one.users and one.users[name].key != user.key
        one.users[f"{name} in {user.key.to_user_string()}" if is_taken else name] = user


@dataclass(frozen=True, eq=False, kw_only=True)
class TableDeclaration(Declaration):
    """A declaration whose rows are a table of the lake."""

    schema_name: ClassVar[str]

    @property
    def table(self) -> TableName:
        """Its table in the lake; as text ``weather_v1``."""
        return TableName(self.schema_name, self.asset_name)

    @property
    def is_stored(self) -> bool:
        """Whether its rows are a table of its own in the lake."""
        return True

    @property
    def table_name(self) -> str:
        """The name of its table, asset and, for a feature group, online namespace: ``weather_v1``."""
        return self.asset_name


def walk(declarations: Iterable[Declaration]) -> list[Declaration]:
    """The declarations and all that they rest on, each once and after what it rests on itself."""
    results: dict[Declaration, None] = {}

    def visit(declaration: Declaration) -> None:
        if declaration not in results:
            for below in declaration.rests_on:
                visit(below)
            results[declaration] = None

    for declaration in declarations:
        visit(declaration)
    return list(results)


def declaration_of(asset: dg.AssetsDefinition) -> Declaration | None:
    """The declaration that an asset was made from, or None for a plain Dagster asset."""
    # A value that came from another process has no instance.
    instances = (getattr(spec.metadata.get(DECLARATION), "instance", None) for spec in asset.specs)
    return next((one for one in instances if isinstance(one, Declaration)), None)


def declarations_of(definitions: dg.Definitions) -> list[Declaration]:
    """The declarations behind the assets of some definitions."""
    assets = definitions.get_repository_def().assets_defs_by_key.values()
    result = dict.fromkeys(declaration_of(asset) for asset in assets)
    return [declaration for declaration in result if declaration is not None]
