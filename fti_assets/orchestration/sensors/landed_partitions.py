"""The partitions of what has landed: which exist, in their order, which adjoin, and which miss between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

import dagster as dg

from fti_assets.core.times import naive_utc
from fti_assets.orchestration.partitions import is_timed, partitions_of

_FEW = 500
_MOST_LISTED = 50


class _Listed(NamedTuple):
    keys: tuple[str, ...]
    end: datetime


_LISTED: dict[dg.TimeWindowPartitionsDefinition, _Listed] = {}


def every_key(partitions_def: dg.TimeWindowPartitionsDefinition) -> Sequence[str]:
    """The keys of a definition's partitions in time; those that were listed before are not listed again.

    Dagster takes half a second to list years of hours, and a sensor asks at every tick at which something has landed.
    """
    last, listed = partitions_def.get_last_partition_window(), _LISTED.get(partitions_def)
    if last is None:
        return ()
    if listed is None or naive_utc(listed.end) > naive_utc(last.end):  # the clock may be set back
        keys = list(partitions_def.get_partition_keys())
    elif naive_utc(listed.end) < naive_utc(last.end):
        following = partitions_def.get_partition_keys_in_time_window(dg.TimeWindow(listed.end, last.end))
        keys = [*listed.keys, *following]
    else:
        return listed.keys
    while len(_LISTED) >= _MOST_LISTED:
        _LISTED.pop(next(iter(_LISTED)), None)
    _LISTED[partitions_def] = _Listed(tuple(keys), last.end)
    return keys


class Partitions:
    """Of a target's partitions those that are asked about; of those in time only these are looked at, if they are few."""

    def __init__(
        self,
        partitions_def: dg.PartitionsDefinition[str] | None,
        instance: dg.DagsterInstance,
        keys: Sequence[str],
    ) -> None:
        self._partitions_def, self._instance = partitions_def, instance
        self._following: dict[str, str] = {}
        if partitions_def is None:
            self._ordered = list(keys)
        elif is_timed(partitions_def) and len(keys) <= _FEW:  # Dagster takes seconds to list years of hours
            existing = [key for key in keys if partitions_def.has_partition_key(key)]
            self._ordered = [partition.key for partition in partitions_of(partitions_def, existing)]
            pairs = pairwise(self._ordered)
            self._following = {
                one: other for one, other in pairs if partitions_def.get_next_partition_key(one) == other
            }
        else:
            every = _every_key(partitions_def, instance)
            self._ordered = list(filter(set(keys).__contains__, every))
            self._following = dict(pairwise(every))
        self.existing = set(self._ordered)

    def runs(self, *, in_one_run: bool) -> Iterator[list[str]]:
        """Adjoining partitions together, or each by itself."""
        run: list[str] = []
        for key in self._ordered:
            if run and not (in_one_run and self._following.get(run[-1]) == key):
                yield run
                run = []
            run.append(key)
        if run:
            yield run

    def gaps(self, keys: Sequence[str]) -> list[str]:
        """Partitions that have not landed between the first and the last that has."""
        own = self._partitions_def
        if own is None or len(keys) < 2:
            return []
        if is_timed(own) and own.fmt.startswith("%Y-%m-%d"):  # text sorts as time does
            first, last = (own.time_window_for_partition_key(key) for key in (min(keys), max(keys)))
            if own.get_num_partitions_in_window(dg.TimeWindow(first.start, last.end)) == len(keys):
                return []
        every = _every_key(own, self._instance)
        of_landed = set(keys)
        numbers = [number for number, key in enumerate(every) if key in of_landed]
        return [key for key in every[numbers[0] : numbers[-1]] if key not in of_landed] if numbers else []


def _every_key(partitions_def: dg.PartitionsDefinition[str], instance: dg.DagsterInstance) -> Sequence[str]:
    if is_timed(partitions_def):
        return every_key(partitions_def)
    keys: Sequence[str] = partitions_def.get_partition_keys(dynamic_partitions_store=instance)
    return keys
