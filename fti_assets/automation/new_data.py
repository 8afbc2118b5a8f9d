"""The sensor over new data: it requests exactly the partitions that are new or have changed."""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import dagster as dg

from fti_assets.arguments import caller_frame, checked_arguments
from fti_assets.errors import DeclarationError, listed, one_of
from fti_assets.features.parameters import annotations_of

_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_WHOLE = ""
_SHORT = 8


class Target(Protocol):
    """A feature group, or any Dagster asset."""

    @property
    def key(self) -> dg.AssetKey:
        """The asset's key."""

    @property
    def partitions_def(self) -> dg.PartitionsDefinition[str] | None:
        """The asset's partitions."""


Run = tuple[str, str]
Versions = Mapping[Any, Mapping[str, str] | str | None]
"""What is there: of each target the version of each partition, or of an unpartitioned one the version, None for nothing."""


@checked_arguments()
def new_data_sensor(
    *,
    targets: Sequence[Any],
    name: str | None = None,
    minimum_interval_seconds: int | None = 30,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Versions]], dg.SensorDefinition]:
    """Declare a sensor over new data: a function that says what has landed, and which version of it.

    The function may take ``context`` and resources by annotation, as in ``@dg.sensor``. It gives, for each target, a
    mapping of partition to version, a text that changes when the data do: a size and a time of change, an entity tag, a
    count and a greatest id. For an unpartitioned target it gives one version, or None if nothing is there.

    What is new or changed since the last tick is requested: adjoining partitions as one run over their range, targets with the
    same partitions together. A partition that does not exist yet waits until it does. The sensor's first tick takes as
    seen what is materialized already. A failed run is not requested again until its data change: re-execute it.

    Args:
        targets: feature groups, or other Dagster assets, that read the data.
        name: the sensor's name, by default the function's.
        minimum_interval_seconds: how often it looks.
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
        raise DeclarationError(f"new_data_sensor: {strange[0]!r} is neither a feature group nor a Dagster asset")
    caller = caller_frame()
    caller_names = {} if caller is None else dict(caller.f_locals)

    def declare(function: Callable[..., Versions]) -> dg.SensorDefinition:
        asked = inspect.signature(function).parameters
        annotations = annotations_of(function, caller_names)

        def evaluate(context: dg.SensorEvaluationContext, **resources: Any) -> dg.SensorResult:
            given = {**resources, **({"context": context} if "context" in asked else {})}
            return _tick(context, targets, function(**given))

        parameters = [("context", dg.SensorEvaluationContext)]
        parameters += [(parameter, annotations.get(parameter, Any)) for parameter in asked if parameter != "context"]
        evaluate.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(parameter, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)
                for parameter, annotation in parameters
            ]
        )
        evaluate.__annotations__ = dict(parameters)
        return dg.sensor(
            name=name or function.__name__,
            target=dg.AssetSelection.assets(*(target.key for target in targets)),
            minimum_interval_seconds=minimum_interval_seconds,
            default_status=default_status,
            description=description or inspect.getdoc(function),
            tags=tags,
            metadata=metadata,
        )(evaluate)

    return declare


@dataclass
class _Cursor:
    """What was seen, and how many requests were made: two daemons on one cursor make the same request keys."""

    requests: int = 0
    seen: dict[str, dict[str, str]] = field(default_factory=dict)

    @staticmethod
    def of(context: dg.SensorEvaluationContext) -> _Cursor:
        try:
            found = json.loads(zlib.decompress(base64.b64decode(context.cursor or "", validate=True)))
            return _Cursor(int(found["requests"]), dict(found["seen"]))
        except (ValueError, TypeError, KeyError, zlib.error):
            return _Cursor(_next_number(context))  # there is none yet, or somebody cleared it

    def text(self) -> str:
        said = json.dumps({"requests": self.requests, "seen": self.seen}, sort_keys=True)
        return base64.b64encode(zlib.compress(said.encode())).decode()


def _next_number(context: dg.SensorEvaluationContext) -> int:
    """Where the numbers of run keys go on without a cursor, since Dagster never runs the same key again.

    A request that still runs is that of another daemon, which is writing its cursor at this moment: the same keys are right.
    """
    last = context.last_run_key or ""
    number = last.partition(":")[0]
    if not number.isdigit():
        return 0
    runs = context.instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": last}), limit=1)
    return int(number) + (not runs or runs[0].is_finished)


def _tick(context: dg.SensorEvaluationContext, targets: Sequence[Target], versions: Versions) -> dg.SensorResult:
    cursor = _Cursor.of(context)
    due: dict[tuple[Run, dg.PartitionsDefinition[str] | None], list[dg.AssetKey]] = {}
    versions_of: dict[Run, str] = {}
    waiting: list[str] = []
    for target, found in _by_target(targets, versions).items():
        name, partitions_def = target.key.to_user_string(), target.partitions_def
        existing = [_WHOLE]
        if partitions_def is not None:
            existing = list(partitions_def.get_partition_keys(dynamic_partitions_store=context.instance))
        there = {key: found[key] for key in existing if key in found}
        seen = cursor.seen.get(name)
        if seen is None:
            seen = _materialized(context.instance, target, there)
        changed = {key for key, version in there.items() if seen.get(key) != version}
        for run in _runs(changed, existing, in_one_run=_in_one_run(target)):
            due.setdefault((run, partitions_def), []).append(target.key)
            within = existing[existing.index(run[0]) : existing.index(run[1]) + 1]
            versions_of[run] = versions_of.get(run, "") + "".join(there[key] for key in within)
        known = {**seen, **there}  # what is not listed this time has not changed
        cursor.seen[name] = {key: known[key] for key in existing if key in known}
        waiting += [f"{name} {key}, which is no partition yet" for key in found if key not in there]
        waiting += [f"{name} {key}, which has not landed though a later one has" for key in _gaps(there, existing)]
    requests = [_request(run, keys, cursor.requests, versions_of[run]) for (run, _), keys in due.items()]
    cursor.requests += bool(requests)
    wait = f"waiting for {listed(waiting)}" if waiting else ""
    if wait:
        context.log.info(wait)
    nothing = dg.SkipReason("; ".join(filter(None, ["nothing new", wait])))
    return dg.SensorResult(run_requests=requests, cursor=cursor.text(), skip_reason=None if requests else nothing)


def _by_target(targets: Sequence[Target], versions: Versions) -> dict[Any, dict[str, str]]:
    """The short version of each partition, by target in their order; ``""`` stands for an unpartitioned one."""
    keys = {target.key: target for target in targets}
    given = {getattr(target, "key", target): found for target, found in versions.items()}
    strange = [key for key in given if key not in keys]
    if strange:
        raise DeclarationError(
            f"the sensor found data of {getattr(strange[0], 'to_user_string', strange[0].__repr__)()!r}, which is not one of its targets: "
            f"{one_of(key.to_user_string() for key in keys)}"
        )
    by_target = {}
    for key, target in keys.items():
        found = given.get(key)
        if target.partitions_def is None:
            if isinstance(found, Mapping):
                raise DeclarationError(
                    f"{key.to_user_string()} has no partitions: give its version as one text, or None"
                )
            by_target[target] = {} if found is None else {_WHOLE: _short(found)}
        elif isinstance(found, str):
            raise DeclarationError(f"{key.to_user_string()} is partitioned: give a mapping of partition to version")
        else:
            by_target[target] = {partition: _short(version) for partition, version in (found or {}).items()}
    return by_target


def _short(version: str) -> str:
    return hashlib.sha256(str(version).encode()).hexdigest()[:_SHORT]


def _materialized(instance: dg.DagsterInstance, target: Target, there: Mapping[str, str]) -> dict[str, str]:
    """At the first tick, what is materialized already counts as seen as it is now."""
    if target.partitions_def is None:
        stored = {_WHOLE} if instance.get_latest_materialization_event(target.key) is not None else set[str]()
    else:
        stored = set(instance.get_materialized_partitions(target.key))
    return {key: version for key, version in there.items() if key in stored}


def _runs(changed: set[str], existing: Sequence[str], *, in_one_run: bool) -> Iterable[Run]:
    """The first and last of adjoining changed partitions, or each by itself."""
    if not in_one_run:
        yield from ((key, key) for key in existing if key in changed)
        return
    run: list[str] = []
    for key in existing:
        if key in changed:
            run.append(key)
        elif run:
            yield run[0], run[-1]
            run = []
    if run:
        yield run[0], run[-1]


def _in_one_run(target: Any) -> bool:
    """Whether a range of the target may be one run: it has windows in time and a single-run backfill policy."""
    policy = getattr(target, "assets_def", target).backfill_policy
    windows = isinstance(target.partitions_def, dg.TimeWindowPartitionsDefinition)
    return windows and policy is not None and policy.max_partitions_per_run is None


def _gaps(there: Mapping[str, str], existing: Sequence[str]) -> list[str]:
    """Partitions that have not landed between the first and the last that has."""
    landed = [number for number, key in enumerate(existing) if key in there]
    return [key for key in existing[landed[0] : landed[-1]] if key not in there] if landed else []


def _request(run: Run, keys: list[dg.AssetKey], number: int, versions: str) -> dg.RunRequest:
    first, last = run
    names = ",".join(sorted(key.to_user_string() for key in keys))
    run_key = f"{number}:{first}..{last}:{_short(names + versions)}"
    if first == _WHOLE:
        return dg.RunRequest(run_key=run_key, asset_selection=keys)
    if first == last:
        return dg.RunRequest(run_key=run_key, asset_selection=keys, partition_key=first)
    return dg.RunRequest(run_key=run_key, asset_selection=keys, tags=dict(zip(_RANGE, run, strict=True)))
