"""Calls of everything public that declares something, and values that none of their arguments is meant to be."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import pathlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pa
import polars as pl

import fti_assets as fti
from fti_assets.orchestration.options import AssetOptions
from tests import on_demand

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-02-01")
Any_ = Any  # what a function of a user's gives, without a type


def raising(method: str, base: type = object, *of: Any) -> Any:
    """An object of a class whose ``method`` raises, made of something."""

    def refuse(*arguments: Any, **named: Any) -> Any:
        raise ZeroDivisionError(f"of {method}")

    return type(f"Raises{method.strip('_').title()}", (base,), {method: refuse})(*of)


def raising_property(name: str) -> Any:
    """An object of a class whose attribute cannot be asked for."""

    def refuse(self: Any) -> Any:
        raise ZeroDivisionError(f"of {name}")

    return type("RaisesPart", (), {name: property(refuse)})()


class Colour(enum.Enum):
    RED = "red"


class Long(list[Any]):
    """A list that says that it is longer than any memory."""

    def __len__(self) -> int:
        return 10**18


class Text(str):
    """A text of a class of one's own."""


def endless() -> Iterator[int]:
    while True:
        yield 1


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def recursive() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "true": lambda: True,
    "false": lambda: False,
    "zero": lambda: 0,
    "minus one": lambda: -1,
    "a huge whole number": lambda: 10**30,
    "a number of 5,000 digits": lambda: 10**5000,
    "half": lambda: 0.5,
    "a whole float": lambda: 2.0,
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "minus infinity": lambda: float("-inf"),
    "no text": lambda: "",
    "a space": lambda: " ",
    "a text": lambda: "ab",
    "a number as text": lambda: "1",
    "a long text": lambda: "x" * 1_000_000,
    "a NUL": lambda: "a\0b",
    "a quote": lambda: "a\"b'c;--",
    "a line break": lambda: "a\nb",
    "half a surrogate": lambda: "\ud800",
    "an emoji": lambda: "\U0001f600",
    "a text of a class": lambda: Text("ab"),
    "bytes": lambda: b"ab",
    "no list": lambda: [],
    "a list of None": lambda: [None],
    "a list of no text": lambda: [""],
    "a list of numbers": lambda: [1, 2],
    "a text twice": lambda: ["a", "a"],
    "nested lists": lambda: [["a"], [["b"]]],
    "a deep list": lambda: deep(5_000),
    "a list in itself": recursive,
    "a tuple": lambda: ("a", 1),
    "a set": lambda: {"a", "b"},
    "no dict": lambda: {},
    "a dict of other keys": lambda: {1: "a", None: 2},
    "a dict of text": lambda: {"a": "b"},
    "a dict of dicts": lambda: {"a": {"b": [1]}},
    "a generator": lambda: (one for one in ["a"]),
    "a range": lambda: range(3),
    "a class": lambda: int,
    "a lambda": lambda: lambda: None,
    "a built-in": lambda: len,
    "an object": object,
    "an exception": lambda: ValueError("a"),
    "a member": lambda: Colour.RED,
    "a complex number": lambda: 1j,
    "a decimal": lambda: decimal.Decimal("1.5"),
    "a decimal NaN": lambda: decimal.Decimal("sNaN"),
    "a fraction": lambda: fractions.Fraction(1, 3),
    "a date": lambda: datetime.date(2024, 1, 1),
    "a datetime": lambda: datetime.datetime(2024, 1, 1),
    "a timedelta": lambda: datetime.timedelta(days=1),
    "no timedelta": lambda: datetime.timedelta(0),
    "a negative timedelta": lambda: datetime.timedelta(days=-1),
    "the longest timedelta": lambda: datetime.timedelta.max,
    "a path": lambda: pathlib.Path("a"),
    "a numpy number": lambda: np.int8(3),
    "a numpy float": lambda: np.float32("nan"),
    "a numpy bool": lambda: np.bool_(True),
    "a numpy time": lambda: np.datetime64("NaT"),
    "a numpy duration": lambda: np.timedelta64(1, "D"),
    "a numpy text": lambda: np.str_("ab"),
    "an array": lambda: np.arange(3),
    "an array of one": lambda: np.array(["a"]),
    "an array without shape": lambda: np.array(1),
    "a frame": lambda: pd.DataFrame({"a": [1, 2]}),
    "a series": lambda: pd.Series(["a", "b"]),
    "an index": lambda: pd.Index(["a", "b"]),
    "NA": lambda: pd.NA,
    "NaT": lambda: pd.NaT,
    "a pandas time": lambda: pd.Timestamp("2024-01-01", tz="UTC"),
    "a pandas duration": lambda: pd.Timedelta(days=1),
    "raises when it is compared": lambda: raising("__eq__"),
    "raises when it is hashed": lambda: raising("__hash__"),
    "raises when it is shown": lambda: raising("__repr__"),
    "raises when it is asked for truth": lambda: raising("__bool__"),
    "raises when it is counted": lambda: raising("__len__", list),
    "raises when it is gone over": lambda: raising("__iter__", list),
    "a dict that raises": lambda: raising("items", dict),
    "a text that raises when it is hashed": lambda: raising("__hash__", str),
    "a text that raises when it is compared": lambda: raising("__eq__", str),
    "a text that raises when it is shown": lambda: raising("__repr__", str),
    "a number that raises when it is compared": lambda: raising("__lt__", float),
    "raises when a part is asked for": lambda: raising("__getattr__"),
    "raises when its class is asked for": lambda: raising_property("__class__"),
    "a text that raises when it is stripped": lambda: raising("strip", str, "ab"),
    "a duration that raises when it is stripped": lambda: raising("strip", str, "7d"),
    "a text that raises when it is split": lambda: raising("split", str, "ab"),
    "a text that raises when it is put in small letters": lambda: raising("lower", str, "ab"),
    "a text that raises when it is encoded": lambda: raising("encode", str, "ab"),
    "a whole number that raises when it is taken": lambda: raising("__int__", int, 2),
    "a whole number that raises when it is compared": lambda: raising("__ge__", int, 2),
    "a whole number that raises when it is added": lambda: raising("__add__", int, 2),
    "a list of any length": lambda: Long(["a"]),
    "a polars frame": lambda: pl.DataFrame({"a": [1]}),
    "a polars series": lambda: pl.Series(["a"]),
    "a call that raises": lambda: raising("__call__"),
}


def body(context: dg.AssetExecutionContext) -> pd.DataFrame: ...  # type: ignore[empty-body]


def learn(data: fti.TrainingData) -> Any_: ...


def versions() -> dict[str, str]: ...  # type: ignore[empty-body]


@fti.feature_group(keys=["customer"], event_time="at", serving_delay="1h", partitions_def=DAYS, online=True)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame: ...  # type: ignore[empty-body]


@fti.feature_group(keys=["customer"])
def customers() -> pd.DataFrame: ...  # type: ignore[empty-body]


VIEW = fti.FeatureView(
    name="seen",
    spine=visits,
    prediction_time="at",
    label=fti.Label(visits["bought"]),
    features=[customers["age"], customers["plan"]],
)
DATASET = fti.training_dataset(name="rows_seen", view=VIEW)
MODEL = fti.model(dataset=DATASET, task="binary", name="buyer")(learn)
SECOND = fti.model(dataset=DATASET, task="binary", name="second")(learn)
LOG = fti.prediction_log(name="log_of_buyer", model=MODEL)
OPTIONS = tuple(AssetOptions.__annotations__)
_CONNECTION = duckdb.connect()
TABLE = fti.Table(
    _CONNECTION.sql("SELECT 'ann' AS customer, TIMESTAMP '2024-01-01' AS at, 1.5 AS price"),
    _CONNECTION,
    "orders",
    ("customer",),
    event_time="at",
    grid=fti.Grid("day", datetime.datetime(2024, 1, 2), datetime.datetime(2024, 1, 4)),
)
STREAM = fti.NatsStream("payments", url="nats://h")
STREAMED = {
    "keys": ["card"],
    "event_time": "at",
    "available_at": "stored_at",
    "partitions_def": DAYS,
    "schema": pa.DataFrameSchema(
        {"card": pa.Column(str), "at": pa.Column("datetime64[us]"), "stored_at": pa.Column("datetime64[us]")}
    ),
}
SOURCE = fti.DuckDBTable(file="a.duckdb", table="t")


@dataclass(frozen=True)
class Declares:
    """Something that is called to declare, with arguments that it takes.

    Args:
        call: what makes the declaration of its arguments, and asks it for what it makes.
        given: arguments by name.
        further: the names of arguments beside those.
    """

    call: Callable[..., Any]
    given: Mapping[str, Any] = field(default_factory=dict)
    further: tuple[str, ...] = ()


def _assets(declaration: Any) -> Any:
    return declaration.assets_def


def _checks(name: str) -> Callable[..., Any]:
    return lambda **given: _assets(getattr(fti, name)(**given))


def _payments() -> Any:
    return fti.feature_group(keys=["id"], event_time="t", serving_delay="0s", name="payments")(body)


TERMS = (
    "version", "event_time", "available_at", "serving_delay", "ttl", "tie_break", "duplicates", "schema", "partition_by", "lookback",
    "online", "online_history", "rename", "ins", "name", "stream", "must_equal_stream",
)  # fmt: skip
DECLARING: dict[str, Declares] = {
    "feature_group": Declares(
        lambda **given: _assets(fti.feature_group(**given)(body)),
        {"keys": ["a"], "event_time": "t", "partitions_def": DAYS},
        (*TERMS, "engine", *OPTIONS),
    ),
    "sql_feature_group": Declares(
        _checks("sql_feature_group"),
        {"name": "s", "keys": ["customer"], "sql": "SELECT customer FROM customers"},
        ("file", *TERMS, *OPTIONS),
    ),
    "stream_feature_group": Declares(
        _checks("stream_feature_group"),
        {"name": "p", "stream": STREAM, **STREAMED},
        (*(term for term in TERMS if term not in ("ins", "name", "stream") and term not in STREAMED), *OPTIONS),
    ),
    "prediction_times": Declares(
        _checks("prediction_times"),
        {"name": "p", "every": "1d", "horizon": "24h", "partitions_def": DAYS},
        ("step", "ahead", "cross", "lags", "event_time", "target", "version", "schema", *OPTIONS),
    ),
    "external_group": Declares(
        _checks("external_group"),
        {"name": "e", "source": SOURCE, "keys": ["a"]},
        (
            "version",
            "event_time",
            "available_at",
            "serving_delay",
            "ttl",
            "tie_break",
            "schema",
            "validate",
            "rename",
            "online",
            "owners",
            "tags",
            "metadata",
            "description",
            "group_name",
            "deps",
            "key",
            "key_prefix",
        ),
    ),
    "group": Declares(_checks("group"), {"name": "g"}, ("version", "stores")),
    "published_model": Declares(_checks("published_model"), {"name": "m"}, ("version", "stores")),
    "request_windows": Declares(
        _checks("request_windows"),
        {
            "source": _payments(),
            "name": "w",
            "keys": ["a"],
            "every": "1h",
            "windows": ["1h"],
            "aggregates": {"n": fti.Count()},
        },
        ("version", "online", "online_history", *(option for option in OPTIONS if option != "partitions_def")),
    ),
    "on_demand": Declares(
        lambda **given: fti.on_demand(**given)(on_demand.doubled.function),
        {"outputs": {"y": float}},
        ("version", "name", "requires"),
    ),
    "FeatureView": Declares(
        fti.FeatureView,
        {
            "name": "v",
            "spine": visits,
            "label": fti.Label(visits["bought"]),
            "features": [customers["age"]],
            "prediction_time": "at",
        },
        ("version", "encoders"),
    ),
    "Label": Declares(fti.Label, {"column": visits["bought"]}, ("maturity", "within")),
    "training_dataset": Declares(
        _checks("training_dataset"),
        {"name": "d", "view": VIEW},
        ("version", "split", "window", "where", "sample", "schema", "catch_up", "engine", *OPTIONS),
    ),
    "model": Declares(
        lambda **given: _assets(fti.model(**given)(learn)),
        {"dataset": DATASET, "task": "binary"},
        (
            "name",
            "version",
            "levels",
            "encoders",
            "weights",
            "evaluate",
            "gates",
            "gates_fail_run",
            "promote",
            "tune",
            "calibrate",
            "intended_use",
            "limits",
            "retrain",
            "cooldown",
            "rollback",
            "catch_up",
            "latency_goal",
            "ins",
            *OPTIONS,
        ),
    ),
    "composite": Declares(
        _checks("composite"),
        {"name": "c", "models": [MODEL, SECOND]},
        ("version", "feeds", "combine", "promote", "catch_up", "latency_goal", *OPTIONS),
    ),
    "batch_predictions": Declares(
        _checks("batch_predictions"),
        {"name": "b", "model": MODEL},
        ("version", "top", "schema", "catch_up", "sinks", "online", "online_history", "engine", *OPTIONS),
    ),
    "prediction_log": Declares(
        _checks("prediction_log"), {"name": "l", "model": MODEL}, ("version", "redact", *OPTIONS)
    ),
    "experiment": Declares(
        _checks("experiment"),
        {"name": "x", "model": MODEL, "log": LOG, "metric": "log_loss"},
        ("better", "version", "least_keys", "looks", "at_least", "confidence", "least_share", *OPTIONS),
    ),
    "parity": Declares(
        _checks("parity"), {"name": "p", "log": LOG}, ("predictions", "version", "sample", "lag", *OPTIONS)
    ),
    "build_definitions": Declares(
        fti.build_definitions,
        {"declarations": [customers]},
        (
            "name",
            "resources",
            "executor",
            "assets",
            "jobs",
            "schedules",
            "sensors",
            "asset_checks",
            "loggers",
            "metadata",
        ),
    ),
    "new_data_sensor": Declares(
        lambda **given: fti.new_data_sensor(**given)(versions),
        {"targets": [customers]},
        (
            "name",
            "minimum_interval_seconds",
            "most_runs",
            "name_gaps",
            "default_status",
            "description",
            "tags",
            "metadata",
        ),
    ),
    "upkeep_job": Declares(fti.upkeep_job, {}, ("name", "keep", "contents", "description", "tags")),
    "search": Declares(fti.search, {"text": "age", "definitions": [customers]}),
    "Stores": Declares(fti.Stores, {}, ("lake", "models", "online", "log", "tracking", "spark")),
    "SparkEngine": Declares(fti.SparkEngine, {"url": "sail"}, ("engine", "scratch", "cores")),
    "Alerts": Declares(fti.Alerts, {}, ("to", "at_least", "seconds")),
    "MlflowTracking": Declares(
        fti.MlflowTracking, {"tracking_uri": "sqlite:////nowhere/at/all.db"}, ("experiment", "artifacts")
    ),
    "BeatsBaseline": Declares(fti.BeatsBaseline, {"metric": "log_loss"}),
    "MetricBounds": Declares(fti.MetricBounds, {"metric": "ece", "at_most": 0.1}, ("at_least",)),
    "CalibrationSlope": Declares(fti.CalibrationSlope, {}, ("at_least", "at_most")),
    "FairnessBounds": Declares(
        fti.FairnessBounds, {"figure": "equalized_odds_ratio", "column": "plan", "at_least": 0.8}, ("at_most",)
    ),
    "GraphLatency": Declares(fti.GraphLatency, {"at_most": "2ms"}, ("over",)),
    "GraphSize": Declares(fti.GraphSize, {"at_most": 5_000_000}),
    "gate": Declares(fti.gate, {}, ("name", "metric")),
    "LastValue": Declares(fti.LastValue, {"feature": "spent"}),
    "NotWorseThanChampion": Declares(fti.NotWorseThanChampion, {"metric": "log_loss"}, ("tolerance",)),
    "SliceGap": Declares(fti.SliceGap, {"metric": "log_loss", "by": "plan", "at_most": 0.1}, ("min_rows",)),
    "GateVerdict": Declares(fti.GateVerdict, {"gate": "g", "passed": True, "reason": "r"}),
    "Scores": Declares(fti.Scores, {}, ("metrics", "baseline", "slices", "champion")),
    "CustomEncoder": Declares(fti.CustomEncoder, {"graph": len, "oracle": len}, ("fit", "columns")),
    "Age": Declares(fti.Age, {"at": "seen_at"}, ("unit", "missing")),
    "CalendarParts": Declares(fti.CalendarParts, {"parts": ["hour"]}),
    "Importance": Declares(fti.Importance, {}, ("metric", "rows", "repeats", "groups")),
    "Evaluation": Declares(
        fti.Evaluation,
        {"metrics": ["log_loss"]},
        ("slices", "fairness", "min_rows", "threshold", "confidence", "cluster"),
    ),
    "Metric": Declares(
        fti.Metric,
        {"name": "m", "function": len, "higher_is_better": True, "tasks": ["binary"]},
        ("higher_is_better", "tasks"),
    ),
    "Tuning": Declares(fti.Tuning, {"space": {"a": fti.Uniform(0.0, 1.0)}}, ("trials", "metric", "pruning", "seed")),
    "OnSchedule": Declares(fti.OnSchedule, {"cron": "0 6 * * 1"}, ("timezone",)),
    "OnNewData": Declares(fti.OnNewData, {}, ("partitions", "group")),
    "Drift": Declares(fti.Drift, {"statistic": "psi"}, ("at_most", "columns", "in_a_row", "min_rows", "reference")),
    "Quality": Declares(
        fti.Quality,
        {"metric": "roc_auc"},
        ("at_least", "at_most", "drop", "in_a_row", "min_rows", "slices"),
    ),
    "monitor": Declares(
        _checks("monitor"),
        {"name": "m", "log": LOG},
        ("predictions", "version", "drift", "weeks", "quality", "estimate", *OPTIONS),
    ),
    "ServiceLimits": Declares(
        fti.ServiceLimits,
        {"error_rate": 0.1},
        (
            "missing_rate",
            "unknown_rate",
            "out_of_schema_rate",
            "p50_ms",
            "p99_ms",
            "cpu_share",
            "peak_memory_mb",
            "min_requests",
        ),
    ),
    "OnDrift": Declares(fti.OnDrift, {"monitor": "m"}, ("statistics", "columns", "slices")),
    "OnDegradation": Declares(fti.OnDegradation, {"metric": "roc_auc", "monitor": "m"}, ("estimated", "slices")),
    "Uniform": Declares(fti.Uniform, {"low": 0.0, "high": 1.0}),
    "LogUniform": Declares(fti.LogUniform, {"low": 0.1, "high": 1.0}),
    "Integers": Declares(fti.Integers, {"low": 0, "high": 8}, ("step", "log")),
    "Choice": Declares(fti.Choice, {"options": ["a", "b"]}),
    "Trial": Declares(fti.Trial, {"parameters": {"a": 1}}, ("number", "report", "higher_is_better")),
    "Embedding": Declares(fti.Embedding, {}, ("max_categories",)),
    "OneHot": Declares(fti.OneHot, {}, ("max_categories",)),
    "Standardize": Declares(fti.Standardize, {}, ("dtype",)),
    "Passthrough": Declares(fti.Passthrough),
    "Impute": Declares(fti.Impute, {}, ("strategy", "value")),
    "MinMax": Declares(fti.MinMax),
    "Robust": Declares(fti.Robust),
    "Log1p": Declares(fti.Log1p),
    "Clip": Declares(fti.Clip, {"least": 0.0}, ("most", "quantiles")),
    "Quantile": Declares(fti.Quantile, {}, ("quantiles",)),
    "Bucketize": Declares(fti.Bucketize, {}, ("buckets", "edges")),
    "Cyclical": Declares(fti.Cyclical, {"period": 24}),
    "Ordinal": Declares(fti.Ordinal, {}, ("order",)),
    "Hashing": Declares(fti.Hashing, {"buckets": 8}),
    "Target": Declares(fti.Target, {}, ("smoothing", "folds")),
    "Vector": Declares(fti.Vector, {"dim": 8}, ("missing", "flag")),
    "RandomSplit": Declares(fti.RandomSplit, {}, ("validation", "test", "seed")),
    "HashSplit": Declares(fti.HashSplit, {}, ("validation", "test", "seed", "keys")),
    "GroupSplit": Declares(fti.GroupSplit, {"by": "customer"}, ("validation", "test", "seed", "by")),
    "Sample": Declares(fti.Sample, {"rows": 0.5}, ("rows", "negatives", "classes", "seed")),
    "ClassWeights": Declares(fti.ClassWeights, {"classes": "balanced"}, ("classes",)),
    "TimeSplit": Declares(fti.TimeSplit, {}, ("validation", "test")),
    "TopK": Declares(fti.TopK, {"k": 3, "by": "plan"}, ("of",)),
    "KeepLast": Declares(fti.KeepLast, {"by": "loaded_at"}),
    "Changes": Declares(fti.Changes, {}, ("upserts", "appends", "deletes", "position")),
    "ChangeFeed": Declares(
        fti.ChangeFeed,
        {"rows": pd.DataFrame({"op": ["c"], "lsn": [1]})},
        ("operation", "order", "upsert", "delete", "position"),
    ),
    "FeedPosition": Declares(fti.FeedPosition, {}, ("value",)),
    "Limits": Declares(
        fti.Limits,
        {},
        ("body_bytes", "header_bytes", "header_seconds", "body_seconds", "rows", "requests", "connections"),
    ),
    "DuckDBTable": Declares(fti.DuckDBTable, {"file": "a.duckdb", "table": "t"}, ("watermark",)),
    "PostgresTable": Declares(fti.PostgresTable, {"dsn": "postgresql://h/d", "table": "t"}, ("watermark",)),
    "ParquetFiles": Declares(fti.ParquetFiles, {"path": "a/*.parquet"}, ("hive_partitioning",)),
    "ParquetSink": Declares(fti.ParquetSink, {"folder": "a"}),
    "NatsStream": Declares(fti.NatsStream, {"name": "payments", "url": "nats://h"}, ("type", "shards")),
    "KafkaStream": Declares(fti.KafkaStream, {"name": "payments", "url": "kafka://h"}, ("type", "consumer_group")),
    "RedisStream": Declares(
        fti.RedisStream, {"name": "payments", "url": "redis://h"}, ("type", "shards", "field", "consumer_group")
    ),
    "PostgresSink": Declares(fti.PostgresSink, {"dsn": "postgresql://h/d"}, ("table",)),
    "FunctionSink": Declares(fti.FunctionSink, {"function": print}),
    "Count": Declares(fti.Count),
    **{
        name: Declares(getattr(fti, name), {"column": "a"})
        for name in ("DistinctCount", "Max", "Mean", "Min", "Std", "Sum")
    },
    **{name: Declares(getattr(fti, name), {"column": "a"}, ("n", "distinct")) for name in ("First", "Last")},
    "Percentile": Declares(fti.Percentile, {"column": "a", "share": 0.5}),
    "Sessions": Declares(fti.Sessions, {"gap": "1h"}, ("of",)),
    "Window": Declares(fti.Window, {"length": "7d"}, ("delay",)),
    "Rate": Declares(fti.Rate, {"per": "1h"}, ("column",)),
    "window_aggregate": Declares(
        fti.window_aggregate,
        {
            "rows": TABLE,
            "keys": ["customer"],
            "windows": ["7d"],
            "aggregates": {"spent": fti.Sum("price")},
            "every": "1d",
        },
        ("rows_by",),
    ),
    "group.on": Declares(customers.on, {"buyer": "customer"}),
    "group.prefix": Declares(lambda text: customers.prefix(text), {"text": "p_"}),
    "group[]": Declares(lambda names: customers[names], {"names": "age"}),
    "OnlineReader": Declares(fti.OnlineReader, {"name": "a", "online": "/nowhere/at/all"}),
    "read_online": Declares(fti.read_online, {"name": "a", "key": 1, "online": "/nowhere/at/all"}, ("at",)),
    "Predictor.load": Declares(
        fti.Predictor.load,
        {"model": "buyer", "models": "/nowhere/at/all"},
        ("online", "build", "unknown_keys", "on_missing", "follow", "log", "redact", "providers"),
    ),
    "read": Declares(
        fti.read,
        {"declaration": customers, "stores": fti.Stores(lake="/nowhere/at/all")},
        ("at", "columns", "partitions", "snapshot", "as_"),
    ),
    "serving_app": Declares(
        lambda name, **given: fti.serving_app(name, **given),
        {"name": "buyer", "models": "/nowhere/at/all"},
        (
            "online",
            "tokens",
            "limits",
            "log",
            "redact",
            "providers",
            "graph_server",
            "unknown_keys",
            "unknown_categories",
            "out_of_schema",
            "on_missing",
        ),
    ),
}
"""By name in ``fti_assets``, or the method of a handle."""


def cases() -> list[tuple[str, str, str]]:
    """Each declaration with each of its arguments and each value."""
    return [
        (name, argument, value)
        for name, one in DECLARING.items()
        for argument in dict.fromkeys([*one.given, *one.further])
        for value in VALUES
    ]


def call(name: str, argument: str, value: str) -> Any:
    """Call a declaration with a value in the place of one argument."""
    one = DECLARING[name]
    return one.call(**{**one.given, argument: VALUES[value]()})
