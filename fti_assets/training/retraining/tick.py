"""A tick of the sensor of a model's triggers: who asks, what would be trained, and one request or why there is none."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.names import TableName
from fti_assets.core.times import Partition, instant
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.sensors.cursor import WHOLE, Request, requests_again
from fti_assets.training.models.model import Model
from fti_assets.training.retraining.memory import Memory
from fti_assets.training.retraining.news import NewsOfModel
from fti_assets.training.retraining.situation import ModelSituation
from fti_assets.training.retraining.target import Target, target_of
from fti_assets.training.triggers.retraining import RETRAIN, Retraining
from fti_assets.training.triggers.trigger import Cause, ScheduledTrigger, joined_reasons

FIRST = "first_build"
"""What asks for a model that has no build of its version yet."""

_QUIET = "no trigger asks for training"


def evaluate_triggers(
    model: Model, monitors: Mapping[str, TableName], context: dg.SensorEvaluationContext, stores: Stores
) -> dg.SensorResult:
    """A tick: at most one request, of the dataset and the model at the newest cutoff that is ready.

    Raises:
        DataError: the schema of what the model learned from has changed; nothing is requested until that is mended.
    """
    memory = Memory.of(context.cursor)
    if again := requests_again(context, memory):
        memory.open_requests += again
        return _requested(memory, again)
    if memory.open_requests:
        return _skipped(memory, f"the run at {memory.open_requests[0].first or 'no cutoff'} has not ended")
    if not stores.offline_store().exists():
        return _skipped(memory, "nothing is stored yet")
    target = target_of(context.instance, model.dataset, clock.now())
    if target.partition is None:
        return _skipped(memory, f"no cutoff is ready:{target.waiting_text or ' none has come'}")
    return _asked(model, monitors, context, stores, memory, target, target.partition)


def _asked(
    model: Model,
    monitors: Mapping[str, TableName],
    context: dg.SensorEvaluationContext,
    stores: Stores,
    memory: Memory,
    target: Target,
    partition: Partition,
) -> dg.SensorResult:
    store, now, retraining = stores.model_store(), clock.now(), model.retraining
    assert retraining is not None
    learned, champion = store.newest_of_version(model.name, model.version), store.aliases(model.name).champion or ""
    with stores.offline_store().connect() as lake, lake.one_snapshot():
        situation = ModelSituation(model, lake, partition, learned, champion, monitors, now)
        # A ledger of years takes a while to compare: only once for each commit, build and cutoff.
        state = f"{lake.snapshot()} {'' if learned is None else learned.reference} {champion} {partition.key}"
        if memory.quiet == state and not _scheduled_causes(retraining, situation, memory):
            return _skipped(memory, _QUIET)
        situation.refuse_schema_skew()
        causes = _causes(retraining, situation, memory)
        due = _due(retraining, causes, memory, situation)
        memory.quiet = "" if causes else state
        if not causes:
            return _skipped(memory, _QUIET)
        if not due:
            until = memory.cools_until(retraining.cooldown, now)
            return _skipped(memory, f"{joined_reasons(causes)}: waits for the cool-down until {until:%Y-%m-%d %H:%M}")
        if not situation.has_news:
            assert learned is not None
            # A schedule's instant is over; a breach asks until there is something to learn from.
            memory.remember({name: one for name, one in causes.items() if name in _scheduled(retraining)})
            return _skipped(
                memory,
                f"{joined_reasons(causes)}: but {learned.reference} has learned from all that there is at the newest cutoff that is ready, "
                f"{partition.start or 'now'}; it is trained at the next{f', which{target.waiting_text}' if target.waits else ''}",
            )
    memory.remember(causes)
    memory.requested_at = now.isoformat()
    request = _request(model, partition, causes, memory.requested_at)
    memory.open_requests.append(request)
    context.log.info(f"{model.asset_name} is trained at {request.first or 'no cutoff'}: {request.tags[RETRAIN]}")
    return _requested(memory, [request])


def _causes(retraining: Retraining, situation: ModelSituation, memory: Memory) -> dict[str, Cause]:
    """What asks for training by now, by trigger; without a build that alone."""
    if situation.learned is None:
        first = Cause(situation.last_change, f"there is no build of version {situation.model.version} yet")
        return {} if memory.is_over(FIRST, first, situation.now) else {FIRST: first}
    causes = {}
    for trigger in retraining.triggers:
        cause = trigger.cause(NewsOfModel(situation, memory.days_of(trigger.name, situation.now)))
        if cause is None:
            continue
        is_new = trigger.name in _scheduled(retraining) and trigger.name not in memory.causes
        if is_new and cause.at <= instant(situation.learned.created_at):
            memory.remember({trigger.name: cause})  # the newest build was made since
        if not memory.is_over(trigger.name, cause, situation.now):
            causes[trigger.name] = cause
    return causes


def _scheduled_causes(retraining: Retraining, situation: ModelSituation, memory: Memory) -> list[Cause]:
    """The instants of schedules that are not over."""
    schedules = [trigger for trigger in retraining.triggers if isinstance(trigger, ScheduledTrigger)]
    causes = [(trigger.name, trigger.cause(situation)) for trigger in schedules]
    return [cause for name, cause in causes if cause is not None and not memory.is_over(name, cause, situation.now)]


def _due(
    retraining: Retraining, causes: Mapping[str, Cause], memory: Memory, situation: ModelSituation
) -> Mapping[str, Cause]:
    """The causes that may be requested: a schedule's at once, others after the cool-down.

    A first build that failed, as of too few rows, is tried at each change of the data: nothing serves that could wait.
    """
    if FIRST in causes or memory.cools_until(retraining.cooldown, situation.now) is None:
        return causes
    return {name: cause for name, cause in causes.items() if name in _scheduled(retraining)}


def _scheduled(retraining: Retraining) -> set[str]:
    return {trigger.name for trigger in retraining.triggers if isinstance(trigger, ScheduledTrigger)}


def _request(model: Model, partition: Partition, causes: Mapping[str, Cause], at: str) -> Request:
    key = WHOLE if model.partitions_def is None else partition.key
    names = [model.dataset.key.to_user_string(), model.key.to_user_string()]
    tags = {RETRAIN: joined_reasons(dict(causes))}
    return Request(f"{key}:{at}", key, key, names, at, tags=tags)


def _requested(memory: Memory, requests: list[Request]) -> dg.SensorResult:
    return dg.SensorResult(run_requests=[request.run_request for request in requests], cursor=memory.text)


def _skipped(memory: Memory, reason: str) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=memory.text)
