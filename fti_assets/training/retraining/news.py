"""What a trigger is told of monitors: the warnings of partitions for which it has not asked yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from fti_assets.training.retraining.situation import ModelSituation
from fti_assets.training.triggers.trigger import Breach


@dataclass(frozen=True)
class NewsOfModel:
    """A model's situation without the warnings that one of its triggers has asked for.

    Args:
        situation: the model's.
        asked: the partitions of the trigger's monitor for which it has fired.
    """

    situation: ModelSituation
    asked: Collection[datetime]

    @property
    def now(self) -> datetime:
        """By the one clock, naive UTC."""
        return self.situation.now

    def changes(self, group: str | None) -> Sequence[datetime]:
        """As the situation has it."""
        return self.situation.changes(group)

    def breaches(self, monitor: str) -> Sequence[Breach]:
        """The warnings of partitions that are news: of none that was asked for, and before the last of those of none that the newest
        build has learned from."""
        last = max(self.asked, default=datetime.min)
        return [
            one
            for one in self.situation.breaches(monitor)
            if one.partition_start not in self.asked
            and (one.partition_start > last or not self.situation.is_learned(one.partition_start))
        ]
