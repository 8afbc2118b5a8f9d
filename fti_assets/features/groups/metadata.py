"""What a group's declaration says of its asset: what the catalog shows, and what its code version is made of."""

from __future__ import annotations

from typing import Any

import dagster as dg

from fti_assets.features.groups.columns import column_schema, group_columns
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.validation.schema import described


def declared_metadata(group: FeatureGroup) -> dict[str, Any]:
    """Keys, times and columns, as the catalog shows them before the first run."""
    metadata: dict[str, Any] = {
        "keys": ", ".join(group.keys),
        "event_time": group.event_time or "none: a lookup, always visible",
    }
    if group.available_at is not None:
        metadata["available_at"] = group.available_at
    if group.serving_delay is not None:
        metadata["serving_delay"] = str(group.serving_delay)
    if group.ttl is not None:
        metadata["ttl"] = str(group.ttl)
    if group.rename:
        metadata["renamed"] = ", ".join(f"{source!r} to {name!r}" for source, name in group.rename.items())
    if group.body:
        metadata["sql"] = dg.MetadataValue.md(f"```sql\n{group.body.strip()}\n```")
    return metadata | (column_schema(group_columns(group)) if group.schema is not None else {})


def code_terms_of(group: FeatureGroup) -> tuple[object, ...]:
    """Everything of a group but its source that decides what it holds, for the code version."""
    inputs = tuple((name, source.table_name) for name, source in group.inputs.items())
    times = (group.event_time, group.available_at, group.serving_delay, group.ttl, group.tie_break, group.partition_by)
    schema = described(group.schema)
    in_sql = (group.body,) if group.body else ()
    names = (tuple(sorted(group.rename.items())),) if group.rename else ()
    of_rows = (group.lookback, inputs, schema, group.duplicates)
    return (group.name, group.version, group.keys, times, *of_rows, *in_sql, *names)
