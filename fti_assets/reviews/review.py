"""A review: which model's champion is judged, and by what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fti_assets.core.rules import Rule
from fti_assets.orchestration.declaration import Declaration
from fti_assets.training.models.model import Model

HOLDS = Rule(
    "champion_holds", "The champion is not shown to be worse than the one before it on fresh labels", blocking=False
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Review(Declaration):
    """What a model with ``rollback=`` brings along."""

    model: Model

    @property
    def rests_on(self) -> Sequence[Declaration]:
        """Its model."""
        return [self.model]

    @property
    def metric(self) -> str:
        """What the two are compared by: the model's first metric."""
        return self.model.evaluate.metric_names[0]
