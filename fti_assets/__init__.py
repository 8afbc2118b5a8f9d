"""Feature, training and inference pipelines as Dagster assets.

An app imports ``Predictor`` from here with neither Dagster, torch, pandas nor DuckDB installed, so every name is
imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fti_assets.alerts.alerts import Alerts as Alerts
    from fti_assets.core.manifest import GateVerdict as GateVerdict
    from fti_assets.core.on_demand.shipped_text import shipped_text as shipped_text
    from fti_assets.definitions import build_definitions as build_definitions
    from fti_assets.describe.finding import search as search
    from fti_assets.experiments.declaring import experiment as experiment
    from fti_assets.features.external_group import external_group as external_group
    from fti_assets.features.feature_group import feature_group as feature_group
    from fti_assets.features.files.partition_files import read_files as read_files
    from fti_assets.features.groups.group import FeatureGroup as FeatureGroup
    from fti_assets.features.groups.on_demand import on_demand as on_demand
    from fti_assets.features.prediction_times import prediction_times as prediction_times
    from fti_assets.features.published_group import group as group
    from fti_assets.features.request_windows import request_windows as request_windows
    from fti_assets.features.rows.changes import ChangeFeed as ChangeFeed
    from fti_assets.features.rows.changes import Changes as Changes
    from fti_assets.features.rows.changes import FeedPosition as FeedPosition
    from fti_assets.features.rows.duplicates import KeepLast as KeepLast
    from fti_assets.features.rows.table import Grid as Grid
    from fti_assets.features.rows.table import Table as Table
    from fti_assets.features.sql_group import sql_feature_group as sql_feature_group
    from fti_assets.features.stream_group import stream_feature_group as stream_feature_group
    from fti_assets.features.windows import Count as Count
    from fti_assets.features.windows import DistinctCount as DistinctCount
    from fti_assets.features.windows import First as First
    from fti_assets.features.windows import Last as Last
    from fti_assets.features.windows import Max as Max
    from fti_assets.features.windows import Mean as Mean
    from fti_assets.features.windows import Min as Min
    from fti_assets.features.windows import Percentile as Percentile
    from fti_assets.features.windows import Rate as Rate
    from fti_assets.features.windows import Sessions as Sessions
    from fti_assets.features.windows import Std as Std
    from fti_assets.features.windows import Sum as Sum
    from fti_assets.features.windows import Window as Window
    from fti_assets.features.windows import window_aggregate as window_aggregate
    from fti_assets.inference.batch.top import TopK as TopK
    from fti_assets.inference.batch_predictions import batch_predictions as batch_predictions
    from fti_assets.inference.log.service_limits import ServiceLimits as ServiceLimits
    from fti_assets.inference.prediction_log import prediction_log as prediction_log
    from fti_assets.inference.server import Limits as Limits
    from fti_assets.inference.server import serving_app as serving_app
    from fti_assets.inference.serving.lookup import OnlineReader as OnlineReader
    from fti_assets.inference.serving.lookup import read_online as read_online
    from fti_assets.inference.serving.predictor import Predictor as Predictor
    from fti_assets.monitoring.drift.drift import Drift as Drift
    from fti_assets.monitoring.quality.quality import Quality as Quality
    from fti_assets.monitors.declaring import monitor as monitor
    from fti_assets.monitors.parity.declaring import parity as parity
    from fti_assets.orchestration.engine import SparkEngine as SparkEngine
    from fti_assets.orchestration.resources import Stores as Stores
    from fti_assets.orchestration.sensors.new_data import new_data_sensor as new_data_sensor
    from fti_assets.orchestration.tracking import MlflowTracking as MlflowTracking
    from fti_assets.orchestration.upkeep.job import upkeep_job as upkeep_job
    from fti_assets.reading import read as read
    from fti_assets.stores.sinks.function import FunctionSink as FunctionSink
    from fti_assets.stores.sinks.parquet import ParquetSink as ParquetSink
    from fti_assets.stores.sinks.postgres import PostgresSink as PostgresSink
    from fti_assets.stores.sources.parquet_files import ParquetFiles as ParquetFiles
    from fti_assets.stores.sources.tables import DuckDBTable as DuckDBTable
    from fti_assets.stores.sources.tables import PostgresTable as PostgresTable
    from fti_assets.stores.streams.kafka import KafkaStream as KafkaStream
    from fti_assets.stores.streams.nats import NatsStream as NatsStream
    from fti_assets.stores.streams.redis import RedisStream as RedisStream
    from fti_assets.training.composite import composite as composite
    from fti_assets.training.datasets.sampling.sample import Sample as Sample
    from fti_assets.training.datasets.sampling.weights import ClassWeights as ClassWeights
    from fti_assets.training.datasets.splits.hash_split import GroupSplit as GroupSplit
    from fti_assets.training.datasets.splits.hash_split import HashSplit as HashSplit
    from fti_assets.training.datasets.splits.hash_split import RandomSplit as RandomSplit
    from fti_assets.training.datasets.splits.split import TimeSplit as TimeSplit
    from fti_assets.training.encoders.kinds.buckets import Bucketize as Bucketize
    from fti_assets.training.encoders.kinds.categories import Embedding as Embedding
    from fti_assets.training.encoders.kinds.categories import Hashing as Hashing
    from fti_assets.training.encoders.kinds.categories import OneHot as OneHot
    from fti_assets.training.encoders.kinds.categories import Ordinal as Ordinal
    from fti_assets.training.encoders.kinds.curves import Clip as Clip
    from fti_assets.training.encoders.kinds.curves import Cyclical as Cyclical
    from fti_assets.training.encoders.kinds.curves import Log1p as Log1p
    from fti_assets.training.encoders.kinds.curves import Quantile as Quantile
    from fti_assets.training.encoders.kinds.custom import CustomEncoder as CustomEncoder
    from fti_assets.training.encoders.kinds.scales import Impute as Impute
    from fti_assets.training.encoders.kinds.scales import MinMax as MinMax
    from fti_assets.training.encoders.kinds.scales import Passthrough as Passthrough
    from fti_assets.training.encoders.kinds.scales import Robust as Robust
    from fti_assets.training.encoders.kinds.scales import Standardize as Standardize
    from fti_assets.training.encoders.kinds.targets import Target as Target
    from fti_assets.training.encoders.kinds.times import Age as Age
    from fti_assets.training.encoders.kinds.times import CalendarParts as CalendarParts
    from fti_assets.training.encoders.kinds.vectors import Vector as Vector
    from fti_assets.training.judging.baselines.last_value import LastValue as LastValue
    from fti_assets.training.judging.evaluation import Evaluation as Evaluation
    from fti_assets.training.judging.gates.bounds import CalibrationSlope as CalibrationSlope
    from fti_assets.training.judging.gates.bounds import FairnessBounds as FairnessBounds
    from fti_assets.training.judging.gates.bounds import MetricBounds as MetricBounds
    from fti_assets.training.judging.gates.costs import GraphLatency as GraphLatency
    from fti_assets.training.judging.gates.costs import GraphSize as GraphSize
    from fti_assets.training.judging.gates.own import gate as gate
    from fti_assets.training.judging.gates.rivals import BeatsBaseline as BeatsBaseline
    from fti_assets.training.judging.gates.rivals import NotWorseThanChampion as NotWorseThanChampion
    from fti_assets.training.judging.gates.slices import SliceGap as SliceGap
    from fti_assets.training.judging.importance import Importance as Importance
    from fti_assets.training.judging.metrics.own import Metric as Metric
    from fti_assets.training.judging.scores import Scores as Scores
    from fti_assets.training.model import model as model
    from fti_assets.training.models.data import TrainingData as TrainingData
    from fti_assets.training.published_model import published_model as published_model
    from fti_assets.training.training_dataset import training_dataset as training_dataset
    from fti_assets.training.triggers.breaches import OnDegradation as OnDegradation
    from fti_assets.training.triggers.breaches import OnDrift as OnDrift
    from fti_assets.training.triggers.new_data import OnNewData as OnNewData
    from fti_assets.training.triggers.schedule import OnSchedule as OnSchedule
    from fti_assets.training.tuning.spaces import Choice as Choice
    from fti_assets.training.tuning.spaces import Integers as Integers
    from fti_assets.training.tuning.spaces import LogUniform as LogUniform
    from fti_assets.training.tuning.spaces import Uniform as Uniform
    from fti_assets.training.tuning.trial import Trial as Trial
    from fti_assets.training.tuning.tuning import Tuning as Tuning
    from fti_assets.training.views.terms import Label as Label
    from fti_assets.training.views.view import FeatureView as FeatureView

_NAMES = {
    "alerts.alerts": "Alerts",
    "core.manifest": "GateVerdict",
    "core.on_demand.shipped_text": "shipped_text",
    "definitions": "build_definitions",
    "describe.finding": "search",
    "experiments.declaring": "experiment",
    "features.external_group": "external_group",
    "features.feature_group": "feature_group",
    "features.files.partition_files": "read_files",
    "features.groups.group": "FeatureGroup",
    "features.groups.on_demand": "on_demand",
    "features.prediction_times": "prediction_times",
    "features.published_group": "group",
    "features.request_windows": "request_windows",
    "features.rows.changes": "ChangeFeed Changes FeedPosition",
    "features.rows.duplicates": "KeepLast",
    "features.rows.table": "Grid Table",
    "features.sql_group": "sql_feature_group",
    "features.windows": "Count DistinctCount First Last Max Mean Min Percentile Rate Sessions Std Sum Window window_aggregate",
    "features.stream_group": "stream_feature_group",
    "inference.batch.top": "TopK",
    "inference.batch_predictions": "batch_predictions",
    "inference.log.service_limits": "ServiceLimits",
    "inference.prediction_log": "prediction_log",
    "inference.server": "Limits serving_app",
    "inference.serving.lookup": "OnlineReader read_online",
    "inference.serving.predictor": "Predictor",
    "monitoring.drift.drift": "Drift",
    "monitoring.quality.quality": "Quality",
    "monitors.declaring": "monitor",
    "monitors.parity.declaring": "parity",
    "orchestration.engine": "SparkEngine",
    "orchestration.resources": "Stores",
    "orchestration.tracking": "MlflowTracking",
    "orchestration.sensors.new_data": "new_data_sensor",
    "orchestration.upkeep.job": "upkeep_job",
    "reading": "read",
    "stores.sinks.function": "FunctionSink",
    "stores.sinks.parquet": "ParquetSink",
    "stores.sinks.postgres": "PostgresSink",
    "stores.sources.parquet_files": "ParquetFiles",
    "stores.sources.tables": "DuckDBTable PostgresTable",
    "stores.streams.kafka": "KafkaStream",
    "stores.streams.nats": "NatsStream",
    "stores.streams.redis": "RedisStream",
    "training.composite": "composite",
    "training.datasets.splits.hash_split": "GroupSplit HashSplit RandomSplit",
    "training.datasets.sampling.sample": "Sample",
    "training.datasets.splits.split": "TimeSplit",
    "training.datasets.sampling.weights": "ClassWeights",
    "training.encoders.kinds.buckets": "Bucketize",
    "training.encoders.kinds.categories": "Embedding Hashing OneHot Ordinal",
    "training.encoders.kinds.curves": "Clip Cyclical Log1p Quantile",
    "training.encoders.kinds.custom": "CustomEncoder",
    "training.encoders.kinds.scales": "Impute MinMax Passthrough Robust Standardize",
    "training.encoders.kinds.targets": "Target",
    "training.encoders.kinds.times": "Age CalendarParts",
    "training.encoders.kinds.vectors": "Vector",
    "training.judging.baselines.last_value": "LastValue",
    "training.judging.evaluation": "Evaluation",
    "training.judging.importance": "Importance",
    "training.judging.gates.bounds": "CalibrationSlope FairnessBounds MetricBounds",
    "training.judging.gates.costs": "GraphLatency GraphSize",
    "training.judging.gates.own": "gate",
    "training.judging.gates.rivals": "BeatsBaseline NotWorseThanChampion",
    "training.judging.gates.slices": "SliceGap",
    "training.judging.metrics.own": "Metric",
    "training.judging.scores": "Scores",
    "training.model": "model",
    "training.models.data": "TrainingData",
    "training.published_model": "published_model",
    "training.training_dataset": "training_dataset",
    "training.triggers.breaches": "OnDegradation OnDrift",
    "training.triggers.new_data": "OnNewData",
    "training.triggers.schedule": "OnSchedule",
    "training.tuning.spaces": "Choice Integers LogUniform Uniform",
    "training.tuning.trial": "Trial",
    "training.tuning.tuning": "Tuning",
    "training.views.terms": "Label",
    "training.views.view": "FeatureView",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'fti_assets' has no attribute {name!r}")
    from fti_assets.core.extras import named_extras

    with named_extras(f"fti_assets.{name}"):
        value = getattr(importlib.import_module(f"fti_assets.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
