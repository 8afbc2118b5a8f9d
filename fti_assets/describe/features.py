"""A feature pipeline in facts."""

from __future__ import annotations

from typing import Any

import dagster as dg

from fti_assets.describe.stated import framework, length, stated
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.partitions import is_timed


def feature_pipeline(group: FeatureGroup, spec: Any, starts: list[str]) -> dict[str, Any]:
    """What a feature group is, how it runs, what it must keep and what starts it."""
    return {
        "asset": spec.key.to_user_string(),
        "description": spec.description or "",
        "mode": stated(spec, "mode", "batch" if group.source is None else "external"),
        "runs": _runs(group),
        "framework": framework(spec, group.annotations),
        "validation": validation(group.assets_def, group.schema),
        "schedule": starts,
        "upstream": upstream(group.assets_def),
        "keys": list(group.keys),
        "times": _times(group),
        "renamed": [f"{source!r} to {name!r}" for source, name in group.rename.items()],
        "ttl": None if group.ttl is None else length(group.ttl),
        "online": group.online,
        "owners": list(spec.owners),
    }


def _runs(group: FeatureGroup) -> str:
    if group.source is not None:
        return f"outside: {group.source.place}, joined where it lies"
    return runs(group.partitions_def, group.lookback)


def runs(partitions_def: dg.PartitionsDefinition[str] | None, lookback: Any = None) -> str:
    """Incremental or full, in words."""
    if partitions_def is None:
        return "full: the whole table in each run"
    back = f", reading {length(lookback)} back" if lookback else ""
    return f"incremental: {_partitions(partitions_def)}{back}"


def validation(asset: dg.AssetsDefinition, schema: Any) -> dict[str, Any]:
    """The schema's name and how many rules there are; a rule that does not block only warns."""
    rules = list(asset.check_specs)
    return {
        "schema": None if schema is None else str(schema.name or "unnamed"),
        "rules": len(rules),
        "blocking": sum(rule.blocking for rule in rules),
    }


def upstream(asset: dg.AssetsDefinition) -> list[str]:
    """The assets that an asset reads."""
    keys = {dep.asset_key for spec in asset.specs for dep in spec.deps}
    return sorted(key.to_user_string() for key in keys)


def _partitions(partitions_def: dg.PartitionsDefinition[str]) -> str:
    name = type(partitions_def).__name__.removesuffix("PartitionsDefinition").lower()
    if is_timed(partitions_def):
        return f"{name} partitions since {partitions_def.start:%Y-%m-%d}"
    return f"{name} partitions"


def _times(group: FeatureGroup) -> str:
    if group.event_time is None:
        return "a lookup, always visible"
    if group.available_at is not None:
        return f"true at {group.event_time}, available at {group.available_at}"
    delay = group.serving_delay
    return f"true at {group.event_time}, available {f'{length(delay)} later' if delay else 'at once'}"
