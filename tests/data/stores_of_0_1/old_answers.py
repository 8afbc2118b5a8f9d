"""What the stores beside this file say, as JSON that keeps every bit: asked when they were made, and again of later code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import old_system
import pyarrow
import pytest

import fti_assets as fti
from fti_assets.errors import NotMaterializedError
from fti_assets.testing import materialize

MADE_AT = datetime(2025, 3, 12, 12)
"""What the clock says when the stores are made and asked."""
EARLIER = "2025-03-07T10:00:00"
COMMITTED = "2025-03-12T12:05:30"
"""Between the commits of the first two batches of the feed."""
BUSY = "2025-03-11"
"""A stored day, and a cutoff."""
TABLES = (
    old_system.orders, old_system.deliveries, old_system.habits, old_system.queues, old_system.customers, old_system.lateness_dataset,
    old_system.verdicts_dataset, old_system.lateness_predictions, old_system.verdict_predictions,
)  # fmt: skip
MODELS = ("lateness_model", "verdict_model")


def plain(value: Any) -> Any:
    """A value as JSON has it: floats as hex, times as ISO text, decimals as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value.hex()
        case datetime():
            return value.isoformat(timespec="microseconds")
        case date() | Decimal():
            return str(value)
        case Mapping():
            return {name: plain(one) for name, one in value.items()}
        case Sequence():
            return [plain(one) for one in value]
    raise TypeError(f"{value!r} is a {type(value).__name__}, which no column holds")


def table_of(rows: pyarrow.Table) -> dict[str, Any]:
    """The columns of a table with their types, and its rows in an order of their own."""
    listed = [list(plain(row).values()) for row in rows.to_pylist()]
    return {"columns": {one.name: str(one.type) for one in rows.schema}, "rows": sorted(listed, key=json.dumps)}


def tables(stores: fti.Stores) -> dict[str, Any]:
    """Every table's rows."""
    return {
        f"{one.schema_name}.{one.asset_name}": table_of(fti.read(one, stores=stores, as_="arrow")) for one in TABLES
    }


def ledgers(stores: fti.Stores) -> dict[str, Any]:
    """What the ledger says of each partition of each table, the datasets' manifests among it."""
    with stores.offline_store().connect() as lake:
        return {
            f"{table.schema}.{table.name}": {
                key: [
                    one.data_version,
                    one.rows,
                    plain(one.committed_at),
                    plain(one.run_at),
                    json.loads(one.record or "null"),
                ]
                for key, one in lake.ledger(table).items()
            }
            for table in [*lake.tables(), *lake.tiles()]
        }


def history(stores: fti.Stores) -> dict[str, Any]:
    """What older snapshots hold of a group that has changed, by their numbers and by an instant, and of others at an instant."""
    with stores.offline_store().connect() as lake:
        newest = lake.snapshot()
    with pytest.raises(NotMaterializedError, match="was not there yet"):
        fti.read(old_system.customers, snapshot=4, stores=stores)
    changed = {
        str(snapshot): table_of(fti.read(old_system.customers, snapshot=snapshot, stores=stores, as_="arrow"))
        for snapshot in (5, 6, COMMITTED)
    }
    at = {
        one.asset_name: table_of(fti.read(one, at=EARLIER, stores=stores, as_="arrow"))
        for one in (old_system.queues, old_system.habits)
    }
    return {"newest": newest, "customers_v1": changed, "at": at}


def models(stores: fti.Stores) -> dict[str, Any]:
    """The files of the model store, of each model its aliases, and the manifests."""
    root = stores.model_store().root
    texts = {str(file.relative_to(root)): file for file in sorted(root.rglob("*.json")) if file.name != "samples.json"}
    return {name: json.loads(file.read_text()) for name, file in texts.items()}


def requests(model: str) -> list[tuple[dict[str, Any], str]]:
    """Requests with their prediction times: orders as they came, and strange ones."""
    fields = {
        "lateness_model": ["order_id", "shop", "items", "amount", "weight", "express", "customer", "counter"],
        "verdict_model": ["order_id", "shop", "items", "amount", "customer", "counter"],
    }[model]
    asked = []
    for number in range(30, 84, 3):
        one = old_system.order(number)
        asked.append(({name: one[name] for name in fields}, one["placed_at"]))
    first, at = asked[0]
    asked += [
        (first | {"shop": "nowhere", "customer": "nobody"}, at),
        (first | {"items": None, "amount": None}, at),
        (asked[-1][0], asked[-1][1] + timedelta(days=3)),  # what is known then is too old
    ]
    return [(request, moment.isoformat()) for request, moment in asked]


def predictions(models: Path | str, online: Path | str, model: str) -> list[list[Any]]:
    """A model's answers to its requests: the value, the features, and what was missing, unknown or beyond the schema."""
    predictor = fti.Predictor.load(model, models=models, online=online)
    answers = []
    for request, at in requests(model):
        one = predictor.predict(request, at=at)
        features = {name: value.item() if hasattr(value, "item") else value for name, value in one.features.items()}
        answers.append(
            [
                plain(one.value),
                plain(features),
                list(one.missing),
                list(one.unknown),
                list(one.out_of_schema),
                one.build,
            ]
        )
    return answers


def features(stores: fti.Stores) -> dict[str, Any]:
    """Features joined to rows at hand, point in time."""
    spine = pyarrow.Table.from_pylist([old_system.order(number) for number in range(3, 88, 4)], old_system.ORDERS)
    return {
        view.name: table_of(view.features_for(spine.select(wanted), stores=stores, as_="arrow"))
        for view, wanted in [
            (
                old_system.lateness,
                ["order_id", "placed_at", "shop", "customer", "counter", "items", "amount", "weight", "express"],
            ),
            (old_system.verdicts, ["order_id", "placed_at", "shop", "customer", "counter", "items", "amount"]),
        ]
    }


def declared() -> dict[str, Any]:
    """What Dagster knows of the declarations: its own records of earlier runs are found by it."""
    found: dict[str, Any] = {}
    for asset in old_system.defs.get_repository_def().assets_defs_by_key.values():
        [key] = asset.keys
        table = asset.metadata_by_key[key].get("dagster/table_name")
        found[key.to_user_string()] = {
            "step": asset.op.name,
            "table": getattr(table, "value", table),
            "code_version": asset.code_versions_by_key[key],
            "checks": sorted(spec.name for spec in asset.check_specs),
            "group": asset.group_names_by_key[key],
            "upstream": sorted(one.to_user_string() for one in asset.asset_deps[key]),
        }
    return dict(sorted(found.items()))


RERUNS: dict[str, str | None] = {
    "orders": BUSY, "deliveries": BUSY, "habits": BUSY, "queues": None, "lateness_dataset": BUSY, "lateness_predictions": BUSY,
}  # fmt: skip
"""Declarations that give the same rows again, and of which partition."""


def run(stores: fti.Stores, name: str, partition: Any = None, *, now: datetime = MADE_AT, **options: Any) -> Any:
    """Materialize one declaration of the system; Dagster's result of the run."""
    one = getattr(old_system, name)
    [result] = materialize(one, stores=stores, partition=partition, now=now, **options).runs.values()
    return result


def reruns(stores: fti.Stores) -> dict[str, Any]:
    """Materialize stored rows again: their data versions, and the names of what Dagster records of it."""
    found = {}
    for name, partition in RERUNS.items():
        [event] = run(stores, name, partition).get_asset_materialization_events()
        said = event.step_materialization_data.materialization
        found[name] = {
            "data_version": said.tags["dagster/data_version"],
            "metadata": sorted(said.metadata),
            "tags": sorted(
                tag
                for tag in said.tags
                if not tag.startswith(("dagster/input_event_pointer/", "dagster/input_data_version/"))
            ),
        }
    return found


SECTIONS: dict[str, Callable[[fti.Stores], Any]] = {
    "tables": tables,
    "ledgers": ledgers,
    "history": history,
    "models": models,
    "features": features,
    "predictions": lambda stores: {
        model: predictions(str(stores.models), str(stores.online), model) for model in MODELS
    },
    "declared": lambda _: declared(),
}
"""What only reads the stores."""
