"""What a feature view cannot be: every check of its declaration, as far as schemas tell when the code loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fti_assets.core.manifest import Column
from fti_assets.core.names import is_kept
from fti_assets.core.sql import checked_name
from fti_assets.core.types import ColumnType
from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.features.groups.group import FeatureGroup, Selection
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.features.groups.on_demand_source import check_source
from fti_assets.features.validation.schema import vector_dims
from fti_assets.training.encoders.declarations import Encoder, check_ages, check_encoder, check_encoders
from fti_assets.training.encoders.kinds.vectors import Vector
from fti_assets.training.views.terms import Label, ViewTerms


def check_view(view: ViewTerms) -> None:
    """Refuse a view that names what is not there, or that cannot be joined.

    Raises:
        DeclarationError: it says what is wrong.
    """
    check_features(view)
    _check_labels(view)
    _check_declared_types(view)


def check_features(view: ViewTerms) -> None:
    """Refuse features that are not there, that share a name, or that cannot be joined.

    Raises:
        DeclarationError: it says what is wrong.
    """
    if not isinstance(view.features, list | tuple):
        raise DeclarationError(
            f"features of view {view.name!r} is {view.features!r}, which is not a list: write features=[...], as in "
            "features=[weather['temp'], calendar]"
        )
    if not view.features:
        raise DeclarationError(f"view {view.name!r} has no features")
    wrong = [feature for feature in view.features if not isinstance(feature, Selection | FeatureGroup | OnDemand)]
    if wrong:
        raise DeclarationError(
            f"view {view.name!r}: {list_some(wrong)} is not a feature; give columns of a group, as in weather['temp'], or an "
            "on-demand feature"
        )
    for selection in view.selections:
        if selection.group is view.spine and (selection.spine_keys or selection.feature_prefix):
            raise DeclarationError(
                f"view {view.name!r} joins its spine {view.spine.table_name} to itself: the spine's own columns are taken as "
                "given, without .on() or .prefix()"
            )
        if selection.group is not view.spine:
            if selection.group.event_time is not None and view.time is None:
                raise DeclarationError(
                    f"view {view.name!r} joins {selection.group.table_name}, which has an event time, to the spine "
                    f"{view.spine.table_name}, which has none: give {view.spine.name} an event_time, the time of the prediction"
                )
            _check_keys(view, selection)
        if not selection.columns and selection.group.columns is None:
            raise DeclarationError(
                f"view {view.name!r} takes all of {selection.group.table_name}, which has no schema: name the columns, as in "
                f"{selection.group.name}['...']"
            )
    times = [output.name for feature in view.on_demand for output in feature.outputs if output not in feature.features]
    names = [*view.feature_names, *times]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DeclarationError(
            f"view {view.name!r} has {list_some(twice)} twice: give one of them a .prefix(), or leave one out"
        )
    if clashes := [name for name in names if is_kept(name)]:
        raise DeclarationError(
            f"view {view.name!r} has a feature {list_some(clashes)}, a name that plans keep for themselves: give it another .prefix(), or "
            "the output another name"
        )
    _check_on_demand(view)
    _check_request(view)


def _check_keys(view: ViewTerms, selection: Selection) -> None:
    """Refuse a join on a column that the spine is known not to have."""
    group, spine_columns = selection.group, view.spine.columns
    columns = {key: selection.spine_keys.get(key, key) for key in group.keys}
    missing = [key for key, column in columns.items() if spine_columns is not None and column not in spine_columns]
    if missing:
        raise DeclarationError(
            f"view {view.name!r} cannot join {group.table_name} on {list_some(columns[key] for key in missing)}: the spine "
            f"{view.spine.table_name} has {one_of(spine_columns or ())}. Say which column holds it, as in "
            f"{group.name}.on(<spine column>={missing[0]!r})"
        )


def _check_on_demand(view: ViewTerms) -> None:
    for feature in view.on_demand:
        check_source(feature.function.__module__, what=f"on-demand feature {feature.name!r}")
    _check_inputs(view)
    inputs = {name for feature in view.on_demand for name in feature.inputs}
    for feature in view.on_demand:
        idle = [output.name for output in feature.outputs if output.type == "timestamp" and output.name not in inputs]
        if idle:
            raise DeclarationError(
                f"on-demand feature {feature.name!r} of view {view.name!r} makes {list_some(idle)}, a time that no other on-demand "
                "feature takes: no model learns from a time, so take it in one that makes a number of it, or leave it out"
            )


def _check_inputs(view: ViewTerms) -> None:
    """Refuse an input that is nowhere, or a vector, as far as schemas tell."""
    types = {**(view.spine.columns or {}), **{name: kind for name, kind, _ in view.declared_features}}
    refuse_vectors(view, types)
    if view.spine.columns is None:
        return
    outputs = [output.name for feature in view.on_demand for output in feature.outputs]
    names = dict.fromkeys([*view.feature_names, *outputs, *view.spine.columns])
    for feature in view.on_demand:
        unknown = [name for name in feature.inputs if name not in names]
        if unknown:
            raise DeclarationError(
                f"on-demand feature {feature.name!r} of view {view.name!r} takes {list_some(unknown)}, which is neither a "
                f"feature of the view nor a column of its spine: there is {one_of(names)}"
            )


def refuse_vectors(view: ViewTerms, types: Mapping[str, ColumnType | None]) -> None:
    """Refuse on-demand features that take a vector.

    Raises:
        DeclarationError: it names the feature and the vector.
    """
    for feature in view.on_demand:
        of_vectors = [name for name in feature.inputs if types.get(name) == "vector"]
        if of_vectors:
            raise DeclarationError(
                f"on-demand feature {feature.name!r} of view {view.name!r} takes {list_some(of_vectors)}, a vector, which no on-demand "
                "function takes: store what is made of it, such as a similarity or a norm, as a number of the group, and take that"
            )


def _check_request(view: ViewTerms) -> None:
    """One name is one value: a feature cannot be called like something else that the request brings."""
    outputs = {output.name for feature in view.on_demand for output in feature.outputs}
    features = outputs.union(*(selection.feature_names for selection in view.joined))
    keys = [selection.spine_keys.get(key, key) for selection in view.joined for key in selection.group.keys]
    own = [name for selection in view.selections if selection.group is view.spine for name in selection.feature_names]
    if clash := sorted(features & {*view.identity, *own, *keys}):
        raise DeclarationError(
            f"view {view.name!r} has a feature called {list_some(clash)}, and so is a key, time or feature of its spine "
            f"{view.spine.table_name}: give the feature a .prefix(), or the on-demand output another name"
        )


def _check_labels(view: ViewTerms) -> None:
    if not isinstance(view.label, Label):
        _check_names(view, view.label)
    for name, label in view.labels.items():
        _check_label(view, name, label)
    _refuse_unknown(view, view.encoders, what=f"view {view.name!r}")


def _check_names(view: ViewTerms, labels: Mapping[str, Label]) -> None:
    """Refuse labels that are not two or more, each of another outcome."""
    if len(labels) < 2:
        raise DeclarationError(
            f"view {view.name!r} has label={{...}} of {len(labels)} label{'s' * (not labels)}: a name each is for several, so write "
            "label=fti.Label(...)"
        )
    terms: dict[tuple[object, ...], str] = {}
    for name, label in labels.items():
        if is_kept(checked_name(name, what=f"label of view {view.name!r}")):
            raise DeclarationError(
                f"view {view.name!r} has a label called {name!r}, as own columns are: give it another name"
            )
        own = (label.group, label.name, tuple(sorted(label.column.spine_keys.items())), label.horizon)
        if (other := terms.setdefault(own, name)) != name:
            raise DeclarationError(
                f"view {view.name!r} has the labels {other!r} and {name!r} of the same column {label.name!r} of {label.group.table_name}: "
                "leave one out, or give it another within="
            )


def _check_label(view: ViewTerms, name: str, label: Label) -> None:
    if label.horizon is not None and (label.group.event_time is None or view.time is None):
        raise DeclarationError(f"the label of view {view.name!r} has within=, which needs event times on both sides")
    if label.maturity is not None and view.time is None:
        raise DeclarationError(
            f"the label of view {view.name!r} has a maturity, but its spine {view.spine.table_name} has no event time to tell a "
            "row's age by: leave out maturity, or give the spine an event_time"
        )
    if label.missing is not None and label.group is view.spine and label.horizon is None:
        raise DeclarationError(
            f"the label {name!r} of view {view.name!r} has missing=False and is a column of its spine {view.spine.table_name}: no row is "
            "without one, and a null there is not known, so leave missing= out, or store false"
        )
    if label.group is not view.spine:
        by = [label.column.spine_keys.get(key, key) for key in label.group.keys]
        if label.horizon is None and set(by) != set(view.spine.keys):
            raise DeclarationError(
                f"the label of view {view.name!r} comes from {label.group.table_name} by the keys {one_of(by)}, but "
                f"the spine {view.spine.table_name} has the keys {one_of(view.spine.keys)}: give the label a group with the "
                "spine's keys, or within='30d' for the first outcome of an entity"
            )
        _check_keys(view, label.column)
    takers = [feature.name for feature in view.on_demand if label.name in feature.inputs]
    if label.group is view.spine and takers:
        raise DeclarationError(
            f"view {view.name!r} gives its label {label.name!r} to the on-demand feature {list_some(takers)}: what turned out "
            "is not there yet when the prediction is made"
        )
    if name in view.identity:
        raise DeclarationError(
            f"view {view.name!r} has the label {name!r}, which is a key or the time of its spine {view.spine.table_name}: "
            "give the label a column of its own"
        )
    own = [one for each in view.selections if each.group is view.spine for one in each.feature_names]
    if name in view.feature_names or (label.group is view.spine and label.name in own):
        raise DeclarationError(
            f"view {view.name!r} has its label {name!r} among its features: leave it out, or use .prefix() if it is "
            "an earlier value that was known by then"
        )
    timeless = [
        selection.group.table_name
        for selection in view.joined
        if selection.group is label.group
        and label.group.event_time is None
        and label.name in selection.columns_in(label.group.columns or {})
    ]
    if timeless:
        raise DeclarationError(
            f"view {view.name!r} has its label {label.name!r} among its features: {timeless[0]} has no event time, so it is "
            "visible at every instant; leave it out"
        )


def _check_dims(view: ViewTerms, encoders: Mapping[str, Encoder]) -> None:
    """Refuse a vector's encoder of another length than the group's schema states."""
    for selection in view.selections:
        schema = selection.group.schema
        if schema is None or "vector" not in (selection.group.columns or {}).values():
            continue
        dims = vector_dims(schema)
        for column in selection.columns_in(selection.group.columns or {}):
            encoder = encoders.get(selection.feature_prefix + column)
            if isinstance(encoder, Vector) and dims.get(column, encoder.dim) != encoder.dim:
                raise DeclarationError(
                    f"the encoder of {selection.feature_prefix + column!r} is fti.Vector(dim={encoder.dim}), but the schema of "
                    f"{selection.group.table_name} declares {dims[column]} numbers: write fti.Vector(dim={dims[column]})"
                )


def check_view_encoders(view: ViewTerms, encoders: Mapping[str, Encoder], *, what: str) -> None:
    """Refuse encoders of a model for what is no feature of its view, or, as far as schemas tell, for a feature of another type.

    Raises:
        DeclarationError: it names the model and the feature.
    """
    _refuse_unknown(view, encoders, what=what)
    for column in _declared_features(view):
        if column.name in encoders:
            try:
                check_encoder(column, encoders[column.name])
            except DeclarationError as error:
                raise DeclarationError(f"{what}: {error}") from error
    try:
        types = {column.name: column.type for column in _declared_features(view)}
        check_ages(encoders, {name: types.get(name) for name in view.feature_names})
        _check_dims(view, encoders)
    except DeclarationError as error:
        raise DeclarationError(f"{what}: {error}") from error


def _refuse_unknown(view: ViewTerms, encoders: Mapping[str, Encoder], *, what: str) -> None:
    unknown = [name for name in encoders if name not in view.feature_names]
    if unknown:
        raise DeclarationError(
            f"{what} has encoders for {list_some(unknown)}: its features are {one_of(view.feature_names)}"
        )


def _check_declared_types(view: ViewTerms) -> None:
    """Check encoders and key types as far as schemas declare them; the rest is known when the view is stored."""
    spine_types = view.spine.columns or {}
    for selection in view.joined:
        check_key_types(view, selection, selection.group.columns or {}, spine_types)
    if features := _declared_features(view):
        names = {column.name for column in features}
        declared = {name: encoder for name, encoder in view.encoders.items() if name in names}
        check_encoders(features, declared, untyped=[name for name in view.feature_names if name not in names])
        _check_dims(view, view.encoders)
    for name, label in view.labels.items():
        label_types = label.group.columns or {}
        if label_types.get(label.name) is not None:
            check_label_types(view, name, label, label_types, spine_types)


def _declared_features(view: ViewTerms) -> list[Column]:
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
