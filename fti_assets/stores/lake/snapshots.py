"""Snapshots of the lake: which there are, and which was the newest at an instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fti_assets.core.times import instant
from fti_assets.errors import NotMaterializedError, StoreError
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.reader import CLOCK


def snapshot_of(lake: Lake, snapshot: int | str | datetime | None) -> int:
    """The number of a snapshot that can be read.

    Args:
        lake: the open lake.
        snapshot: a number; or an instant (a datetime or ISO text, naive for UTC), for the newest one committed at or before it;
            the newest of all by default.

    Raises:
        NotMaterializedError: there is no such snapshot, or it is expired.
    """
    if snapshot is None:
        return lake.snapshot()
    times = commit_times(lake).by_number
    oldest, newest = next(iter(times)), next(reversed(times))
    where = f"the offline store at {lake.store.root} has"
    if not isinstance(snapshot, str | datetime):
        snapshot = int(snapshot)
        if snapshot in times:
            return snapshot
        if 0 <= snapshot < newest:
            raise NotMaterializedError(
                f"{where} no snapshot {snapshot} any more, it is expired: {_near(snapshot, list(times))} can be read"
            )
        raise NotMaterializedError(f"{where} no snapshot {snapshot}: its newest is {newest}")
    at = moment_of(snapshot, what="snapshot")
    before = [number for number, when in times.items() if when <= at]
    if not before:
        raise NotMaterializedError(
            f"{where} no snapshot that was committed at or before {at}: its oldest, {oldest}, was committed at {times[oldest]}"
        )
    return before[-1]


@dataclass(frozen=True)
class CommitTimes:
    """When each snapshot that can be read was committed, by their numbers in order; read once, for many questions."""

    by_number: dict[int, datetime]

    def between(self, start: datetime, end: datetime) -> list[int]:
        """The snapshots that were the newest at some instant from ``start`` to ``end``, and that can be read; both naive UTC."""
        before = [number for number, at in self.by_number.items() if at <= start][-1:]
        return [*before, *(number for number, at in self.by_number.items() if start < at <= end)]

    def current(self, at: datetime) -> int | None:
        """The snapshot that was the newest at an instant, naive UTC; None if it is expired, or none was there yet."""
        before = [number for number, when in self.by_number.items() if when <= at]
        if not before:
            return None
        # Numbers have no gaps but those of expired snapshots, of which one may have been the newest.
        is_last = before[-1] == next(reversed(self.by_number)) or before[-1] + 1 in self.by_number
        return before[-1] if is_last else None


def snapshots_between(lake: Lake, start: datetime, end: datetime) -> list[int]:
    """``CommitTimes.between`` of a lake."""
    return commit_times(lake).between(start, end)


def current_snapshot(lake: Lake, at: datetime) -> int | None:
    """``CommitTimes.current`` of a lake."""
    return commit_times(lake).current(at)


def commit_times(lake: Lake) -> CommitTimes:
    """When each snapshot of a lake was committed: by the clock that was set, if one was."""
    text = "CASE WHEN json_valid(commit_extra_info) THEN commit_extra_info END"  # another writer may say anything
    of_clock = f"TRY_CAST(json_extract_string({text}, '$.{CLOCK}') AS TIMESTAMP)"
    rows = lake.connection.execute(
        f"SELECT snapshot_id, coalesce({of_clock}, snapshot_time::TIMESTAMP) FROM lake.snapshots() ORDER BY snapshot_id"
    ).fetchall()
    return CommitTimes({int(number): at for number, at in rows})


def moment_of(value: str | datetime, *, what: str) -> datetime:
    """An instant that somebody asks for, as naive UTC.

    Raises:
        StoreError: it is neither a datetime nor ISO text.
    """
    try:
        return instant(value)
    except (TypeError, ValueError) as error:
        raise StoreError(f"{what} is {value!r:.80}, where a datetime or ISO text is expected") from error


def _near(snapshot: int, numbers: list[int]) -> str:
    """The snapshots on both sides of one that is gone."""
    before = [number for number in numbers if number < snapshot][-1:]
    return " and ".join(str(number) for number in [*before, next(number for number in numbers if number > snapshot)])
