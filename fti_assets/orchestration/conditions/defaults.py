"""When Dagster runs an asset by itself: the default automation conditions.

They fire on a changed data version, never on a rerun that changed nothing, nor on a change that a run of the asset has read by now.
A change that comes while a run is under way is not lost, nor is a request whose run never began. What only the data's time can tell,
whether a partition has ended and a cutoff has come, and exactly which partitions a change reaches, are conditions of their own, so a
sensor that evaluates them needs ``use_user_code_server=True``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.orchestration.conditions.never_began import NeverBegan
from fti_assets.orchestration.conditions.partition_conditions import (
    AfterNewest,
    Answerable,
    InputsThere,
    IsThere,
    NewestCutoffs,
    OfNewestCutoffs,
)
from fti_assets.orchestration.conditions.partition_end import LastRunFailed, PartitionBegun, PartitionEnded
from fti_assets.orchestration.conditions.unread import Unread
from fti_assets.orchestration.conditions.within_reach import AnyWithinReach, Upstream

_DATA_CHANGES = dg.AutomationCondition.data_version_changed()


def on_changed_inputs(
    inputs: Sequence[Upstream],
    *,
    whole: bool,
    triggers: Sequence[dg.AssetKey] | None = None,
    outcomes: Sequence[Upstream] = (),
    gaps: bool = False,
) -> dg.AutomationCondition[Any]:
    """True once an input's data version has changed, none is missing and neither inputs nor asset are being made.

    An asset that is ``whole`` has no partitions and reads all that is there of each input, however much that is. Dependencies that are
    no inputs, such as tables that nobody here makes, only tell of changes; ``triggers`` names those that count, all by default.
    ``outcomes`` come when they come: nothing waits for them, but while they are being made. With ``gaps`` nothing waits for what is
    missing of the inputs before their newest partition, if something is there.
    """
    changed = _unread([*inputs, *outcomes], triggers) | NeverBegan()
    condition = changed & _inputs_are_settled(inputs, whole=whole, may_have_gaps=inputs if gaps else ())
    if gaps:
        condition = condition & _any("there", inputs, IsThere())
    return condition & ~_any("in_progress", outcomes, dg.AutomationCondition.in_progress()) if outcomes else condition


def on_partition_end(
    partitions_def: dg.TimeWindowPartitionsDefinition, delay: timedelta
) -> dg.AutomationCondition[Any]:
    """True once for a partition that was made before its end and delay had passed, once they have: its last run.

    A last run that fails is requested again after one hour, two and four.
    """
    ended = PartitionEnded(partitions_def, delay)
    return (_once(ended.newly_true()) | NeverBegan() | LastRunFailed(ended)) & ~dg.AutomationCondition.in_progress()


def on_partition_begin() -> dg.AutomationCondition[Any]:
    """True once for the newest partition that has begun, if it is missing."""
    due = dg.AutomationCondition.missing() & PartitionBegun()
    return (_once(due.newly_true()) | NeverBegan()) & ~dg.AutomationCondition.in_progress()


def on_cutoff(
    near: Sequence[Upstream], every: Sequence[Upstream], *, depth: int, catch_up: int
) -> dg.AutomationCondition[Any]:
    """True once for a cutoff that is missing, has come, is among the newest, and whose last partitions before it are final.

    It waits a tick after any change among the groups that the dataset rests on, so that those that follow are under way: ``near`` are
    those that it reads, ``every`` those that it rests on, of which at most ``depth`` stand behind one another.
    """
    due = dg.AutomationCondition.missing() & NewestCutoffs(tuple(every), catch_up)
    pending = _once(due.newly_true() | (_any("changed", near, _DATA_CHANGES) & due))
    moving: dg.AutomationCondition[Any] = _DATA_CHANGES
    is_settled = dg.AutomationCondition.missing()
    # Dagster's conditions look one step up only, so a change further up needs as many of them as there are steps.
    for _ in range(depth):
        moving = dg.AutomationCondition.any_deps_match(moving)
        is_settled = is_settled & ~moving
    running = _any("in_progress", near, dg.AutomationCondition.in_progress())
    return (pending | NeverBegan()) & is_settled & ~running & ~dg.AutomationCondition.in_progress()


def on_changed_dataset(dataset: Upstream, *, whole: bool, catch_up: int) -> dg.AutomationCondition[Any]:
    """True once for a cutoff, among the newest of the dataset, whose rows have changed or that no model was made for."""
    newest = OfNewestCutoffs(dataset, catch_up)
    missing = (dg.AutomationCondition.missing() & newest).newly_true()
    pending = _unread([dataset], None, missing) | NeverBegan()
    return pending & newest & _inputs_are_settled([dataset], whole=whole)


def on_answerable_rows(
    spine: dg.AssetKey, inputs: Sequence[Upstream], models: Sequence[Upstream], *, whole: bool, catch_up: int
) -> dg.AutomationCondition[Any]:
    """True once the spine has changed, or was never answered, and a build of each model can answer; the models block nothing.

    What is missing of a group before its newest partition is a gap, which nothing waits for; what may come yet is waited for.
    """
    is_unanswered = dg.AutomationCondition.missing().newly_true()
    condition = _unread(inputs, [spine], is_unanswered) | NeverBegan()
    # Before the inputs, which are then looked up for what can be answered alone.
    for model in models:
        condition = condition & Answerable(model, catch_up)
    features = [source for source in inputs if source.key != spine]
    return condition & _inputs_are_settled(inputs, whole=whole, may_have_gaps=features)


def on_changed_models(models: Sequence[Upstream], *, catch_up: int) -> dg.AutomationCondition[Any]:
    """True once a model was built again, each of them has a build that is early enough, and none is being trained.

    A model that was turned down at a cutoff holds nothing up: its build before is taken.
    """
    pending = _unread(models, None) | NeverBegan()
    running = _any("in_progress", models, dg.AutomationCondition.in_progress())
    condition = pending & ~running & ~dg.AutomationCondition.in_progress()
    for model in models:
        condition = condition & Answerable(model, catch_up)
    return condition


def _inputs_are_settled(
    inputs: Sequence[Upstream], *, whole: bool, may_have_gaps: Sequence[Upstream] = ()
) -> dg.AutomationCondition[Any]:
    """The inputs are there, some of them but for gaps, and neither they nor the asset are being made."""
    idle = ~dg.AutomationCondition.in_progress()
    if not inputs:
        return idle
    # Dagster keeps in the cursor what a NOT was asked about: in this order all partitions, in the other a span for each missing one.
    absent = ~dg.AutomationCondition.will_be_requested() & dg.AutomationCondition.missing()
    gapless = [source for source in inputs if source not in may_have_gaps]
    missing: dg.AutomationCondition[Any] = _any("missing", gapless, absent)
    if may_have_gaps:
        missing = missing | _any("to_come", may_have_gaps, AfterNewest() & absent)
    present = InputsThere(tuple(inputs)) if whole else ~missing
    return present & ~_any("in_progress", inputs, dg.AutomationCondition.in_progress()) & idle


def _once(trigger: dg.AutomationCondition[Any]) -> dg.AutomationCondition[Any]:
    # The trigger wins over the request of the tick before: what changed after that run began is in the next one.
    return trigger.since(dg.AutomationCondition.newly_requested() & ~trigger)


def _unread(
    inputs: Sequence[Upstream], keys: Sequence[dg.AssetKey] | None, *others: dg.AutomationCondition[Any]
) -> Unread:
    """What asks once a change: a change of some dependencies, or something else, that no run of the asset has read."""
    trigger = _inputs_changed(inputs, keys)
    for one in others:
        trigger = trigger | one
    read = [source for source in inputs if keys is None or source.key in keys]
    return Unread(trigger, tuple(read), others=keys is None)


def _any(label: str, inputs: Sequence[Upstream], operand: dg.AutomationCondition[Any]) -> AnyWithinReach:
    return AnyWithinReach(tuple(inputs), operand, label)


def _inputs_changed(inputs: Sequence[Upstream], keys: Sequence[dg.AssetKey] | None) -> dg.AutomationCondition[Any]:
    """A change of some dependencies: of the inputs within their reach, of others as Dagster maps them."""
    ours = [source for source in inputs if keys is None or source.key in keys]
    any_dependency = dg.AutomationCondition.any_deps_match(_DATA_CHANGES)
    if keys is not None:
        return _any("changed", ours, _DATA_CHANGES)
    if not ours:
        return any_dependency
    return _any("changed", ours, _DATA_CHANGES) | any_dependency.ignore(
        dg.AssetSelection.assets(*(source.key for source in ours))
    )
