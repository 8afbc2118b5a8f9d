"""The groups that a champion learned from, and how an old version is declared beside a new one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fti_assets.core.manifest import ViewRecord
from fti_assets.core.names import versioned_name
from fti_assets.features.groups.group import FeatureGroup


@dataclass(frozen=True)
class NeededGroup:
    """What a manifest says of a group's version that cannot change under those who learned from it.

    ``delay_us`` is in microseconds. What only a joined group's record holds is None for a spine.
    """

    name: str
    version: int
    keys: tuple[str, ...]
    event_time: str | None
    available_at: str | None = None
    delay_us: int | None = None
    tie_break: str | None = None

    @property
    def table_name(self) -> str:
        return versioned_name(self.name, self.version)

    @property
    def declaration(self) -> str:
        """The line that declares it, as far as the manifest tells."""
        delay = None if self.available_at is not None or not self.delay_us else _as_text(self.delay_us)
        arguments = {
            "name": self.name,
            "version": None if self.version == 1 else self.version,
            "keys": list(self.keys),
            "event_time": self.event_time,
            "available_at": self.available_at,
            "serving_delay": delay,
            "tie_break": self.tie_break,
        }
        # JSON writes text and lists as Python does, with the quotes of the guides.
        text = [
            f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items() if value is not None
        ]
        return f"@fti.feature_group({', '.join(text)})"


def needed_groups(view: ViewRecord) -> list[NeededGroup]:
    """The spine and each joined group of a view, once a version."""
    spine = NeededGroup(view.spine, view.spine_version, view.spine_keys, view.prediction_time)
    joined_groups = [
        NeededGroup(
            join.group,
            join.version,
            tuple(key.group for key in join.keys),
            join.event_time,
            join.available_at,
            join.serving_delay_us,
            join.tie_break,
        )
        for join in view.joins
    ]
    return list({group.table_name: group for group in [spine, *joined_groups]}.values())


def changes_of(group: FeatureGroup, terms: NeededGroup) -> list[str]:
    """What a declaration says otherwise than those who learned from its version knew it."""
    fields = {"keys": "keys", "event_time": "event_time"}
    if terms.delay_us is not None:
        fields |= {"available_at": "available_at", "delay_us": "serving_delay (us)", "tie_break": "tie_break"}
    pairs = [(name, getattr(terms, field), getattr(group, field)) for field, name in fields.items()]
    return [f"{name} was {was!r} and is {now!r}" for name, was, now in pairs if was != now]


def side_by_side(groups: Sequence[NeededGroup], declarations: Sequence[Any]) -> str:
    """The lines to type to declare old versions beside whatever else is declared."""
    lines = []
    for group in groups:
        lines += [
            f"    {group.declaration}",
            f"    def {group.table_name}(...): ...  # its function and other arguments, as they were",
        ]
    names = [getattr(declarations[-1], "name", "..."), *(group.table_name for group in groups)]
    return "\n".join([*lines, f"    fti.build_definitions([{', '.join(names)}])"])


def _as_text(us: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if us % (size * 1_000_000) == 0:
            return f"{us // (size * 1_000_000)}{unit}"
    return f"{us // 1_000_000 + 1}s"
