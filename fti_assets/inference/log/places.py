"""Where a line of a prediction log belongs: the partition of its prediction time, or outside all of them."""

from __future__ import annotations

from datetime import datetime, timedelta

import dagster as dg

from fti_assets.core.times import Partition
from fti_assets.inference.serving.log.files import LogFile
from fti_assets.inference.serving.log.lines import instant_of
from fti_assets.orchestration.partitions import partitions_between

_HOUR = timedelta(hours=1)
_AHEAD = timedelta(days=1)


class Places:
    """The partitions of a log by prediction time. A partition that has not come yet is one, too: its lines wait for it.

    A line is outside if its prediction time is before the first partition, not before the end of the last, or more than a day after
    its file was begun: nobody waits for a partition in the far future.
    """

    def __init__(self, partitions_def: dg.PartitionsDefinition[str]) -> None:
        self._partitions_def = partitions_def
        self._by_hour: dict[str, list[Partition]] = {}

    def of(self, at: str | None, file: LogFile) -> str | None:
        """The partition of a prediction time, which is written as lines have it; None if it is outside."""
        try:
            instant = datetime.fromisoformat(at or "")
        except ValueError:
            return None
        assert at is not None
        if instant.tzinfo is not None or (file.start is not None and instant > file.start + _AHEAD):
            return None
        partitions = self._of_hour(at[:13], instant)
        return next((one.key for one in partitions if one.start and one.end and one.start <= instant < one.end), None)

    def of_file(self, file: LogFile) -> set[str]:
        """The partitions of a file's lines; those outside have none."""
        partitions: set[str] = set()
        for hour in file.hours():
            if (whole := self._of_whole_hour(hour, file)) is None:
                places = {self.of(instant_of(line), file) for line in file.lines()}
                return {place for place in places if place is not None}
            partitions |= whole
        return partitions

    def _of_whole_hour(self, hour: str, file: LogFile) -> set[str] | None:
        """The partition that holds an hour, or none if no line of it has one; None if its lines must tell."""
        try:
            start = datetime.fromisoformat(f"{hour}:00")
        except ValueError:
            return None
        if start.tzinfo is not None or (file.start is not None and start > file.start + _AHEAD - _HOUR):
            return None
        partitions = self._of_hour(hour, start)
        if not partitions:
            return set()
        [first, *others] = partitions
        assert first.start is not None
        assert first.end is not None
        return {first.key} if not others and first.start <= start and start + _HOUR <= first.end else None

    def _of_hour(self, hour: str, instant: datetime) -> list[Partition]:
        if hour not in self._by_hour:
            start = instant.replace(minute=0, second=0, microsecond=0)
            try:
                self._by_hour[hour] = partitions_between(self._partitions_def, start, start + _HOUR)
            except (OverflowError, ValueError):  # at the ends of what a datetime holds
                self._by_hour[hour] = []
        return self._by_hour[hour]
