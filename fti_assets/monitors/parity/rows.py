"""What a comparison came to, as rows of a parity's table and as verdicts of its checks."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from fti_assets.core.rules import Verdict
from fti_assets.core.times import Partition
from fti_assets.errors import list_some
from fti_assets.monitoring.replays.findings import Finding
from fti_assets.monitoring.replays.past_request import REASONS, PastRequest
from fti_assets.monitoring.replays.replay import Comparison
from fti_assets.monitors.parity.parity import NO_DELAY_BREACHES, ONLINE_IS_OFFLINE, REPLAYED, Parity, columns_of

_TYPES = {"timestamp": pa.timestamp("us"), "text": pa.string(), "integer": pa.int64()}
_MOST_ROWS = 10

Compared = Sequence[tuple[str, Comparison]]
"""Each model with what came of its requests."""


def rows_of(
    parity: Parity, partition: Partition, compared: Compared, now: datetime, redactions: frozenset[str]
) -> list[dict[str, Any]]:
    """The rows of a partition: what was compared, what was not, and each difference."""
    of_partition = {"partition_start": partition.start, "measured_at": now}
    rows: list[dict[str, Any]] = []
    for model, comparison in compared:
        common = {**of_partition, "model": model}
        for path, number in comparison.compared.items():
            rows.append({**common, "kind": "compared", "path": path, "number": number})
        if comparison.behind:
            rows.append({**common, "kind": "behind", "path": "logged", "number": comparison.behind})
        causes = Counter((one.path, one.reason) for _, one in comparison.uncompared)
        rows += [
            {
                **common,
                "kind": "not_compared",
                "path": path,
                "number": number,
                "reason": _detail(comparison, path, reason),
            }
            for (path, reason), number in sorted(causes.items())
        ]
        for past, finding in comparison.findings:
            rows.append({**common, **_difference(past, finding, finding.feature in redactions)})
    return rows


def as_table(parity: Parity, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The rows with the columns and types of the parity's table."""
    schema = pa.schema([pa.field(name, _TYPES[str(column.type)]) for name, column in columns_of(parity).items()])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def verdicts_of(parity: Parity, by_partition: Mapping[str, Compared]) -> list[Verdict]:
    """The verdicts of the checks on all partitions that were run."""
    compared = [one for of_partition in by_partition.values() for one in of_partition]
    comparisons = [comparison for _, comparison in compared]
    breaks, breaches = (
        [one for comparison in comparisons for one in comparison.findings if one[1].kind == kind]
        for kind in ("break", "delay_breach")
    )
    facts = facts_of(compared)
    requests = sum(len({id(past) for past, _ in one.uncompared}) + max(one.compared.values()) for one in comparisons)
    replayed = sum(one.compared["replayed"] for one in comparisons)
    none_replayed = bool(requests) and not replayed
    return [
        Verdict(ONLINE_IS_OFFLINE, len(breaks), _shown(breaks), _problem(parity, breaks, "differ"), facts),
        Verdict(
            NO_DELAY_BREACHES,
            len(breaches),
            _shown(breaches),
            _problem(parity, breaches, "rest on rows that came late"),
        ),
        Verdict(
            REPLAYED,
            requests if none_replayed else 0,
            problem=f"none of the requests of {parity.of.table_name} could be replayed: {_causes(comparisons)}"
            if none_replayed
            else "",
            facts={name: value for name, value in facts.items() if "not_" in name or "replayed" in name},
        ),
    ]


def facts_of(compared: Compared) -> dict[str, Any]:
    """The counts of some comparisons."""
    counts: Counter[str] = Counter()
    for _, comparison in compared:
        for path, number in comparison.compared.items():
            counts[f"{path}_compared"] += number
        counts["behind"] += comparison.behind
        for _, finding in comparison.findings:
            counts["breaks" if finding.kind == "break" else "delay_breaches"] += 1
        for _, one in comparison.uncompared:
            counts[f"not_{one.path}/{one.reason}"] += 1
    return {"breaks": 0, "delay_breaches": 0, **counts}


def _difference(past: PastRequest, finding: Finding, is_secret: bool) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "path": finding.path,
        "number": 1,
        "reason": finding.reason,
        "build": past.build,
        "request_id": past.request_id,
        "row": past.row,
        "request": _json(past.request),
        "prediction_time": past.at,
        "answered_at": past.answered_at,
        "feature": finding.feature,
        "feature_group": finding.label or None,
        "key": None if finding.key is None else _json(finding.key),
        "online": None if is_secret else _json(finding.online),
        "offline": None if is_secret else _json(finding.offline),
        "online_time": finding.online_time,
        "offline_time": finding.offline_time,
    }


def _shown(findings: Sequence[tuple[PastRequest, Finding]]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "request_id": past.request_id,
            "prediction_time": past.at,
            "path": one.path,
            "feature": one.feature,
            "key": None if one.key is None else _json(one.key),
            "online": one.online,
            "offline": one.offline,
            "online_time": one.online_time,
            "offline_time": one.offline_time,
            "reason": one.reason,
        }
        for past, one in findings[:_MOST_ROWS]
    )


def _problem(parity: Parity, findings: Sequence[tuple[PastRequest, Finding]], what: str) -> str:
    if not findings:
        return ""
    counts = Counter((one.feature, one.path, one.reason) for _, one in findings)
    texts = (f"{feature} {number} ({path}: {reason})" for (feature, path, reason), number in counts.most_common())
    named = f"{list_some(texts)}. {parity.table.full_name} names each"
    return f"{len(findings)} values of past requests of {parity.of.table_name} {what}: {named}"


def _causes(comparisons: Sequence[Comparison]) -> str:
    causes = Counter(
        f"{REASONS[one.reason]}{f' ({one.detail})' if one.detail else ''}"
        for comparison in comparisons
        for _, one in comparison.uncompared
        if one.path == "replayed"
    )
    return list_some(f"{number}: {text}" for text, number in causes.most_common(3))


def _detail(comparison: Comparison, path: str, reason: str) -> str:
    """A reason, with what one of its requests says of it."""
    detail = next((one.detail for _, one in comparison.uncompared if (one.path, one.reason) == (path, reason)), "")
    return f"{reason}: {REASONS[reason]}{f', such as: {detail}' if detail else ''}"


def _json(value: Any) -> str:
    return json.dumps(_finite(value), default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _finite(one) for name, one in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
