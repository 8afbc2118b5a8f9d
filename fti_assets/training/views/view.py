"""Feature views: what one model needs, from a spine, a label and features."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import ViewRecord
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError
from fti_assets.training.views.checks.declaration import check_view
from fti_assets.training.views.checks.encoders import vector_encoders
from fti_assets.training.views.checks.types import check_label_types
from fti_assets.training.views.record import Types, view_record
from fti_assets.training.views.terms import ViewTerms

if TYPE_CHECKING:
    from fti_assets.features.rows.frames.kinds import Kind
    from fti_assets.orchestration.resources import Stores


@checked_arguments(itself=["features"])
@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureView(ViewTerms):
    """The features and the label of one model. A view only reads; it is not an asset.

    Args:
        name: the view's name.
        version: raise it when the meaning of the view changes.
        spine: the group whose rows are predicted, one prediction per row.
        prediction_time: when the prediction is made: the spine group's event time, which is the default.
        label: the outcome. If a model learns several labels at once, each has a name, ``{"late": fti.Label(...), "cancelled":
            fti.Label(...)}``. A row counts once its last label is mature, and is left out if it lacks one.
        features: columns of groups (``weather["temp"]``, ``airports.on(dest="airport").prefix("dest_")["late_rate"]``),
            the spine's own columns, which a request brings, and on-demand features.
        encoders: encoders by feature. Numbers without one are standardized, and a vector of an on-demand function is passed on as
            declared.

    Raises:
        DeclarationError: the view names something that does not exist, or cannot be joined.
    """

    def __post_init__(self) -> None:
        checked_version(self.version, what=f"feature view {checked_name(self.name, what='feature view')!r}")
        if self.prediction_time not in (None, self.spine.event_time):
            raise DeclarationError(
                f"view {self.name!r} predicts at {self.prediction_time!r}, but the event time of its spine {self.spine.table_name} "
                f"is {self.spine.event_time!r}: the prediction time is the spine's event time"
            )
        if isinstance(self.features, list | tuple):  # else the check says what is wrong
            object.__setattr__(self, "encoders", {**vector_encoders(self.features), **self.encoders})
        check_view(self)

    def record(self, types: Types) -> ViewRecord:
        """The view as a manifest has it.

        Raises:
            DeclarationError: a column is not there, or the two sides of a key have different types.
        """
        spine_types = types(self.spine)
        for name, label in self.labels.items():
            check_label_types(self, name, label, types(label.group), spine_types)
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
        """Join the view's features to your own rows, point-in-time, with the code of the training datasets.

        Args:
            spine: rows with what a request brings and the prediction time: a pandas or polars frame, an Arrow table, a DuckDB
                relation or a list of dicts. Aware times are converted to UTC, naive ones taken as UTC. Spine columns that the rows
                leave out are taken from the stored spine rows with the same keys and prediction time, as in a dataset.
            at: one prediction time for all rows, instead of a column of it.
            snapshot: the groups as of a snapshot of the lake: its number, or an instant for the newest one committed by then;
                the newest of all by default.
            stores: where the groups are stored; under ``FTI_HOME`` by default.
            as_: ``"pandas"``, ``"polars"``, ``"arrow"``, ``"relation"`` or ``"dicts"``; by default the kind that was given.

        Returns:
            The given columns, then each feature: exactly one row for each given row, in the same order; a pandas frame keeps its
            index. A given column that has the name of a feature, and that no request brings, is left out.

        Raises:
            DataError: the rows lack a column or have one of another type; the error names it.
            NotMaterializedError: a group or the snapshot is not there.

        >>> arrival_delay.features_for(flights, at="2013-06-01T08:00Z")  # doctest: +SKIP
        """
        from fti_assets.training.views.ad_hoc import features_for

        return features_for(self, spine, at=at, snapshot=snapshot, stores=stores, as_=as_)
