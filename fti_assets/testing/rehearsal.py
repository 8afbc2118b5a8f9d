"""A system that runs by itself, on a set clock: its sensors are asked, and what they request is run in this process."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.times import instant
from fti_assets.errors import DeclarationError, excerpt
from fti_assets.orchestration.partitions import RANGE_TAGS
from fti_assets.orchestration.step import beta_accepted

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_ROUND = timedelta(minutes=1)
_MOST_ROUNDS = 60
_RUN_KEY, _SENSOR = "dagster/run_key", "dagster/sensor_name"


@dataclass(frozen=True)
class RehearsedRun:
    """A run that a sensor requested.

    Attributes:
        at: what the clock said, naive UTC.
        sensor: who requested it.
        assets: what it was to make, by name.
        partitions: the first and the last partition, None of assets without.
        success: whether it succeeded.
        failures: why each step failed that did, by its name.
        tags: the run's own, such as ``fti/retrain``.
        run_id: Dagster's.
        cpu_s: the CPU seconds of this process that it took.
    """

    at: datetime
    sensor: str
    assets: tuple[str, ...]
    partitions: tuple[str, str] | None
    success: bool
    failures: Mapping[str, str]
    tags: Mapping[str, str]
    run_id: str
    cpu_s: float


@dataclass
class Rehearsal:
    """Definitions whose running sensors are asked by the minute of a set clock, as the daemon asks them, run by run in this process.

    What has landed, what a person does and which code is deployed, is up to the caller between two calls of ``settle``; another
    deployment is another value of ``definitions``, and sensors of the same name keep their cursors. Dagster's own time goes on
    as it does, so schedules, and conditions that look at it (``on_cron``), are not rehearsed.

    Args:
        definitions: what is deployed.
        instance: Dagster's, which remembers runs and events; cursors are kept here.
        quiet_rounds: how many rounds in a row without a request make the system settled; conditions may wait for one.

    Attributes:
        runs: everything that was run, in order.
        sensor_cpu_s: the CPU seconds that each sensor's ticks took.

    >>> import pandas as pd, tempfile
    >>> import fti_assets as fti
    >>> from fti_assets.testing import stores_in
    >>> days = dg.DailyPartitionsDefinition(start_date="2024-01-01")
    >>> @fti.feature_group(keys=["id"], event_time="at", partitions_def=days)
    ... def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    ...     return pd.DataFrame({"id": [1], "at": [pd.Timestamp(context.partition_key)]})
    >>> landed = {}
    >>> @fti.new_data_sensor(targets=[visits])
    ... def landing():
    ...     return {visits: landed}
    >>> with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral() as instance:
    ...     defs = fti.build_definitions([visits], sensors=[landing], resources={"fti": stores_in(folder)})
    ...     rehearsal = Rehearsal(defs, instance)
    ...     landed["2024-01-01"] = "first version"
    ...     [(run.sensor, run.assets, run.partitions) for run in rehearsal.settle("2024-01-02T06:00:00Z")]
    [('landing', ('visits_v1',), ('2024-01-01', '2024-01-01'))]
    """

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    quiet_rounds: int = 2
    runs: list[RehearsedRun] = field(default_factory=list)
    sensor_cpu_s: dict[str, float] = field(default_factory=dict)
    _cursors: dict[str, str | None] = field(default_factory=dict)
    _run_keys: set[tuple[str, str]] = field(default_factory=set)

    @checked_arguments()
    def settle(self, at: str | datetime) -> list[RehearsedRun]:
        """Ask every running sensor minute by minute from an instant on, and run what they request, until none requests anything.

        Args:
            at: ISO text or naive UTC.

        Returns:
            The runs, in order.

        Raises:
            DeclarationError: it does not settle within an hour, since something requests runs again and again.
            Exception: what a sensor raised; the daemon would record it and go on.
        """
        moment, before, quiet = instant(at), len(self.runs), 0
        for number in range(_MOST_ROUNDS):
            with clock.at(moment + number * _ROUND), beta_accepted():
                quiet = 0 if self._round() else quiet + 1
            if quiet >= self.quiet_rounds:
                return self.runs[before:]
        last = self.runs[-1]
        raise DeclarationError(
            f"the system does not settle: in {_MOST_ROUNDS} rounds from {moment} on runs were requested again and again, the last one of "
            f"{excerpt(last.assets)} by {last.sensor}; see what changes each time"
        )

    def _round(self) -> bool:
        """Ask each sensor once, then run what they requested; whether any did."""
        repository = self.definitions.get_repository_def()
        running = [one for one in repository.sensor_defs if one.default_status is dg.DefaultSensorStatus.RUNNING]
        # All of them before the first run: a condition that is asked for the first time takes what there is for seen.
        requests = [(one.name, request) for one in running for request in self._tick(repository, one)]
        for sensor, request in requests:
            for part in parts_of(repository, request):
                self.runs.append(self._run(repository, sensor, part))
        return bool(requests)

    def _tick(self, repository: dg.RepositoryDefinition, sensor: dg.SensorDefinition) -> list[dg.RunRequest]:
        """The requests of a tick, without those that were made before under the same key."""
        started = time.process_time()
        cursor, resources = self._cursors.get(sensor.name), self.definitions.resources or {}
        with (
            dg.build_sensor_context(
                self.instance,
                cursor=cursor,
                repository_def=repository,
                sensor_name=sensor.name,
                resources={key: resources[key] for key in sensor.required_resource_keys if key in resources},
            ) as context,
            warnings.catch_warnings(),
        ):
            # Dagster checks the requests of a backfill by a function of its own that it has deprecated.
            warnings.filterwarnings("ignore", message="Function `AssetSelection.keys` is deprecated")
            result = sensor.evaluate_tick(context)
        self._cursors[sensor.name] = result.cursor
        for change in result.dynamic_partitions_requests or []:
            if isinstance(change, dg.AddDynamicPartitionsRequest):
                self.instance.add_dynamic_partitions(change.partitions_def_name, list(change.partition_keys))
            else:
                for key in change.partition_keys:
                    self.instance.delete_dynamic_partition(change.partitions_def_name, key)
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        requests = []
        for request in result.run_requests or []:
            key = None if request.run_key is None else (sensor.name, request.run_key)
            if key is None or key not in self._run_keys:
                requests.append(request)
            if key is not None:
                self._run_keys.add(key)
        self.sensor_cpu_s[sensor.name] = self.sensor_cpu_s.get(sensor.name, 0.0) + time.process_time() - started
        return requests

    def _run(self, repository: dg.RepositoryDefinition, sensor: str, request: dg.RunRequest) -> RehearsedRun:
        started, keys = time.process_time(), list(request.asset_selection or [])
        job = (
            repository.get_job(request.job_name) if request.job_name else repository.get_implicit_global_asset_job_def()
        )
        tags = {**request.tags, _SENSOR: sensor, **({_RUN_KEY: request.run_key} if request.run_key else {})}
        result = job.execute_in_process(
            run_config={**_QUIET, **request.run_config},
            instance=self.instance,
            partition_key=request.partition_key,
            asset_selection=keys or None,
            tags=tags,
            raise_on_error=False,
        )
        failures = {}
        for event in result.get_step_failure_events():
            failure = event.step_failure_data
            error = failure.error
            while error is not None and error.cause is not None:
                error = error.cause
            own = failure.user_failure_data
            text = own.description if own is not None and own.description else error.message if error else event.message
            failures[str(event.step_key)] = str(text).strip()
        first, last = (request.tags.get(tag, request.partition_key) for tag in RANGE_TAGS)
        return RehearsedRun(
            at=clock.now(),
            sensor=sensor,
            assets=tuple(sorted(key.to_user_string() for key in keys)),
            partitions=None if first is None or last is None else (first, last),
            success=result.success,
            failures=failures,
            tags=request.tags,
            run_id=result.run_id,
            cpu_s=time.process_time() - started,
        )


def parts_of(repository: dg.RepositoryDefinition, request: dg.RunRequest) -> Iterator[dg.RunRequest]:
    """The runs of a request: of many partitions the daemon makes a backfill, which works through the assets from upstream down."""
    subset = request.asset_graph_subset
    if subset is None:
        yield request
        return
    graph = repository.asset_graph
    runs: list[tuple[list[dg.AssetKey], Sequence[tuple[str, str] | None]]] = []
    for key in graph.toposorted_asset_keys:
        if key not in subset.asset_keys:
            continue
        ranges = _ranges(graph.get(key), subset)
        if runs and runs[-1][1] == ranges and _may_join(graph, key, runs[-1][0]):
            runs[-1][0].append(key)
        else:
            runs.append(([key], ranges))
    for keys, ranges in runs:
        for span in ranges:
            which: dict[str, Any] = {"tags": dict(request.tags)}
            if span is not None and span[0] == span[1]:
                which["partition_key"] = span[0]
            elif span is not None:
                which["tags"] |= dict(zip(RANGE_TAGS, span, strict=True))
            yield dg.RunRequest(asset_selection=keys, run_config=request.run_config, **which)


def _ranges(node: Any, subset: Any) -> Sequence[tuple[str, str] | None]:
    """The partitions of an asset in a backfill, as ranges if it takes one in a run, else one by one; None is the whole of it."""
    if node.partitions_def is None:
        return [None]
    partitions = subset.get_partitions_subset(node.key)
    policy = node.backfill_policy
    if policy is not None and policy.max_partitions_per_run is None:
        return [(one.start, one.end) for one in partitions.get_partition_key_ranges(node.partitions_def)]
    return [(key, key) for key in sorted(partitions.get_partition_keys())]


def _may_join(graph: Any, key: dg.AssetKey, others: Sequence[dg.AssetKey]) -> bool:
    """Whether an asset may stand in one run with others: the partitions are of one definition."""
    return all(graph.get(key).partitions_def == graph.get(other).partitions_def for other in others)
