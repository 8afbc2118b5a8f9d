"""The features of a view: each is there, has a name of its own, and can be joined or computed."""

from __future__ import annotations

from collections.abc import Mapping

from fti_assets.core.names import is_kept
from fti_assets.core.types import ColumnType
from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.features.groups.group import FeatureGroup, Selection
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.features.groups.on_demand_source import check_source
from fti_assets.training.views.terms import ViewTerms


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
    windowed = [group for group in [view.spine, *view.label_groups] if group.windows is not None]
    if windowed:
        raise DeclarationError(
            f"view {view.name!r} has {windowed[0].table_name} as its spine or label, which has no rows of its own: its windows are "
            f"computed at each prediction. Take {one_of(windowed[0].inputs)}, whose rows they count, and the windows as features"
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
            check_keys(view, selection)
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


def check_keys(view: ViewTerms, selection: Selection) -> None:
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
        check_source(feature.function.__module__, what=f"on-demand feature {feature.name!r}", requires=feature.requires)
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
