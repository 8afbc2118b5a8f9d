"""In which partition an instant is, told without asking Dagster for each row."""

from __future__ import annotations

from bisect import bisect_right
from datetime import timedelta

import dagster as dg
import numpy as np

from fti_assets.core.times import from_microseconds, microseconds
from fti_assets.orchestration.partitions import partitions_between

_INSTANT = timedelta(microseconds=1)


class Spans:
    """The partitions of a definition in time, by the instants that they hold; each is asked of Dagster once."""

    def __init__(self, partitions_def: dg.TimeWindowPartitionsDefinition) -> None:
        self._partitions_def = partitions_def
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._keys: list[str] = []

    def keys_of(self, instants_us: np.ndarray) -> list[str | None]:
        """The partition of each instant, in microseconds since 1970; None outside all partitions."""
        distinct, places = np.unique(instants_us // 1_000_000, return_inverse=True)
        # A span begins and ends on a whole second, so instants of one second are in one partition.
        keys = [self.key_of(int(second) * 1_000_000) for second in distinct]
        return [keys[place] for place in places]

    def key_of(self, instant_us: int) -> str | None:
        """The partition of an instant, None outside all of them."""
        place = bisect_right(self._starts, instant_us) - 1
        if place >= 0 and instant_us < self._ends[place]:
            return self._keys[place]
        try:
            instant = from_microseconds(instant_us)
            partitions = partitions_between(self._partitions_def, instant, instant + _INSTANT)
        except (OverflowError, ValueError):  # at the ends of what a datetime holds
            return None
        if not partitions or partitions[0].start is None or partitions[0].end is None:
            return None
        at = bisect_right(self._starts, microseconds(partitions[0].start))
        self._starts.insert(at, microseconds(partitions[0].start))
        self._ends.insert(at, microseconds(partitions[0].end))
        self._keys.insert(at, partitions[0].key)
        return partitions[0].key
