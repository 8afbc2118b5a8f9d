"""The types of what a view takes: keys have one on both sides, and a label has one that models predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fti_assets.core.manifest import Column
from fti_assets.core.types import ColumnType
from fti_assets.errors import DeclarationError, one_of
from fti_assets.features.groups.group import FeatureGroup, Selection
from fti_assets.training.views.terms import Label, ViewTerms


def declared_features(view: ViewTerms) -> list[Column]:
    """The features whose types are known when the code loads."""
    return [Column(name, kind) for name, kind, _ in view.declared_features if kind is not None]


def check_key_types(
    view: ViewTerms, selection: Selection, group_types: Mapping[str, Any], spine_types: Mapping[str, Any]
) -> None:
    """Refuse keys whose two sides are known to have different types."""
    for key in selection.group.keys:
        spine_column = selection.spine_keys.get(key, key)
        spine_type, group_type = spine_types.get(spine_column), group_types.get(key)
        if spine_type is not None and group_type is not None and spine_type != group_type:
            raise DeclarationError(
                f"view {view.name!r} joins {selection.group.table_name} where {spine_column!r} = {key!r}, but {spine_column!r} "
                f"of {view.spine.table_name} is {spine_type} and {key!r} of {selection.group.table_name} is {group_type}"
            )


def check_label_types(
    view: ViewTerms, name: str, label: Label, types: Mapping[str, Any], spine_types: Mapping[str, Any]
) -> None:
    """Refuse a label that no model predicts, or whose key is known to have another type than the spine's."""
    kind = required_type(view, label.group, types, label.name)
    if kind in ("timestamp", "vector"):
        raise DeclarationError(
            f"the label {name!r} of view {view.name!r} is a {kind}, which no model predicts: make it a number, a "
            "boolean or text"
        )
    if kind == "text" and view.has_several_labels:
        raise DeclarationError(
            f"the label {name!r} of view {view.name!r} is text, and of several labels each is a number or a boolean: store what a model is "
            "to tell as booleans, or declare a view of that label alone, for task='multiclass'"
        )
    if kind == "text" and label.missing is not None:
        raise DeclarationError(
            f"the label {name!r} of view {view.name!r} is text and has missing=False, which is for booleans and numbers: leave it out"
        )
    if label.group is not view.spine:
        check_key_types(view, label.column, types, spine_types)


def required_type(
    view: ViewTerms, group: FeatureGroup, types: Mapping[str, ColumnType | None], name: str
) -> ColumnType:
    """The type of a column that the view needs.

    Raises:
        DeclarationError: there is no such column, or it has a type that no feature can have.
    """
    kind = types.get(name)
    if kind is None:
        usable = [column for column, match in types.items() if match is not None]
        problem = (
            "has a type that no feature can have: a vector is a list of floats (FLOAT[]), so cast whole numbers; of another list or a "
            "struct, store each element that is to be one as a column of its own"
            if name in types
            else f"has only {one_of(usable)}"
        )
        raise DeclarationError(f"view {view.name!r} needs the column {name!r} of {group.table_name}, which {problem}")
    return kind
