"""An external group as a Dagster asset that is observed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg

from fti_assets.core.rules import Rule
from fti_assets.features.groups.columns import code_terms_of, declared_metadata
from fti_assets.features.groups.group import FeatureGroup, layout_of
from fti_assets.features.validation.schema import rules_of
from fti_assets.orchestration.checks import check_specs
from fti_assets.orchestration.options import accepted_by_dagster
from fti_assets.orchestration.resources import STORES
from fti_assets.orchestration.step import code_version


def external_group_asset(group: FeatureGroup) -> dg.AssetsDefinition:
    """The group's observable asset."""
    assert group.source is not None
    key = group.key
    options: dict[str, Any] = {name: value for name, value in group.options.items() if value is not None}
    for name in ("key", "key_prefix"):
        options.pop(name, None)
    options["metadata"] = {
        "source": group.source.place,
        **declared_metadata(group),
        **group.links,
        **options.get("metadata", {}),
    }
    options.setdefault("group_name", "features")
    options.setdefault("kinds", {"external"})
    options.setdefault(
        "description", f"{group.source.place}, which another system computes; it is joined where it lies."
    )
    options.setdefault("code_version", code_version(None, (code_terms_of(group), repr(group.source))))

    def observe(context: dg.AssetExecutionContext) -> Iterator[dg.ObserveResult]:
        from fti_assets.features.external.rows import observation

        yield observation(group)

    observe.__name__ = group.table_name
    # Dagster reads annotations at once, and here they would be text.
    observe.__annotations__ = {"context": dg.AssetExecutionContext}
    with warnings.catch_warnings():
        # Dagster marks it as beta; observable_source_asset takes no checks.
        warnings.filterwarnings("ignore", message="Function `multi_observable_source_asset`")
        with accepted_by_dagster(group.asset_name):
            decorator = dg.multi_observable_source_asset(
                name="__".join(key.path),
                specs=[dg.AssetSpec(key, **options).with_io_manager_key(STORES)],
                check_specs=check_specs(key, _rules(group)),
            )
            definition: dg.AssetsDefinition = decorator(observe)
    return definition


def _rules(group: FeatureGroup) -> list[Rule]:
    rules = [*rules_of(group.schema), *layout_of(group).rules] if group.validate else []
    return [replace(rule, blocking=False) for rule in rules]
