"""A feature group that another code location owns, as this one uses it: of the contract, with the types that are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

import dagster as dg

from fti_assets.core.manifest import Column, ColumnRule
from fti_assets.core.manifest.contracts import GroupContract
from fti_assets.core.types import ColumnType
from fti_assets.errors import DeclarationError, one_of
from fti_assets.features.groups.columns import COLUMN_SCHEMA, declared_metadata, table_column
from fti_assets.features.groups.group import DEFAULT_ONLINE_HISTORY, FeatureGroup
from fti_assets.features.published.partitions import partitions_def_of
from fti_assets.orchestration.declaration import Declaration
from fti_assets.orchestration.options import AssetOptions, accepted_by_dagster
from fti_assets.orchestration.resources import STORES, TABLE


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PublishedGroup(FeatureGroup):
    """A feature group that another code location makes. Get one with ``fti.group``."""

    is_owned = False

    contract: GroupContract = field(repr=False)
    types: Mapping[str, ColumnType | None] = field(repr=False)

    def __repr__(self) -> str:
        return f"published feature group {self.table_name}"

    @property
    def columns(self) -> dict[str, ColumnType | None]:  # type: ignore[override]
        """The columns that are stored, and their types; those of windows are known by name."""
        if self.windows is not None:
            return super().columns or {}  # type: ignore[return-value]
        return dict(self.types)

    def request_rules(self, request: Sequence[Column]) -> tuple[tuple[ColumnRule, ...], tuple[str, ...]]:
        """As the owner's schema has them."""
        columns = {one.name: one for one in self.contract.columns}
        of_request = [columns[one.name] for one in request if one.name in columns]
        left_out = dict.fromkeys(text for one in of_request for text in one.rules_left_out)
        rules = tuple(rule for one in of_request for rule in one.rules)
        return rules, tuple(dict.fromkeys([*left_out, *self.contract.rules_left_out]))

    def refuse_unknown_columns(self, names: Sequence[str]) -> None:
        """Raise a DeclarationError if a column is not stored."""
        unknown = [name for name in dict.fromkeys(names) if name not in self.columns]
        if unknown:
            raise DeclarationError(
                f"{self.table_name} has no column {one_of(unknown)}: its owner stores {one_of(self.columns)}. Ask for one of these, or for "
                f"another version, fti.group({self.name!r}, version={self.version + 1})"
            )


def published_group(
    contract: GroupContract, types: Mapping[str, ColumnType | None], inputs: Mapping[str, FeatureGroup]
) -> PublishedGroup:
    """The group of a contract.

    Args:
        contract: what its owner promises.
        types: the columns that are stored, and their types.
        inputs: the groups that it is made of, as far as these have contracts.
    """
    what = f"{contract.group}_v{contract.version}"

    def no_function(*_: Any, **__: Any) -> NoReturn:
        raise DeclarationError(f"{what} is made in another code location, which has its function: run it there")

    options: AssetOptions = {
        "key": dg.AssetKey(list(contract.asset_key)),
        "partitions_def": partitions_def_of(contract.partitions, what=what),
        "description": contract.description or None,
        "owners": list(contract.owners),
    }
    return PublishedGroup(
        name=contract.group,
        version=contract.version,
        function=no_function,
        keys=contract.keys,
        event_time=contract.event_time,
        available_at=contract.available_at,
        serving_delay=_length(contract.serving_delay_us),
        ttl=_length(contract.ttl_us),
        tie_break=contract.tie_break,
        duplicates="error",
        schema=None,
        partition_by=contract.partition_by,
        lookback=timedelta(microseconds=contract.lookback_us),
        online=contract.online,
        online_history=_length(contract.online_history_us or None) or DEFAULT_ONLINE_HISTORY,
        inputs=dict(inputs),
        annotations={},
        asset_ins={},
        options=options,
        to_asset=_group_asset,
        windows=contract.windows,
        contract=contract,
        types=dict(types),
    )


def _length(us: int | None) -> timedelta | None:
    return None if us is None else timedelta(microseconds=us)


def _group_asset(group: PublishedGroup) -> dg.AssetsDefinition:
    descriptions = {one.name: one.description for one in group.contract.columns}
    columns = [table_column(name, kind, descriptions.get(name) or None) for name, kind in group.columns.items()]
    stored = {TABLE: group.table.full_name} if group.is_stored else {}
    metadata = {**stored, **declared_metadata(group), COLUMN_SCHEMA: dg.TableSchema(columns)}
    return external_asset(group, group_name="features", metadata=metadata)


def external_asset(declaration: Declaration, *, group_name: str, metadata: Mapping[str, Any]) -> dg.AssetsDefinition:
    """The asset that stands here for one that another code location makes: of its key and partitions, without a step."""
    options = declaration.options
    with accepted_by_dagster(declaration.asset_name):
        spec = dg.AssetSpec(
            declaration.key,
            partitions_def=options.get("partitions_def"),
            description=options.get("description"),
            owners=list(options.get("owners") or []),
            group_name=group_name,
            metadata={**metadata, **declaration.links},
        )
        return dg.AssetsDefinition(
            specs=[spec.with_io_manager_key(STORES)]  # so that a plain asset takes its rows as an input
        )
