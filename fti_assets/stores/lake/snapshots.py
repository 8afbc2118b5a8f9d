"""Snapshots of the lake: which there are, and which was the newest at an instant."""

from __future__ import annotations

from datetime import datetime

from fti_assets.core.times import instant
from fti_assets.errors import NotMaterializedError, StoreError
from fti_assets.stores.lake.lake import Lake


def snapshot_of(lake: Lake, wanted: int | str | datetime | None) -> int:
    """The number of a snapshot that can be read.

    Args:
        lake: the open lake.
        wanted: a number; or an instant (a datetime or ISO text, naive for UTC), for the newest one committed at or before it;
            the newest of all by default.

    Raises:
        NotMaterializedError: there is no such snapshot, or it is expired.
    """
    if wanted is None:
        return lake.snapshot()
    committed = _commit_times(lake)
    oldest, newest = next(iter(committed)), next(reversed(committed))
    where = f"the offline store at {lake.store.root} has"
    if not isinstance(wanted, str | datetime):
        wanted = int(wanted)
        if wanted in committed:
            return wanted
        if 0 <= wanted < newest:
            raise NotMaterializedError(
                f"{where} no snapshot {wanted} any more, it is expired: {_near(wanted, list(committed))} can be read"
            )
        raise NotMaterializedError(f"{where} no snapshot {wanted}: its newest is {newest}")
    at = moment_of(wanted, what="snapshot")
    before = [number for number, when in committed.items() if when <= at]
    if not before:
        raise NotMaterializedError(
            f"{where} no snapshot that was committed at or before {at}: its oldest, {oldest}, was committed at {committed[oldest]}"
        )
    return before[-1]


def snapshots_between(lake: Lake, start: datetime, end: datetime) -> list[int]:
    """The snapshots that were the newest at some instant from ``start`` to ``end``, and that can be read; both naive UTC."""
    committed = _commit_times(lake)
    before = [number for number, at in committed.items() if at <= start][-1:]
    return [*before, *(number for number, at in committed.items() if start < at <= end)]


def current_snapshot(lake: Lake, at: datetime) -> int | None:
    """The snapshot that was the newest at an instant, naive UTC; None if it is expired, or none was there yet."""
    committed = _commit_times(lake)
    before = [number for number, when in committed.items() if when <= at]
    if not before:
        return None
    # Numbers have no gaps but those of expired snapshots, of which one may have been the newest.
    is_last = before[-1] == next(reversed(committed)) or before[-1] + 1 in committed
    return before[-1] if is_last else None


def _commit_times(lake: Lake) -> dict[int, datetime]:
    """When each snapshot that can be read was committed, by their numbers."""
    rows = lake.connection.execute(
        "SELECT snapshot_id, snapshot_time::TIMESTAMP FROM lake.snapshots() ORDER BY snapshot_id"
    ).fetchall()
    return {int(number): at for number, at in rows}


def moment_of(value: str | datetime, *, what: str) -> datetime:
    """An instant that somebody asks for, as naive UTC.

    Raises:
        StoreError: it is neither a datetime nor ISO text.
    """
    try:
        return instant(value)
    except (TypeError, ValueError) as error:
        raise StoreError(f"{what} is {value!r:.80}, where a datetime or ISO text is expected") from error


def _near(wanted: int, numbers: list[int]) -> str:
    """The snapshots on both sides of one that is gone."""
    before = [number for number in numbers if number < wanted][-1:]
    return " and ".join(str(number) for number in [*before, next(number for number in numbers if number > wanted)])
