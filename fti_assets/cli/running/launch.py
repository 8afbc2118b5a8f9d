"""Running assets in this process: which ones, of which partitions, in how many runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
import dagster as dg

from fti_assets.cli.running.instance import instance_to_run_in
from fti_assets.cli.running.outcome import Outcome, checks_of, errors_of, made_by
from fti_assets.errors import list_some, one_of
from fti_assets.orchestration.dagster_internals import partition_loading_context
from fti_assets.orchestration.declaration import declaration_of
from fti_assets.orchestration.partitions import RANGE_TAGS


def launch(
    system: dg.Definitions,
    names: Sequence[str],
    *,
    partition: str | None,
    first: str | None,
    last: str | None,
    config: Mapping[str, Any],
    log_level: str,
) -> Outcome:
    """Run assets and say what came of it.

    Args:
        system: the definitions.
        names: of assets: ``weather_v1``, or of a declaration, ``weather``, if it has one version.
        partition: of all of them.
        first, last: or a range of partitions, both included.
        config: of the run, as Dagster has it.
        log_level: from which level on Dagster's log goes to standard error.

    Raises:
        UsageError: there is no such asset or partition, or they cannot be run together.
    """
    repository = system.get_repository_def()
    keys = [_key(repository, name) for name in dict.fromkeys(names)]
    with instance_to_run_in() as instance, partition_loading_context(dynamic_partitions_store=instance):
        parts = {repository.asset_graph.get(key).partitions_def for key in keys}
        job = repository.get_implicit_job_def_for_assets(keys)
        if job is None or len(parts - {None}) > 1:
            raise click.UsageError(
                f"{list_some(_text(key) for key in keys)} have different partitions: run each by itself"
            )
        partitions = _partitions(repository, keys, partition, first, last)
        if "console" in job.loggers and "loggers" not in config:
            config = {**config, "loggers": {"console": {"config": {"log_level": log_level.upper()}}}}
        began, events, runs = time.monotonic(), list[dg.DagsterEvent](), list[str]()
        for tags, key in _runs(repository, keys, partitions):
            done = job.execute_in_process(
                run_config=config,
                instance=instance,
                asset_selection=keys,
                partition_key=key,
                tags=tags,
                raise_on_error=False,
            )
            events += done.all_events
            runs.append(done.run_id)
            if not done.success:
                break
    return Outcome(
        assets=[_text(key) for key in keys],
        partitions=partitions,
        unpartitioned=[_text(key) for key in keys if repository.asset_graph.get(key).partitions_def is None],
        runs=runs,
        made=list(made_by(events)),
        checks=list(checks_of(events)),
        errors=list(dict.fromkeys(errors_of(events))),
        seconds=time.monotonic() - began,
    )


def _text(key: dg.AssetKey) -> str:
    return str(key.to_user_string())


def _key(repository: Any, name: str) -> dg.AssetKey:
    assets = repository.assets_defs_by_key
    by_text = {_text(key): key for key in assets}
    owned = {text: key for text, key in by_text.items() if assets[key].is_executable and not _is_observed(assets[key])}
    key = by_text.get(name)
    if key is None:
        declared = [one for one in by_text.values() if getattr(declaration_of(assets[one]), "name", None) == name]
        if len(declared) > 1:
            raise click.UsageError(
                f"the definitions have several versions of {name!r}: write {one_of(sorted(map(_text, declared)))}"
            )
        if not declared:
            raise click.UsageError(f"the definitions have no asset {name!r}: they make {one_of(sorted(owned))}")
        [key] = declared
    if _text(key) not in owned:
        raise click.UsageError(
            f"{_text(key)} is made in another code location, or observed, and cannot be run from here: run it with the definitions that "
            f"make it. These make {one_of(sorted(owned))}"
        )
    return key


def _is_observed(asset: dg.AssetsDefinition) -> bool:
    return bool(asset.execution_type.name == "OBSERVATION")


def _partitions(
    repository: Any, keys: Sequence[dg.AssetKey], partition: str | None, first: str | None, last: str | None
) -> list[str]:
    """The partitions that are run, in their order; none of assets without partitions."""
    definitions = {_text(key): repository.asset_graph.get(key).partitions_def for key in keys}
    is_selected = partition is not None or first is not None or last is not None
    parts = [one for one in definitions.values() if one is not None]
    if not parts:
        if is_selected:
            raise click.UsageError(
                f"{list_some(definitions)} has no partitions: leave out --partition, --from and --to"
            )
        return []
    name, definition = next((name, one) for name, one in definitions.items() if one is not None)
    every = _span(definition)
    if partition is not None and (first is not None or last is not None):
        raise click.UsageError("--partition names one partition, --from and --to a range: give one or the other")
    if not is_selected or (partition is None and (first is None or last is None)):
        lacking = (
            "name one, --partition KEY, or a range, --from KEY --to KEY"
            if not is_selected
            else "a range needs both --from and --to"
        )
        raise click.UsageError(f"{name} is partitioned, {every}: {lacking}")
    for key in (partition, first, last):
        if key is not None and not definition.has_partition_key(key):
            raise click.UsageError(f"{name} has no partition {key!r}: it has {every}")
    if partition is not None:
        return [partition]
    assert first is not None
    assert last is not None
    keys_between = list(definition.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))
    if not keys_between:
        raise click.UsageError(f"{name} has no partition from {first!r} to {last!r}: --from is the earlier one")
    return keys_between


def _span(definition: Any) -> str:
    first, last = definition.get_first_partition_key(), definition.get_last_partition_key()
    return "which has none yet" if first is None else f"{first!r} to {last!r}"


def _runs(
    repository: Any, keys: Sequence[dg.AssetKey], partitions: Sequence[str]
) -> Iterator[tuple[dict[str, str], str | None]]:
    """The tags and the partition of each run: a range is one run, unless an asset says that each of its partitions is run by itself."""
    if len(partitions) < 2:
        yield {}, partitions[0] if partitions else None
        return
    policies = [repository.asset_graph.get(key).backfill_policy for key in keys]
    if all(policy is not None and policy.max_partitions_per_run is None for policy in policies):
        yield dict(zip(RANGE_TAGS, (partitions[0], partitions[-1]), strict=True)), None
        return
    yield from (({}, partition) for partition in partitions)
