"""Labels: what turned out, and how long it takes to know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.times import duration
from fti_assets.errors import DeclarationError
from fti_assets.features.groups.group import FeatureGroup, Selection


@checked_arguments(itself=["column"])
@dataclass(frozen=True, eq=False)
class Label:
    """The column that a model learns to predict.

    The label comes by the spine's key, the latest correction known at the cutoff; or, with ``within``, from the first
    outcome of the spine's entity after the prediction time and within that horizon.

    Args:
        column: one column of a feature group, ``arrivals["is_late"]``.
        maturity: how long after its prediction time a row's label can still arrive; younger rows are left out. At least
            ``within``, which is the default then.
        within: the horizon of the first outcome.

    Raises:
        DeclarationError: not exactly one column, or a maturity shorter than the horizon.
    """

    column: Selection
    maturity: str | timedelta | None = None
    within: str | timedelta | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.column, Selection) or len(self.column.columns) != 1:
            raise DeclarationError(
                f"a label is one column of a feature group, as in arrivals['is_late'], not {self.column!r}"
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
