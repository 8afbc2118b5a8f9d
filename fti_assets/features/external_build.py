"""An external group as a Dagster asset that is observed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg

from fti_assets.assets.checks import check_result, check_specs
from fti_assets.assets.step import STORES, asset_key, code_version
from fti_assets.assets.users import links_to_users
from fti_assets.assets.windows import UNPARTITIONED
from fti_assets.features.build import declaration_of_group, declared_metadata
from fti_assets.features.columns import group_columns, stored_schema
from fti_assets.features.external_rows import external_rows, left_out
from fti_assets.features.feature_group import FeatureGroup
from fti_assets.features.rename import rename_line, renamed_names
from fti_assets.features.run import layout_of
from fti_assets.features.schema import type_of_sql
from fti_assets.features.staging import stage
from fti_assets.features.validation import rules_of
from fti_assets.rules import Rule, Verdict
from fti_assets.stores.external import described, source_connection
from fti_assets.stores.sql import quoted


def build_external_group(group: FeatureGroup) -> dg.AssetsDefinition:
    """Build the group's observable asset, once."""
    assert group.source is not None
    key = asset_key(group.options, group.table)
    settled: dict[str, Any] = {name: value for name, value in group.options.items() if value is not None}
    for name in ("key", "key_prefix"):
        settled.pop(name, None)
    settled["metadata"] = {
        "source": group.source.place,
        **declared_metadata(group),
        **links_to_users(group),
        **settled.get("metadata", {}),
    }
    settled.setdefault("group_name", "features")
    settled.setdefault("kinds", {"external"})
    settled.setdefault(
        "description", f"{group.source.place}, which another system computes; it is joined where it lies."
    )
    settled.setdefault("code_version", code_version(None, (declaration_of_group(group), repr(group.source))))

    def observe(context: dg.AssetExecutionContext) -> Iterator[dg.ObserveResult]:
        yield observation(group)

    observe.__name__ = group.table
    observe.__annotations__ = {"context": dg.AssetExecutionContext}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Function `multi_observable_source_asset`")
        decorator = dg.multi_observable_source_asset(
            name="__".join(key.path),
            specs=[dg.AssetSpec(key, **settled).with_io_manager_key(STORES)],
            check_specs=check_specs(key, _rules(group)),
        )
        built: dg.AssetsDefinition = decorator(observe)
    return built


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


def _rules(group: FeatureGroup) -> list[Rule]:
    rules = [*rules_of(group.schema), *layout_of(group).rules] if group.validate else []
    return [replace(rule, blocking=False) for rule in rules]


def _warning(verdict: Verdict) -> Verdict:
    return replace(verdict, rule=replace(verdict.rule, blocking=False))
