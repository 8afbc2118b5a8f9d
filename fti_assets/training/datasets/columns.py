"""What a training dataset's table holds and demands of its rows, as far as declarations tell."""

from __future__ import annotations

from fti_assets.features.groups.columns import Columns, declared_columns, table_column
from fti_assets.features.groups.group import selection_of
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.features.rows.layout import Layout
from fti_assets.features.validation.schema import column_types
from fti_assets.training.datasets.dataset import SPLIT, TrainingDataset


def layout_of(dataset: TrainingDataset) -> Layout:
    """What the dataset's table demands of its rows."""
    types = {} if dataset.schema is None else column_types(dataset.schema)
    return Layout(dataset.table, dataset.view.identity, (), None, dataset.schema, types)


def columns_of(dataset: TrainingDataset) -> Columns:
    """The dataset's columns, as far as its groups declare their types."""
    view, spine, label = dataset.view, dataset.view.spine, dataset.view.label
    spine_types, label_types = spine.columns or {}, label.group.columns or {}
    known = [table_column(key, spine_types.get(key), f"Key, of {spine.table}", nullable=False) for key in spine.keys]
    if view.time is not None:
        known.append(table_column(view.time, "timestamp", f"Prediction time, of {spine.table}", nullable=False))
    for feature in view.features:
        if isinstance(feature, OnDemand):
            made = f"Made by {feature.name} from {', '.join(feature.inputs)}"
            known += [table_column(output.name, output.type, made) for output in feature.features]
            continue
        selection = selection_of(feature)
        group, types = selection.group, selection.group.columns or {}
        known += [
            table_column(selection.feature_prefix + name, types.get(name), f"{name} of {group.table}")
            for name in selection.chosen(types)
        ]
    message = f"Label: {label.name} of {label.group.table}"
    known.append(table_column(label.name, label_types.get(label.name), message, nullable=False))
    known.append(table_column(SPLIT, "text", "train, validation or test", nullable=False))
    return declared_columns(known, dataset.schema)
