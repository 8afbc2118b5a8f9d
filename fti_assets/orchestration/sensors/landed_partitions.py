"""The partitions of what has landed: which exist, in their order, which adjoin, and which miss between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import dagster as dg

from fti_assets.orchestration.partitions import is_timed, partitions_of

_FEW = 500


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
            every = partitions_def.get_partition_keys(dynamic_partitions_store=instance)
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
        every, of_landed = own.get_partition_keys(dynamic_partitions_store=self._instance), set(keys)
        numbers = [number for number, key in enumerate(every) if key in of_landed]
        return [key for key in every[numbers[0] : numbers[-1]] if key not in of_landed] if numbers else []
