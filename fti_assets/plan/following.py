"""Which partitions run by themselves once others have other rows: what the default conditions would ask for, without asking Dagster.

A condition that is not of this library is not foreseen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.names import WHOLE
from fti_assets.core.times import Partition
from fti_assets.orchestration.conditions.made import last_before
from fti_assets.orchestration.conditions.partition_conditions import (
    Answerable,
    InputsThere,
    NewestCutoffs,
    OfNewestCutoffs,
)
from fti_assets.orchestration.conditions.partition_end import PartitionOver
from fti_assets.orchestration.conditions.unread import Unread
from fti_assets.orchestration.conditions.within_reach import AnyWithinReach, Upstream
from fti_assets.orchestration.declaration import Declaration
from fti_assets.orchestration.partitions import is_timed, partitions_of
from fti_assets.plan.reads import readers_among

Condition = TypeVar("Condition", bound=dg.AutomationCondition[Any])
NEVER, OWN_CONDITION = "nothing runs it by itself", "its own automation condition decides"


@dataclass
class Assets:
    """What is there of each asset once the plan is done, and what of it has other rows then; by asset key."""

    stored_keys: dict[dg.AssetKey, set[str]]
    changed: dict[dg.AssetKey, set[str]]
    blocked: dict[dg.AssetKey, str]
    """What cannot be made before a table has a new version, by asset key, and the name of that table."""
    final: Mapping[dg.AssetKey, Collection[str]]
    """The partitions whose last run was after their end and delay, of what is stored."""


def following(declaration: Declaration, assets: Assets) -> tuple[list[str], str]:
    """The partitions of an asset that its condition asks for, and why nobody can say, empty if that is known."""
    condition = declaration.assets_def.automation_conditions_by_key.get(declaration.key)
    if condition is None:
        return [], NEVER
    nodes = list(_nodes(condition))
    cutoffs, of_newest = _of(nodes, NewestCutoffs), _of(nodes, OfNewestCutoffs)
    if cutoffs:
        return _missing_cutoffs(declaration, cutoffs[0], assets), ""
    within = _of(nodes, AnyWithinReach)
    if not within and not _of(nodes, InputsThere) and not of_newest:
        return [], "" if _is_of_library(condition) else OWN_CONDITION
    keys = _readers_of_changes(declaration, within, _of(nodes, Unread), assets)
    if of_newest:
        keys = _newest_cutoffs(declaration, of_newest[0], keys, assets)
    if keys:
        blocked = _blocked(declaration, nodes, assets)
        keys = [key for key in keys if key not in blocked]
        keys = _with_something_there(declaration, within, keys, assets)
    for one in _of(nodes, Answerable):
        keys = _answerable(declaration, one, keys, assets)
    if _of(nodes, PartitionOver):
        now = clock.now()
        keys = [one.key for one in partitions_of(declaration.partitions_def, keys) if one.end is None or one.end <= now]
    return keys, ""


def _readers_of_changes(
    declaration: Declaration, within: Sequence[AnyWithinReach], unread: Sequence[Unread], assets: Assets
) -> list[str]:
    results: dict[str, None] = {}
    sources = [source for one in within if one.label == "changed" for source in one.sources]
    for source in sources:
        if changed := assets.changed.get(source.key):
            readers = readers_among(source, sorted(changed), declaration.partitions_def)
            results |= dict.fromkeys(_every(declaration.partitions_def) if readers is None else readers)
    if any(one.others for one in unread):
        # What it depends on otherwise, as Dagster maps it: partitions of one definition to their like.
        for key in declaration.assets_def.dependency_keys - {source.key for source in sources}:
            results |= dict.fromkeys(assets.changed.get(key, set()))
    return list(results)


def _blocked(declaration: Declaration, nodes: Sequence[dg.AutomationCondition[Any]], assets: Assets) -> set[str]:
    """The partitions that wait for an input that is not there."""
    blocked: set[str] = set()
    for one in _of(nodes, InputsThere):
        if any(not assets.stored_keys.get(source.key) for source in one.upstream):
            return {*_every(declaration.partitions_def)}
    for within in _of(nodes, AnyWithinReach):
        if within.label not in ("missing", "to_come"):
            continue
        for source in within.sources:
            missing = _missing(source, assets, after_newest=within.label == "to_come")
            if missing and (readers := readers_among(source, missing, declaration.partitions_def)) is not None:
                blocked |= set(readers)
            elif missing:
                blocked |= {*_every(declaration.partitions_def)}
    return blocked


def _with_something_there(
    declaration: Declaration, within: Sequence[AnyWithinReach], keys: Sequence[str], assets: Assets
) -> list[str]:
    """Those of which something is there that they read, where nothing waits for what is missing."""
    sources = [source for one in within if one.label == "there" for source in one.sources]
    if not sources:
        return list(keys)
    with_something: set[str] = set()
    for source in sources:
        if stored_keys := sorted(assets.stored_keys.get(source.key, set()).intersection(_every(source.partitions_def))):
            readers = readers_among(source, stored_keys, declaration.partitions_def)
            with_something |= set(keys if readers is None else readers)
    return [key for key in keys if key in with_something]


def _missing(source: Upstream, assets: Assets, *, after_newest: bool) -> list[str]:
    stored_keys = assets.stored_keys.get(source.key, set())
    every = _every(source.partitions_def)
    missing = [key for key in every if key not in stored_keys]
    if not after_newest or not is_timed(source.partitions_def):
        return missing
    newest = max((number for number, key in enumerate(every) if key in stored_keys), default=-1)
    return [key for key in every[newest + 1 :] if key not in stored_keys]


def _missing_cutoffs(declaration: Declaration, condition: NewestCutoffs, assets: Assets) -> list[str]:
    """The newest cutoffs that are missing and ready."""
    stored_keys, ready, results = assets.stored_keys.get(declaration.key, set()), 0, []
    for cutoff in _newest_first(declaration.partitions_def):
        if cutoff.start is None or cutoff.start > clock.now():
            continue
        is_missing = cutoff.key not in stored_keys
        if is_missing and not all(_is_ready(source, cutoff.start, assets) for source in condition.upstream):
            continue
        ready += 1
        results += [cutoff.key] if is_missing else []
        if ready == condition.catch_up:
            break
    return results


def _is_ready(source: Upstream, cutoff: datetime, assets: Assets) -> bool:
    if not is_timed(source.partitions_def):
        return bool(assets.stored_keys.get(source.key))
    last = last_before(source, cutoff)
    if last is None or last.key not in assets.stored_keys.get(source.key, set()):
        return False
    return last.key in assets.changed.get(source.key, set()) or last.key in assets.final.get(source.key, ())


def _newest_cutoffs(
    declaration: Declaration, condition: OfNewestCutoffs, keys: Sequence[str], assets: Assets
) -> list[str]:
    """Those of the newest cutoffs of a dataset whose rows have changed, or that no model was made for."""
    if not is_timed(declaration.partitions_def):
        return list(keys)
    of_dataset, own = (
        assets.stored_keys.get(condition.dataset.key, set()),
        assets.stored_keys.get(declaration.key, set()),
    )
    newest = list(
        islice(
            (one.key for one in _newest_first(declaration.partitions_def) if one.key in of_dataset), condition.catch_up
        )
    )
    return [key for key in newest if key in keys or key not in own]


def _answerable(declaration: Declaration, condition: Answerable, keys: Sequence[str], assets: Assets) -> list[str]:
    """Those that a build is early enough for, or that were answered before by one."""
    builds = assets.stored_keys.get(condition.model.key, set())
    cutoffs = condition.model.partitions_def
    if not builds:
        return []
    if not is_timed(cutoffs) or not is_timed(declaration.partitions_def):
        return list(keys)
    starts = [one.start for one in _newest_first(cutoffs) if one.key in builds and one.start is not None]
    if not starts:
        return []
    newest = starts[: condition.catch_up]
    own = assets.stored_keys.get(declaration.key, set())
    now = clock.now()
    return [
        one.key
        for one in partitions_of(declaration.partitions_def, keys)
        if one.start is not None
        and one.end is not None
        and (one.start >= newest[-1] or one.end > now or (one.key in own and one.start >= starts[-1]))
    ]


def _every(partitions_def: dg.PartitionsDefinition[str] | None) -> list[str]:
    """The partitions that there are by now."""
    if partitions_def is None:
        return [WHOLE]
    if isinstance(partitions_def, dg.DynamicPartitionsDefinition):
        return []  # which only an instance of Dagster knows
    return list(partitions_def.get_partition_keys())


def _newest_first(partitions_def: dg.PartitionsDefinition[str] | None) -> Iterator[Partition]:
    return iter(reversed(partitions_of(partitions_def, _every(partitions_def))))


def _nodes(condition: dg.AutomationCondition[Any]) -> Iterator[dg.AutomationCondition[Any]]:
    yield condition
    for child in condition.children:
        yield from _nodes(child)


def _of(nodes: Sequence[dg.AutomationCondition[Any]], kind: type[Condition]) -> list[Condition]:
    return list(dict.fromkeys(node for node in nodes if isinstance(node, kind)))


def _is_of_library(condition: dg.AutomationCondition[Any]) -> bool:
    """Whether a condition is one of this library's, such as that of a group that nothing but its calendar runs."""
    return any(type(node).__module__.startswith("fti_assets.") for node in _nodes(condition))
