"""What Dagster is told when the champion of a model changes other than by the materialization of its own asset."""

from __future__ import annotations

import getpass
import os
import socket

import dagster as dg

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import WHOLE, versioned
from fti_assets.errors import StoreError
from fti_assets.stores.models.store import AliasChange, Aliases, ModelStore


def champion_observations(store: ModelStore, aliases: Aliases, *, by: str) -> list[dg.AssetObservation]:
    """The newest change of a champion, for the page of the old and of the new one: an asset and its partition.

    Args:
        store: where their manifests are.
        aliases: after the change.
        by: who or what changed it.
    """
    change = aliases.history[-1]
    builds = [_manifest(store, aliases.model, build) for build in (change.champion, change.previous) if build]
    pages = {(_key(build), _partition(build)) for build in builds if build}
    return [_observation(change, key, partition, by) for key, partition in sorted(pages, key=str)]


def report_champion(store: ModelStore, aliases: Aliases) -> list[str]:
    """Tell the instance of ``DAGSTER_HOME`` of the newest change by hand; the keys of the assets whose pages show it."""
    observations = champion_observations(store, aliases, by=_person())
    with dg.DagsterInstance.get() as instance:
        for observation in observations:
            instance.report_runless_asset_event(observation)
    return sorted({observation.asset_key.to_user_string() for observation in observations})


def _person() -> str:
    """Who runs this process, and on which machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        name = f"user {os.getuid()}"
    return f"{name} on {socket.gethostname()}"


def _manifest(store: ModelStore, model: str, reference: str) -> ModelManifest | None:
    try:
        return store.manifest(model, reference)
    except StoreError:  # a champion whose files are lost
        return None


def _key(build: ModelManifest) -> dg.AssetKey:
    return dg.AssetKey(list(build.asset_key or (versioned(build.model, build.version),)))


def _partition(build: ModelManifest) -> str | None:
    return None if build.dataset.partition == WHOLE else build.dataset.partition


def _observation(change: AliasChange, key: dg.AssetKey, partition: str | None, by: str) -> dg.AssetObservation:
    return dg.AssetObservation(
        key,
        partition=partition,
        description=f"The champion is {change.champion}, before it was {change.previous or 'none'}: {change.reason}",
        metadata={
            "champion": change.champion,
            "previous_champion": change.previous or "none",
            "reason": change.reason,
            "changed_by": by,
            "changed_at": f"{change.at} UTC",
        },
    )
