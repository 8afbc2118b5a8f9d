"""The checks of a monitor: one a rule, which only warns, and whether everything could be measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fti_assets.core.rules import Verdict
from fti_assets.errors import list_phrases, list_some
from fti_assets.monitoring.drift.drift import MISSING_ANSWERS, Drift
from fti_assets.monitoring.drift.judging import rule_for
from fti_assets.monitoring.measurement import Measurement, in_partition
from fti_assets.monitors.monitor import ANSWERS_THERE, MEASURED, Monitor, rule_of
from fti_assets.monitors.quality.checks import quality_verdicts
from fti_assets.monitors.quality.redaction import redacted_by_logs

_MOST_ROWS = 10


def verdicts_of(
    monitor: Monitor, measurements: Sequence[Measurement], missing: Sequence[str], problems: Sequence[str]
) -> list[Verdict]:
    """What each check says of the partitions of a run."""
    of_rules = [_of_rule(monitor, rule, measurements) for rule in monitor.drift]
    absent = f"{list_some(missing)} is not materialized: those days are measured as without answers" if missing else ""
    return [
        *of_rules,
        *quality_verdicts(monitor.quality, measurements, redacted_by_logs(monitor.models)),
        Verdict(ANSWERS_THERE, len(missing), problem=absent),
        Verdict(MEASURED, len(problems), problem="; ".join(dict.fromkeys(problems))),
    ]


def _of_rule(monitor: Monitor, rule: Drift, measurements: Sequence[Measurement]) -> Verdict:
    own = [
        one
        for one in measurements
        if (one.statistic, one.reference) == (rule.statistic, rule.reference)
        and rule_for(monitor.drift, one.statistic, one.reference, one.column_name) is rule
    ]
    warnings = sorted((one for one in own if one.verdict == "warning"), key=lambda one: -(one.value or 0.0))
    judged = [one for one in own if one.verdict in ("ok", "warning")]
    worst = max(judged, key=lambda one: one.value or 0.0, default=None)
    facts: dict[str, Any] = {"judged": len(judged)}
    for why in ("too_few_rows", "no_reference"):
        facts[why] = sum(one.verdict == why for one in own)
    if worst is not None and worst.value is not None:
        facts |= {"worst": worst.value, "worst_column": worst.column_name}
    sample = tuple(
        {
            "partition_start": str(one.partition_start),
            "column": one.column_name,
            rule.statistic: one.value,
            "at_most": one.threshold,
            "rows": one.rows,
            "build": one.build,
        }
        for one in warnings[:_MOST_ROWS]
    )
    return Verdict(rule_of(rule), len(warnings), sample, _problem(rule, warnings), facts)


def _problem(rule: Drift, warnings: Sequence[Measurement]) -> str:
    if not warnings:
        return ""
    if rule.statistic == MISSING_ANSWERS:
        figures = list_phrases(
            f"{one.value:.0%} of the {one.rows} usual answers of {one.column_name} {in_partition(one.partition_start)}"
            for one in warnings
        )
        return f"answers are missing (at most {rule.at_most:.0%}): {figures}. Look at what asks for them"
    against = "what the build learned from" if rule.reference == "training" else "the weeks before"
    figures = list_phrases(
        f"{one.column_name!r} {one.value:.3g} (at most {one.threshold:.3g}) {in_partition(one.partition_start)}"
        for one in warnings
    )
    row = "" if rule.in_a_row == 1 else f", in {rule.in_a_row} partitions in a row"
    return f"{rule.statistic} against {against}{row}: {figures}. Look at its history on the asset's page, and at what fills the column"
