"""The system whose stores lie beside this file: orders by day, how late they came, and what was known before.

It stays as it is, to the letter: a later release has to read and serve what this one stored, under the same declarations,
and an asset's code version is a hash of its source.
"""

# fmt: off
from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
from old_on_demand import prices

import fti_assets as fti

DAYS = dg.DailyPartitionsDefinition(start_date="2025-03-01", end_date="2025-03-15")
CUTOFFS = dg.DailyPartitionsDefinition(start_date="2025-03-10", end_date="2025-03-15")
A_DAY = 8
"""Orders a day."""
FIRST_ID = 2**60
"""Keys that a float cannot tell apart."""

ORDERS = pyarrow.schema(
    [
        ("order_id", pyarrow.int64()),
        ("placed_at", pyarrow.timestamp("us")),
        ("customer", pyarrow.string()),
        ("shop", pyarrow.string()),
        ("counter", pyarrow.int32()),
        ("items", pyarrow.int16()),
        ("amount", pyarrow.float64()),
        ("weight", pyarrow.float32()),
        ("express", pyarrow.bool_()),
        ("due", pyarrow.date32()),
        ("paid", pyarrow.decimal128(12, 2)),
        ("tags", pyarrow.list_(pyarrow.string())),
        ("address", pyarrow.struct([("town", pyarrow.string()), ("number", pyarrow.int32())])),
        ("note", pyarrow.string()),
    ]
)


def order(number: int) -> dict[str, Any]:
    """An order, every value of it by its number."""
    day, of_day = divmod(number, A_DAY)
    placed = datetime(2025, 3, 1) + timedelta(days=day, hours=3 * of_day, minutes=number * 7 % 60, microseconds=number)
    return {
        "order_id": FIRST_ID + number,
        "placed_at": placed,
        "customer": ["ann", "bob", "çem", "dée", ""][number % 5],
        "shop": ["north", "south", "east"][number * 5 % 7 % 3],
        "counter": number % 2 + 1,
        "items": number * 3 % 8,
        "amount": number * 37 % 101 / 1.7 - 2.5 + 1 / 3,
        "weight": None if number % 4 == 3 else number % 11 / 3,
        "express": None if number % 9 == 5 else number % 3 == 0,
        "due": placed.date() + timedelta(days=number % 5),
        "paid": None if number % 6 == 1 else Decimal(number * 1999 % 7919).scaleb(-2),
        "tags": [None, [], ["gift"], ["gift", None, "née"]][number % 4],
        "address": None if number % 7 == 2 else {"town": "Ostermundigen"[number % 5 :], "number": number % 40 or None},
        "note": None if number % 5 == 0 else ["", "leave at the door", "'quoted' \"twice\"", "\n"][number % 4],
    }


def lateness_us(number: int) -> int:
    """How late an order came, in microseconds: the dear and the heavy ones are late, some others too."""
    one = order(number)
    late = one["amount"] + 3 * one["items"] + (20 if number % 10 == 0 else 0) - 35
    return round(late * 60e6)


def numbers_of(context: dg.AssetExecutionContext) -> list[int]:
    days = [(date.fromisoformat(key) - date(2025, 3, 1)).days for key in context.partition_keys]
    return [day * A_DAY + of_day for day in days for of_day in range(A_DAY)]


class OrderSchema(pa.DataFrameModel):
    """An order as it was placed."""

    order_id: int
    placed_at: pd.Timestamp
    customer: str
    shop: str = pa.Field(isin=["north", "south", "east"])
    counter: int
    items: int = pa.Field(ge=0, le=100)
    amount: float = pa.Field(ge=-10)
    weight: float = pa.Field(nullable=True)
    express: pd.BooleanDtype = pa.Field(nullable=True)


@fti.feature_group(
    keys=["order_id"], event_time="placed_at", partitions_def=DAYS, schema=OrderSchema, owners=["team:orders"]
)
def orders(context: dg.AssetExecutionContext) -> pyarrow.Table:
    """The orders of a day, a column of every type."""
    return pyarrow.Table.from_pylist([order(number) for number in numbers_of(context)], ORDERS)


@fti.feature_group(keys=["order_id"], event_time="placed_at", available_at="delivered_at", partitions_def=DAYS)
def deliveries(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """How late each order came, known a few hours after it was placed."""
    numbers = numbers_of(context)
    rows = pd.DataFrame([order(number) for number in numbers])[["order_id", "placed_at"]]
    late = pd.Series([lateness_us(number) for number in numbers])
    return rows.assign(
        delivered_at=rows["placed_at"] + pd.to_timedelta(late + 4 * 3_600_000_000, unit="us"),
        late=late > 0,
        verdict=np.select([late < -600_000_000, late > 600_000_000], ["early", "late"], "on time"),
    )


@fti.feature_group(
    keys=["customer"], event_time="hour", partitions_def=DAYS, lookback="6d", serving_delay="10min", ttl="1d", online=True,
    online_history="20d",
)  # fmt: skip
def habits(orders: fti.Table) -> fti.Table:
    """What a customer ordered of late; its tiles are kept in the lake."""
    return fti.window_aggregate(
        orders,
        keys=["customer"],
        every="12h",
        windows=["1d", "5d"],
        aggregates={
            "orders": fti.Count(),
            "mean": fti.Mean("amount"),
            "spread": fti.Std("amount"),
            "shops": fti.DistinctCount("shop"),
            "last": fti.Last("shop"),
            "rate": fti.Rate("amount", per="1h"),
        },
    )


@fti.feature_group(
    keys=["shop", "counter"], event_time="measured_at", available_at="known_at", ttl="2d", online=True, online_history="20d"
)  # fmt: skip
def queues(context: dg.AssetExecutionContext) -> pyarrow.Table:
    """How busy each counter is; some measurements are corrected later, and the online store holds both versions."""
    rows = []
    for number in range(22 * 3):
        half_day, shop = divmod(number, 3)
        measured = datetime(2025, 3, 1) + timedelta(hours=12 * half_day, minutes=shop)
        row = {
            "shop": ["north", "south", "wëst"][shop],
            "counter": number % 2 + 1,
            "measured_at": measured,
            "known_at": measured + timedelta(minutes=5),
            "queue": None if number % 8 == 3 else number * 11 % 17,
            "wait": None if number % 6 == 2 else number * 13 % 29 / 7,
            "mood": None if number % 7 == 1 else ["", "calm", "grîm"][number * 2 % 3],
            "open": None if number % 5 == 4 else number % 3 > 0,
            "opened_at": None if number % 4 == 2 else measured - timedelta(hours=number % 5, microseconds=7),
        }
        rows.append(row)
        if number % 4 == 0:
            rows.append(row | {"known_at": measured + timedelta(hours=3), "queue": 99, "mood": "corrected"})
    kinds = {
        "shop": pyarrow.string(), "counter": pyarrow.int64(), "measured_at": pyarrow.timestamp("us"),
        "known_at": pyarrow.timestamp("us"), "queue": pyarrow.int64(), "wait": pyarrow.float64(), "mood": pyarrow.string(),
        "open": pyarrow.bool_(), "opened_at": pyarrow.timestamp("us"),
    }  # fmt: skip
    return pyarrow.Table.from_pylist(rows, pyarrow.schema(kinds))


@fti.feature_group(keys=["customer"], online=True)
def customers(position: fti.FeedPosition) -> fti.Changes:
    """A lookup that a feed changes: each run stores the next batch."""

    def rows(*values: tuple[str, int | None, str | None]) -> pd.DataFrame:
        frame = pd.DataFrame(values, columns=["customer", "age", "grade"])
        return frame.astype({"age": "Int64"})

    if position.value is None:
        first = rows(("ann", 31, "gold"), ("bob", 47, None), ("çem", None, "tin"), ("gone", 99, "tin"))
        return fti.Changes(upserts=first, position="lsn-1")
    if position.value == "lsn-1":
        changed = rows(("bob", 48, "gold"), ("dée", 2**53 + 1, "tin"))
        return fti.Changes(upserts=changed, deletes=pd.DataFrame({"customer": ["gone"]}), position="lsn-2")
    if position.value == "lsn-2":
        return fti.Changes(
            upserts=rows(("eve", 20, "new")), deletes=pd.DataFrame({"customer": ["ann"]}), position="lsn-3"
        )
    return fti.Changes()


def features_of(*of_orders: str) -> list[Any]:
    return [
        orders[of_orders],
        habits["orders_5d", "mean_1d", "spread_5d", "shops_5d"].prefix("own_"),
        habits.on(customer="customer")["rate_1d"],
        queues["queue", "wait", "mood", "open"],
        customers["age", "grade"],
        prices,
    ]


lateness = fti.FeatureView(
    name="lateness",
    spine=orders,
    label=fti.Label(deliveries["late"], maturity="6h"),
    features=features_of("shop", "items", "amount", "weight", "express"),
    encoders={
        "shop": fti.OneHot(),
        "grade": fti.OneHot(),
        "mood": fti.OneHot(),
        "amount": fti.Standardize(),
        "items": fti.Passthrough(),
        "hour_of_day": fti.Passthrough(),
    },
)
verdicts = fti.FeatureView(
    name="verdicts",
    spine=orders,
    label=fti.Label(deliveries["verdict"], maturity="6h"),
    features=[orders["shop", "items", "amount"], habits["last_5d"], queues["wait"]],
    encoders={"shop": fti.Embedding(max_categories=8), "last_5d": fti.OneHot()},
)

SPLIT = fti.TimeSplit(validation="1d", test="2d")
lateness_dataset = fti.training_dataset(name="lateness_dataset", view=lateness, partitions_def=CUTOFFS, split=SPLIT)
verdicts_dataset = fti.training_dataset(name="verdicts_dataset", view=verdicts, partitions_def=CUTOFFS, split=SPLIT)


class Hyperparameters(dg.Config):
    """How the model of lateness is trained."""

    strength: float = 0.1


@fti.model(
    dataset=lateness_dataset,
    task="binary",
    evaluate=fti.Evaluation(metrics=["roc_auc", "log_loss", "brier"], slices=["shop"]),
    gates=[
        fti.BeatsBaseline("log_loss"),
        fti.NotWorseThanChampion("roc_auc", tolerance=0.5),
        fti.SliceGap("brier", by="shop", at_most=1.0, min_rows=1),
    ],
)
def lateness_model(config: Hyperparameters, data: fti.TrainingData) -> Any:
    """Will an order be late? By scikit-learn."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), LogisticRegression(C=config.strength, max_iter=1000)).fit(
        data.train.X, data.train.y
    )


@fti.model(dataset=verdicts_dataset, task="multiclass")
def verdict_model(data: fti.TrainingData) -> Any:
    """Early, on time or late? An ONNX graph made by hand, of which an input is an Embedding feature."""
    from onnx import TensorProto, helper, numpy_helper

    rng, classes = np.random.default_rng(0), len(data.classes)
    nodes = [
        helper.make_node("MatMul", ["dense", "weights"], ["of_numbers"]),
        helper.make_node("Squeeze", ["shop", "axis"], ["category"]),
        helper.make_node("Gather", ["table", "category"], ["of_shop"]),
        helper.make_node("Add", ["of_numbers", "of_shop"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(rng.normal(size=(data.dense_dim, classes)).astype(np.float32), "weights"),
        numpy_helper.from_array(rng.normal(size=(data.cardinalities["shop"], classes)).astype(np.float32), "table"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
    ]
    inputs = [
        helper.make_tensor_value_info("dense", TensorProto.FLOAT, ["n", data.dense_dim]),
        helper.make_tensor_value_info("shop", TensorProto.INT64, ["n", 1]),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])]
    graph = helper.make_graph(nodes, "verdict", inputs, outputs, constants)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


lateness_predictions = fti.batch_predictions(name="lateness_predictions", model=lateness_model, partitions_def=DAYS)
verdict_predictions = fti.batch_predictions(name="verdict_predictions", model=verdict_model, partitions_def=DAYS)
defs = fti.build_definitions([lateness_predictions, verdict_predictions], jobs=[fti.upkeep_job()])
