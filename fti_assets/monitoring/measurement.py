"""A measurement: one figure of what a monitor measures of a partition, as its table has it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time
from typing import Literal

Subject = Literal["feature", "label", "prediction", "quality", "service"]
Verdict = Literal["ok", "warning", "too_few_rows", "no_reference", ""]

IDENTITY = ("subject", "column_name", "statistic", "reference", "slice", "build", "arm")
"""The columns that name a measurement within its partition."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A row of a monitor's table, but for when it was measured.

    Args:
        partition_start: naive UTC start of the partition that is judged.
        subject: what it is of.
        column_name: the feature, the label or the output's column; empty for quality.
        statistic: ``psi``, ``null_rate``, ``roc_auc`` and so on.
        reference: ``training``, ``weeks_before`` or nothing.
        slice: nothing, or as evaluations write slices, ``origin=JFK``.
        build: the build it is of; nothing over all.
        arm: the arm it is of; nothing over all.
        value: the figure, None where there is none.
        low, high: its interval.
        rows: how many it rests on.
        threshold: the bound that it is judged by, None without one.
        estimated: whether it rests on estimates in place of labels, or on labels that are not mature.
        verdict: what the rule says of it, nothing where none does.
    """

    partition_start: datetime
    subject: Subject
    column_name: str = ""
    statistic: str
    reference: str = ""
    slice: str = ""
    build: str = ""
    arm: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    rows: int
    threshold: float | None = None
    estimated: bool = False
    verdict: Verdict = ""

    @property
    def series(self) -> tuple[str, ...]:
        """What makes measurements of several partitions one history, whichever build answered."""
        return (self.subject, self.column_name, self.statistic, self.reference, self.slice, self.arm)


def in_partition(start: datetime) -> str:
    """The partition that a figure is of, as a part of a sentence.

    >>> in_partition(datetime(2024, 1, 2)), in_partition(datetime(2024, 1, 2, 6))
    ('on 2024-01-02', 'at 2024-01-02 06:00')
    """
    return f"on {start:%Y-%m-%d}" if start.time() == time.min else f"at {start:%Y-%m-%d %H:%M}"
