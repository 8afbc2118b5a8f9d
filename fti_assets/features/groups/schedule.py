"""When predictions are made and what instants they are for: the rows of a spine that no source has, since they lie ahead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core.times import Partition, microseconds
from fti_assets.core.types import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa


SUMMER_TIME = timedelta(hours=1)
"""By how much a clock change makes a partition longer or shorter, at most."""


@dataclass(frozen=True)
class Schedule:
    """When predictions are made, and which instants after that each is for.

    Args:
        every: the time from one prediction to the next, counted from the start of each partition.
        horizon: how long a time each prediction covers.
        step: the time from one target to the next.
        ahead: the time from a prediction to its first target.
        time: the column of the prediction time.
        target: the column of the instant that is predicted for.
        lags: columns of earlier instants, and how long before the target each is.
        crossed: what is predicted for: key columns and their values, or the table that has them; empty for one series.
        key_types: the types of these key columns, None where they are not known yet.
    """

    every: timedelta
    horizon: timedelta
    step: timedelta
    ahead: timedelta
    time: str
    target: str
    lags: Mapping[str, timedelta]
    crossed: Mapping[str, Sequence[Any]] | str
    key_types: Mapping[str, ColumnType | None]

    @property
    def columns(self) -> dict[str, ColumnType | None]:
        """The columns of its rows and their types."""
        times: tuple[str, ...] = (self.time, self.target, *self.lags)
        return {**self.key_types, **dict.fromkeys(times, "timestamp")}

    @property
    def farthest(self) -> timedelta:
        """The time from a prediction to its last target."""
        return self.ahead + self.horizon - self.step

    @property
    def terms(self) -> tuple[object, ...]:
        """All that decides its rows, for a code version."""
        spans = (self.every, self.horizon, self.step, self.ahead)
        crossed = self.crossed if isinstance(self.crossed, str) else tuple(map(tuple, self.crossed.items()))
        return (*spans, self.time, self.target, tuple(self.lags.items()), crossed)

    def __str__(self) -> str:
        ahead = f", from {self.ahead} after it" if self.ahead else ""
        return f"every {self.every} for the next {self.horizon}{ahead}, a target each {self.step}"

    def prediction_times(self, partitions: Sequence[Partition]) -> Iterator[datetime]:
        """The instants within partitions at which predictions are made, in order.

        The hour that a partition is longer when the clocks go back has none of its own, unless predictions are made as often as that: a
        second one, an hour before the next partition, would be no daily prediction.
        """
        for partition in partitions:
            at, end = partition.start, partition.end
            assert at is not None
            assert end is not None
            surplus = SUMMER_TIME if self.every > SUMMER_TIME else timedelta()
            yield at
            at += self.every
            while at < end - surplus:
                yield at
                at += self.every

    def rows(self, partitions: Sequence[Partition], entities: pa.Table) -> pa.Table:
        """A row for each prediction time, target and entity, in this order.

        Args:
            partitions: those that are run.
            entities: a row for each thing that is predicted for; of no columns and one row if there is one alone.
        """
        import pyarrow as pa

        at = np.array(list(self.prediction_times(partitions)), dtype="datetime64[us]")
        steps = np.arange(self.horizon // self.step) * microseconds(self.step) + microseconds(self.ahead)
        target = (at[:, None] + steps.astype("timedelta64[us]")).ravel()
        at = np.repeat(at, len(steps))
        number = entities.num_rows
        columns: dict[str, pa.Array | pa.ChunkedArray] = {}
        if entities.num_columns:
            every = pa.array(np.tile(np.arange(number), len(at)))
            columns = {name: entities[name].take(every) for name in entities.column_names}
        else:
            number = 1
        target = np.repeat(target, number)
        columns |= {self.time: pa.array(np.repeat(at, number)), self.target: pa.array(target)}
        for name, lag in self.lags.items():
            columns[name] = pa.array(target - np.timedelta64(microseconds(lag), "us"))
        return pa.table(columns)
