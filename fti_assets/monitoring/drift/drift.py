"""What counts as drift: a statistic, how large it may be, and of how many rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError, excerpt, one_of

Reference = Literal["training", "weeks_before"]
TRAINING: Reference = "training"
WEEKS_BEFORE: Reference = "weeks_before"

AT_MOST = {
    "psi": 0.2,
    "ks": 0.1,
    "jensen_shannon": 0.2,
    "wasserstein": 0.3,
    "null_rate": 0.05,
    "unknown_rate": 0.05,
    "category_churn": 0.2,
    "missing_answers": 0.9,
}
"""Each statistic of drift, and how large it may be unless a rule says otherwise."""

MIN_ROWS = 500
"""Of fewer rows a statistic says more of chance than of drift: of 500 rows in 20 bins PSI is 0.04 by chance alone."""

MISSING_ANSWERS = "missing_answers"
"""The statistic of answers that did not come, beside the number that is usual."""

MIN_ANSWERS = 20
"""Where fewer are usual, few come by chance: of 20 there is at most one in one partition of fifty million."""

MARGINS = ("null_rate", "unknown_rate")
"""The statistics of which a rule limits by how much they are above that of the reference."""


@checked_arguments()
@dataclass(frozen=True)
class Drift:
    """A rule of a monitor: how much the distribution of values may differ from a reference.

    A figure above the limit, from at least ``min_rows`` rows, is a breach; breaches in ``in_a_row`` consecutive partitions are a warning.
    All figures are effect sizes: they do not grow with the number of rows.

    Args:
        statistic: ``psi`` (population stability index), ``ks`` (Kolmogorov-Smirnov: the largest difference of the shares below an
            edge), ``jensen_shannon`` (the distance, with base 2), ``wasserstein`` (in standard deviations of the reference, of bins
            and not of rows: a value lies at the upper edge of its bin, and above the last edge at that edge, so that what is far
            outside moves it no further; None, and so never a breach, if the reference is constant), ``null_rate``,
            ``unknown_rate`` (values in categories that neither the reference names nor the model knows),
            ``category_churn`` (among the categories with one row in a hundred, the share that exists on one side only) or
            ``missing_answers`` (the missing share of the usual number of answers; it is 1 if there are none. The usual number is
            the median of the weeks before, at the same time of the week if there are two such partitions).
        at_most: the largest figure that is not a breach; by default that of ``AT_MOST``: 0.2 for psi, jensen_shannon and
            category_churn, 0.1 for ks, 0.3 for wasserstein, 0.9 for missing_answers, and 0.05 for unknown_rate and null_rate. These
            two may be that much above the reference's own rate, because categories that an encoder with ``max_categories`` left out
            of the train rows are not new.
        columns: the features, labels and outputs that are judged, all by default; missing_answers takes none.
        in_a_row: how many consecutive partitions must have a breach; partitions without predictions, or with fewer rows than
            ``min_rows``, do not count.
        min_rows: with fewer rows there is no verdict, 500 by default; for missing_answers, if fewer answers are usual, 20 by
            default.
        unusual: whether a figure is a breach only if it is also unusual: above its median in the four weeks before, or in the
            monitor's ``weeks`` if that is more, by over three times their spread. With fewer than seven partitions there is no
            verdict. Without this, the PSI of a day against a season is above any limit, because the weather of one day has only a
            few values.
        reference: ``"training"``, the default, for the train rows of the build that answered, or ``"weeks_before"`` for the weeks
            before the partition, which is the only one for missing_answers.

    Raises:
        DeclarationError: there is no such statistic, or a number is out of range.

    >>> Drift("psi", at_most=0.25, in_a_row=3)
    Drift(statistic='psi', at_most=0.25, columns=None, in_a_row=3, min_rows=500, reference='training')
    """

    statistic: str
    at_most: float | None = None
    columns: Sequence[str] | None = None
    in_a_row: int = 1
    min_rows: int | None = None
    reference: Reference | None = None
    unusual: bool = field(default=False, repr=False)  # monitors without it keep their code version

    def __post_init__(self) -> None:
        if self.statistic not in AT_MOST:
            raise DeclarationError(f"Drift has the statistic {excerpt(self.statistic)}: it can be {one_of(AT_MOST)}")
        of_answers = self.statistic == MISSING_ANSWERS
        if self.min_rows is None:
            object.__setattr__(self, "min_rows", MIN_ANSWERS if of_answers else MIN_ROWS)
        if self.reference is None:
            object.__setattr__(self, "reference", WEEKS_BEFORE if of_answers else TRAINING)
        if of_answers and (self.reference != WEEKS_BEFORE or self.columns is not None):
            raise DeclarationError(
                "Drift('missing_answers') counts the answers of a partition beside those of the weeks before: leave out columns=, and "
                "reference= or write 'weeks_before'"
            )
        if of_answers and self.unusual:
            raise DeclarationError(
                "Drift('missing_answers') has unusual=True: it counts beside what is usual anyway; leave it out"
            )
        if self.reference not in (TRAINING, WEEKS_BEFORE):
            raise DeclarationError(
                f"Drift has the reference {excerpt(self.reference)}: it can be {one_of((TRAINING, WEEKS_BEFORE))}"
            )
        if self.at_most is not None and not (math.isfinite(self.at_most) and self.at_most >= 0):
            raise DeclarationError(f"Drift has at_most={excerpt(self.at_most)}: a number from 0 on is expected")
        if self.in_a_row < 1 or (self.min_rows is not None and self.min_rows < 1):
            raise DeclarationError(
                f"Drift has in_a_row={self.in_a_row} and min_rows={self.min_rows}: both are at least 1"
            )
        object.__setattr__(self, "at_most", AT_MOST[self.statistic] if self.at_most is None else float(self.at_most))
        if self.columns is not None:
            columns = (self.columns,) if isinstance(self.columns, str) else tuple(self.columns)
            if not columns:
                raise DeclarationError("Drift has columns=[]: name columns, or leave it out for all")
            object.__setattr__(self, "columns", columns)

    @property
    def name(self) -> str:
        """The name of its check: ``psi_training``, or with the columns that it judges, ``psi_training_temp``."""
        parts = [self.statistic, self.reference or "", *(() if self.columns is None else self.columns)]
        return checked_name(
            "_".join("".join(c if c.isalnum() else "_" for c in part) for part in parts).lower(), what="check"
        )

    def limit(self, of_reference: float | None) -> float:
        """The largest figure that is not a breach, given the reference's own."""
        assert self.at_most is not None
        return self.at_most + (of_reference or 0.0 if self.statistic in MARGINS else 0.0)


DEFAULT_RULES = (
    Drift("psi", in_a_row=2, unusual=True),
    Drift("null_rate"),
    Drift("unknown_rate"),
    Drift("psi", reference=WEEKS_BEFORE, in_a_row=2, unusual=True),
    Drift(MISSING_ANSWERS),
)
"""What a monitor judges unless it says otherwise."""
