"""The checks of a monitor's rules of quality, one a rule, which only warn."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from fti_assets.core.rules import Verdict
from fti_assets.errors import list_phrases
from fti_assets.monitoring.measurement import Measurement, in_partition
from fti_assets.monitoring.quality.judging import QUALITY
from fti_assets.monitoring.quality.quality import Quality
from fti_assets.monitors.monitor import quality_rule_of
from fti_assets.monitors.quality.redaction import mask_slice

_MOST_ROWS = 10


def quality_verdicts(
    rules: Sequence[Quality], measurements: Sequence[Measurement], hidden: Collection[str]
) -> Iterator[Verdict]:
    """What the check of each rule with a bound says of the partitions of a run, of slices by what is hidden without their values."""
    for rule in rules:
        if rule.is_judged:
            own = [one for one in measurements if (one.subject, one.statistic) == (QUALITY, rule.metric)]
            masked = [replace(one, slice=mask_slice(one.slice, rules, hidden)) for one in _once(own)]
            yield _verdict(rule, masked)


def _once(measurements: Sequence[Measurement]) -> Iterator[Measurement]:
    """The figures without those of a build that answered alone: they are those over all."""
    over_all = {_figure(one) for one in measurements if not one.build}
    return (one for one in measurements if not one.build or _figure(one) not in over_all)


def _figure(one: Measurement) -> tuple[object, ...]:
    return (one.partition_start, one.column_name, one.slice, one.estimated, one.value, one.rows, one.verdict)


def _verdict(rule: Quality, own: Sequence[Measurement]) -> Verdict:
    warnings = [one for one in own if one.verdict == "warning"]
    warnings.sort(key=lambda one: (one.estimated, one.partition_start, one.slice, one.build))
    judged = [one for one in own if one.verdict in ("ok", "warning")]
    facts: dict[str, Any] = {"judged": len(judged), "estimated": sum(one.estimated for one in judged)}
    for why in ("too_few_rows", "no_reference"):
        facts[why] = sum(one.verdict == why for one in own)
    values = [one.value for one in judged if one.value is not None]
    if values:
        facts["worst"] = min(values) if rule.higher_is_better else max(values)
    side = "at_least" if rule.higher_is_better else "at_most"
    sample = tuple(
        {
            "partition_start": str(one.partition_start),
            "slice": one.slice,
            "build": one.build,
            "arm": one.arm,
            rule.metric: one.value,
            side: one.threshold,
            "rows": one.rows,
            "estimated": one.estimated,
        }
        for one in warnings[:_MOST_ROWS]
    )
    return Verdict(quality_rule_of(rule), len(warnings), sample, _problem(rule, warnings), facts)


def _problem(rule: Quality, warnings: Sequence[Measurement]) -> str:
    if not warnings:
        return ""
    side = "at least" if rule.higher_is_better else "at most"
    row = "" if rule.in_a_row == 1 else f", in {rule.in_a_row} partitions in a row"
    figures = list_phrases(
        f"{_of(one)} {one.value:.4g} ({side} {one.threshold:.4g}) {in_partition(one.partition_start)}"
        for one in warnings
    )
    return f"{rule.metric} of the answers{row}: {figures}. Look at its history on the asset's page, and at drift of what the model sees"


def _of(one: Measurement) -> str:
    parts = ["estimated" if one.estimated else "", one.column_name, one.slice, one.build, one.arm]
    return " ".join(part for part in parts if part) or "over all"
