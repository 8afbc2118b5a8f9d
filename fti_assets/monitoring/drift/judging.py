"""Comparisons of counts as measurements, and what a monitor's rules say of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fti_assets.core.manifest.profiles import ColumnProfile
from fti_assets.errors import DeclarationError, one_of
from fti_assets.monitoring.drift.drift import Drift, Reference
from fti_assets.monitoring.drift.statistics import (
    OF_PRESENCE,
    compare,
    never_had_a_value,
    null_rate,
    statistics_of,
    unknown_rate_of_reference,
)
from fti_assets.monitoring.measurement import Measurement, Subject

Series = tuple[str, ...]
"""What makes the measurements of several partitions one history."""


@dataclass(frozen=True)
class Comparison:
    """The values of a column in a partition, and those that they are compared with.

    Args:
        partition_start: the partition.
        subject: what the column is.
        column: what the figures call it.
        current: the counts of the partition.
        reference: which reference it is.
        before: the counts of the reference in the same bins; None where there is none.
        build: the build whose rows are judged; nothing over all.
        learned: the categories that the model knows, where the reference does not name all of its own.
        left_out: statistics that mean nothing here.
    """

    partition_start: datetime
    subject: Subject
    column: str
    current: ColumnProfile
    reference: Reference
    before: ColumnProfile | None
    build: str = ""
    learned: Collection[str] | None = None
    left_out: Collection[str] = ()


def rule_for(rules: Sequence[Drift], statistic: str, reference: str, column: str) -> Drift | None:
    """The rule that judges a figure: the one that names its column, else the one for all."""
    ours = [rule for rule in rules if (rule.statistic, rule.reference) == (statistic, reference)]
    named = [rule for rule in ours if rule.columns is not None and column in rule.columns]
    return next(iter([*named, *(rule for rule in ours if rule.columns is None)]), None)


def check_rules(rules: Sequence[Drift], *, what: str) -> None:
    """Raise a DeclarationError if two rules judge one figure, neither of them for all columns and the other for some."""
    names = [rule.name for rule in rules]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise DeclarationError(
            f"{what} has two rules {one_of(twice)}: give one for each statistic, reference and list of columns"
        )
    columns: dict[tuple[str, str], list[str]] = {}
    for rule in rules:
        before = columns.setdefault((rule.statistic, rule.reference or ""), [])
        if both := [name for name in rule.columns or () if name in before]:
            raise DeclarationError(
                f"{what} judges {rule.statistic} of {one_of(both)} against {rule.reference} by two rules: name it in one"
            )
        before += rule.columns or ()


def measured(comparison: Comparison, rules: Sequence[Drift]) -> list[Measurement]:
    """Every statistic of a comparison, judged by itself: a breach is a warning, whatever was before."""
    current, before = comparison.current, comparison.before
    same_kind = before is not None and (before.type == current.type)
    if before is not None and same_kind:
        figures = compare(before, current, comparison.learned)
    else:
        figures = {**dict.fromkeys(statistics_of(current)), "null_rate": null_rate(current)}
    results = []
    for statistic, value in figures.items():
        if statistic in comparison.left_out:
            continue
        of_nulls = statistic == "null_rate" or (
            statistic in OF_PRESENCE and before is not None and never_had_a_value(before)
        )
        rows = int(current.rows if of_nulls else current.rows - current.nulls)
        rule = rule_for(rules, statistic, comparison.reference, comparison.column)
        judged = _judged(statistic, value, rows, rule, before if same_kind else None, comparison.learned)
        if judged is None:
            continue
        results.append(
            replace(
                judged,
                partition_start=comparison.partition_start,
                subject=comparison.subject,
                column_name=comparison.column,
                reference=comparison.reference,
                build=comparison.build,
            )
        )
    return results


def _judged(
    statistic: str,
    value: float | None,
    rows: int,
    rule: Drift | None,
    before: ColumnProfile | None,
    learned: Collection[str] | None,
) -> Measurement | None:
    """A figure and its verdict; None for one that is not defined for such a column."""
    figure = Measurement(partition_start=datetime.min, subject="feature", statistic=statistic, value=value, rows=rows)
    if before is None:
        return replace(figure, verdict="no_reference")
    has_values = before.rows > before.nulls
    if value is None and rows and (has_values or rule is None):
        return None
    if rule is None:
        return figure
    limit = rule.limit(null_rate(before) if statistic == "null_rate" else unknown_rate_of_reference(before, learned))
    figure = replace(figure, threshold=limit)
    assert rule.min_rows is not None
    if rows < rule.min_rows:
        return replace(figure, verdict="too_few_rows")
    of_all = statistic == "null_rate" or never_had_a_value(before)
    if value is None or before.rows - (0 if of_all else before.nulls) < rule.min_rows:
        return replace(figure, verdict="no_reference")
    return replace(figure, verdict="warning" if value > limit else "ok")


def in_a_row(
    measurements: Sequence[Measurement], rules: Sequence[Drift], history: Mapping[Series, Mapping[datetime, bool]]
) -> list[Measurement]:
    """The measurements with a warning only where a breach was in as many partitions in a row as its rule asks for.

    Args:
        measurements: of some partitions, each judged by itself.
        rules: the monitor's.
        history: by series, which earlier partitions were judged, and whether there was a breach; partitions that were not judged are
            not in it, and break no row.
    """
    own = breaches(measurements)
    results = []
    for one in measurements:
        rule = rule_for(rules, one.statistic, one.reference, one.column_name)
        if rule is not None and one.verdict == "warning" and rule.in_a_row > 1:
            judged = {**history.get(one.series, {}), **own[one.series]}
            newest = [judged[start] for start in sorted(judged) if start <= one.partition_start][-rule.in_a_row :]
            if len(newest) < rule.in_a_row or not all(newest):
                one = replace(one, verdict="ok")
        results.append(one)
    return results


def breaches(measurements: Iterable[Measurement]) -> dict[Series, dict[datetime, bool]]:
    """By series, the partitions that were judged and whether some figure was above its limit, whichever build's."""
    results: dict[Series, dict[datetime, bool]] = {}
    for one in measurements:
        if one.verdict in ("ok", "warning") and one.value is not None and one.threshold is not None:
            series = results.setdefault(one.series, {})
            series[one.partition_start] = series.get(one.partition_start, False) or one.value > one.threshold
    return results
