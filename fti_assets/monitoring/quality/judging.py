"""Figures of quality as measurements, and what a monitor's rules say of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from fti_assets.monitoring.measurement import Measurement, Subject
from fti_assets.monitoring.quality.quality import LABEL_RATE as LABEL_RATE
from fti_assets.monitoring.quality.quality import Quality

QUALITY: Subject = "quality"
CALIBRATION = "calibration"
"""The reference of an estimate: it rests on calibrated probabilities."""

ERROR = "_estimate_error"

Series = tuple[str, ...]
"""What makes the figures of several partitions one history: the column, metric, slice, arm, and whether they are of single builds."""


@dataclass(frozen=True)
class Judged:
    """The partitions of one history that were judged, and whether there was a breach: by labels, and by estimates."""

    truth: dict[datetime, bool] = field(default_factory=dict)
    estimate: dict[datetime, bool] = field(default_factory=dict)

    def of(self, *, estimated: bool) -> dict[datetime, bool]:
        return self.estimate if estimated else self.truth

    def note(self, start: datetime, breach: bool, *, estimated: bool) -> None:
        own = self.of(estimated=estimated)
        own[start] = own.get(start, False) or breach


def judged(one: Measurement, rule: Quality, own: float | None) -> Measurement:
    """A figure with its verdict by itself: a breach is a warning, whatever was before.

    Args:
        one: the figure.
        rule: the metric's.
        own: the build's figure on its test rows, None if it has none or several builds answered.
    """
    if not rule.is_judged:
        return one
    bound = rule.bound(own)
    if one.rows < rule.min_rows:
        return replace(one, threshold=bound, verdict="too_few_rows")
    if bound is None:
        return replace(one, verdict="no_reference")
    if one.value is None:
        return replace(one, threshold=bound)
    return replace(one, threshold=bound, verdict="warning" if rule.is_breach(one.value, bound) else "ok")


def series_of(one: Measurement) -> Series:
    return (one.column_name, one.statistic, one.slice, one.arm, "build" if one.build else "")


def note(history: dict[Series, Judged], measurements: Iterable[Measurement], rules: Mapping[str, Quality]) -> None:
    """Add judged figures to their histories."""
    for one in measurements:
        rule = rules.get(one.statistic)
        if rule is None or one.verdict not in ("ok", "warning") or one.value is None or one.threshold is None:
            continue
        own = history.setdefault(series_of(one), Judged())
        own.note(one.partition_start, rule.is_breach(one.value, one.threshold), estimated=one.estimated)


def quality_in_a_row(
    measurements: Sequence[Measurement], rules: Sequence[Quality], history: Mapping[Series, Judged]
) -> list[Measurement]:
    """The figures with a warning only where a breach was in as many partitions in a row as their rule asks for.

    An estimate follows on what labels said of the partitions before it, where they have come.

    Args:
        measurements: of some partitions, each judged by itself.
        rules: the monitor's.
        history: of earlier partitions; those that were not judged are not in it, and break no row.
    """
    by_metric = {rule.metric: rule for rule in rules}
    every = {series: Judged(dict(one.truth), dict(one.estimate)) for series, one in history.items()}
    note(every, measurements, by_metric)
    results = []
    for one in measurements:
        rule = by_metric.get(one.statistic)
        if rule is not None and one.verdict == "warning" and rule.in_a_row > 1:
            own = every[series_of(one)]
            so_far = {**own.estimate, **own.truth} if one.estimated else dict(own.truth)
            so_far[one.partition_start] = True
            newest = [so_far[start] for start in sorted(so_far) if start <= one.partition_start][-rule.in_a_row :]
            if len(newest) < rule.in_a_row or not all(newest):
                one = replace(one, verdict="ok")
        results.append(one)
    return results
