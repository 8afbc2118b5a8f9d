"""What the sensor remembers: what was told, and what waits for a target that does not answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from fti_assets.alerts.causes import OpenCause
from fti_assets.core.times import instant

MOST_WAITING = 100
"""So many messages wait for a target; the oldest of more are left out and counted."""


Kind = Literal["begun", "over"]


@dataclass(frozen=True)
class Message:
    """What a target is told: a line, more to read, and whether it is bad news."""

    title: str
    text: str
    kind: Kind


def _open_cause(fields: dict[str, Any]) -> OpenCause:
    return OpenCause(**{**fields, "places": tuple(map(str, fields.get("places", ())))})


def _of_checks(causes: dict[str, OpenCause]) -> dict[str, OpenCause]:
    """The causes with those of one check together: of an earlier release each partition of a check was a cause by itself."""
    result: dict[str, OpenCause] = {}
    for subject, one in causes.items():
        start, place = subject, ""
        if subject.startswith("check ") and not one.places:
            first, of, rest = subject.partition(" of ")
            asset, _, place = rest.partition(" ")
            start = f"{first}{of}{asset}"
        own = replace(one, places=one.places or (place,)) if subject.startswith("check ") else one
        other = result.get(start)
        if other is not None:
            own = replace(min(other, own, key=lambda each: each.since), places=(*other.places, *own.places))
        result[start] = own
    return result


@dataclass
class AlertsCursor:
    """By subject what is wrong, and by target the messages that it has not taken yet and how many were left out."""

    causes: dict[str, OpenCause] = field(default_factory=dict)
    waiting: dict[str, list[Message]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def of(text: str | None) -> AlertsCursor:
        """The cursor that was written; an empty one if there is none, or somebody cleared it."""
        try:
            fields = json.loads(text or "{}")
            causes = _of_checks({subject: _open_cause(one) for subject, one in fields.get("causes", {}).items()})
            for one in causes.values():
                instant(one.since)
            waiting = {target: [Message(**one) for one in some] for target, some in fields.get("waiting", {}).items()}
            return AlertsCursor(causes, waiting, {name: int(n) for name, n in fields.get("left_out", {}).items()})
        except (ValueError, TypeError, AttributeError, RecursionError):
            return AlertsCursor()

    def text(self) -> str:
        return json.dumps(asdict(self))

    def queue(self, targets: Iterable[str], messages: Iterable[Message]) -> None:
        """Let messages wait for each of the targets; what waits for one that is no longer declared is forgotten."""
        messages, names = list(messages), list(dict.fromkeys(targets))
        old, lost = self.waiting, self.left_out
        self.waiting = {name: [*old.get(name, []), *messages] for name in names}
        self.left_out = {name: lost.get(name, 0) + max(len(self.waiting[name]) - MOST_WAITING, 0) for name in names}
        self.waiting = {name: some[-MOST_WAITING:] for name, some in self.waiting.items() if some}
        self.left_out = {name: number for name, number in self.left_out.items() if number}
