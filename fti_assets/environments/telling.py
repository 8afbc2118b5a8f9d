"""Telling Dagster of what was merged: its conditions then know it for made, and nothing of it is made again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import WHOLE, TableName
from fti_assets.environments.opening import OpenEnvironment
from fti_assets.errors import StoreError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.monitors.monitor import Monitor
from fti_assets.orchestration.conditions.partition_conditions import CHAMPION_AFTER_RUN, NO_CHAMPION
from fti_assets.orchestration.declaration import Declaration, TableDeclaration, declarations_of, walk
from fti_assets.orchestration.partitions import partitions_of
from fti_assets.orchestration.reported_run import MadeElsewhere, report_run, unreported
from fti_assets.orchestration.resources import ONLINE_KEYS
from fti_assets.orchestration.step import ENVIRONMENT
from fti_assets.stores.lake.branches.comparing import PartitionChange
from fti_assets.stores.lake.work import code_version_in
from fti_assets.stores.models.aliases import Aliases
from fti_assets.training.models.events import champion_observations

MERGED_FROM = "fti/merged_from"
"""The tag of a run that tells Dagster of what was merged, with the environment's name."""


def refuse_instance_of(instance: dg.DagsterInstance, name: str, definitions: dg.Definitions) -> None:
    """Refuse the Dagster instance of the environment itself, which knows of its partitions already.

    Raises:
        StoreError: it is that.
    """
    for declaration in _own(definitions):
        event = instance.get_latest_materialization_event(declaration.key)
        run = None if event is None else instance.get_run_by_id(event.run_id)
        if run is not None and run.tags.get(ENVIRONMENT) == name:
            raise StoreError(
                f"DAGSTER_HOME is the instance of the environment {name!r}, which ran {declaration.key.to_user_string()} there: set it to "
                "that of main, or unset it to tell none. Nothing was merged"
            )


def tell_dagster(
    instance: dg.DagsterInstance,
    env: OpenEnvironment,
    definitions: dg.Definitions,
    changes: Sequence[PartitionChange],
    online_keys: Mapping[str, int],
    champions: Iterable[str],
) -> dict[str, int]:
    """Tell of all that main has of an environment by now and Dagster has not heard of, in one run.

    Args:
        instance: that of main.
        env: the environment, after the merge.
        definitions: the system's, whose code made what was merged.
        changes: the partitions that were run in the environment.
        online_keys: how many keys each namespace that was loaded has.
        champions: the models whose champion was moved.

    Returns:
        How many partitions of each asset were told, by name.
    """
    made = unreported(instance, list(_made(env, definitions, changes, online_keys)))
    store = env.main_stores.model_store()
    if made:
        name = env.about.name
        report_run(instance, made, tags={MERGED_FROM: name}, message=f"merged from the environment {name}")
    for model in champions:
        aliases: Aliases = store.aliases(model)
        for observation in champion_observations(store, aliases) if aliases.history else ():
            instance.report_runless_asset_event(observation)
    counts: dict[str, int] = {}
    for one in made:
        key = one.asset.key.to_user_string()
        counts[key] = counts.get(key, 0) + 1
    return counts


def _own(definitions: dg.Definitions) -> list[Declaration]:
    """The declarations that this code location makes, each after what it rests on."""
    return [one for one in walk(declarations_of(definitions)) if one.is_owned]


def _made(
    env: OpenEnvironment,
    definitions: dg.Definitions,
    changes: Sequence[PartitionChange],
    online_keys: Mapping[str, int],
) -> Iterator[MadeElsewhere]:
    snapshot = env.main.snapshot()
    by_table: dict[TableName, list[PartitionChange]] = {}
    for one in changes:
        if _is_as_in_main(env, one):
            by_table.setdefault(one.table, []).append(one)
    builds = list(_builds_of_environment(env))
    for declaration in _own(definitions):
        if isinstance(declaration, TableDeclaration):
            its = by_table.get(declaration.table, ()) if declaration.is_stored else ()
            keys = online_keys.get(declaration.table_name)
            online = {} if keys is None else {ONLINE_KEYS: keys}
            yield from _partitions(declaration, its, {"snapshot": snapshot, **online})
        else:
            yield from (_build(env, declaration, one) for one in builds if _is_of(declaration, one))


def _is_as_in_main(env: OpenEnvironment, change: PartitionChange) -> bool:
    now = env.main.ledger(change.table).get(change.partition)
    return now is not None and (now.run_id, now.run_at) == (change.own.run_id, change.own.run_at)


def _partitions(
    declaration: TableDeclaration, changes: Sequence[PartitionChange], metadata: Mapping[str, Any]
) -> Iterator[MadeElsewhere]:
    ends = {one.key: one.end for one in partitions_of(declaration.partitions_def, [one.partition for one in changes])}
    delay, current = _delay(declaration), declaration.assets_def.code_versions_by_key[declaration.key] or ""
    for change in changes:
        record, end = change.own, ends.get(change.partition)
        rows = {"dagster/row_count": record.rows}
        if change.partition != WHOLE:
            rows["dagster/partition_row_count"] = record.rows
        yield MadeElsewhere(
            declaration.assets_def,
            None if declaration.partitions_def is None else change.partition,
            record.data_version,
            code_version_in(record) or current,
            {**metadata, **rows},
            is_provisional=delay is not None and end is not None and record.run_at < end + delay,
        )


def _delay(declaration: TableDeclaration) -> timedelta | None:
    """How long after its end a partition is still provisional; None if its rows are never that."""
    match declaration:
        case FeatureGroup():
            return declaration.serving_delay or timedelta(0)
        case Monitor():
            return declaration.maturity
    return None


def _builds_of_environment(env: OpenEnvironment) -> Iterator[ModelManifest]:
    """The builds that main has from the environment, the newest of each cutoff, if it was accepted."""
    mains, own = env.main_stores.model_store(), env.own_stores.model_store()
    for model in own.models():
        base = env.about.models.get(model)
        before = set() if base is None else {*base.builds}
        theirs = {one.reference for one in own.builds(model)} - before
        newest: dict[tuple[int, str], ModelManifest] = {}
        for build in mains.builds(model) if model in mains.models() else ():
            if build.status != "rejected":
                place = (build.version, build.dataset.partition)
                newest[place] = max(
                    build, newest.get(place, build), key=lambda one: (one.created_at, one.reference in theirs)
                )
        yield from (build for build in newest.values() if build.reference in theirs)


def _is_of(declaration: Declaration, build: ModelManifest) -> bool:
    return (declaration.name, declaration.version) == (build.model, build.version)


def _build(env: OpenEnvironment, declaration: Declaration, build: ModelManifest) -> MadeElsewhere:
    store = env.main_stores.model_store()
    metadata = {
        "build": build.reference,
        CHAMPION_AFTER_RUN: store.aliases(build.model).champion or NO_CHAMPION,
        **{f"test/{name}": value for name, value in build.metrics.items()},
        "dagster/uri": str(store.folder(build)),
    }
    partition = None if build.dataset.partition == WHOLE else build.dataset.partition
    return MadeElsewhere(declaration.assets_def, partition, build.build, build.code_version, metadata)
