"""What a feature view states, and what follows from that: a spine, a label with its maturity, and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.times import duration
from fti_assets.core.types import ColumnType
from fti_assets.errors import DeclarationError, excerpt, one_of
from fti_assets.features.groups.group import FeatureGroup, Selection, selection_of
from fti_assets.features.groups.on_demand import OnDemand, in_order
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.training.encoders.declarations import Encoder


@checked_arguments(itself=["column"])
@dataclass(frozen=True, eq=False)
class Label:
    """The column that a model learns to predict.

    The label is joined by the spine's key, with the latest correction known at the cutoff. With ``within``, it comes from the first
    outcome of the spine's entity after the prediction time and within that horizon.

    Args:
        column: one column of a feature group, ``arrivals["is_late"]``.
        maturity: how long after its prediction time a row's label can still arrive; younger rows are left out. It is at least
            ``within``, which is then the default.
        within: the horizon of the first outcome.
        missing: ``False`` treats a mature row without a label as a no, for a group that has rows only for what did happen, such as
            cancellations. The group must have been materialized from the row's prediction time until it was mature, in partitions
            that were run after they had ended. Otherwise the row's label is unknown, and so is a label that is stored as null. By
            default each row without a label is left out and counted.

    Raises:
        DeclarationError: there is not exactly one column, the maturity is shorter than the horizon, or ``missing`` is not False.
    """

    column: Selection
    maturity: str | timedelta | None = None
    within: str | timedelta | None = None
    missing: bool | None = None

    def __post_init__(self) -> None:
        if self.missing not in (None, False):
            raise DeclarationError(
                f"a label has missing={excerpt(self.missing)}: write missing=False where a mature row without one is a no, or leave it out"
            )
        if not isinstance(self.column, Selection) or len(self.column.columns) != 1:
            raise DeclarationError(
                f"a label is one column of a feature group, as in arrivals['is_late'], not {excerpt(self.column)}"
            )
        age, horizon = self.age, self.horizon
        if horizon is not None and age < horizon:
            raise DeclarationError(
                f"the label {self.name!r} has a maturity of {age} and outcomes within {horizon}: rows would be "
                "judged before their outcome can be there; make the maturity at least as long"
            )

    @property
    def name(self) -> str:
        return self.column.columns[0]

    @property
    def group(self) -> FeatureGroup:
        return self.column.group

    @property
    def horizon(self) -> timedelta | None:
        return None if self.within is None else duration(self.within, what=f"within of label {self.name!r}")

    @property
    def age(self) -> timedelta:
        """The maturity."""
        if self.maturity is None:
            return self.horizon or timedelta(0)
        return duration(self.maturity, what=f"maturity of label {self.name!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewTerms:
    """The fields of a ``FeatureView``: what its checks, its record and its join need of it."""

    name: str
    version: int = 1
    spine: FeatureGroup
    prediction_time: str | None = None
    label: Label | Mapping[str, Label]
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
    def labels(self) -> dict[str, Label]:
        """The labels by the names that datasets and models have for them; a single one is called like its column."""
        return {self.label.name: self.label} if isinstance(self.label, Label) else dict(self.label)

    @property
    def has_several_labels(self) -> bool:
        """Whether its models learn several labels at once."""
        return not isinstance(self.label, Label)

    @property
    def only_label(self) -> Label:
        """The label of a view that has one.

        Raises:
            DeclarationError: it has several.
        """
        if not isinstance(self.label, Label):
            raise DeclarationError(
                f"view {self.name!r} has the labels {one_of(self.label)}, and one is needed here: declare a view of that label alone"
            )
        return self.label

    @property
    def maturity(self) -> timedelta:
        """How old a row is when all its labels are there: the longest maturity of them."""
        return max(label.age for label in self.labels.values())

    @property
    def label_groups(self) -> list[FeatureGroup]:
        """The groups that labels come from, each once."""
        return list(dict.fromkeys(label.group for label in self.labels.values()))

    @property
    def on_demand(self) -> list[OnDemand]:
        """The on-demand features in the order in which they run: each after those whose outputs it takes."""
        functions = [feature for feature in self.features if isinstance(feature, OnDemand)]
        return in_order(functions, what=f"view {self.name!r}")

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
    def declared_features(self) -> list[tuple[str, ColumnType | None, str]]:
        """The model's features as far as schemas tell them when the code loads: name, type and origin."""
        features: list[tuple[str, ColumnType | None, str]] = []
        for feature in self.features:
            if isinstance(feature, OnDemand):
                origin = f"Made by {feature.name} from {', '.join(feature.inputs)}"
                features += [(output.name, output.type, origin) for output in feature.features]
                continue
            selection = selection_of(feature)
            types, table = selection.group.columns or {}, selection.group.table_name
            features += [
                (selection.feature_prefix + name, types.get(name), f"{name} of {table}")
                for name in selection.columns_in(types)
            ]
        return features

    @property
    def groups(self) -> list[FeatureGroup]:
        """Every group that the view rests on: spine, label and features, each once."""
        of_features = [selection.group for selection in self.selections]
        return list(dict.fromkeys([self.spine, *self.label_groups, *of_features]))

    @property
    def upstream(self) -> list[TimedTable]:
        """Every group and monitor that the view rests on, near and far, the near first."""
        return list(dict.fromkeys([*self.groups, *(far for group in self.groups for far in group.upstream)]))

    @property
    def lookups(self) -> list[FeatureGroup]:
        """The joined groups without an event time, which are visible at every instant."""
        return [group for group in self.groups if group.event_time is None and group is not self.spine]
