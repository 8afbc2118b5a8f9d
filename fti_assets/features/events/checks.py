"""The checks of a group with a stream."""

from __future__ import annotations

from fti_assets.core.rules import Rule
from fti_assets.features.groups.group import FeatureGroup

LAG = Rule("lag", "The service holds all that the broker has, as it said last", blocking=False)
DEAD_LETTERS = Rule("dead_letters", "All events of these partitions are rows", blocking=False)


def equals_stream_rule(group: FeatureGroup) -> Rule:
    """Whether a run gives what the stream gave; it blocks where the group says so."""
    return Rule(
        "equals_stream",
        "The rows of the run have the content hash of those that the service stored of the stream",
        blocking=group.must_equal_stream,
    )
