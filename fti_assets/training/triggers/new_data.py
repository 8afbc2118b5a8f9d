"""Training once enough has come that the newest build has not learned from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.concise import Concise
from fti_assets.errors import DeclarationError, one_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.partitions import is_timed
from fti_assets.training.triggers.trigger import Cause, Situation
from fti_assets.training.views.view import FeatureView


@checked_arguments()
@dataclass(frozen=True, repr=False)
class OnNewData(Concise):
    """Retrain when enough of the next build's partitions are new or have changed since the newest build.

    A partition counts if its data version differs from the one that the newest build's dataset was made from, whether or not that
    build was accepted, and if it ends before the newest cutoff that has passed.

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

    def check(self, view: FeatureView, window: timedelta | None, *, what: str) -> None:
        """Refuse what never fires.

        Args:
            view: the model's.
            window: how far back its dataset's cutoffs read the spine; None for all.
            what: whose trigger it is, for the error.

        Raises:
            DeclarationError: the view has no such group, another system keeps the group, so that it has no partitions here, or it
                never has that many partitions for the next build to learn from.
        """
        stored = [group for group in view.groups if group.source is None]
        name = self.group or view.spine.table_name
        if not any(name in (group.name, group.table_name) for group in stored):
            raise DeclarationError(
                f"{what} has {self!r}, which counts partitions of {name!r}: of the groups of its view that are stored here there is "
                f"{one_of(group.name for group in stored)}; name one of them as group="
            )

        group = next(group for group in stored if name in (group.name, group.table_name))
        _refuse_more_than_there_are(self, group, window, what)

    def cause(self, situation: Situation) -> Cause | None:
        """As late as the last partition that counts."""
        changes = situation.changes(self.group)
        if len(changes) < self.partitions:
            return None
        which = "the spine" if self.group is None else self.group
        return Cause(max(changes), f"{len(changes)} partitions of {which} are new or have changed")


def _refuse_more_than_there_are(trigger: OnNewData, group: FeatureGroup, window: timedelta | None, what: str) -> None:
    """Refuse to count more partitions than a group has, or than a cutoff reads of it."""
    problem, partitions_def = (
        f"{what} has {trigger!r}, which can never fire, since {group.table_name} has",
        group.partitions_def,
    )
    if partitions_def is None and trigger.partitions > 1:
        raise DeclarationError(
            f"{problem} no partitions, so a change of it is one: write partitions=1, or name another group of the view as group="
        )
    if isinstance(partitions_def, dg.StaticPartitionsDefinition):
        most = len(partitions_def.get_partition_keys())
        if trigger.partitions > most:
            raise DeclarationError(f"{problem} {most} partitions: write partitions={most} at most")
    if is_timed(partitions_def) and window is not None:
        back = window + (group.ttl or timedelta(0))
        if _shortest_span(partitions_def, trigger.partitions) >= back:
            raise DeclarationError(
                f"{problem} fewer partitions in the {back} that a cutoff reads of it: write fewer, or give the dataset a longer window"
            )


_ALIGNMENTS = 13  # the months of a year have other lengths; that before 2002 has no leap day


def _shortest_span(partitions_def: dg.TimeWindowPartitionsDefinition, count: int) -> timedelta:
    """The shortest time between the ends of the first and the last of so many partitions."""
    ends: list[datetime] = []
    before = datetime(2002, 1, 1, tzinfo=UTC)
    while len(ends) < count + _ALIGNMENTS:
        partition = partitions_def.get_prev_partition_window(before, respect_bounds=False)
        assert partition is not None
        ends.append(partition.end)
        before = partition.start
    return min(later - earlier for later, earlier in zip(ends, ends[count - 1 :], strict=False))
