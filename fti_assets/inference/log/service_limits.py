"""What a service may come to in a partition of its log, before a check warns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.rules import Rule
from fti_assets.errors import DeclarationError, excerpt

_DESCRIPTIONS: Mapping[str, str] = {
    "error_rate": "Of the requests to the server at most {limit:g} failed with a status of 500 or more",
    "missing_rate": "Each group brought no row, or a stale one, for at most {limit:g} of the answers",
    "unknown_rate": "Each feature had a category that was not learned in at most {limit:g} of the answers",
    "out_of_schema_rate": "Each field was outside the spine's schema in at most {limit:g} of the answers",
    "p50_ms": "Half of the requests were answered within {limit:g} ms",
    "p99_ms": "99 of 100 requests were answered within {limit:g} ms",
    "cpu_share": "A process that answered used at most {limit:g} of a core's time",
    "peak_memory_mb": "No process that answered had more than {limit:g} MB of memory",
}


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class ServiceLimits:
    """Limits for a service in a partition of its prediction log; each limit is a check that warns.

    Args:
        error_rate: the share of the requests to servers that failed, with a status of 500 or more, 0 to 1. Client errors do not
            count. An app without a server counts no requests, so its log has no such share.
        missing_rate: the share of answers for which a group had no row, or a stale one, for the group with the most, 0 to 1.
        unknown_rate: the share of answers with a category that was not learned, for the feature with the most, 0 to 1.
        out_of_schema_rate: the share of answers with a value that the spine's schema would refuse, for the field with the most, 0
            to 1.
        p50_ms: the median of milliseconds from request to answer.
        p99_ms: their 99 % quantile.
        cpu_share: CPU seconds per second of a process that answered; more than 1 with several threads.
        peak_memory_mb: the most memory of such a process, in 10**6 bytes.
        min_requests: for a partition with fewer requests, or fewer answers where answers are counted, there is no verdict.

    Raises:
        DeclarationError: a limit is out of range, or there is none.

    >>> ServiceLimits(error_rate=0.01, p99_ms=50).limits
    {'error_rate': 0.01, 'p99_ms': 50.0}
    """

    error_rate: float | None = None
    missing_rate: float | None = None
    unknown_rate: float | None = None
    out_of_schema_rate: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_share: float | None = None
    peak_memory_mb: float | None = None
    min_requests: int = 100

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            most = 1 if name.endswith("_rate") else math.inf
            if not 0 <= limit <= most or limit == math.inf:
                end = f"to {most}" if most == 1 else "on"
                raise DeclarationError(
                    f"fti.ServiceLimits has {name}={excerpt(limit)}: a number from 0 {end} is expected"
                )
        if not self.limits:
            raise DeclarationError("fti.ServiceLimits has no limit: give it one, such as p99_ms=50, or leave it out")
        if self.min_requests < 1:
            raise DeclarationError(f"fti.ServiceLimits has min_requests={self.min_requests}: at least 1 is expected")

    @property
    def limits(self) -> dict[str, float]:
        """Those that are given, by what they limit."""
        values = {name: asdict(self)[name] for name in _DESCRIPTIONS}
        return {name: float(value) for name, value in values.items() if value is not None}

    @property
    def rules(self) -> dict[str, Rule]:
        """The check of each limit, which only warns, by what it limits."""
        return {
            name: Rule(f"{name}_within_limit", _DESCRIPTIONS[name].format(limit=limit), blocking=False)
            for name, limit in self.limits.items()
        }
