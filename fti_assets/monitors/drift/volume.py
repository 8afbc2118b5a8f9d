"""How many answers there are in a partition, and how many of the usual number are missing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from statistics import median

from fti_assets.core.times import Partition
from fti_assets.monitoring.drift.drift import MISSING_ANSWERS, WEEKS_BEFORE, Drift
from fti_assets.monitoring.drift.judging import rule_for
from fti_assets.monitoring.measurement import Measurement, Verdict

_WEEK = timedelta(weeks=1)
_LEAST_ALIKE = 2


def volume_of(
    column: str,
    partition: Partition,
    before: Sequence[Partition] | None,
    answers: Mapping[str, int],
    rules: Sequence[Drift],
) -> Iterator[Measurement]:
    """The figures of a partition that there are without any answer, too.

    Args:
        column: the answer's.
        partition: the one that is judged.
        before: those of the weeks before, in the order of time; None if it is not compared with any.
        answers: how many there are, by partition; none of one that was never answered.
        rules: what is judged.
    """
    assert partition.start is not None
    count = answers.get(partition.key, 0)
    figure = Measurement(
        partition_start=partition.start,
        subject="prediction",
        column_name=column,
        statistic="answers",
        value=float(count),
        rows=count,
    )
    yield figure
    if before is None:
        return
    usual = usual_answers(partition, before, answers)
    missing = None if not usual else max(0.0, 1.0 - count / usual)
    rule = rule_for(rules, MISSING_ANSWERS, WEEKS_BEFORE, column)
    verdict: Verdict = "no_reference" if usual is None else ""
    if rule is not None and usual is not None:
        assert rule.min_rows is not None
        assert rule.at_most is not None
        verdict = "ok" if missing is None or missing <= rule.at_most else "warning"
        verdict = "too_few_rows" if usual < rule.min_rows else verdict
    yield Measurement(
        partition_start=partition.start,
        subject="prediction",
        column_name=column,
        statistic=MISSING_ANSWERS,
        reference=WEEKS_BEFORE,
        value=missing,
        rows=int(usual or 0),
        threshold=None if rule is None else rule.at_most,
        verdict=verdict,
    )


def usual_answers(partition: Partition, before: Sequence[Partition], answers: Mapping[str, int]) -> float | None:
    """The median of the partitions before: of those at the same time of the week if two of them are known, else of all; None of none.

    A Sunday is compared with Sundays, and an hour with that hour of the same day of the week.
    """
    assert partition.start is not None
    assert partition.end is not None
    usual = [one for one in before if one.key in answers and one.start is not None and one.end is not None]
    starts = [one.start for one in usual if one.start is not None]
    middle, alike = partition.start + (partition.end - partition.start) / 2, dict[str, int]()
    while starts and middle - _WEEK >= starts[0]:
        middle -= _WEEK
        one = usual[bisect_right(starts, middle) - 1]
        if one.end is not None and middle < one.end:
            alike[one.key] = answers[one.key]
    counts = list(alike.values()) if len(alike) >= _LEAST_ALIKE else [answers[one.key] for one in usual]
    return median(counts) if counts else None
