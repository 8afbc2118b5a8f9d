"""What Dagster recorded of the loads of online groups, compared with their namespaces: one can lose its newest loads silently.

A load is in the journal of a namespace's file until SQLite takes it over. If the journal is damaged, SQLite leaves out what comes after
the damage, and says nothing; a file that is put back from a copy is older, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from fti_assets.errors import StoreError
from fti_assets.orchestration.declaration import TableDeclaration, declaration_of
from fti_assets.orchestration.resources import ONLINE_KEYS
from fti_assets.stores.online.store import OnlineStore

_EVENTS = 20  # those of a key that was forgotten say nothing of a load


def namespaces_of(assets: Iterable[dg.AssetsDefinition]) -> dict[dg.AssetKey, str]:
    """The namespaces of the assets that are loaded to the online store."""
    declared = (declaration_of(asset) for asset in assets)
    return {
        one.key: one.table for one in declared if isinstance(one, TableDeclaration) and getattr(one, "online", False)
    }


def stale_namespaces(
    online: OnlineStore, instance: dg.DagsterInstance, namespaces: Mapping[dg.AssetKey, str]
) -> dict[str, str]:
    """The namespaces that are older than what Dagster recorded of their newest load, damaged or not there, each with a sentence.

    A run that was killed between its load and its event leaves a namespace that is ahead of Dagster: that is no loss.

    Args:
        online: the online store.
        instance: the Dagster instance whose runs loaded it.
        namespaces: the namespaces of the assets.
    """
    results = {}
    for key, namespace in namespaces.items():
        recorded = _recorded_snapshot(instance, key)
        if recorded is not None and (problem := _problem(online, namespace, recorded)) is not None:
            results[namespace] = (
                f"the online namespace of {namespace} in {online} {problem}. Materialize {namespace} again"
            )
    return results


def _problem(online: OnlineStore, namespace: str, recorded: int) -> str | None:
    try:
        about = online.about(namespace)
    except StoreError as error:
        return f"cannot be read: {error}"
    if about is None:
        return f"is not there, and Dagster recorded its load from snapshot {recorded}"
    if about.snapshot < recorded:
        return (
            f"has the rows of snapshot {about.snapshot}, and Dagster recorded its load from snapshot {recorded}: its file has lost what "
            "was loaded since, or is an old copy, so that it serves old rows"
        )
    return None


def _recorded_snapshot(instance: dg.DagsterInstance, key: dg.AssetKey) -> int | None:
    """The newest snapshot of a step that has loaded the namespace, None if no event of late says so."""
    events = (record.asset_materialization for record in instance.fetch_materializations(key, limit=_EVENTS).records)
    loads: list[Mapping[str, Any]] = [event.metadata for event in events if event and ONLINE_KEYS in event.metadata]
    return max((int(str(load["snapshot"].value)) for load in loads if "snapshot" in load), default=None)
