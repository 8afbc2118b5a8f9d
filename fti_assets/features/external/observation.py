"""What an external group's asset observes: its version, rows and columns as they lie elsewhere, and its checks."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg

from fti_assets.core.rules import Verdict
from fti_assets.core.sql import quoted
from fti_assets.core.types import type_of_sql
from fti_assets.features.external.rows import external_rows, left_out
from fti_assets.features.groups.columns import group_columns, stored_schema
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.groups.layout import layout_of
from fti_assets.features.rows.rename import rename_line, renamed_names
from fti_assets.features.rows.staging import stage
from fti_assets.orchestration.checks import check_result
from fti_assets.orchestration.partitions import UNPARTITIONED
from fti_assets.stores.sources.external import described, source_connection


def observation(group: FeatureGroup) -> dg.ObserveResult:
    """What is there of an external group now: its data version, rows, newest event time, columns, and its checks.

    Raises:
        StoreError: the source cannot be read.
        DataError: it lacks a declared column, or has it with another type.
    """
    assert group.source is not None
    with source_connection() as connection:
        rows = external_rows(connection, group)
        newest = "NULL" if group.event_time is None else f"max({quoted(group.source_name(group.event_time))})"
        count, latest = group.source.measured(connection, f"count(*), {newest}")
        types = dict(zip(rows.columns, map(str, rows.types), strict=True))
        names = renamed_names(described(connection, group.source), group.rename)
        nameless = {} if group.schema is not None else left_out(names)
        unusable = [name for name, kind in types.items() if type_of_sql(kind) is None]
        verdicts = stage(connection, rows, layout_of(group), [UNPARTITIONED]).verdicts if group.validate else []
        return dg.ObserveResult(
            asset_key=group.key,
            data_version=dg.DataVersion(group.source.version(connection)),
            metadata={
                "dagster/row_count": int(count),
                **({} if latest is None else {"newest_event_time": str(latest)}),
                **({"of_no_feature_type": ", ".join(unusable)} if unusable else {}),
                **({"left_out": rename_line(nameless, taken=names)} if nameless else {}),
                **stored_schema(group_columns(group), types),
            },
            check_results=[check_result(group.key, _warning(verdict)) for verdict in verdicts],
        )


def _warning(verdict: Verdict) -> Verdict:
    return replace(verdict, rule=replace(verdict.rule, blocking=False))
