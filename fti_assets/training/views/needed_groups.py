"""The groups that a champion learned from, and how an old version is declared beside a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fti_assets.core.manifest import ViewRecord
from fti_assets.core.names import versioned
from fti_assets.core.times import microseconds
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
        return versioned(self.name, self.version)

    @property
    def declaration(self) -> str:
        """The line that declares it, as far as the manifest tells."""
        stated: dict[str, Any] = {"name": self.name}
        if self.version != 1:
            stated["version"] = self.version
        stated["keys"] = list(self.keys)
        if self.event_time is not None:
            stated["event_time"] = self.event_time
        if self.available_at is not None:
            stated["available_at"] = self.available_at
        elif self.delay_us:
            stated["serving_delay"] = _as_text(timedelta(microseconds=self.delay_us))
        if self.tie_break is not None:
            stated["tie_break"] = self.tie_break
        return f"@fti.feature_group({', '.join(f'{name}={_written(value)}' for name, value in stated.items())})"


def needed_groups(view: ViewRecord) -> list[NeededGroup]:
    """The spine and each joined group of a view, once a version."""
    spine = NeededGroup(view.spine, view.spine_version, view.spine_keys, view.prediction_time)
    joined = [
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
    return list({group.table_name: group for group in [spine, *joined]}.values())


def changes_of(group: FeatureGroup, needed: NeededGroup) -> list[str]:
    """What a declaration says otherwise than those who learned from its version knew it."""
    was: dict[str, Any] = {"keys": needed.keys, "event_time": needed.event_time}
    now: dict[str, Any] = {"keys": group.keys, "event_time": group.event_time}
    if needed.delay_us is not None:
        was |= {
            "available_at": needed.available_at,
            "serving_delay (us)": needed.delay_us,
            "tie_break": needed.tie_break,
        }
        now |= {
            "available_at": group.available_at,
            "serving_delay (us)": group.delay_us,
            "tie_break": group.tie_break,
        }
    return [f"{name} was {was[name]!r} and is {now[name]!r}" for name in was if was[name] != now[name]]


def side_by_side(groups: Sequence[NeededGroup], declarations: Sequence[Any]) -> str:
    """The lines to type to declare old versions beside whatever else is declared."""
    lines = []
    for group in groups:
        lines += [
            f"    {group.declaration}",
            f"    def {group.table_name}(...): ...  # its function and other arguments, as they were",
        ]
    last = declarations[-1]
    given = [getattr(last, "name", "..."), *(group.table_name for group in groups)]
    return "\n".join([*lines, f"    fti.build_definitions([{', '.join(given)}])"])


def _as_text(delay: timedelta) -> str:
    us = microseconds(delay)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if us % (size * 1_000_000) == 0:
            return f"{us // (size * 1_000_000)}{unit}"
    return f"{us // 1_000_000 + 1}s"


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
