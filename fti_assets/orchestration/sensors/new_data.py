"""The sensor over new data: it requests exactly the partitions that are new or have changed."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.arguments import caller_names, checked_arguments
from fti_assets.errors import DeclarationError, excerpt, list_some, one_of
from fti_assets.orchestration.options import accepted_by_dagster
from fti_assets.orchestration.partitions import is_timed
from fti_assets.orchestration.sensors.cursor import WHOLE, Cursor, Request, requests_again
from fti_assets.orchestration.sensors.landed_partitions import Partitions
from fti_assets.orchestration.signature import (
    CONTEXT,
    annotations_of,
    parameters_of,
    take,
    with_context,
)

_SHORT = 8
_MORE = "the next ticks,"  # how the cursor's text of a tick begins that has left some runs


Target: TypeAlias = Any
"""A feature group, or any Dagster asset."""

Versions = Mapping[Target, Mapping[str, str] | str | None]
"""What has landed: of each target the version of each partition, or of an unpartitioned one the version, None for nothing."""


@checked_arguments()
def new_data_sensor(
    *,
    targets: Sequence[Any],
    name: str | None = None,
    minimum_interval_seconds: int | None = 30,
    most_runs: int = 100,
    name_gaps: bool = True,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Versions]], dg.SensorDefinition]:
    """Declare a sensor over new data: a function that returns what has landed, and in which version.

    The function may take ``context`` and resources by annotation, as in ``@dg.sensor``. It returns, for each target, a mapping of
    partition to version, a text that changes when the data do: a size and a time of change, an entity tag, a count and a greatest
    id. For an unpartitioned target it returns one version, or None if nothing is there.

    The sensor requests what is new or changed since the last tick: adjoining partitions as one run over their range, targets with
    the same partitions together. A partition that does not exist yet waits until it does. The sensor's first tick treats as seen
    what is already materialized. A run that fails in its step is not requested again until its data change: re-execute it. One that
    never began (the code server did not answer, the launch failed) is requested again after one minute, two, four, eight and
    sixteen, and the tick says so.

    Args:
        targets: feature groups, or other Dagster assets, that read the data.
        name: the sensor's name, by default the function's.
        minimum_interval_seconds: how often it looks.
        most_runs: how many runs a tick requests at most; the rest follow in the next ticks, and the tick says so.
        name_gaps: whether the tick names partitions that have not landed although later ones have; set False if they land in no
            order.
        default_status: running, unless you say otherwise.
        description: what it watches, by default the function's docstring.
        tags: the sensor's tags.
        metadata: the sensor's metadata.

    Raises:
        DeclarationError: there is no target, or one has neither key nor partitions.

    >>> import fti_assets as fti
    >>> @fti.feature_group(keys=["customer_id"])
    ... def customers(): ...
    >>> @new_data_sensor(targets=[customers])
    ... def new_customers():
    ...     return {customers: "2024-01-01T00:00:00/1024"}
    >>> new_customers.default_status.value
    'RUNNING'
    """
    if not targets:
        raise DeclarationError("new_data_sensor needs targets=[...]: the feature groups that read the data")
    strange = [target for target in targets if not (hasattr(target, "key") and hasattr(target, "partitions_def"))]
    if strange:
        raise DeclarationError(f"new_data_sensor: {excerpt(strange[0])} is neither a feature group nor a Dagster asset")
    if most_runs < 1:
        raise DeclarationError(
            f"new_data_sensor: most_runs={most_runs} is less than 1: leave it out for 100 runs a tick"
        )
    if minimum_interval_seconds is not None and minimum_interval_seconds < 0:
        raise DeclarationError(
            f"new_data_sensor: minimum_interval_seconds={minimum_interval_seconds} is negative: give seconds, such as 30"
        )
    if elsewhere := [target for target in targets if not getattr(target, "is_owned", True)]:
        raise DeclarationError(
            f"new_data_sensor has the target {elsewhere[0].key.to_user_string()}, which another code location makes: a sensor there runs it"
        )
    names = caller_names()

    def declare(function: Callable[..., Versions]) -> dg.SensorDefinition:
        annotations = annotations_of(function, names)

        def evaluate(context: dg.SensorEvaluationContext, **resources: Any) -> dg.SensorResult:
            return _tick(context, targets, function(**with_context(function, resources, context)), most_runs, name_gaps)

        parameters = [parameter for parameter in parameters_of(function) if parameter != CONTEXT]
        resources = {parameter: annotations.get(parameter, Any) for parameter in parameters}
        take(evaluate, {CONTEXT: dg.SensorEvaluationContext, **resources})
        own = name or function.__name__
        with accepted_by_dagster(own, "sensor"):
            return dg.sensor(
                name=own,
                target=dg.AssetSelection.assets(*(target.key for target in targets)),
                minimum_interval_seconds=minimum_interval_seconds,
                default_status=default_status,
                description=description or inspect.getdoc(function),
                tags=tags,
                metadata=metadata,
            )(evaluate)

    return declare


@dataclass(frozen=True)
class _Due:
    """Partitions to run at once: adjoining ones, or one, or an asset as a whole."""

    partitions: tuple[str, ...]
    partitions_def: dg.PartitionsDefinition[str] | None


def _tick(
    context: dg.SensorEvaluationContext, targets: Sequence[Target], versions: Versions, most_runs: int, name_gaps: bool
) -> dg.SensorResult:
    cursor = Cursor.of(context)
    again = requests_again(context, cursor)
    arrivals = _by_target(targets, versions)
    digest = _digest(arrivals)
    requests: list[Request] = []
    if digest != cursor.digest:
        requests = _request_changes(context, cursor, arrivals, most_runs, name_gaps)
        # Runs are left, so the next tick has to look again even if nothing has landed until then.
        cursor.digest = "" if cursor.waiting and cursor.waiting[-1].startswith(_MORE) else digest
    again = [old for old in again if not any(new.covers(old) for new in requests)]
    cursor.open_requests = [old for old in cursor.open_requests if not any(new.covers(old) for new in requests)]
    cursor.open_requests += [*requests, *again]
    wait = f"waiting for {list_some(cursor.waiting)}" if cursor.waiting else ""
    if wait:
        context.log.info(wait)
    nothing = dg.SkipReason("; ".join(filter(None, ["nothing new", wait])))
    run_requests = [request.run_request for request in [*requests, *again]]
    return dg.SensorResult(
        run_requests=run_requests, cursor=cursor.text(), skip_reason=None if run_requests else nothing
    )


def _request_changes(
    context: dg.SensorEvaluationContext,
    cursor: Cursor,
    arrivals: Mapping[Target, Mapping[str, str]],
    most_runs: int,
    name_gaps: bool,
) -> list[Request]:
    """Request what is new or changed, and remember the versions that were requested."""
    due: dict[_Due, list[Target]] = {}
    known_versions, waiting = cursor.versions(), list[str]()
    short = {target: {key: _short(version) for key, version in of.items()} for target, of in arrivals.items()}
    for target, versions in short.items():
        name, partitions_def = target.key.to_user_string(), target.partitions_def
        # A sensor that is new to a running system must not request years that are materialized already.
        before = known_versions[name] if name in known_versions else _first_versions(context.instance, target, versions)
        new = [key for key, version in versions.items() if before.get(key) != version]
        partitions = Partitions(partitions_def, context.instance, new)
        for run in partitions.runs(in_one_run=_in_one_run(target)):
            due.setdefault(_Due(tuple(run), partitions_def), []).append(target)
        known_versions[name] = dict(before)
        waiting += [f"{name} {key}, which is not a partition yet" for key in new if key not in partitions.existing]
        if name_gaps:
            existing = [key for key in versions if key in before or key in partitions.existing]
            gaps = partitions.gaps(existing)
            waiting += [f"{name} {key}, which has not landed though a later one has" for key in gaps]
    requests = []
    for one, of in list(due.items())[:most_runs]:
        names = sorted(target.key.to_user_string() for target in of)
        for target in of:
            known_versions[target.key.to_user_string()] |= {key: short[target][key] for key in one.partitions}
        run_versions = "".join(short[target][key] for target in of for key in one.partitions)
        first, last = one.partitions[0], one.partitions[-1]
        # The number comes first: partitions that change back to an earlier version need a key that was never used.
        key = f"{cursor.requests}:{first}..{last}:{_short(','.join(names) + run_versions)}"
        requests.append(Request(key, first, last, names, clock.now().isoformat()))
    if len(due) > most_runs:
        waiting.append(f"{_MORE} for {len(due) - most_runs} more runs: a tick requests at most {most_runs}")
    cursor.requests += bool(requests)
    cursor.waiting = waiting
    cursor.remember(known_versions)
    return requests


def _digest(arrivals: Mapping[Target, Mapping[str, str]]) -> str:
    """Of all that has landed, and of the newest partition, before which what has landed may wait."""
    text = hashlib.sha256()
    for target, versions in arrivals.items():
        newest = target.partitions_def.get_last_partition_key() if is_timed(target.partitions_def) else ""
        text.update(repr((target.key.to_user_string(), newest, sorted(versions.items()))).encode())
        if target.partitions_def is not None and not newest:
            text.update(os.urandom(8))  # what partitions there are, is asked again
    return text.hexdigest()


def _by_target(targets: Sequence[Target], versions: Versions) -> dict[Target, dict[str, str]]:
    """The version of each partition, by target in their order; ``""`` stands for an unpartitioned one."""
    keys = {target.key: target for target in targets}
    by_key = {getattr(target, "key", target): of for target, of in versions.items()}
    strange = [key for key in by_key if key not in keys]
    if strange:
        raise DeclarationError(
            f"the sensor found data of {getattr(strange[0], 'to_user_string', strange[0].__repr__)()!r}, which is not one of its targets: "
            f"{one_of(key.to_user_string() for key in keys)}"
        )
    by_target = {}
    for key, target in keys.items():
        of, name = by_key.get(key), key.to_user_string()
        if target.partitions_def is None:
            if isinstance(of, Mapping):
                raise DeclarationError(f"{name} has no partitions: give its version as one text, or None")
            by_target[target] = {} if of is None else {WHOLE: str(of)}
        elif isinstance(of, str):
            raise DeclarationError(f"{name} is partitioned: give a mapping of partition to version")
        else:
            by_target[target] = {partition: str(version) for partition, version in (of or {}).items()}
    return by_target


def _short(version: str) -> str:
    return hashlib.sha256(str(version).encode()).hexdigest()[:_SHORT]


def _first_versions(instance: dg.DagsterInstance, target: Target, versions: Mapping[str, str]) -> dict[str, str]:
    """At the first tick, what is materialized already counts as seen as it is now."""
    if target.partitions_def is None:
        keys = {WHOLE} if instance.get_latest_materialization_event(target.key) is not None else set[str]()
    else:
        keys = set(instance.get_materialized_partitions(target.key))
    return {key: version for key, version in versions.items() if key in keys}


def _in_one_run(target: Any) -> bool:
    """Whether a range of the target may be one run: it has windows in time and a single-run backfill policy."""
    policy = getattr(target, "assets_def", target).backfill_policy
    return is_timed(target.partitions_def) and policy is not None and policy.max_partitions_per_run is None
