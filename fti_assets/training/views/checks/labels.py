"""The labels of a view: each is an outcome that is not known yet when the prediction is made."""

from __future__ import annotations

from collections.abc import Mapping

from fti_assets.core.names import is_kept
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.training.views.checks.features import check_keys
from fti_assets.training.views.checks.targets import check_targets
from fti_assets.training.views.terms import Label, ViewTerms


def check_labels(view: ViewTerms) -> None:
    if not isinstance(view.label, Label):
        _check_names(view, view.label)
    for name, label in view.labels.items():
        _check_label(view, name, label)


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
        check_keys(view, label.column)
        check_targets(view, name, label)
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
