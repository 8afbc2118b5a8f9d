"""Training datasets: a view's rows at a cutoff, with labels and splits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from fti_assets.core.names import DATASETS
from fti_assets.errors import DeclarationError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.declaration import TableDeclaration
from fti_assets.training.datasets.split import RandomSplit, TimeSplit
from fti_assets.training.views.view import FeatureView

if TYPE_CHECKING:
    import pandera.pandas as pa

SPLIT = "split"
"""The dataset's column that holds ``train``, ``validation`` or ``test``."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingDataset(TableDeclaration):
    """A declared training dataset. Make one with ``training_dataset``."""

    schema_name: ClassVar[str] = DATASETS

    view: FeatureView
    split: TimeSplit | RandomSplit
    window: timedelta | None
    schema: pa.DataFrameSchema | None
    catch_up: int

    @property
    def rests_on(self) -> list[FeatureGroup]:
        """The groups of its view."""
        return self.view.groups


_MOST_CUTOFFS = 1000


def checked_catch_up(catch_up: int, *, what: str) -> int:
    """A number of cutoffs to catch up on.

    Raises:
        DeclarationError: it is not from 1 to 1,000.
    """
    if not 1 <= catch_up <= _MOST_CUTOFFS:
        raise DeclarationError(
            f"{what}: catch_up={catch_up} is not from 1 to {_MOST_CUTOFFS:,}: write catch_up=3 for the three "
            "newest cutoffs, or automation_condition=None to make none by themselves"
        )
    return catch_up
