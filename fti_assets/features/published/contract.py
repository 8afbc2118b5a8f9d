"""What the owner of a feature group promises of it, as the lake keeps it beside the group's rows."""

from __future__ import annotations

import weakref
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version

from fti_assets.core.manifest import Column
from fti_assets.core.manifest.contracts import ContractColumn, GroupContract
from fti_assets.core.names import FEATURES, TableName, versioned_name
from fti_assets.core.records import from_json, to_sparse_json
from fti_assets.core.times import microseconds
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.published.partitions import partitions_record
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.reader import LakeReader
from fti_assets.stores.lake.tables.contracts import publish_contract

_texts: weakref.WeakKeyDictionary[FeatureGroup, str] = weakref.WeakKeyDictionary()


def contract_table(name: str, version: int) -> TableName:
    """The table under which a group's contract lies, which a group of windows has no rows in."""
    return TableName(FEATURES, versioned_name(name, version))


def state_contract(lake: Lake, group: FeatureGroup) -> None:
    """Have the lake keep the group's contract with the next commit of its rows."""
    lake.state_contract(group.table, contract_text(group))


def publish_contract_of(lake: Lake, group: FeatureGroup) -> None:
    """Have the lake keep the contract of a group that commits no rows of its own."""
    publish_contract(lake, contract_table(group.name, group.version), contract_text(group))


def contract_text(group: FeatureGroup) -> str:
    """The group's contract as it is stored, made once of each declaration."""
    if group not in _texts:
        _texts[group] = to_sparse_json(contract_of(group))
    return _texts[group]


def contract_of(group: FeatureGroup) -> GroupContract:
    """What others may rely on of a declared group."""
    columns, left_out = _columns(group)
    return GroupContract(
        group=group.name,
        version=group.version,
        asset_key=tuple(group.key.path),
        keys=group.keys,
        event_time=group.event_time,
        available_at=group.available_at,
        serving_delay_us=_us(group.serving_delay),
        ttl_us=_us(group.ttl),
        tie_break=group.tie_break,
        partition_by=group.partition_by,
        lookback_us=microseconds(group.lookback),
        partitions=partitions_record(group.partitions_def),
        online=group.online,
        online_history_us=microseconds(group.online_history),
        columns=columns,
        rules_left_out=left_out,
        inputs={
            one.name: one.version
            for one in group.inputs.values()
            if isinstance(one, FeatureGroup) and one.source is None
        },
        windows=group.windows,
        description=str(group.options.get("description") or group.function.__doc__ or ""),
        owners=tuple(map(str, group.options.get("owners") or ())),
        release=release(),
    )


def _us(length: timedelta | None) -> int | None:
    return None if length is None else microseconds(length)


def _columns(group: FeatureGroup) -> tuple[tuple[ContractColumn, ...], tuple[str, ...]]:
    """What the group's schema says of each of its columns, and in words what it says of no one column."""
    if group.schema is None:
        return (), ()
    from fti_assets.features.validation.request_rules import request_rules  # brings Pandera

    of_rows = request_rules(group.schema, []).left_out
    columns = []
    for name, kind in (group.columns or {}).items():
        of_column = request_rules(group.schema, [Column(name, kind)]) if kind is not None else None
        description = getattr(group.schema.columns.get(name), "description", None) or ""
        columns.append(
            ContractColumn(
                name,
                description,
                () if of_column is None else of_column.rules,
                () if of_column is None else tuple(one for one in of_column.left_out if one not in of_rows),
            )
        )
    return tuple(columns), of_rows


def release() -> str:
    """The release of this library."""
    try:
        return version("fti-assets")
    except PackageNotFoundError:
        return ""


def read_contract(lake: LakeReader, name: str, version: int) -> GroupContract | None:
    """What the owner of a group has promised; None if nothing.

    Raises:
        StoreError: a later release promises what this one does not know.
        DamagedError: it cannot be read.
    """
    table = contract_table(name, version)
    text = lake.contract(table)
    if not text:
        return None
    remedy = f"have the owner of {table.name} materialize it once more"
    return from_json(GroupContract, text, what=f"the contract of {table.full_name} in {lake.store.root}", remedy=remedy)
