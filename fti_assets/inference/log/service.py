"""How a model was served in a stretch of its log: requests, latencies, what was missing, errors, processor time and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from fti_assets.core.rules import Verdict
from fti_assets.core.sql import quote
from fti_assets.errors import list_some
from fti_assets.inference.log.log import ANSWERED, LATENCY, REQUEST_ID
from fti_assets.inference.log.service_limits import ServiceLimits
from fti_assets.inference.serving.log.service import Usage

RATES = {"missing_rate": "missing", "unknown_rate": "unknown", "out_of_schema_rate": "out_of_schema"}
"""The shares of answers by name, and the columns of names that they count."""
_MEGABYTE = 1_000_000
_MOST_ROWS = 20


@dataclass(frozen=True)
class Service:
    """How a model was served.

    Args:
        answers: the logged rows, without those of shadows.
        requests: the requests that were answered, of which somebody waited for the answer.
        p50_ms, p99_ms: how long these took, None without one.
        counts: by column of names, as ``missing``, how many answers have each name.
        usage: what the processes that answered said of themselves.
    """

    answers: int = 0
    requests: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)

    @property
    def statuses(self) -> int:
        """How many requests the servers counted, whatever became of them."""
        return sum(self.usage.requests.values())

    @property
    def figures(self) -> dict[str, float | None]:
        """What can be limited, by name; None where nobody can tell."""
        failed = sum(number for status, number in self.usage.requests.items() if status >= "500")
        worst = {
            name: max(self.counts.get(column, {}).values(), default=0) / self.answers if self.answers else None
            for name, column in RATES.items()
        }
        return {
            "error_rate": failed / self.statuses if self.statuses else None,
            **worst,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "cpu_share": self.usage.cpu_seconds / self.usage.seconds if self.usage.seconds else None,
            "peak_memory_mb": self.usage.peak_memory_bytes / _MEGABYTE or None,
        }

    def number_behind(self, figure: str) -> int:
        """How many requests or answers a figure rests on."""
        if figure == "error_rate":
            return self.statuses
        return self.answers if figure in RATES else max(self.requests, self.statuses)

    @property
    def metadata(self) -> dict[str, Any]:
        """What the partition's event says, as numbers that Dagster plots."""
        result: dict[str, Any] = {"requests": max(self.requests, self.statuses)}
        result |= {name: round(value, 6) for name, value in self.figures.items() if value is not None}
        for column in RATES.values():
            largest = sorted(self.counts.get(column, {}).items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_ROWS]
            result |= {f"{column}/{name}": round(number / self.answers, 6) for name, number in largest}
        return result | {f"status/{status}": number for status, number in sorted(self.usage.requests.items())}


def services_of(
    connection: duckdb.DuckDBPyConnection, rows: str, part: str, usage: Mapping[str, Usage]
) -> dict[str, Service]:
    """How a model was served, part by part.

    The rows of a request were answered together, so they are one latency. A shadow's answers are left out.

    Args:
        connection: where the rows are.
        rows: the SQL of a relation with the columns of a log.
        part: the SQL of the name of the part that a row is in; null of rows that are in none.
        usage: what was said by those who answered, by part; parts without rows count too.
    """
    answers = f"SELECT *, {part} AS _fti_part FROM ({rows}) WHERE {part} IS NOT NULL AND {ANSWERED}"
    of_requests = (
        f"SELECT _fti_part, count(*) AS answers, max({LATENCY}) AS latency FROM ({answers}) "
        f"GROUP BY _fti_part, {REQUEST_ID}, answered_at"
    )
    totals = connection.execute(
        f"SELECT _fti_part, sum(answers)::BIGINT, count(latency), quantile_disc(latency, 0.5) * 1000, quantile_disc(latency, 0.99) * 1000 "
        f"FROM ({of_requests}) GROUP BY _fti_part"
    ).fetchall()
    names = " UNION ALL ".join(
        f"SELECT _fti_part, '{column}' AS kind, unnest(list_distinct({quote(column)})) AS name FROM ({answers})"
        for column in RATES.values()
    )
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for one, column, name, number in connection.execute(
        f"SELECT _fti_part, kind, name, count(*) FROM ({names}) GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        counts.setdefault(one, {}).setdefault(column, {})[name] = number
    services = {
        one: Service(answers, requests, p50_ms, p99_ms, counts.get(one, {}), usage.get(one, Usage()))
        for one, answers, requests, p50_ms, p99_ms in totals
    }
    return {one: Service(usage=figures) for one, figures in usage.items()} | services


def limit_verdicts(limits: ServiceLimits | None, services: Mapping[str, Service], model: str) -> list[Verdict]:
    """Whether each partition kept within each limit; of too few requests nothing is said.

    Args:
        limits: those of the log, if it has some.
        services: by partition.
        model: what answered, for the message.
    """
    if limits is None:
        return []
    return [_verdict(limits, name, services, model) for name in limits.limits]


def _verdict(limits: ServiceLimits, name: str, services: Mapping[str, Service], model: str) -> Verdict:
    limit, rule = limits.limits[name], limits.rules[name]
    by_partition = {
        partition: value
        for partition, service in services.items()
        if (value := service.figures[name]) is not None and service.number_behind(name) >= limits.min_requests
    }
    above = {partition: value for partition, value in by_partition.items() if value > limit}
    facts: dict[str, Any] = {"limit": limit, "partitions_judged": len(by_partition)}
    if not by_partition:
        return Verdict(rule, facts=facts | {"judged": _why_not(name, services, limits)})
    worst = max(by_partition, key=lambda partition: by_partition[partition])
    facts |= {"worst_partition": worst, name: by_partition[worst]}
    if not above:
        return Verdict(rule, facts=facts)
    of_column = services[worst].counts.get(RATES.get(name, ""), {})
    names = [one for one, number in of_column.items() if number > limit * services[worst].answers]
    of_names = f" by {list_some(names)}" if names else ""
    others = f", and above it in {len(above) - 1} more partitions of this run" if len(above) > 1 else ""
    problem = (
        f"{name} of {model} is {by_partition[worst]:.4g} in {worst}, above its limit of {limit:g}{of_names}{others}"
    )
    return Verdict(rule, len(above), problem=problem, facts=facts)


def _why_not(name: str, services: Mapping[str, Service], limits: ServiceLimits) -> str:
    if services and all(one.figures[name] is None for one in services.values()):
        counts = "no server counted its requests" if name == "error_rate" else "no server that answered reported it"
        return f"no: {counts}"
    return f"no: there are fewer than {limits.min_requests} requests"
