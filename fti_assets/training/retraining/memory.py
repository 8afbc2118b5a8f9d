"""What the sensor of a model's triggers remembers between ticks."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from fti_assets.core.times import instant
from fti_assets.orchestration.sensors.cursor import Request
from fti_assets.training.triggers.trigger import Cause

_MOST_DAYS = 500


@dataclass
class Memory:
    """The cursor of the sensor.

    Args:
        causes: of each trigger the instant of the last cause that is over, ISO text.
        requested_at: when training was requested last, ISO text; empty for never.
        open_requests: those that have not ended.
        days: of each trigger of a monitor the partitions that it has asked for, the newest 500, ISO text.
        quiet: of what lake, build and cutoff no trigger has asked for training; empty if one has.
    """

    causes: dict[str, str] = field(default_factory=dict)
    requested_at: str = ""
    open_requests: list[Request] = field(default_factory=list)
    days: dict[str, list[str]] = field(default_factory=dict)
    quiet: str = ""

    @staticmethod
    def of(text: str | None) -> Memory:
        """What a cursor holds; nothing if somebody cleared it."""
        try:
            message = json.loads(text or "{}")
            open_requests = [Request(**one) for one in message.pop("open_requests", [])]
            memory = Memory(**message, open_requests=open_requests)
            days = [day for some in memory.days.values() for day in some]
            for at in (*memory.causes.values(), *days, *([memory.requested_at] if memory.requested_at else [])):
                instant(at)
        except (ValueError, TypeError, AttributeError):
            return Memory()
        return memory

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))

    def is_over(self, trigger: str, cause: Cause, now: datetime) -> bool:
        """Whether a trigger has fired for a cause, or for a later one; of partitions, for each of them.

        What lies ahead was remembered by a clock that ran fast.
        """
        if cause.days:
            return {*cause.days} <= {*self.days_of(trigger, now)}
        last = self.causes.get(trigger)
        return last is not None and cause.at <= instant(last) <= now

    def days_of(self, trigger: str, now: datetime) -> Collection[datetime]:
        """The partitions of its monitor for which a trigger has fired."""
        last = self.causes.get(trigger)  # all that an earlier release remembered
        days = {instant(one) for one in (*self.days.get(trigger, ()), *([] if last is None else [last]))}
        return {day for day in days if day <= now}

    def cools_until(self, cooldown: timedelta, now: datetime) -> datetime | None:
        """Until when triggers wait; None if they need not."""
        if not self.requested_at:
            return None
        last = instant(self.requested_at)
        return last + cooldown if last <= now < last + cooldown else None

    def remember(self, causes: Mapping[str, Cause]) -> None:
        """Let no trigger fire for these again."""
        self.causes |= {name: cause.at.isoformat() for name, cause in causes.items()}
        for name, cause in causes.items():
            if cause.days:
                days = {*self.days.get(name, ()), *(day.isoformat() for day in cause.days)}
                self.days[name] = sorted(days)[-_MOST_DAYS:]
