"""A tick of the sensor of late labels: the partitions of a monitor whose labels came late, as runs, or why there are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import dagster as dg

from fti_assets.core import clock
from fti_assets.errors import list_some
from fti_assets.monitors.late_labels.days import Look, late_days
from fti_assets.monitors.late_labels.memory import Memory
from fti_assets.monitors.monitor import Monitor
from fti_assets.orchestration.partitions import partitions_of
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.sensors.cursor import Request, requests_again

_MOST_RUNS = 100
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def look_for_late_labels(monitor: Monitor, context: dg.SensorEvaluationContext, stores: Stores) -> dg.SensorResult:
    """A tick: adjoining partitions are one run; a tick requests a hundred at most, later ticks the rest."""
    memory = Memory.of(context.cursor)
    requests = requests_again(context, memory)
    memory.open_requests += requests
    event = _newest_event(context.instance, monitor)
    if (event != memory.event or memory.look is None) and stores.offline_store().exists():
        with stores.offline_store().connect() as lake, lake.one_snapshot():
            if lake.has(monitor.table):
                now, days = clock.now(), late_days(lake, monitor, memory.look)
                memory.look, memory.event = Look(lake.snapshot(), now), event
                memory.waiting = list(dict.fromkeys([*memory.waiting, *(one.key for one in days)]))
    if memory.waiting and _is_under_way(context.instance, monitor.key):
        # A run that has begun may have read the labels of before, and would store its figures last.
        reason = f"labels of {list_some(memory.waiting)} came late, which wait for the run of {monitor.table_name} that is under way"
    else:
        requests += _requests(monitor, memory)
        reason = "no label came late"
    if requests:
        for request in requests:
            context.log.info(
                f"labels came late: {monitor.table_name} {request.first} to {request.last} is measured again"
            )
        return dg.SensorResult(run_requests=[one.run_request for one in requests], cursor=memory.text)
    return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=memory.text)


def _newest_event(instance: dg.DagsterInstance, monitor: Monitor) -> int:
    """The number of the newest materialization of the label's groups, and of the monitor's first: nothing has changed before another."""
    keys = [label.group.key for label in monitor.labels]
    events = [record.asset_entry.last_materialization_storage_id or 0 for record in instance.get_asset_records(keys)]
    return max(events, default=0)


def _is_under_way(instance: dg.DagsterInstance, key: dg.AssetKey) -> bool:
    runs = instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY))
    return any(run.asset_selection is not None and key in run.asset_selection for run in runs)


def _requests(monitor: Monitor, memory: Memory) -> list[Request]:
    """The runs of what waits, which then waits no more but for those beyond the most of a tick."""
    keys = [key for key in memory.waiting if monitor.calendar.has_partition_key(key)]
    spans, now = list(_adjoining(monitor, keys)), clock.now().isoformat()
    memory.waiting = [key for span in spans[_MOST_RUNS:] for key in span]
    requests = [
        Request(f"{span[0]}..{span[-1]}:{now}", span[0], span[-1], [monitor.key.to_user_string()], now)
        for span in spans[:_MOST_RUNS]
    ]
    memory.open_requests += requests
    return requests


def _adjoining(monitor: Monitor, keys: Sequence[str]) -> Iterator[list[str]]:
    """The keys of partitions, those that adjoin together, in the order of time."""
    span, end = list[str](), None
    for one in partitions_of(monitor.calendar, keys):
        if span and one.start != end:
            yield span
            span = []
        span.append(one.key)
        end = one.end
    if span:
        yield span
