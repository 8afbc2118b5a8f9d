"""Contracts as they are read: when the code loads, and again when a step begins."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from fti_assets.core.manifest.contracts import GroupContract
from fti_assets.core.names import FEATURES
from fti_assets.core.types import ColumnType
from fti_assets.errors import DeclarationError, NotMaterializedError, SchemaChangedError, StoreError, list_some, one_of
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.published.contract import contract_table, read_contract
from fti_assets.features.published.group import PublishedGroup, published_group
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.lasting import lasting_lake

_groups: weakref.WeakValueDictionary[tuple[str, str, int, str, str], PublishedGroup] = weakref.WeakValueDictionary()
"""The groups that somebody holds: one object for all who name the same, as a declaration is one object."""

_held: list[Lake] = []
"""The lake that contracts were read from last, open until the definitions are built: opening it takes longer than reading."""


def group_of_store(name: str, version: int, stores: Stores) -> PublishedGroup:
    """The group of a contract that a store holds.

    Raises:
        NotMaterializedError: there is no store, no such group in it, or no contract yet.
        StoreError: the store cannot be read, or its contract is of a later release.
        DeclarationError: the stores are named by an environment variable that is not set.
    """
    with _open(name, version, stores) as lake, lake.one_snapshot():
        return _group(lake, name, version)


def close_stores() -> None:
    """Let go of the lake that contracts were read from."""
    _held.clear()


@contextmanager
def _open(name: str, version: int, stores: Stores) -> Iterator[Lake]:
    store, what = resolve_stores(stores).offline_store(), f"feature group {name!r} (version {version})"
    if not store.exists():
        raise NotMaterializedError(
            f"{what} is owned by another code location, but there is no offline store at {store.root}: materialize the group there first, "
            "or say where it is stored, fti.group(..., stores=fti.Stores(lake=...))"
        )
    if not _held or _held[0].store.root != store.root:
        _held[:] = [lasting_lake(store)]
    yield lasting_lake(store)


def resolve_stores(stores: Stores) -> Stores:
    """The stores with the addresses that environment variables hold.

    Raises:
        DeclarationError: one of these is not set.
    """
    if not any(isinstance(getattr(stores, name), dg.EnvVar) for name in type(stores).model_fields):
        return stores
    try:
        return stores.process_config_and_initialize()  # type: ignore[no-any-return]
    except Exception as error:  # Dagster has no class for it
        raise DeclarationError(
            f"what another code location owns cannot be looked up in the stores: {error}. Set the variable where the code is loaded"
        ) from error


def _group(lake: Lake, name: str, version: int) -> PublishedGroup:
    table, contract = contract_table(name, version), read_contract(lake, name, version)
    if contract is None:
        raise _no_contract(lake, name, version)
    if (contract.group, contract.version) != (name, version):
        raise StoreError(
            f"the contract of {table.full_name} in {lake.store.root} is that of {contract.group!r} version {contract.version}: have the "
            f"owner of {table.name} materialize it once more"
        )
    types: Mapping[str, ColumnType | None] = {}
    if contract.windows is None:
        if not lake.has(table):
            raise _no_contract(lake, name, version)
        types = lake.column_types(table)
    inputs = {one: _group(lake, one, of) for one, of in contract.inputs.items() if read_contract(lake, one, of)}
    key = (lake.store.identity, name, version, lake.contract(table), repr(types))
    group = _groups.get(key)
    if group is None or list(group.inputs.values()) != list(inputs.values()):
        group = _groups[key] = published_group(contract, types, inputs)
    return group


def _no_contract(lake: Lake, name: str, version: int) -> NotMaterializedError:
    table, root = contract_table(name, version), lake.store.root
    if lake.has(table):
        return NotMaterializedError(
            f"{table.full_name} is stored in {root}, but nobody has said there what it promises: code of an earlier release made it, or "
            "its catalog was made again. Upgrade fti-assets in the code location that owns it and materialize one of its partitions "
            "once more"
        )
    names = [one.name for one in lake.tables() if one.schema == FEATURES]
    versions = [one for one in names if one.rpartition("_v")[0] == name]
    existing = f"it has {one_of(versions)}" if versions else f"it has the feature groups {list_some(names, 20)}"
    return NotMaterializedError(
        f"the offline store at {root} has no {table.full_name}, which another code location is to own: {existing}. Materialize it there "
        "first, and load this code location again. An external group is stored nowhere: declare it here "
        "too, with fti.external_group"
    )


def refuse_changed_contracts(lake: Lake, groups: Iterable[TimedTable]) -> None:
    """Refuse to read groups of which their owner has since promised something else than what this code was loaded with.

    Raises:
        SchemaChangedError: one is another by now.
        NotMaterializedError: one is there no more.
    """
    for group in dict.fromkeys(groups):
        if not isinstance(group, PublishedGroup):
            continue
        now = read_contract(lake, group.name, group.version)
        if now is None:
            raise _no_contract(lake, group.name, group.version)
        if changes := changes_of_contract(group.contract, now):
            raise SchemaChangedError(
                f"the owner of {group.table_name} has changed what it promises since this code was loaded: {'; '.join(changes)}. Nothing "
                "was stored. Load this code location again, so that it is read as it is meant now"
            )


_WORDS = frozenset(
    {"description", "owners", "release", "columns", "rules_left_out", "inputs", "online", "online_history_us"}
)
"""What of a contract may change without any row meaning something else."""


def changes_of_contract(before: GroupContract, now: GroupContract) -> list[str]:
    """What a contract says otherwise than another, of what decides which row answers.

    >>> before = GroupContract("weather", 1, ("weather_v1",), ("origin",), ttl_us=1)
    >>> changes_of_contract(before, GroupContract("weather", 1, ("weather_v1",), ("origin",), ttl_us=2, online=True))
    ['ttl_us was 1 and is 2']
    """
    return [
        f"{name} was {was!r} and is {new!r}"
        for name in before.__dataclass_fields__
        if name not in _WORDS and (was := getattr(before, name)) != (new := getattr(now, name))
    ]
