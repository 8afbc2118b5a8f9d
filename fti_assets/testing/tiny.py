"""A model's function on a tiny dataset, without any store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import OUTPUT_NAMES, Column, each_task
from fti_assets.core.on_demand.call import LoadedCall
from fti_assets.core.types import ColumnType, type_of_dtype_kind
from fti_assets.core.types.columns import canonical
from fti_assets.errors import DataError, DeclarationError, list_some, one_of
from fti_assets.features.groups.group import FeatureGroup, Selection
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.features.validation.schema import column_types
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.testing.running import call
from fti_assets.testing.values import column_values, label_values
from fti_assets.training.datasets.dataset import SPLIT
from fti_assets.training.datasets.sampling.weights import ClassWeights
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.datasets.weight_column import about_one
from fti_assets.training.encoders.declarations import check_encoders, needs_target
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.judging.evaluation import evaluate
from fti_assets.training.judging.metrics.answers import answers_of
from fti_assets.training.judging.thresholds import cuts_of, thresholds_of
from fti_assets.training.models.data import TrainingData, class_names, refuse_one_class, train_target
from fti_assets.training.models.graphs.calibrated import calibrated
from fti_assets.training.models.graphs.export import export
from fti_assets.training.models.graphs.parity import ExportedModel
from fti_assets.training.models.model import Model
from fti_assets.training.models.tuned import train_model
from fti_assets.training.models.unused_weights import unused_weights
from fti_assets.training.tuning.study import Study
from fti_assets.training.tuning.trial import Trial
from fti_assets.training.views.view import FeatureView

if TYPE_CHECKING:
    import pandas as pd

_PARTS = ("test", "validation", "train", "train", "train")
_LIST = 20
"""How many rows are a list, over all parts, where the frame does not say."""


@dataclass(frozen=True)
class TinyBuild:
    """A model that was trained on a tiny dataset.

    Attributes:
        data: what the function got, encoded.
        trained: what it gave.
        exported: the ONNX graph, which answers as ``trained`` does, or as its calibration does behind it.
        outputs: the graph's answers on the test part: ``[n]``, or ``[n, k]`` for multiclass.
        metrics: those of the model's evaluation on the test part.
        study: the trials that chose its parameters, if it is tuned.
    """

    data: TrainingData
    trained: Any
    exported: ExportedModel
    outputs: np.ndarray
    metrics: dict[str, float]
    study: Study | None = None


@checked_arguments()
def tiny_dataset(model: Model | FeatureView, /, *, rows: int = 100, seed: int = 0) -> pd.DataFrame:
    """Make a frame of a view's features and label from the types and ranges that the groups' schemas declare.

    A tenth of the values of columns that may be null are missing. On-demand features are computed by their functions.

    Args:
        model: the model, which says what its label is for, or a view, whose label's type says it.
        rows: how many.
        seed: the same seed gives the same frame.

    Raises:
        DeclarationError: a group has no schema, or its schema leaves a column's type open.

    >>> tiny_dataset(delay_net, rows=3)[["carrier", "is_late"]]  # doctest: +SKIP
      carrier  is_late
    0       b    False
    1       a     True
    2       c    False
    """
    import pandas as pd

    view = model.view if isinstance(model, Model) else model
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        feature: column_values(selection.group, column, rows, rng)
        for selection in _selections(view)
        for feature, column in _columns(selection)
    }
    outputs = {output.name for feature in view.on_demand for output in feature.outputs}
    for name in (name for feature in view.on_demand for name in feature.inputs):
        if name not in columns and name not in outputs:
            columns[name] = column_values(view.spine, name, rows, rng)
    types = _declared_types(view)
    columns |= _on_demand(view, {name: canonical(values, types[name]) for name, values in columns.items()}, types, rows)
    task = each_task(model.task) if isinstance(model, Model) else None
    labels = {}
    for name, label in view.labels.items():
        kinds = column_types(label.group.schema) if label.group.schema is not None else {}
        labels[name] = label_values(label.group, label.name, kinds.get(label.name), task, rows, rng)
    return pd.DataFrame({**{name: columns[name] for name in view.feature_names}, **labels})


@checked_arguments()
def train_tiny(
    model: Model, frame: pd.DataFrame | None = None, /, *, rows: int = 100, seed: int = 0, **arguments: Any
) -> TinyBuild:
    """Run a model's function on a tiny dataset, export what it gives, calibrated as declared, and compare the graph with it.

    Args:
        model: the model.
        frame: a column for each feature of the view and one for the label, and ``split`` if rows are to be in certain
            parts (else a fifth tests and a fifth validates); on-demand features are computed where they are missing.
            By default ``tiny_dataset(model)``.
        rows, seed: of the dataset that is made where none is given.
        arguments: what the function takes beside its data: config, resources; a ``dg.Config`` has its defaults.

    Raises:
        DataError: the frame lacks a column, or a part of it has no rows.
        ModelError: what the function gave cannot be exported, or gives no finite numbers; or a calibrated model's validation part lacks a
            class.
        ExportError: the exported graph differs from the trained model.

    >>> train_tiny(delay_net, config=NetConfig(epochs=1)).outputs.shape  # doctest: +SKIP
    (20,)
    """
    view = model.view
    if frame is None:
        frame = tiny_dataset(model, rows=rows, seed=seed)
    elif not hasattr(frame, "columns") or not hasattr(frame, "dtypes"):
        raise DataError(
            f"train_tiny takes a pandas frame of the features and label, as tiny_dataset makes it, not {frame!r}"
        )
    features, columns = _arrays_of(view, frame)
    labels = _label_of(view, frame)
    # A pattern, not a draw, so that of tiny_dataset's labels each part has every class.
    queries = _queries_of(model, frame)
    has_queries = bool(model.dataset.query) and set(model.dataset.query) <= set(frame.columns)
    pattern = np.array(_PARTS, dtype=object)[(queries if has_queries else np.arange(len(frame))) % len(_PARTS)]
    parts = np.asarray(frame[SPLIT], dtype=object) if SPLIT in frame else pattern
    empty = [part for part in ("train", "test") if not (parts == part).any()]
    if empty:
        raise DataError(f"the tiny dataset of {model.name!r} has no rows in {' and '.join(empty)}: give it more rows")
    rows_of = {part: np.flatnonzero(parts == part) for part in SPLITS}
    rows_of = {part: at[np.argsort(queries[at], kind="stable")] for part, at in rows_of.items()}
    split = {part: {name: values[at] for name, values in columns.items()} for part, at in rows_of.items()}
    of_parts = {part: labels[at] for part, at in rows_of.items()}
    of_features = check_encoders(features, model.encoders)
    target = train_target(of_parts["train"], model.task) if needs_target(of_features) else None
    counts = _row_weights(model, frame, rows_of)
    of_train = None if counts is None else counts["train"]
    encoders = fit_encoders(
        features,
        of_features,
        split["train"],
        target=target,
        weight=None if of_train is None else about_one(of_train),
    )
    sample = model.dataset.sample
    undo = None if sample is None or sample.rows is not None else np.ones(len(of_parts["train"]))
    weights = _weights_of(model, of_parts["train"])
    data = TrainingData(
        features,
        encoders,
        split,
        of_parts,
        task=model.task,
        classes=tuple(view.labels) if view.has_several_labels else None,
        levels=model.levels,
        undo=undo,
        weights=weights,
        counts=counts,
        queries={part: queries[at] for part, at in rows_of.items()} if model.dataset.query else None,
        what=f"model {model.name!r}",
    )
    refuse_one_class(data, what=f"the tiny dataset of {model.name!r}", label=next(iter(view.labels)))

    def train(data: TrainingData, trial: Trial | None) -> Any:
        return call(model.function, {**arguments, **model.own_arguments(data, trial)}, model, [])

    result, study = train_model(model, data, train)
    unused_weights(data, model.weights, what=f"model {model.name!r}")
    model_graph = export(result, data.encoder, data, model.task)
    if model.calibrate is not None:
        what = f"the tiny dataset of {model.name!r}"
        model_graph = calibrated(model_graph, model.calibrate, data, model.task, what=what).exported
    graph = Graph.from_bytes(model_graph.bytes, model_graph.inputs, what=f"model {model.name!r}")
    outputs = graph.run(split["test"])
    thresholds = thresholds_of(
        model.evaluate.threshold,
        data.labels,
        lambda: answers_of(
            model.task, graph.run(split["validation"]), data.validation.y, data.classes, weight=data.validation.counts
        ),
        what=f"the tiny dataset of {model.name!r}",
    )
    metrics = evaluate(
        model.task,
        model.evaluate.metric_names,
        outputs,
        data.test.y,
        model_graph.classes,
        threshold=cuts_of(thresholds),
        queries=data.test.qid if model.task == "ranking" else None,
        weight=data.test.counts,
    )
    return TinyBuild(data, result, model_graph, outputs[OUTPUT_NAMES[model.task]], metrics, study)


def _queries_of(model: Model, frame: pd.DataFrame) -> np.ndarray:
    """The number of each row's query ``[n]``: by the frame's columns, or rows that follow each other where it has not all of them."""
    query = list(model.dataset.query)
    if not query or not set(query) <= set(frame.columns):
        return np.arange(len(frame)) // (_LIST if query else max(1, len(frame)))
    return np.asarray(frame.groupby(query, sort=False, dropna=False).ngroup(), dtype=np.int64)


def _weights_of(model: Model, labels: np.ndarray) -> ClassWeights | None:
    """The model's weights of the classes that the tiny dataset has, which need not be those of the lake."""
    weights = model.weights
    if weights is None or isinstance(weights.classes, str) or model.task == "binary":
        return weights
    here = set(class_names(labels))
    return ClassWeights({name: one for name, one in weights.classes.items() if name in here} or "balanced")


def _row_weights(
    model: Model, frame: pd.DataFrame, rows_of: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray | None] | None:
    """What the rows of each part count: the frame's column, and all alike where it has none."""
    name = model.dataset.weight
    if name is None:
        return None
    weights = np.asarray(frame[name], dtype=np.float64) if name in frame else np.ones(len(frame))
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise DataError(f"the frame's {name!r} is to say what each row counts: give finite numbers above 0")
    return {part: weights[at] for part, at in rows_of.items()}


def _selections(view: FeatureView) -> list[Selection]:
    results = [feature for feature in view.features if not isinstance(feature, OnDemand)]
    return [Selection(feature) if isinstance(feature, FeatureGroup) else feature for feature in results]


def _columns(selection: Selection) -> list[tuple[str, str]]:
    """Each feature of a selection and its column."""
    group = selection.group
    columns = selection.columns or [
        name for name in group.columns or () if name not in group.keys and name not in group.time_columns
    ]
    return [(selection.feature_prefix + column, column) for column in columns]


def _declared_types(view: FeatureView) -> dict[str, ColumnType]:
    """The types of features and spine columns, as far as they are declared."""
    types = dict(view.spine.columns or {})
    for selection in _selections(view):
        own_types = selection.group.columns or {}
        types |= {feature: own_types.get(column) for feature, column in _columns(selection) if own_types.get(column)}
    types |= {output.name: output.type for feature in view.on_demand for output in feature.outputs}
    return {name: kind for name, kind in types.items() if kind is not None}


def _arrays_of(view: FeatureView, frame: pd.DataFrame) -> tuple[list[Column], dict[str, np.ndarray]]:
    types = {str(name): _type_of(frame[name]) for name in frame.columns} | _declared_types(view)
    columns = {str(name): _canonical(frame[name], types[str(name)]) for name in frame.columns}
    columns = _on_demand(view, columns, types, len(frame)) | columns
    absent = [name for name in view.feature_names if name not in columns]
    if absent:
        raise DataError(
            f"the frame lacks {list_some(absent)} of view {view.name!r}: it has {one_of(map(str, frame.columns))}"
        )
    return [Column(name, types[name]) for name in view.feature_names], {
        name: columns[name] for name in view.feature_names
    }


def _label_of(view: FeatureView, frame: pd.DataFrame) -> np.ndarray:
    for name in view.labels:
        if name not in frame:
            raise DataError(
                f"the frame lacks the label {name!r} of view {view.name!r}: it has {one_of(map(str, frame.columns))}"
            )
    columns = [_canonical(frame[name], _type_of(frame[name])) for name in view.labels]
    return np.stack(columns, axis=1) if view.has_several_labels else columns[0]


def _on_demand(
    view: FeatureView, columns: Mapping[str, np.ndarray], types: Mapping[str, ColumnType], rows: int
) -> dict[str, np.ndarray]:
    """The on-demand features whose inputs are there."""
    arrays, outputs = dict(columns), {}
    for feature in view.on_demand:
        if all(name in arrays for name in feature.inputs):
            # Copies, as a run and a predictor give them: what a function writes into its inputs is its own.
            values = LoadedCall(feature.call, types=types)({name: arrays[name].copy() for name in feature.inputs}, rows)
            for output, column in zip(feature.outputs, values, strict=True):
                arrays[output.name] = outputs[output.name] = canonical(column, output.type)
    return outputs


def _canonical(values: pd.Series, kind: ColumnType) -> np.ndarray:
    import pandas as pd

    if kind == "timestamp":
        utc = values.dt.tz_convert("UTC").dt.tz_localize(None) if values.dt.tz is not None else values
        return np.asarray(utc.to_numpy(), dtype="datetime64[us]")
    if kind == "vector":
        return canonical([None if np.ndim(value) == 0 and pd.isna(value) else value for value in values.tolist()], kind)
    return canonical([None if pd.isna(value) else value for value in values.tolist()], kind)


def _type_of(values: pd.Series) -> ColumnType:
    import pandas as pd

    kind = type_of_dtype_kind(values.dtype.kind)
    if kind not in ("text", None):
        return kind
    present = [value for value in values.tolist() if np.ndim(value) or not pd.isna(value)]
    if present and all(isinstance(value, list | tuple | np.ndarray) for value in present):
        return "vector"
    plain = [value for value in present if isinstance(value, str)]
    if plain or not values.notna().any():
        return "text"
    raise DeclarationError(f"column {values.name!r} is {values.dtype}: give numbers, booleans, text or timestamps")
