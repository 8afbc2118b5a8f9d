"""What a feature view states, and what follows from that: a spine, a label and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fti_assets.features.groups.group import FeatureGroup, Selection, selection_of
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.features.groups.on_demand_order import in_order
from fti_assets.training.encoders.encoders import Encoder
from fti_assets.training.views.label import Label


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewTerms:
    """The fields of a ``FeatureView``: what its checks, its record and its join need of it."""

    name: str
    version: int = 1
    spine: FeatureGroup
    prediction_time: str | None = None
    label: Label
    features: Sequence[Selection | FeatureGroup | OnDemand]
    encoders: Mapping[str, Encoder] = field(default_factory=dict)

    @property
    def time(self) -> str | None:
        """The spine's column that says when the prediction is made; None without times."""
        return self.spine.event_time

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that name a row: the spine's keys and the prediction time."""
        return (*self.spine.keys, *(() if self.time is None else (self.time,)))

    @property
    def on_demand(self) -> list[OnDemand]:
        """The on-demand features in the order in which they run: each after those whose outputs it takes."""
        listed = [feature for feature in self.features if isinstance(feature, OnDemand)]
        return in_order(listed, what=f"view {self.name!r}")

    @property
    def selections(self) -> list[Selection]:
        """The columns of groups among the features, the spine's own included."""
        return [selection_of(feature) for feature in self.features if not isinstance(feature, OnDemand)]

    @property
    def joined(self) -> list[Selection]:
        """The columns of other groups than the spine."""
        return [selection for selection in self.selections if selection.group is not self.spine]

    @property
    def feature_names(self) -> list[str]:
        """The model's features, in order."""
        names: list[str] = []
        for feature in self.features:
            if isinstance(feature, OnDemand):
                names += [output.name for output in feature.features]
            else:
                names += selection_of(feature).feature_names
        return names

    @property
    def groups(self) -> list[FeatureGroup]:
        """Every group that the view rests on: spine, label and features, each once."""
        joined = [selection.group for selection in self.selections]
        return list(dict.fromkeys([self.spine, self.label.group, *joined]))

    @property
    def upstream(self) -> list[FeatureGroup]:
        """Every group that the view rests on, near and far, the near first."""
        return list(dict.fromkeys([*self.groups, *(far for group in self.groups for far in group.upstream)]))

    @property
    def lookups(self) -> list[FeatureGroup]:
        """The joined groups without an event time, which are visible at every instant."""
        return [group for group in self.groups if group.event_time is None and group is not self.spine]
