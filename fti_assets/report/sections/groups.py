"""Freshness and delays of the feature groups."""

from __future__ import annotations

from collections.abc import Sequence

from fti_assets.core.times import span
from fti_assets.monitoring.delays.text import written
from fti_assets.report.reading.groups import Delay, Freshness
from fti_assets.report.sections.elements import Html, badge, details, note, nothing, part, problem, table

_STATES = {
    "fresh": ("fresh", "good"),
    "stale": ("stale", "bad"),
    "empty": ("not materialized", "bad"),
    "outside": ("kept outside", ""),
    "not due": ("no due date", ""),
    "unknown": ("cannot be read", "bad"),
}


def freshness_part(groups: Sequence[Freshness]) -> Html:
    """Whether each group has the partition that is due."""
    if not groups:
        return part("freshness", "Freshness", nothing("Nothing is stored of a feature group yet: materialize one."))
    message = note("A partition is due once it has ended a partition's length and the group's serving delay ago.")
    rows = [
        (one.table, badge(*_STATES[one.state]), one.newest, one.rows if one.newest else "", one.committed_at, one.due)
        for one in sorted(groups, key=lambda one: (one.state not in ("stale", "empty", "unknown"), one.table))
    ]
    names = ("group", "state", "newest run partition", "its rows", "changed last", "partition that is due")
    return part("freshness", "Freshness of groups", message, table("Feature groups", names, rows))


def delays_part(delays: Sequence[Delay]) -> Html:
    """How late rows were committed, against what is declared."""
    if not delays:
        message = "No stored group has an event time, so none of its rows can be late."
        return part("delays", "Delays", nothing(message))
    rows, problems = [], []
    for one in delays:
        audit = one.audit
        if audit is None:
            problems.append(problem(f"{one.table}:", one.problem))
            continue
        measured = audit.delays
        honest = audit.proposal
        if not measured.judged or honest is None:
            verdict: object = "nothing to judge: all came by backfills, or is older than the snapshots"
        elif honest.declared_holds:
            verdict = badge("what is declared holds", "good")
        else:
            verdict = Html(f"{badge('too optimistic', 'bad')} honest: {written(honest.delay)}")
        late = "" if measured.late_share is None else f"{measured.late_share:.2%}"
        after = measured.after_available.get(0.99)
        rows.append(
            (audit.table_name, verdict, late, "" if after is None else span(after), measured.judged, audit.says)
        )
    message = note(
        "Rows by their first commit to the lake, those of backfills left out. The 99% are there so long after they are said to be "
        "available; a negative time is before."
    )
    names = ("group", "verdict", "late", "99% there after", "rows judged", "declared")
    delay_table = table("Delays", names, rows)
    return part(
        "delays",
        "Delays",
        message,
        delay_table,
        *([details(f"{len(problems)} groups cannot be judged", "".join(problems))] if problems else []),
    )
