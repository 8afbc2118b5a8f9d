"""A feature group as a Dagster asset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.times import LIFETIME_LENGTH, naive_utc
from fti_assets.features.events.checks import stream_rules
from fti_assets.features.groups.columns import code_terms_of, declared_metadata
from fti_assets.features.groups.freshness import FRESH
from fti_assets.features.groups.group import IN_TIME, NOT_FUTURE, FeatureGroup, judges_time, layout_of
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.validation.schema import rules_of
from fti_assets.orchestration.checks import check_specs
from fti_assets.orchestration.conditions.defaults import on_changed_inputs, on_partition_begin, on_partition_end
from fti_assets.orchestration.conditions.reach import Reach, longest_run, partitions_back
from fti_assets.orchestration.conditions.within_reach import Upstream
from fti_assets.orchestration.due import longest_silence
from fti_assets.orchestration.partitions import is_timed
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.step import beta_accepted, build_asset

_LEAST_SILENCE = timedelta(minutes=5)
"""A service may be silent for so long, as while it is restarted."""
_DRAWN_BACK = timedelta(days=366)
"""How far back Dagster's own graph shows what is read from its beginning on, since it counts partition by partition."""


def feature_group_asset(group: FeatureGroup) -> dg.AssetsDefinition:
    """The group's asset."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.features.steps.run import (
            run_feature_group,  # with all that a step needs and a declaration does not
        )

        return run_feature_group(group, context, stores, arguments)

    rules = [*rules_of(group.schema), *layout_of(group).rules, *([IN_TIME, NOT_FUTURE] if judges_time(group) else [])]
    rules += [FRESH] if group.ttl is not None else []
    rules += stream_rules(group)
    return build_asset(
        group,
        function=group.function,
        run=run,
        own_parameters={*group.inputs, *group.position_parameters, *group.session_parameters},
        annotations=group.annotations,
        ins=group.asset_ins,
        deps=[_dep(group, source) for source in dict.fromkeys(group.inputs.values())],
        check_specs=check_specs(group.key, rules),
        metadata={"dagster/table_name": group.table.full_name, **declared_metadata(group)},
        kinds={group.engine, "parquet", *(["sql"] if group.body else [])},
        group_name="features",
        automation_condition=_condition(group),
        freshness_policy=_freshness_policy(group),
        code_terms=code_terms_of(group),
    )


def request_windows_asset(group: FeatureGroup) -> dg.AssetsDefinition:
    """The asset of windows at the time of a request: its run says that the rows are there, and brings the online store up to them."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.features.steps.window_run import run_request_windows

        return run_request_windows(group, context, stores)

    [source] = group.inputs.values()
    return build_asset(
        group,
        function=None,
        run=run,
        deps=[_dep(group, source)],
        metadata=declared_metadata(group),
        kinds={"duckdb"},
        group_name="features",
        description=f"Windows over {source.table_name}, computed at the time of each prediction.",
        automation_condition=_condition(group),
        freshness_policy=_freshness_policy(group),
        code_terms=code_terms_of(group),
    )


def _condition(group: FeatureGroup) -> dg.AutomationCondition[Any] | None:
    """Run on changed inputs, and a last time after the end of a window that was still open; None if neither can be."""
    inputs = upstream_of({source: Reach(_back(group)) for source in group.inputs.values()})
    waits = group.inputs or group.asset_ins or group.options.get("deps")
    on_change = on_changed_inputs(inputs, whole=group.partitions_def is None) if waits else None
    on_change = None if on_change is None else on_change.with_label("inputs_changed")
    if not is_timed(group.partitions_def):
        return on_change
    on_end = on_partition_end(group.partitions_def, group.serving_delay or timedelta(0)).with_label("window_ended")
    if group.schedule is not None:
        on_end = on_partition_begin().with_label("window_begun") | on_end
    return on_end if on_change is None else on_change | on_end


def _freshness_policy(group: FeatureGroup) -> dg.FreshnessPolicy | None:
    """It warns once a partition is overdue, and fails once all values are older than the ttl, or else after twice as long.

    A service tells of what it has stored within a minute: it fails once nothing was stored for a ttl, or a partition, and warns before.

    None where no partition is to come, and where the clock is set: Dagster's daemon asks the system's own.
    """
    partitions_def = group.partitions_def
    if not is_timed(partitions_def) or clock.is_set():
        return None
    if partitions_def.end is not None and naive_utc(partitions_def.end) <= clock.now():
        return None
    if group.stream is not None:
        silence = longest_run(partitions_def, 1)
        fails = max(group.ttl or silence, _LEAST_SILENCE)
        return dg.FreshnessPolicy.time_window(fail_window=fails, warn_window=min(silence, fails) / 2)
    overdue = longest_silence(partitions_def, group.serving_delay)
    # All rows were true when they were stored, so after the ttl none answers. Before a partition is overdue, that is as declared.
    fails = 2 * overdue if group.ttl is None else max(group.ttl, overdue)
    return dg.FreshnessPolicy.time_window(fail_window=fails, warn_window=overdue if overdue < fails else None)


def upstream_of(reaches: Mapping[TimedTable, Reach]) -> list[Upstream]:
    """The groups that must be materialized before something rests on them; an external one is there without that."""
    return [
        Upstream(group.key, group.partitions_def, reach) for group, reach in reaches.items() if group.source is None
    ]


def dep_on(
    source: TimedTable,
    partitions_def: dg.PartitionsDefinition[str] | None,
    reach: timedelta | None,
    *,
    end_offset: int = 0,
) -> dg.AssetDep:
    """The dependency of something partitioned on a group that it reads ``reach`` back into, or from its beginning on.

    An ``end_offset`` of -1 leaves out its own window: a cutoff reads what lies before it.
    """
    if is_timed(partitions_def) and is_timed(source.partitions_def):
        with beta_accepted():
            mapping = dg.TimeWindowPartitionMapping(
                start_offset=-partitions_back(partitions_def, _DRAWN_BACK if reach is None else reach),
                end_offset=end_offset,
                allow_nonexistent_upstream_partitions=True,
            )
        return dg.AssetDep(source.key, partition_mapping=mapping)
    return dg.AssetDep(source.key)


def _back(group: FeatureGroup) -> timedelta | None:
    """How far a group reads back; None is to the beginning."""
    return None if group.lookback == LIFETIME_LENGTH else group.lookback


def _dep(group: FeatureGroup, source: TimedTable) -> dg.AssetDep:
    return dep_on(source, group.partitions_def, _back(group))
