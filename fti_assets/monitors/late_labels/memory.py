"""What the sensor of late labels remembers between two ticks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime

from fti_assets.core.times import instant
from fti_assets.monitors.late_labels.days import Look
from fti_assets.orchestration.sensors.cursor import Request


@dataclass
class Memory:
    """The last look, the event of Dagster's that it saw last, the partitions that wait to be requested, and requests that are open."""

    look: Look | None = None
    event: int = 0
    waiting: list[str] = field(default_factory=list)
    open_requests: list[Request] = field(default_factory=list)

    @staticmethod
    def of(text: str | None) -> Memory:
        """What was written; nothing if there is none, or somebody cleared it."""
        try:
            fields = json.loads(text or "{}")
            look = fields.get("look")
            return Memory(
                None if look is None else Look(int(look["snapshot"]), instant(look["at"])),
                int(fields.get("event", 0)),
                [str(key) for key in fields.get("waiting", [])],
                [Request(**one) for one in fields.get("open_requests", [])],
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return Memory()

    @property
    def text(self) -> str:
        """It as a cursor."""
        fields = asdict(self)
        if self.look is not None:
            fields["look"] = {"snapshot": self.look.snapshot, "at": datetime.isoformat(self.look.at)}
        return json.dumps(fields)
