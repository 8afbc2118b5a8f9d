"""The view of a model that another code location owns, made again of the record that its builds carry."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from fti_assets.core.manifest import JoinedGroup, OnDemandCall, ViewRecord
from fti_assets.core.manifest.contracts import LabelContract, ModelContract
from fti_assets.core.types.vector import Vector
from fti_assets.errors import DeclarationError, list_some
from fti_assets.features.groups.group import FeatureGroup, Selection
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.training.views.needed_groups import changes_of, needed_groups
from fti_assets.training.views.terms import Label
from fti_assets.training.views.view import FeatureView

Groups = Callable[[str, int], FeatureGroup]
"""A group by its name and version."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PublishedView(FeatureView):
    """The view that a build learned from: its owner has checked it, and its encoders lie in the build's graph."""

    def __post_init__(self) -> None:
        """Nothing is checked again."""


def published_view(view: ViewRecord, contract: ModelContract, groups: Groups, *, what: str) -> PublishedView:
    """The view of a record, over the groups that it names.

    Raises:
        NotMaterializedError: a group is not there.
        DeclarationError: a group lacks a column that the view takes, or its rows mean something else by now; an on-demand function is
            not here.
    """
    if outside := [join.table_name for join in view.joins if join.external]:
        raise DeclarationError(
            f"{what} takes {list_some(outside)}, a table of another system, whose place no contract tells: declare its features here, with "
            "fti.external_group, or have its owner take it into a feature group"
        )
    spine = groups(view.spine, view.spine_version)
    for needed in needed_groups(view):
        if changes := changes_of(groups(needed.name, needed.version), needed):
            raise DeclarationError(
                f"{needed.table_name} has changed its meaning under one version: {'; '.join(changes)}, but {what} learned from it. Its "
                "owner has to make that a new version"
            )
    labels = {one.name: _label(one, groups) for one in contract.labels}
    return PublishedView(
        name=view.name,
        version=view.version,
        spine=spine,
        label=labels if contract.several_labels else next(iter(labels.values())),
        features=list(_features(view, spine, groups, what)),
    )


def _label(contract: LabelContract, groups: Groups) -> Label:
    group = groups(contract.group, contract.version)
    selection = group[contract.column]
    if contract.spine_keys:
        selection = selection.on(**{spine: key for key, spine in contract.spine_keys.items()})
    within = None if contract.within_us is None else timedelta(microseconds=contract.within_us)
    return Label(selection, timedelta(microseconds=contract.maturity_us), within, contract.missing)


def _features(view: ViewRecord, spine: FeatureGroup, groups: Groups, what: str) -> Sequence[Selection | OnDemand]:
    """What makes the features, in the order in which they come."""
    makers: dict[str, Selection | OnDemand] = {}
    for join in view.joins:
        selection = _selection(join, groups)
        makers |= {column.feature: selection for column in join.columns}
    for call in view.on_demand:
        function = _function(call, what)
        makers |= {output.name: function for output in call.outputs}
    own = [feature.name for feature in view.features if feature.name not in makers]
    makers |= dict.fromkeys(own, spine[tuple(own)]) if own else {}
    ordered = {id(makers[feature.name]): makers[feature.name] for feature in view.features}
    helpers = {id(one): one for one in makers.values()}  # functions whose outputs only other functions take
    return list({**ordered, **helpers}.values())


def _selection(join: JoinedGroup, groups: Groups) -> Selection:
    group = groups(join.group, join.version)
    selection = group[tuple(column.column for column in join.columns)]
    other = {key.spine: key.group for key in join.keys if key.spine != key.group}
    if other:
        selection = selection.on(**other)
    first = join.columns[0]
    before = first.feature.removesuffix(first.column)
    return selection.prefix(before) if before else selection


def _function(call: OnDemandCall, what: str) -> OnDemand:
    """An on-demand function as it is here."""
    try:
        function = getattr(importlib.import_module(call.module), call.function)
    except (ImportError, AttributeError) as error:
        raise DeclarationError(
            f"{what} needs the on-demand function {call.function!r} of module {call.module!r}, which is not here: {error}. Ship that "
            "module with this code location, on its import path"
        ) from error
    return (
        function
        if isinstance(function, OnDemand)
        else OnDemand(call.name, call.version, function, call.inputs, call.outputs, vectors=_vectors(call))
    )


def _vectors(call: OnDemandCall) -> tuple[tuple[str, Vector], ...]:
    return tuple((one.output, Vector(one.dim)) for one in call.vectors)
