"""How late rows were committed, and the delay that would have been honest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import duckdb

QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)

_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 480, 720)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Delays:
    """What the first commits of a table's rows come to.

    Attributes:
        judged: how many rows were committed in a run that says how late they were.
        late: how many of them were committed after their available-at.
        backfilled: how many rows came with a backfill, which says nothing of their delay.
        unknown: how many rows were there at the oldest snapshot that can be read, or in a partition that was.
        after_event: by quantile, how long after their event time rows were committed; a row that came before it has 0.
        after_available: by quantile, how long after their available-at; negative where a row was there in time.
    """

    judged: int
    late: int
    backfilled: int
    unknown: int
    after_event: dict[float, timedelta]
    after_available: dict[float, timedelta]

    @property
    def late_share(self) -> float | None:
        """The share of the judged rows that broke their available-at; None of none."""
        return self.late / self.judged if self.judged else None


@dataclass(frozen=True)
class Proposal:
    """A delay that would have been honest.

    Attributes:
        quantile: the share of the rows that were there by then.
        measured: the quantile itself.
        delay: rounded up to what a person would write.
        of: whether it is the ``serving_delay``, or what to add to the column that says when rows are available.
        declared_holds: whether what is declared holds for that share of the rows already.
    """

    quantile: float
    measured: timedelta
    delay: timedelta
    of: str
    declared_holds: bool


def delays_of(connection: duckdb.DuckDBPyConnection, commits: str, quantiles: tuple[float, ...] = QUANTILES) -> Delays:
    """The delays of a table's rows.

    Args:
        connection: which ``commits`` is of.
        commits: the quoted name of what ``first_commits`` made.
        quantiles: which quantiles are told; the smallest value that so great a share does not exceed.
    """
    after_event = "greatest(epoch_us(committed) - epoch_us(event), 0)"
    after_available = "epoch_us(committed) - epoch_us(available)"
    counts = dict(connection.execute(f"SELECT standing, count(*) FROM {commits} GROUP BY 1").fetchall())
    [(late, *values)] = connection.execute(
        "SELECT count(*) FILTER (committed > available), "
        + ", ".join(f"quantile_disc({of}, {one!r})" for of in (after_event, after_available) for one in quantiles)
        + f" FROM {commits} WHERE standing = 'judged'"
    ).fetchall()
    lengths = [None if one is None else timedelta(microseconds=int(one)) for one in values]
    by_quantile = [
        {one: length for one, length in zip(quantiles, part, strict=True) if length is not None}
        for part in (lengths[: len(quantiles)], lengths[len(quantiles) :])
    ]
    return Delays(
        int(counts.get("judged", 0)),
        int(late),
        int(counts.get("backfill", 0)),
        int(counts.get("unknown", 0)),
        by_quantile[0],
        by_quantile[1],
    )


def proposal(delays: Delays, quantile: float, *, serving_delay: timedelta | None) -> Proposal | None:
    """The delay by which a share of the rows was there; None if no row can be judged.

    Args:
        delays: with that quantile among their own.
        quantile: the share.
        serving_delay: that of the group; None if a column says when its rows are available.
    """
    if quantile not in delays.after_event:
        return None
    if serving_delay is None:
        measured = max(delays.after_available[quantile], timedelta(0))
        return Proposal(quantile, measured, rounded_up(measured), "available_at", not measured)
    measured = delays.after_event[quantile]
    return Proposal(quantile, measured, rounded_up(measured), "serving_delay", measured <= serving_delay)


def rounded_up(delay: timedelta) -> timedelta:
    """The next delay that a person would write: so many minutes or hours, from a day on whole days.

    >>> [str(rounded_up(timedelta(minutes=minutes))) for minutes in (0, 3, 61, 1500)]
    ['0:00:00', '0:05:00', '2:00:00', '2 days, 0:00:00']
    """
    if delay <= timedelta(0):
        return timedelta(0)
    if delay <= timedelta(minutes=_MINUTES[-1]):
        return next(timedelta(minutes=one) for one in _MINUTES if timedelta(minutes=one) >= delay)
    return -(-delay // _DAY) * _DAY
