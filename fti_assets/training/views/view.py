"""Feature views: what one model needs, from a spine, a label and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import ViewRecord
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError
from fti_assets.features.groups.group import FeatureGroup, Selection, selection_of
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.features.groups.on_demand_order import in_order
from fti_assets.training.encoders.encoders import Encoder
from fti_assets.training.views.checks import check_label_types, check_view
from fti_assets.training.views.label import Label
from fti_assets.training.views.record import Types, view_record

if TYPE_CHECKING:
    from fti_assets.features.rows.frame_kinds import Kind
    from fti_assets.orchestration.resources import Stores


@checked_arguments(itself=["features"])
@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureView:
    """What one model needs. A view reads; it makes no asset of its own.

    Args:
        name: the view's name.
        version: raise it when the meaning of the view changes.
        spine: the group whose rows are predicted for, one prediction a row.
        prediction_time: when the prediction is made: the spine group's event time, which is the default.
        label: what turned out.
        features: columns of groups (``weather["temp"]``, ``airports.on(dest="airport").prefix("dest_")["late_rate"]``),
            the spine's own columns, which a request brings, and on-demand features.
        encoders: an encoder for a feature; numbers without one are standardized.

    Raises:
        DeclarationError: the view names what is not there, or cannot be joined.
    """

    name: str
    version: int = 1
    spine: FeatureGroup
    prediction_time: str | None = None
    label: Label
    features: Sequence[Selection | FeatureGroup | OnDemand]
    encoders: Mapping[str, Encoder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_version(self.version, what=f"feature view {checked_name(self.name, what='feature view')!r}")
        if self.prediction_time not in (None, self.spine.event_time):
            raise DeclarationError(
                f"view {self.name!r} predicts at {self.prediction_time!r}, but the event time of its spine {self.spine.table} "
                f"is {self.spine.event_time!r}: the prediction time is the spine's event time"
            )
        check_view(self)

    @property
    def time(self) -> str | None:
        """The spine's column that says when the prediction is made; None without times."""
        return self.spine.event_time

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
    def lookups(self) -> list[FeatureGroup]:
        """The joined groups without an event time, which are visible at every instant."""
        return [group for group in self.groups if group.event_time is None and group is not self.spine]

    def record(self, types: Types) -> ViewRecord:
        """The view as a manifest has it.

        Raises:
            DeclarationError: a column is not there, or the two sides of a key have different types.
        """
        spine_types = types(self.spine)
        check_label_types(self, types(self.label.group), spine_types)
        return view_record(self, types)

    @checked_arguments(method=True)
    def features_for(
        self,
        spine: Any,
        *,
        at: datetime | str | None = None,
        snapshot: int | str | datetime | None = None,
        stores: Stores | None = None,
        as_: Kind | None = None,
    ) -> Any:
        """Join the view's features to rows that somebody brings, point in time, by the very code of the training datasets.

        Args:
            spine: rows with what a request brings and the prediction time: a pandas or polars frame, an Arrow table, a DuckDB
                relation or a list of dicts. Aware times are converted to UTC, naive ones taken as UTC. Columns of the spine that
                the rows leave out are those of the stored spine rows of their keys and prediction time, as a dataset has them.
            at: one prediction time for all rows, instead of a column of it.
            snapshot: the groups as of a snapshot of the lake: its number, or an instant for the newest one committed by then;
                the newest of all by default.
            stores: where the groups are stored; under ``FTI_HOME`` by default.
            as_: ``"pandas"``, ``"polars"``, ``"arrow"``, ``"relation"`` or ``"dicts"``; as they are given by default.

        Returns:
            The given columns, then each feature: exactly one row a given row, in its order; a pandas frame keeps its index. A
            given column that is called like a feature, and that no request brings, is left out.

        Raises:
            DataError: the rows lack a column or have one of another type; the error names it.
            NotMaterializedError: a group or the snapshot is not there.

        >>> arrival_delay.features_for(flights, at="2013-06-01T08:00Z")  # doctest: +SKIP
        """
        from fti_assets.training.views.ad_hoc import features_for

        return features_for(self, spine, at=at, snapshot=snapshot, stores=stores, as_=as_)


def checked_version(version: int, *, what: str) -> int:
    """Return ``version``, or raise a DeclarationError if it is not 1, 2, 3 and so on."""
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DeclarationError(f"{what}: version is {version!r}; versions are 1, 2, 3 ...")
    return version
