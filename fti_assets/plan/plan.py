"""A plan: what a change of code recomputes, what of that by itself, what it costs, and what stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

import dagster as dg

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import WHOLE
from fti_assets.describe import existing_store
from fti_assets.errors import PredictionError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.orchestration.declaration import Declaration, TableDeclaration, declarations_of, walk
from fti_assets.orchestration.partitions import is_timed, partitions_of
from fti_assets.orchestration.resources import Stores
from fti_assets.plan.changes import Change, change_of, is_run_by_hand
from fti_assets.plan.following import NEVER, OWN_CONDITION, Assets, _every, _missing, following
from fti_assets.plan.reads import readers_among, reads_of
from fti_assets.plan.stored import Estimate, Stored
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.models.model import Model, Servable

Partitions = tuple[str, ...]


@dataclass(frozen=True)
class PlannedAsset:
    """What a change does to one asset.

    ``run`` are the partitions that have to be run for it, by hand or by a job; ``follow`` those that then run by themselves, if what they
    read has other rows; ``outdated`` those that are stored, rest on these or on other code, and stay; ``stays`` how many are untouched.
    ``unknown`` are those of which nobody noted the code that made them. ``estimate`` is of ``run`` and ``follow`` together.
    """

    asset: str
    kind: str
    run: Partitions
    follow: Partitions
    outdated: Partitions
    unknown: Partitions
    stays: int
    why: str
    needs_version: str
    estimate: Estimate

    @property
    def is_touched(self) -> bool:
        return bool(self.run or self.follow or self.outdated or self.needs_version)

    @property
    def plain(self) -> dict[str, Any]:
        """It as JSON takes it."""
        return {
            "asset": self.asset,
            "kind": self.kind,
            "run": list(self.run),
            "follow": list(self.follow),
            "outdated": list(self.outdated),
            "unknown": list(self.unknown),
            "stays": self.stays,
            "why": self.why,
            "needs_version": self.needs_version,
            "rows": self.estimate.rows,
            "seconds": self.estimate.seconds,
        }


@dataclass(frozen=True)
class TouchedChampion:
    """A champion that rests on what changes, the tables that do, and whether this code refuses to serve it, empty if it does not."""

    model: str
    build: str
    tables: Partitions
    refused: str

    @property
    def plain(self) -> dict[str, Any]:
        """It as JSON takes it."""
        return {"model": self.model, "build": self.build, "tables": list(self.tables), "refused": self.refused}


@dataclass(frozen=True)
class Plan:
    """What a change of code recomputes of a lake and a model store."""

    against: str
    snapshot: int
    assets: Sequence[PlannedAsset]
    champions: Sequence[TouchedChampion]
    commands: Sequence[str]

    @property
    def total(self) -> Estimate:
        """Rows and seconds of all that is run."""
        total = Estimate(0, 0.0)
        for one in self.assets:
            if one.run or one.follow:
                total += one.estimate
        return total

    @property
    def recomputes(self) -> bool:
        """Whether anything is run."""
        return any(one.run or one.follow for one in self.assets)

    @property
    def plain(self) -> dict[str, Any]:
        """It as JSON takes it."""
        return {
            "against": self.against,
            "snapshot": self.snapshot,
            "assets": [one.plain for one in self.assets],
            "champions": [one.plain for one in self.champions],
            "rows": self.total.rows,
            "seconds": self.total.seconds,
            "commands": list(self.commands),
        }


def plan_change(definitions: dg.Definitions, stores: Stores, *, source: str = "") -> Plan:
    """Say what the code of some definitions recomputes of what is stored; nothing is changed.

    It is a bound: what runs by itself does so only if what it reads has other rows.

    Args:
        definitions: those of the changed code.
        stores: what it is held against.
        source: how a command line names the definitions, ``-f FILE`` or ``-m MODULE``.

    Raises:
        NotMaterializedError: there is no offline store.
    """
    declarations = walk(declarations_of(definitions))
    store = existing_store(stores)
    with store.connect() as lake, lake.one_snapshot():
        stored = Stored(lake, stores.model_store())
        assets = Assets(
            {one.key: set(stored.keys(one)) for one in declarations},
            {one.key: set() for one in declarations},
            {},
            {one.key: _final(one, lake) for one in declarations},
        )
        planned = [_planned(one, stored, lake, assets) for one in declarations]
        champions = list(_champions(declarations, stored, assets))
        snapshot = lake.snapshot()
    touched = [one for one in planned if one.is_touched or one.unknown]
    untouched = [one for one in planned if one not in touched]
    by_key = {one.key.to_user_string(): one for one in declarations}
    return Plan(str(store.root), snapshot, [*touched, *untouched], champions, list(_commands(planned, by_key, source)))


def _planned(declaration: Declaration, stored: Stored, lake: Lake, assets: Assets) -> PlannedAsset:
    change, made = change_of(declaration, stored, lake), stored.keys(declaration)
    follow, reason = _followed(declaration, change, assets)
    run = (
        [] if change.needs_version else [key for key in _run(declaration, change, stored, assets) if key not in follow]
    )
    below = _readers_of_changes(declaration, made, assets)
    redone = {*run, *follow}
    outdated = [key for key in made if key in {*below, *change.partitions} and key not in redone]
    waits = next((assets.blocked[one.key] for one in reads_of(declaration) if one.key in assets.blocked), "")
    if change.needs_version or waits:
        assets.blocked[declaration.key] = waits or declaration.asset_name
        run, follow, outdated = [], [], list(made) if change.needs_version else outdated
    assets.stored_keys[declaration.key] |= {*run, *follow}
    assets.changed[declaration.key] |= {*run, *follow}
    whys = [change.why if run or outdated or change.is_new else "", "what it reads changes" if follow else ""]
    whys += [f"it waits for a new version of {waits}"] if waits else []
    whys += [reason if outdated and reason in (NEVER, OWN_CONDITION) else ""]
    return PlannedAsset(
        asset=declaration.key.to_user_string(),
        kind=_kind(declaration),
        run=tuple(run),
        follow=tuple(follow),
        outdated=tuple(outdated),
        unknown=change.unknown,
        stays=len([key for key in made if key not in redone and key not in outdated]),
        why="; ".join(filter(None, whys)),
        needs_version=change.needs_version,
        estimate=stored.estimate(declaration, [*run, *follow]),
    )


def _followed(declaration: Declaration, change: Change, assets: Assets) -> tuple[list[str], str]:
    keys, reason = following(declaration, assets)
    if isinstance(declaration, TrainingDataset) and declaration.partitions_def is not None and not change.is_new:
        keys = []  # cutoffs that are due anyway
    if isinstance(declaration, Model) and not change.is_new and not assets.changed.get(declaration.dataset.key):
        keys = []
    return keys, reason


def _run(declaration: Declaration, change: Change, stored: Stored, assets: Assets) -> list[str]:
    """The partitions that have to be run since their code is another."""
    if not is_run_by_hand(declaration):
        return []
    if isinstance(declaration, FeatureGroup):
        if declaration.source is not None:
            return []
        return _of_new_group(declaration, stored, assets) if change.is_new else list(change.partitions)
    if isinstance(declaration, TrainingDataset):
        if change.is_new:
            return [] if declaration.partitions_def is not None else [WHOLE]
        return _newest(
            declaration.partitions_def, stored.keys(declaration), declaration.catch_up, candidates=change.partitions
        )
    assert isinstance(declaration, Model)
    cutoffs = assets.stored_keys.get(declaration.dataset.key, set())
    newest = _newest(declaration.partitions_def, cutoffs, declaration.catch_up)
    return (
        [key for key in newest if change.is_new or key in change.partitions or key not in stored.keys(declaration)]
        if (change.is_new or change.partitions)
        else []
    )


def _of_new_group(group: FeatureGroup, stored: Stored, assets: Assets) -> list[str]:
    """The partitions of a group of which nothing is stored: those of its version before, else those whose inputs are there, else all."""
    every = _every(group.partitions_def)
    for table in stored.versions_before(group):
        before = stored.lake.ledger(table)
        if keys := [key for key in every if key in before]:
            return keys
    inputs = reads_of(group)
    if not inputs:
        return every
    absent: set[str] = set()
    for source in inputs:
        if not assets.stored_keys.get(source.key):
            return []
        if missing := _missing(source, assets, after_newest=False):
            readers = readers_among(source, missing, group.partitions_def)
            absent |= set(every if readers is None else readers) if group.partitions_def is not None else set()
    return [key for key in every if key not in absent]


def _newest(
    partitions_def: dg.PartitionsDefinition[str] | None,
    keys: Any,
    number: int,
    *,
    candidates: Sequence[str] | None = None,
) -> list[str]:
    """The newest so many of some partitions, those of them that are among others; all if they have no order in time."""
    if not is_timed(partitions_def):
        return [key for key in keys if candidates is None or key in candidates]
    newest = [one.key for one in partitions_of(partitions_def, list(keys))][-number:]
    return [key for key in newest if candidates is None or key in candidates]


def _readers_of_changes(declaration: Declaration, made: Any, assets: Assets) -> set[str]:
    """The stored partitions that read what has other rows."""
    if isinstance(declaration, BatchPredictions):
        return set()  # answers that people got
    results: set[str] = set()
    for source in reads_of(declaration):
        if changed := assets.changed.get(source.key):
            readers = readers_among(source, sorted(changed), declaration.partitions_def)
            results |= set(made) if readers is None else set(readers) & set(made)
    return results


def _final(declaration: Declaration, lake: Lake) -> set[str]:
    if not isinstance(declaration, TableDeclaration) or not is_timed(declaration.partitions_def):
        return set()
    delay = getattr(declaration, "serving_delay", None) or timedelta(0)
    ledger = lake.ledger(declaration.table)
    current = [key for key in ledger if declaration.partitions_def.has_partition_key(key)]
    partitions = partitions_of(declaration.partitions_def, current)
    return {one.key for one in partitions if one.end is None or ledger[one.key].run_at >= one.end + delay}


def _champions(declarations: Sequence[Declaration], stored: Stored, assets: Assets) -> Iterator[TouchedChampion]:
    """The champions that learned from what changes, or that this code would refuse to serve."""
    tables = {
        one.table_name: one for one in declarations if isinstance(one, TableDeclaration) and assets.changed.get(one.key)
    }
    for declaration in declarations:
        if not isinstance(declaration, Servable):
            continue
        champion = stored.models.aliases(declaration.name).champion
        if champion is None:
            continue
        build = stored.models.manifest(declaration.name, champion)
        names = [build.view.spine_table.name, *(join.table.name for join in build.view.joins)]
        touched = tuple(dict.fromkeys(name for name in names if name in tables))
        refused = _refusal(build)
        if touched or refused:
            yield TouchedChampion(declaration.name, champion, touched, refused)


def _refusal(build: ModelManifest) -> str:
    from fti_assets.core.on_demand.call import check_source

    for call in build.on_demand:
        try:
            check_source(call)
        except PredictionError as error:
            return str(error)
    return ""


def _kind(declaration: Declaration) -> str:
    if isinstance(declaration, Servable):
        return "model"
    if isinstance(declaration, TableDeclaration):
        return {"features": "group", "datasets": "dataset"}.get(declaration.schema_name, declaration.schema_name)
    return type(declaration).__name__.lower()


def _commands(planned: Sequence[PlannedAsset], by_key: Mapping[str, Declaration], source: str) -> Iterator[str]:
    """What runs all of it, in order: what runs by itself, too, for where no daemon does."""
    for one in planned:
        keys, declaration = [*one.run, *one.follow], by_key[one.asset]
        if not keys:
            continue
        select = f"dagster asset materialize{source and f' {source}'} --select {one.asset}"
        if declaration.partitions_def is None:
            yield select
            continue
        for first, last in ranges(declaration.partitions_def, keys):
            yield f"{select} --partition {first}" if first == last else f"{select} --partition-range {first}...{last}"


def ranges(partitions_def: dg.PartitionsDefinition[str], keys: Sequence[str]) -> list[tuple[str, str]]:
    """Partitions as the first and the last of each run of adjoining ones; one by one where they have no order in time."""
    if not is_timed(partitions_def):
        return [(key, key) for key in keys]
    places = {key: number for number, key in enumerate(_every(partitions_def))}
    ordered = sorted((key for key in keys if key in places), key=places.__getitem__)
    runs = groupby(enumerate(ordered), key=lambda one: places[one[1]] - one[0])
    results = []
    for _, group in runs:
        its = [key for _, key in group]
        results.append((its[0], its[-1]))
    return results
