"""Feature, training and inference pipelines as Dagster assets.

An app imports ``Predictor`` from here with neither Dagster, torch, pandas nor DuckDB installed, so every name is
imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fti_assets.automation.new_data import new_data_sensor as new_data_sensor
    from fti_assets.automation.upkeep import upkeep_job as upkeep_job
    from fti_assets.definitions import build_definitions as build_definitions
    from fti_assets.description.finding import search as search
    from fti_assets.features.changes import ChangeFeed as ChangeFeed
    from fti_assets.features.changes import Changes as Changes
    from fti_assets.features.changes import FeedPosition as FeedPosition
    from fti_assets.features.duplicates import KeepLast as KeepLast
    from fti_assets.features.external_group import external_group as external_group
    from fti_assets.features.feature_group import FeatureGroup as FeatureGroup
    from fti_assets.features.feature_group import feature_group as feature_group
    from fti_assets.features.files import read_files as read_files
    from fti_assets.features.on_demand import on_demand as on_demand
    from fti_assets.features.sql_group import sql_feature_group as sql_feature_group
    from fti_assets.features.table import Grid as Grid
    from fti_assets.features.table import Table as Table
    from fti_assets.features.windows import Count as Count
    from fti_assets.features.windows import DistinctCount as DistinctCount
    from fti_assets.features.windows import Last as Last
    from fti_assets.features.windows import Max as Max
    from fti_assets.features.windows import Mean as Mean
    from fti_assets.features.windows import Min as Min
    from fti_assets.features.windows import Rate as Rate
    from fti_assets.features.windows import Std as Std
    from fti_assets.features.windows import Sum as Sum
    from fti_assets.features.windows import window_aggregate as window_aggregate
    from fti_assets.inference.batch import batch_predictions as batch_predictions
    from fti_assets.inference.predictor import Predictor as Predictor
    from fti_assets.reading import read as read
    from fti_assets.resources import Stores as Stores
    from fti_assets.stores.external import DuckDBTable as DuckDBTable
    from fti_assets.stores.external import ParquetFiles as ParquetFiles
    from fti_assets.stores.external import PostgresTable as PostgresTable
    from fti_assets.stores.manifest import GateVerdict as GateVerdict
    from fti_assets.training.data import TrainingData as TrainingData
    from fti_assets.training.dataset import training_dataset as training_dataset
    from fti_assets.training.encoders import Embedding as Embedding
    from fti_assets.training.encoders import OneHot as OneHot
    from fti_assets.training.encoders import Passthrough as Passthrough
    from fti_assets.training.encoders import Standardize as Standardize
    from fti_assets.training.evaluation import Evaluation as Evaluation
    from fti_assets.training.gates import BeatsBaseline as BeatsBaseline
    from fti_assets.training.gates import NotWorseThanChampion as NotWorseThanChampion
    from fti_assets.training.gates import Scores as Scores
    from fti_assets.training.gates import SliceGap as SliceGap
    from fti_assets.training.label import Label as Label
    from fti_assets.training.model import model as model
    from fti_assets.training.split import RandomSplit as RandomSplit
    from fti_assets.training.split import TimeSplit as TimeSplit
    from fti_assets.training.view import FeatureView as FeatureView

_MODULES = {
    "batch_predictions": "inference.batch",
    "BeatsBaseline": "training.gates",
    "build_definitions": "definitions",
    "ChangeFeed": "features.changes",
    "Changes": "features.changes",
    "Count": "features.windows",
    "DistinctCount": "features.windows",
    "DuckDBTable": "stores.external",
    "Embedding": "training.encoders",
    "Evaluation": "training.evaluation",
    "external_group": "features.external_group",
    "feature_group": "features.feature_group",
    "FeatureGroup": "features.feature_group",
    "FeatureView": "training.view",
    "FeedPosition": "features.changes",
    "GateVerdict": "stores.manifest",
    "Grid": "features.table",
    "KeepLast": "features.duplicates",
    "Label": "training.label",
    "Last": "features.windows",
    "Max": "features.windows",
    "Mean": "features.windows",
    "Min": "features.windows",
    "model": "training.model",
    "new_data_sensor": "automation.new_data",
    "NotWorseThanChampion": "training.gates",
    "on_demand": "features.on_demand",
    "OneHot": "training.encoders",
    "ParquetFiles": "stores.external",
    "Passthrough": "training.encoders",
    "PostgresTable": "stores.external",
    "Predictor": "inference.predictor",
    "RandomSplit": "training.split",
    "Rate": "features.windows",
    "read": "reading",
    "read_files": "features.files",
    "search": "description.finding",
    "Scores": "training.gates",
    "SliceGap": "training.gates",
    "sql_feature_group": "features.sql_group",
    "Standardize": "training.encoders",
    "Std": "features.windows",
    "Stores": "resources",
    "Sum": "features.windows",
    "Table": "features.table",
    "TimeSplit": "training.split",
    "training_dataset": "training.dataset",
    "TrainingData": "training.data",
    "upkeep_job": "automation.upkeep",
    "window_aggregate": "features.windows",
}

__all__ = [
    "BeatsBaseline",
    "ChangeFeed",
    "Changes",
    "Count",
    "DistinctCount",
    "DuckDBTable",
    "Embedding",
    "Evaluation",
    "FeatureGroup",
    "FeatureView",
    "FeedPosition",
    "GateVerdict",
    "Grid",
    "KeepLast",
    "Label",
    "Last",
    "Max",
    "Mean",
    "Min",
    "NotWorseThanChampion",
    "OneHot",
    "ParquetFiles",
    "Passthrough",
    "PostgresTable",
    "Predictor",
    "RandomSplit",
    "Rate",
    "Scores",
    "SliceGap",
    "Standardize",
    "Std",
    "Stores",
    "Sum",
    "Table",
    "TimeSplit",
    "TrainingData",
    "batch_predictions",
    "build_definitions",
    "external_group",
    "feature_group",
    "model",
    "new_data_sensor",
    "on_demand",
    "read",
    "read_files",
    "search",
    "sql_feature_group",
    "training_dataset",
    "upkeep_job",
    "window_aggregate",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'fti_assets' has no attribute {name!r}")
    from fti_assets.extras import named_extras

    with named_extras(f"fti_assets.{name}"):
        value = getattr(importlib.import_module(f"fti_assets.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
