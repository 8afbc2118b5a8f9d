"""The sensor that asks for the partitions of a monitor whose labels came later than its condition looks for them."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from fti_assets.monitors.monitor import Monitor
from fti_assets.orchestration.declaration import Declaration
from fti_assets.orchestration.options import accepted_by_dagster
from fti_assets.orchestration.resources import STORES, Stores
from fti_assets.orchestration.signature import CONTEXT, take

_SECONDS = 60


def late_label_sensors(declarations: Iterable[Declaration]) -> list[dg.SensorDefinition]:
    """The sensors of the monitors among some declarations that measure quality and run by themselves."""
    monitors = [one for one in declarations if isinstance(one, Monitor) and one.quality]
    return [_sensor(one) for one in monitors if _is_asked_for(one)]


def _is_asked_for(monitor: Monitor) -> bool:
    """Whether the monitor runs by itself, and a label's group is one that the lake keeps."""
    runs_by_itself = bool(monitor.assets_def.automation_conditions_by_key)
    return runs_by_itself and any(label.group.source is None for label in monitor.labels)


def _sensor(monitor: Monitor) -> dg.SensorDefinition:
    name = f"{monitor.asset_name}_late_labels"

    def look(context: dg.SensorEvaluationContext, fti: Stores) -> dg.SensorResult:
        from fti_assets.monitors.late_labels.tick import look_for_late_labels

        return look_for_late_labels(monitor, context, fti)

    take(look, {CONTEXT: dg.SensorEvaluationContext, STORES: Stores})
    with accepted_by_dagster(name, "sensor"):
        return dg.sensor(
            name=name,
            target=dg.AssetSelection.assets(monitor.key),
            minimum_interval_seconds=_SECONDS,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description=f"Measures the partitions of {monitor.table_name} again whose labels came later than their maturity.",
        )(look)
