"""A delay audit in plain text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from fti_assets.core.times import span
from fti_assets.monitoring.delays.audit import DelayAudit
from fti_assets.monitoring.delays.delays import Delays, Proposal

_FEW = 100


def as_text(audit: DelayAudit) -> str:
    """A table and a proposal for people."""
    return "\n".join(_lines(audit))


def _lines(audit: DelayAudit) -> Iterator[str]:
    delays = audit.delays
    yield f"{audit.table_name}: {audit.says}"
    yield f"{delays.judged:,} rows were committed in their time{_left_out(delays)}"
    if not delays.judged:
        yield "nothing can be judged: wait for runs of partitions in their time"
        return
    share = delays.late_share or 0.0
    yield f"{delays.late:,} of them ({share:.2%}) were committed after they are said to be available"
    quantiles = list(delays.after_event)
    yield f"\n{'committed after':<22}" + "".join(f"{_name(one):>12}" for one in quantiles)
    for title, by_quantile in (("the event time", delays.after_event), ("being available", delays.after_available)):
        yield f"{title:<22}" + "".join(f"{span(by_quantile[one]):>12}" for one in quantiles)
    if audit.proposal is not None:
        yield ""
        yield _proposal(audit, audit.proposal)
    for price in audit.prices:
        beyond = " (at least: the curve ends before)" if price.is_beyond else ""
        yield f"{span(price.delay)} after the event time, {price.metric} of {price.model} changes by {price.change:+.4f}{beyond}"


def _left_out(delays: Delays) -> str:
    parts = [
        *([f"{delays.backfilled:,} came with a backfill"] if delays.backfilled else []),
        *([f"{delays.unknown:,} are older than the snapshots that can be read"] if delays.unknown else []),
    ]
    return f"; not judged: {', '.join(parts)}" if parts else ""


def _proposal(audit: DelayAudit, one: Proposal) -> str:
    few = f" (of {audit.delays.judged} rows only)" if audit.delays.judged < _FEW else ""
    share = f"{one.quantile * 100:g}%"
    arrival = f"{share} of the rows were there {span(one.measured)} after"
    if one.of == "serving_delay":
        if one.declared_holds:
            return f"the declared delay is honest: {arrival} their event time{few}"
        return f'proposal: serving_delay="{written(one.delay)}": {arrival} their event time{few}'
    if one.declared_holds:
        return f"what the column says is honest: {share} of the rows were there by then{few}"
    return f"proposal: an available_at that is {written(one.delay)} later: {arrival} it{few}"


def _name(quantile: float) -> str:
    return "most" if quantile == 1 else f"{quantile * 100:g}%"


def written(delay: timedelta) -> str:
    """A delay as declarations write it.

    >>> written(timedelta(minutes=90)), written(timedelta(days=2))
    ('90min', '2d')
    """
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        number, remainder = divmod(delay.total_seconds(), size)
        if number and not remainder:
            return f"{number:.0f}{unit}"
    return f"{delay.total_seconds():g}s"
