"""A parity as a Dagster asset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fti_assets.features.groups.columns import column_schema
from fti_assets.monitors.parity.parity import RULES, Parity, columns_of
from fti_assets.orchestration.checks import check_specs
from fti_assets.orchestration.conditions.defaults import on_changed_inputs
from fti_assets.orchestration.conditions.partition_end import PartitionOver
from fti_assets.orchestration.conditions.within_reach import Upstream
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.step import build_asset


def parity_asset(parity: Parity) -> dg.AssetsDefinition:
    """The parity's asset."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.monitors.parity.run import run_parity

        return run_parity(parity, context, stores)

    of = parity.of
    names = ", ".join(model.asset_name for model in parity.models)
    return build_asset(
        parity,
        function=None,
        run=run,
        deps=[dg.AssetDep(of.key)],
        check_specs=check_specs(parity.key, RULES),
        metadata={
            "dagster/table_name": parity.table.full_name,
            "compares": of.table.full_name,
            "model": names,
            "sample": parity.sample,
            **column_schema(columns_of(parity)),
        },
        kinds={"duckdb"},
        group_name="monitoring",
        description=f"Past requests of {of.table_name}, replayed online and compared with the offline join at the snapshot of then.",
        automation_condition=(
            on_changed_inputs([Upstream(of.key, of.partitions_def)], whole=parity.partitions_def is None)
            & PartitionOver()
        ).with_label("new_requests"),
        code_terms=(parity.name, parity.version, of.table_name, parity.sample, parity.lag.total_seconds()),
    )
