"""What the events of a group's stream say."""

from __future__ import annotations

from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.streams.decoding import Decode, event_decoder


def decoder(group: FeatureGroup) -> Decode:
    """The function from an event of a group's stream to its columns, or to why it has none."""
    assert group.stream is not None
    columns = [name for name in group.columns or {} if name != group.available_at]
    return event_decoder(columns, group.stream.type)
