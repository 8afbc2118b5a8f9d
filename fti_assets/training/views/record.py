"""A feature view as a manifest has it: the one record that training, batch predictions and the predictor join by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fti_assets.core.manifest import Column, JoinedColumn, JoinedGroup, JoinedKey, ViewRecord
from fti_assets.core.types import ColumnType
from fti_assets.features.groups.group import FeatureGroup, Selection, selection_of
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.features.groups.window_columns import window_types
from fti_assets.features.online.joined import joined_group
from fti_assets.features.spine_rows import spine_times
from fti_assets.training.views.checks.features import refuse_vectors
from fti_assets.training.views.checks.types import check_key_types, required_type
from fti_assets.training.views.terms import ViewTerms

Types = Callable[[FeatureGroup], Mapping[str, ColumnType | None]]
"""The types of a group's columns: as declared when the code loads, as stored when it runs."""


def view_record(view: ViewTerms, types: Types) -> ViewRecord:
    """The view with the types of its columns.

    Raises:
        DeclarationError: a column is not there, or the two sides of a key have different types.
    """
    spine_types = types(view.spine)
    joins: list[JoinedGroup] = []
    features: list[Column] = []
    for feature in view.features:
        if isinstance(feature, OnDemand):
            features += feature.features
            continue
        selection = selection_of(feature)
        group_types = types_of_joined(selection.group, types)
        columns = [
            Column(name, required_type(view, selection.group, group_types, name))
            for name in selection.columns_in(group_types)
        ]
        if selection.group is view.spine:
            features += columns
            continue
        keys = tuple(_joined_key(view, selection, key, group_types, spine_types) for key in selection.group.keys)
        in_view = [JoinedColumn(selection.feature_prefix + column.name, column.name, column.type) for column in columns]
        joins.append(joined_group(selection.group, keys, in_view))
        features += [Column(column.feature, column.type) for column in in_view]
    own_types = {name: kind for name, kind in spine_types.items() if kind is not None}
    refuse_vectors(view, own_types | {column.name: column.type for column in features})
    request = [Column(name, required_type(view, view.spine, spine_types, name)) for name in _request(view, features)]
    rules, rules_left_out = view.spine.request_rules(request)
    return ViewRecord(
        name=view.name,
        version=view.version,
        spine=view.spine.name,
        spine_version=view.spine.version,
        spine_keys=view.spine.keys,
        prediction_time=view.time,
        request=tuple(request),
        joins=tuple(joins),
        on_demand=tuple(feature.call for feature in view.on_demand),
        features=tuple(features),
        rules=rules,
        rules_left_out=rules_left_out,
        spine_times=spine_times(view.spine),
    )


def types_of_joined(group: FeatureGroup, types: Types) -> Mapping[str, ColumnType | None]:
    """The types of a group's columns; of windows those that the types of their source make."""
    own = types(group)
    return own if group.windows is None else window_types(group.windows, group.keys, own, of=group.table_name)


def _request(view: ViewTerms, features: Sequence[Column]) -> list[str]:
    """The spine's columns that a request must bring: its keys, its own features, join keys, on-demand inputs."""
    outputs = {output.name for feature in view.on_demand for output in feature.outputs}
    features_of_groups = outputs.union(*(selection.feature_names for selection in view.joined))
    own = [column.name for column in features if column.name not in features_of_groups]
    keys = [selection.spine_keys.get(key, key) for selection in view.joined for key in selection.group.keys]
    inputs = [name for feature in view.on_demand for name in feature.inputs if name not in features_of_groups]
    names = dict.fromkeys([*view.spine.keys, *own, *keys, *inputs])
    return [name for name in names if name != view.time]


def _joined_key(
    view: ViewTerms,
    selection: Selection,
    key: str,
    group_types: Mapping[str, Any],
    spine_types: Mapping[str, Any],
) -> JoinedKey:
    spine_column = selection.spine_keys.get(key, key)
    required_type(view, view.spine, spine_types, spine_column)
    group_type = required_type(view, selection.group, group_types, key)
    check_key_types(view, selection, group_types, spine_types)
    return JoinedKey(spine_column, key, group_type)
