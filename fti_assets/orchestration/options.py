"""The parameters of ``@dg.asset``, which every declaration takes with their own meaning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, TypedDict

import dagster as dg

from fti_assets.errors import DeclarationError, FtiError


class AssetOptions(TypedDict, total=False):
    """What ``@dg.asset`` takes, name by name, beside ``name`` and ``ins``; a test holds the two equal."""

    key_prefix: str | Sequence[str] | None
    deps: Iterable[Any] | None
    metadata: Mapping[str, Any] | None
    tags: Mapping[str, str] | None
    description: str | None
    config_schema: Any
    required_resource_keys: AbstractSet[str] | None
    resource_defs: Mapping[str, object] | None
    hooks: AbstractSet[dg.HookDefinition] | None
    io_manager_def: object | None
    io_manager_key: str | None
    dagster_type: dg.DagsterType | None
    partitions_def: dg.PartitionsDefinition[str] | None
    op_tags: Mapping[str, Any] | None
    group_name: str | None
    output_required: bool
    automation_condition: dg.AutomationCondition[Any] | None
    freshness_policy: dg.FreshnessPolicy | None
    backfill_policy: dg.BackfillPolicy | None
    retry_policy: dg.RetryPolicy | None
    code_version: str | None
    key: dg.AssetKey | str | Sequence[str] | None
    check_specs: Sequence[dg.AssetCheckSpec] | None
    owners: Sequence[str] | None
    kinds: AbstractSet[str] | None
    pool: str | None
    is_virtual: bool


@contextmanager
def accepted_by_dagster(name: str, kind: str = "asset") -> Iterator[None]:
    """Say in the library's words what Dagster refuses of a declaration's options.

    Args:
        name: of the declaration.
        kind: what Dagster is to make of it.
    """
    try:
        yield
    except FtiError:
        raise
    except Exception as error:  # Dagster's checks of what it takes share no class
        raise DeclarationError(f"{name} cannot be a Dagster {kind}: {error}") from error


def asset_key(options: AssetOptions, name: str) -> dg.AssetKey:
    """The key of the asset that is called ``name``, after the ``key`` or ``key_prefix`` that was asked for."""
    key = options.get("key")
    if key is not None:
        return dg.AssetKey(key) if isinstance(key, str) else dg.AssetKey(list(getattr(key, "path", key)))
    prefix = options.get("key_prefix") or []
    return dg.AssetKey([*([prefix] if isinstance(prefix, str) else prefix), name])
