"""Moving what was made in an environment into main: refused whole where main has changed what it rests on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import TableName
from fti_assets.environments.opening import OpenEnvironment, open_environment, stores_of_main
from fti_assets.environments.serving import load_stale
from fti_assets.environments.telling import refuse_instance_of, tell_dagster
from fti_assets.environments.upstream import changed_below, written_by
from fti_assets.errors import StoreError, count_of, list_some
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.orchestration.declaration import declarations_of
from fti_assets.orchestration.resources import Stores
from fti_assets.plan.reads import tables_of
from fti_assets.stores.lake.branches.comparing import PartitionChange, partition_changes
from fti_assets.stores.lake.branches.merging import move_partitions, tables_changed_since
from fti_assets.stores.lake.branches.notes import MergeNotes, merge_notes, write_notes
from fti_assets.stores.models.branches import (
    CHAMPION,
    ROLLOUT,
    ModelChange,
    alias_change,
    alias_marks,
    model_changes,
    move_aliases,
    publish_again,
)


@dataclass(frozen=True)
class Merge:
    """What a merge has moved: partitions, by table, builds and champions; and the snapshot of main that has them.

    ``online`` is how many keys each namespace of main's online store has that was loaded, and ``reports`` how many partitions of each
    asset Dagster was told of, None if no instance was named.
    """

    environment: str
    snapshot: int
    partitions: Sequence[PartitionChange]
    builds: Sequence[ModelManifest]
    champions: dict[str, str | None]
    left_out: dict[str, str] = field(default_factory=dict)
    online: dict[str, int] = field(default_factory=dict)
    reports: dict[str, int] | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """It as JSON takes it."""
        return {
            "environment": self.environment,
            "snapshot": self.snapshot,
            "partitions": {table.full_name: keys for table, keys in self.by_table.items()},
            "builds": [f"{build.model}/{build.reference}" for build in self.builds],
            "champions": self.champions,
            "left_out": self.left_out,
            "online": self.online,
            "reports": self.reports,
        }

    @property
    def by_table(self) -> dict[TableName, list[str]]:
        """The partitions that were moved, by table."""
        results: dict[TableName, list[str]] = {}
        for one in self.partitions:
            results.setdefault(one.table, []).append(one.partition)
        return results

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if not self.partitions and not self.builds and not self.champions:
            yield f"main has all of the environment {self.environment!r} already"
        for table, keys in self.by_table.items():
            yield f"{table.full_name}: {count_of(len(keys), 'partition')}, in snapshot {self.snapshot} of main"
        for build in self.builds:
            yield f"model {build.model}: build {build.reference} ({build.status})"
        for model, champion in self.champions.items():
            yield f"model {model}: the champion is {champion}"
        for what, why in self.left_out.items():
            yield f"left out: {what}, {why}"
        for namespace, count in self.online.items():
            yield f"online {namespace}: {count_of(count, 'key')}"
        if self.reports is None:
            yield (
                "Dagster was not told, since DAGSTER_HOME is not set: its conditions would make again what was merged. Set it to the "
                f"instance of main, then fti env merge {self.environment} once more"
            )
        elif self.reports:
            yield "Dagster knows " + ", ".join(f"{count} of {asset}" for asset, count in self.reports.items())


def merge(
    definitions: dg.Definitions, stores: Stores, name: str, *, instance: dg.DagsterInstance | None = None
) -> Merge:
    """Move what was made in an environment into main: its partitions in one transaction, then its builds, then its champions.

    Then main's online store is loaded with what came, and Dagster is told of it, so that its conditions run nothing of it again. What was
    killed half way is done by doing it again: what main has already is left as it is.

    Args:
        definitions: the system's, whose code made what is merged.
        stores: those of main.
        name: the environment's.
        instance: the Dagster instance of main; none is told without one.

    Raises:
        NotMaterializedError: there is none of that name.
        DamagedError: main was reset since, or a file of the environment is damaged.
        StoreError: main has changed the same partitions, or what they rest on, or a champion, since the environment was made, or the
            instance is that of the environment: nothing was changed. Or the online store cannot be loaded: what was merged stays.
    """
    main_stores = stores_of_main(stores, "an environment is merged into main alone")
    if instance is not None:
        refuse_instance_of(instance, name, definitions)
    with open_environment(main_stores, name) as env, env.main.store.lock():
        mains, own = env.main_stores.model_store(), env.own_stores.model_store()
        with env.own.one_snapshot(), env.main.one_snapshot():
            changes = partition_changes(env.own, env.main, env.about)
            moves = [one for one in changes if not one.is_in_main]
            models = model_changes(mains, own, env.about.models, env.alias_marks)
            builds, left_out = _builds_to_move(env, models)
            _refuse_conflicts(env, changes, models, [*builds, *_serving(env, models)], definitions)
        message = f"merge environment {name}"
        snapshot = move_partitions(env.main, env.own, env.about, moves, message=message)
        _note(env, changes)
        for build in builds:
            publish_again(mains, own, build, _snapshot_in_main(env, build))
        champions = {}
        for one in models:
            if one.aliases:
                move_aliases(mains, own, one.model, one.aliases, env.alias_marks(one.model))
                champions[one.model] = mains.aliases(one.model).champion
        _note(env, changes)
        # Dagster last: what a condition then asks for finds everything in its place.
        online = _load_online(env, definitions, changes)
        reports = None if instance is None else tell_dagster(instance, env, definitions, changes, online, champions)
    return Merge(name, snapshot, moves, builds, champions, left_out, online, reports)


def _load_online(
    env: OpenEnvironment, definitions: dg.Definitions, changes: Sequence[PartitionChange]
) -> dict[str, int]:
    try:
        return load_stale(definitions, env.main, env.main_stores, {one.table for one in changes})
    except StoreError as error:
        raise StoreError(
            f"{error}. What was merged stays: see to the online store, then fti env merge {env.about.name} once more"
        ) from error


def _refuse_conflicts(
    env: OpenEnvironment,
    changes: Sequence[PartitionChange],
    models: Sequence[ModelChange],
    builds: Sequence[ModelManifest],
    definitions: dg.Definitions,
) -> None:
    problems = [
        f"{one.table.full_name} {one.partition} has {_rows(one)} in main, which were neither there when the environment was made "
        f"nor are its own{written_by(one.main)}"
        for one in changes
        if not one.is_in_main and one.conflicts
    ]
    learned = {one.reference: one for build in builds for one in _trained(env, build)}
    problems += changed_below(env, changes, list(learned.values()), definitions)
    problems += [problem for one in models for alias, problem in _alias_changes(env, one.model) if alias in one.aliases]
    problems += _other_answerers(env, changes, definitions)
    if problems:
        before = " What a merge moved before stays." if any(one.is_in_main for one in changes) else ""
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise StoreError(
            f"the environment {env.about.name!r} cannot be merged, since main has changed since snapshot {env.about.snapshot}, of "
            f"which it was "
            f"made: {'; '.join(problems[:5])}{more}. Nothing was merged.{before} Make a new environment of main as it is now, and run the "
            f"change there: "
            f"fti env drop {env.about.name} --force, fti env create {env.about.name}"
        )


def _other_answerers(
    env: OpenEnvironment, changes: Sequence[PartitionChange], definitions: dg.Definitions
) -> Iterator[str]:
    """Answers of the environment by models whose champion or rollout main has changed since."""
    by_table = tables_of(declarations_of(definitions))
    for table in dict.fromkeys(one.table for one in changes if not one.is_in_main):
        declaration = by_table.get(table)
        for model in declaration.models if isinstance(declaration, BatchPredictions) else ():
            for _, problem in _alias_changes(env, model.name):
                yield f"{table.full_name} was answered by model {model.name!r}, and {problem}"


def _alias_changes(env: OpenEnvironment, model: str) -> Iterator[tuple[str, str]]:
    """The aliases of a model that main has changed since, and not as the environment has, each with what was done to it."""
    mains, own, before = (
        env.main_stores.model_store().aliases(model),
        alias_marks(env.own_stores.model_store().aliases(model)),
        env.alias_marks(model),
    )
    for alias, mark in alias_marks(mains).items():
        if mark not in before[alias] and mark != own[alias]:
            yield alias, alias_change(mains, alias)


def _serving(env: OpenEnvironment, models: Sequence[ModelChange]) -> Iterator[ModelManifest]:
    """The builds of the environment that main has, and that are to serve there."""
    own = env.own_stores.model_store()
    for one in models:
        base = env.about.models.get(one.model)
        aliases = own.aliases(one.model)
        champions = [aliases.champion] if CHAMPION in one.aliases else []
        for reference in [*champions, *(aliases.arms if ROLLOUT in one.aliases else ())]:
            if reference is not None and (base is None or reference not in base.builds):
                yield own.manifest(one.model, reference)


def _trained(env: OpenEnvironment, build: ModelManifest) -> Iterator[ModelManifest]:
    """The builds that have learned from a dataset: itself, or what a composite was made of in the environment."""
    if build.composite is not None:
        for member in build.composite.members:
            base = env.about.models.get(member.model)
            if base is None or member.build not in base.builds:
                yield env.own_stores.model_store().manifest(member.model, member.build)
    elif build.kind == "model":
        yield build


def _snapshot_in_main(env: OpenEnvironment, build: ModelManifest) -> int:
    """The snapshot of main that has what a build learned from: the one that its dataset is pinned to there."""
    if build.snapshot < env.about.first:
        return build.snapshot
    if build.composite is not None:
        members = build.composite.members
        own = env.own_stores.model_store()
        return max(_snapshot_in_main(env, own.manifest(one.model, one.build)) for one in members)
    table, key = build.dataset.table, build.dataset.partition
    record, own_record = env.main.ledger(table).get(key), env.own.ledger(table).get(key)
    if record is None or own_record is None or record.run_id != own_record.run_id:
        raise StoreError(
            f"main has another {table.full_name} {key} than the build {build.reference} of model {build.model!r} learned from: "
            f"merge it once more"
        )
    return int(json.loads(record.record)["snapshot"])


def _builds_to_move(env: OpenEnvironment, models: Sequence[ModelChange]) -> tuple[list[ModelManifest], dict[str, str]]:
    """The builds that main gets, and why others are left out: what they learned from is not what the environment has now."""
    builds, left_out = [], {}
    for one in models:
        aliases = env.own_stores.model_store().aliases(one.model)
        for build in one.builds:
            changed = (
                tables_changed_since(env.own, build.dataset.upstream, build.snapshot)
                if build.snapshot >= env.about.first
                else []
            )
            if not changed:
                builds.append(build)
            elif build.reference in {aliases.champion, *aliases.arms}:
                raise StoreError(
                    f"the build {build.reference} of model {one.model!r} serves in the environment {env.about.name!r}, and learned "
                    f"from rows that "
                    f"this has no more: {list_some(changed)} was run again after it. Train it again there, then merge; nothing was changed"
                )
            else:
                left_out[f"{one.model}/{build.reference}"] = f"since {list_some(changed)} was run again after it"
    return builds, left_out


def _note(env: OpenEnvironment, changes: Sequence[PartitionChange]) -> None:
    """Write down what main has of the environment, so that another merge knows it for its own."""
    before = merge_notes(env.main.store, env.about.name)
    versions, contracts = {table: dict(its) for table, its in before.versions.items()}, dict(before.contracts)
    for table in dict.fromkeys(one.table for one in changes):
        now = env.main.ledger(table)
        its = versions.setdefault(table.full_name, {})
        its |= {one.partition: now[one.partition].data_version for one in changes if one.table == table}
        contract, noted = env.own.contract(table), contracts.get(table.full_name, ())
        if contract and contract == env.main.contract(table) and contract not in noted:
            contracts[table.full_name] = (*noted, contract)
    marks, (own, mains) = dict(before.marks), (env.own_stores.model_store(), env.main_stores.model_store())
    for model in own.models():
        of_main, earlier = alias_marks(mains.aliases(model)), env.alias_marks(model)
        for alias, mark in alias_marks(own.aliases(model)).items():
            if mark == of_main[alias] and mark not in earlier[alias]:
                its_marks = marks.get(model, {})
                marks[model] = {**its_marks, alias: (*its_marks.get(alias, ()), mark)}
    write_notes(env.main.store, env.about.name, MergeNotes(versions, before.aliases, contracts, marks))


def _rows(one: PartitionChange) -> str:
    return "no rows" if one.main is None else f"{count_of(one.main.rows, 'row')}"
