"""What the events of a group's stream say."""

from __future__ import annotations

from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.streams.decoding import Decode, event_decoder


def group_decoder(group: FeatureGroup) -> Decode:
    """The function from an event of a group's stream to its columns, or to why it has none.

    Raises:
        DeclarationError: the type of the events has no attribute for a column.
        MissingExtraError: msgspec is not installed.
    """
    assert group.stream is not None
    return event_decoder([name for name in group.columns or () if name != group.available_at], group.stream.type)
