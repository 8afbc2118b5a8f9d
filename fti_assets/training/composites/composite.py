"""A composite: models over one spine, how the answers of some feed others, and the function that makes its own answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fti_assets.features.groups.group import FeatureGroup, Selection
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.training.models.model import Model, Servable
from fti_assets.training.views.terms import ViewTerms


@dataclass(frozen=True, eq=False, kw_only=True)
class Composite(Servable):
    """A declared composite. Make one with ``composite``."""

    models: tuple[Model, ...]
    feeds: Mapping[str, str]
    function: OnDemand | None
    whole_view: ViewTerms = field(repr=False)

    @property
    def view(self) -> ViewTerms:
        """What all its models need, as one view."""
        return self.whole_view

    @property
    def rests_on(self) -> list[Model]:
        """Its models."""
        return list(self.models)

    @property
    def feature_groups(self) -> list[FeatureGroup]:
        """The groups that the features of its models come from, without the spine."""
        return list(dict.fromkeys(group for model in self.models for group in model.feature_groups))


def whole_view(name: str, version: int, models: Sequence[Model], feeds: Mapping[str, str]) -> ViewTerms:
    """The features of the models' views, each once, without the fields that answers fill; the label is the first model's."""
    features: list[Selection | OnDemand] = []
    places: dict[tuple[object, ...], int] = {}
    for feature in (feature for model in models for feature in model.view.features):
        if isinstance(feature, OnDemand):
            if feature not in features:
                features.append(feature)
            continue
        selection = feature if isinstance(feature, Selection) else Selection(feature)
        group = selection.group
        names = selection.columns_in(group.columns or {})
        if group is models[0].view.spine:
            names = [column for column in names if column not in feeds]
        rows = (group.table_name, tuple(sorted(selection.spine_keys.items())), selection.feature_prefix)
        if rows not in places and names:
            places[rows] = len(features)
            features.append(replace(selection, columns=tuple(names)))
        elif names:
            before = features[places[rows]]
            assert isinstance(before, Selection)
            columns = tuple(dict.fromkeys((*before.columns, *names)))
            features[places[rows]] = replace(before, columns=columns)
    view = models[0].view
    return ViewTerms(name=name, version=version, spine=view.spine, label=view.label, features=features)
