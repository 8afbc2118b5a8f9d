"""The checks of a group with a stream."""

from __future__ import annotations

from fti_assets.core.rules import Rule, Verdict
from fti_assets.features.groups.group import FeatureGroup

LAG = Rule("lag", "The service is not behind its stream, as it said with its last report", blocking=False)
DEAD_LETTERS = Rule("dead_letters", "All events of the last day are rows, as the service said last", blocking=False)


def equals_stream_rule(group: FeatureGroup) -> Rule:
    """Whether a run gives what the stream gave; it blocks where the group says so."""
    return Rule(
        "equals_stream",
        "The rows of the run have the content hash of those that the service stored of the stream",
        blocking=group.must_equal_stream,
    )


def stream_rules(group: FeatureGroup) -> list[Rule]:
    """The rules of a group with a stream, none of another's."""
    return [] if group.stream is None else [equals_stream_rule(group), LAG, DEAD_LETTERS]


def left_to_service() -> list[Verdict]:
    """What a run says of the rules that only the service can judge."""
    return [
        Verdict(rule, facts={"judged": "no: the service judges it with its reports"}) for rule in (LAG, DEAD_LETTERS)
    ]
