"""What the page of a monitor shows of quality: the newest figures, and the history of each metric as a small picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from fti_assets.core.sql import timestamp
from fti_assets.core.times import Partition
from fti_assets.monitoring.measurement import Measurement
from fti_assets.monitoring.quality.estimate import can_estimate
from fti_assets.monitoring.quality.judging import ERROR, QUALITY
from fti_assets.monitoring.quality.quality import LABEL_RATE
from fti_assets.monitors.monitor import START, Monitor
from fti_assets.monitors.quality.history_picture import QualityHistory, quality_picture
from fti_assets.monitors.quality.redaction import mask_slice, redacted_by_logs
from fti_assets.monitors.recent_rows import recent_rows
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.judging.pictures.build_pictures import image
from fti_assets.training.models.model import Model

_MOST_ROWS = 20


def quality_page(lake: Lake, monitor: Monitor, newest: Partition) -> dict[str, Any]:
    """The metadata of a run's newest partition.

    ``quality`` is a table of the newest partition's figures, those nearest to their bounds or beyond them first, and
    ``quality/<metric>`` a picture of a metric over the newest 90 partitions until then, over all builds and rows.
    ``quality/without_estimate`` lists the metrics that nothing can estimate before labels come.
    """
    rows = recent_rows(lake, monitor, newest) if monitor.quality else None
    if rows is None:
        return {}
    rows = rows.filter(f"subject = '{QUALITY}'")
    pictures = {
        f"quality/{one.name}": dg.MetadataValue.md(image(quality_picture(one), one.name))
        for one in _histories(rows, monitor)
    }
    names = without_estimate(monitor)
    gaps = {"quality/without_estimate": ", ".join(names)} if names else {}
    return {"quality": _table(rows, monitor, newest), **pictures, **gaps}


def without_estimate(monitor: Monitor) -> tuple[str, ...]:
    """The metrics of which no model of a monitor has an estimate, though some model has the metric."""
    if not monitor.estimate:
        return ()
    models = [model for model in monitor.models if isinstance(model, Model)]
    metrics = [
        rule.metric
        for rule in monitor.quality
        if not rule.is_label_rate and any(rule.is_for(model.task, list(model.view.labels)) for model in models)
    ]
    return tuple(name for name in metrics if not any(can_estimate(name, model.task) for model in models))


def with_quality(
    by_partition: Mapping[str, Mapping[str, Any]],
    monitor: Monitor,
    measurements: Sequence[Measurement],
    partitions: Sequence[Partition],
) -> dict[str, dict[str, Any]]:
    """What Dagster plots of each partition, with its metrics over all builds and rows."""
    metrics = {rule.metric for rule in monitor.quality}
    results = {key: dict(facts) for key, facts in by_partition.items()}
    keys = {one.start: one.key for one in partitions}
    for one in measurements:
        if one.build or one.slice or one.column_name or one.value is None or one.statistic not in metrics:
            continue
        name = f"{one.statistic}_estimated" if one.estimated else one.statistic
        results[keys[one.partition_start]][name] = one.value
    return results


def _histories(rows: Any, monitor: Monitor) -> list[QualityHistory]:
    over_all = rows.filter(f"build = '' AND slice = '' AND value IS NOT NULL AND NOT ends_with(statistic, '{ERROR}')")
    if not any(rule.is_label_rate for rule in monitor.quality):
        over_all = over_all.filter(f"statistic <> '{LABEL_RATE}'")
    columns = f"column_name, statistic, {START}, value, low, high, threshold, estimated"
    histories: dict[tuple[str, str], QualityHistory] = {}
    for column, statistic, start, value, low, high, bound, estimated in (
        over_all.order(f"column_name, statistic, {START}").project(columns).fetchall()
    ):
        name = " ".join(filter(None, (column, statistic)))
        history = histories.setdefault((column, statistic), QualityHistory(name))
        (history.estimate if estimated else history.truth)[start] = (value, low, high)
        history.bound = bound if bound is not None else history.bound
    return list(histories.values())


def _table(rows: Any, monitor: Monitor, newest: Partition) -> dg.TableMetadataValue:
    assert newest.start is not None
    own = rows.filter(f"{START} = {timestamp(newest.start)} AND value IS NOT NULL")
    query = (
        "trim(concat_ws(' ', column_name, statistic)), slice, build, arm, round(value, 4), round(low, 4), round(high, 4), "
        "round(threshold, 4), rows, CASE WHEN estimated THEN 'estimated' ELSE '' END, verdict"
    )
    ordered = own.order(
        "verdict = 'warning' DESC, build <> '', slice <> '', column_name, statistic, estimated, rows DESC, slice, build, arm"
    )
    names = ("metric", "slice", "build", "arm", "value", "low", "high", "bound", "rows", "estimated", "verdict")
    kinds = ("text", "text", "text", "text", "float", "float", "float", "float", "int", "text", "text")
    hidden = redacted_by_logs(monitor.models)
    records = [
        dg.TableRecord(dict(zip(names, (metric, mask_slice(part, monitor.quality, hidden), *figures), strict=True)))
        for metric, part, *figures in ordered.limit(_MOST_ROWS).project(query).fetchall()
    ]
    return dg.MetadataValue.table(
        records,
        schema=dg.TableSchema([dg.TableColumn(name, kind) for name, kind in zip(names, kinds, strict=True)]),
    )
