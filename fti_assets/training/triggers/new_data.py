"""Training once enough has come that the newest build has not learned from."""

from __future__ import annotations

from dataclasses import dataclass

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.concise import Concise
from fti_assets.errors import DeclarationError, one_of
from fti_assets.training.triggers.trigger import Cause, Situation
from fti_assets.training.views.view import FeatureView


@checked_arguments()
@dataclass(frozen=True, repr=False)
class OnNewData(Concise):
    """Train again once so many partitions are new or have changed since the newest build, of those that the next would learn from.

    A partition counts if its data version is not the one that the newest build's dataset was made from, whether that build was accepted or
    not, and if it ends before the newest cutoff that has come.

    Args:
        partitions: how many, at least 1.
        group: the feature group that is counted, by name or as ``weather_v1``; by default the view's spine.

    Raises:
        DeclarationError: ``partitions`` is less than 1.

    >>> OnNewData(partitions=7).name
    'on_new_data'
    """

    partitions: int = 1
    group: str | None = None

    def __post_init__(self) -> None:
        if self.partitions < 1:
            raise DeclarationError(f"OnNewData(partitions={self.partitions}): give a whole number above 0, such as 7")

    @property
    def name(self) -> str:
        """``on_new_data``, or ``on_new_data_of_<group>``."""
        return "on_new_data" if self.group is None else f"on_new_data_of_{self.group}"

    def check(self, view: FeatureView, *, what: str) -> None:
        """Raise a DeclarationError if the view has no such group, or another system keeps it, so that it has no partitions here."""
        stored = [group for group in view.groups if group.source is None]
        name = self.group or view.spine.table_name
        if not any(name in (group.name, group.table_name) for group in stored):
            raise DeclarationError(
                f"{what} has {self!r}, which counts partitions of {name!r}: of the groups of its view that are stored here there is "
                f"{one_of(group.name for group in stored)}; name one of them as group="
            )

    def cause(self, situation: Situation) -> Cause | None:
        """As late as the last partition that counts."""
        changes = situation.changes(self.group)
        if len(changes) < self.partitions:
            return None
        which = "the spine" if self.group is None else self.group
        return Cause(max(changes), f"{len(changes)} partitions of {which} are new or have changed")
