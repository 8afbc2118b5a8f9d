"""What the events of a group's stream say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fti_assets.features.events.reading import Decode
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.streams.event import Event


def decoder(group: FeatureGroup) -> Decode:
    """The function from an event to its columns, or to why it has none."""

    def decode(event: Event) -> Mapping[str, Any] | str:
        if event.problem is not None:
            return event.problem
        try:
            content = json.loads(event.payload)
        except ValueError as error:
            return f"it is no JSON: {error}"
        return content if isinstance(content, dict) else "it is no JSON object"

    return decode
