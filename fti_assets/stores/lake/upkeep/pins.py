"""Which snapshots of the lake something is pinned to, and by whom."""

from __future__ import annotations

import json
from collections.abc import Iterator

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import DATASETS
from fti_assets.stores.lake.branches.branch import branch_of
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import OnlineStore

NEWEST = "the newest"
BEGINNING = "the beginning of the environment"
"""What a branch was made of, with which it is compared."""


def pins(
    lake: Lake, models: ModelStore, online: OnlineStore, *, since: int | None = None
) -> dict[int, tuple[str, ...]]:
    """The snapshots that must stay, and what is pinned to each.

    These are the snapshots that the manifests of training datasets name, those of the builds that are or were champion or
    can become it, those that the online namespaces were loaded from, the beginning of a branch, and the newest.

    Args:
        lake: an open connection to the offline store.
        models: the model store.
        online: the online store.
        since: a snapshot; datasets as they were at it count too, since a run that is going on may rest on them.

    Raises:
        DamagedError: a manifest cannot be read, so nobody can say what it is pinned to.
    """
    results: dict[int, list[str]] = {}
    for snapshot, what in [*_of_datasets(lake, since), *_of_models(models), *_of_online(online)]:
        if what not in results.setdefault(snapshot, []):
            results[snapshot].append(what)
    branch = branch_of(lake.store)
    if branch is not None:
        results.setdefault(branch.snapshot, []).append(BEGINNING)
    results.setdefault(lake.snapshot(), []).append(NEWEST)
    return {snapshot: tuple(whats) for snapshot, whats in sorted(results.items())}


def pinned_builds(models: ModelStore, model: str) -> list[ModelManifest]:
    """The builds that are or were champion or an arm, and the accepted ones, which can become it."""
    builds = {build.reference: build for build in models.builds(model)}
    aliases = models.aliases(model)
    references = {change.champion for change in aliases.history} | set(aliases.arms)
    return [build for build in builds.values() if build.status == "accepted" or build.reference in references]


def highest_named(models: ModelStore, online: OnlineStore) -> int:
    """The highest snapshot that any build or namespace names; 0 if none does."""
    of_builds = (build.snapshot for model in models.models() for build in models.builds(model))
    return max((*of_builds, *(snapshot for snapshot, _ in _of_online(online))), default=0)


def _of_datasets(lake: Lake, since: int | None) -> Iterator[tuple[int, str]]:
    for table in lake.tables():
        if table.schema != DATASETS:
            continue
        # A model may be learning from a dataset that was replaced meanwhile, so its old pins count too.
        ledgers = [lake.ledger(table), {} if since is None else lake.ledger(table, snapshot=since)]
        for ledger in ledgers:
            for record in ledger.values():
                snapshot = json.loads(record.record).get("snapshot")
                if snapshot is not None:
                    yield int(snapshot), f"{table.full_name} {record.partition}"


def _of_models(models: ModelStore) -> Iterator[tuple[int, str]]:
    for model in models.models():
        for build in pinned_builds(models, model):
            yield build.snapshot, f"model {model} {build.reference}"


def _of_online(online: OnlineStore) -> Iterator[tuple[int, str]]:
    for namespace in online.namespaces():
        snapshot = online.snapshot(namespace)
        if snapshot is not None:
            yield snapshot, f"online {namespace}"
