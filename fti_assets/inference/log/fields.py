"""The fields of logged requests, as SQL."""

from __future__ import annotations

from fti_assets.core.sql import literal, quote
from fti_assets.inference.log.log import REQUEST, PredictionLog
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.views.terms import Label


def fields_of_label(log: PredictionLog, label: Label, lake: Lake) -> str:
    """The SQL of the fields that the label is joined by and the log has inside its requests alone; each with a comma before it."""
    types = lake.types(label.group.table)
    own = (*log.model.view.spine.keys, log.event_time)
    fields = {label.column.spine_keys.get(key, key): types[key] for key in label.group.keys}
    return "".join(
        f", TRY_CAST({json_field(REQUEST, name)} AS {kind}) AS {quote(name)}"
        for name, kind in fields.items()
        if name not in own
    )


def json_field(column: str, name: str) -> str:
    """The SQL of a field of a column of JSON, as text; null where it is missing or null."""
    path = '$."' + name.replace('"', '\\"') + '"'
    return f"json_extract_string({column}, {literal(path)})"
