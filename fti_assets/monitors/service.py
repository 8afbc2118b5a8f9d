"""How a model was served, as figures of a monitor of its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fti_assets.core.sql import quote
from fti_assets.core.times import Partition
from fti_assets.inference.log.log import PredictionLog
from fti_assets.inference.log.service import RATES, Service, services_of
from fti_assets.inference.log.waiting import usage_in
from fti_assets.inference.serving.log.service import Usage
from fti_assets.monitoring.measurement import Measurement
from fti_assets.monitors.answers.answered import PARTITION, stored_partitions, with_partitions
from fti_assets.orchestration.partitions import partitions_of
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake


def service_of(lake: Lake, log: PredictionLog, partitions: Sequence[Partition], snapshot: int) -> list[Measurement]:
    """The figures of partitions of a monitor; none is judged, since the log has checks of its limits.

    What processes said of themselves is known by partitions of the log, so it counts in those of the monitor that hold such a one whole.

    Args:
        lake: the lake.
        log: the log that is watched.
        partitions: those of the monitor.
        snapshot: what is read.
    """
    keys = stored_partitions(lake, log, partitions, snapshot) or []
    ledger = lake.ledger(log.table, snapshot=snapshot)
    usage: dict[str, Usage] = {}
    for own in partitions_of(log.partitions_def, keys):
        for one in partitions:
            if one.start and one.end and own.start and own.end and one.start <= own.start and own.end <= one.end:
                usage[one.key] = usage.get(one.key, Usage()) + usage_in(ledger.get(own.key))
    rows = relation_name(lake.rows(log.table, snapshot=snapshot, partitions=keys))
    within = with_partitions(rows, log.event_time, partitions, ["answers.*"])
    services = services_of(lake.connection, within, quote(PARTITION), usage)
    joined = [one.group.table_name for one in log.model.view.selections if one.group is not log.model.view.spine]
    return [
        measurement
        for one in partitions
        if one.start is not None and one.key in services
        for measurement in measurements_of(one, services[one.key], joined)
    ]


def measurements_of(partition: Partition, service: Service, groups: Sequence[str]) -> list[Measurement]:
    """The figures of a partition.

    Args:
        partition: that of the monitor.
        service: how the model was served in it.
        groups: those that are looked up, each of which has a share of answers without a row of it, 0 too.
    """
    assert partition.start is not None
    start, results = partition.start, list[Measurement]()
    totals: Mapping[str, float | None] = {"requests": float(max(service.requests, service.statuses)), **service.figures}
    for name, value in totals.items():
        number = service.number_behind(name)
        if name not in RATES:
            if value is not None:
                results.append(
                    Measurement(partition_start=start, subject="service", statistic=name, value=value, rows=number)
                )
            continue
        counts = service.counts.get(RATES[name], {})
        columns = sorted({*counts, *(groups if name == "missing_rate" else ())}) if number else []
        results += [
            Measurement(
                partition_start=start,
                subject="service",
                column_name=column,
                statistic=name,
                value=counts.get(column, 0) / number,
                rows=number,
            )
            for column in columns
        ]
    return results
