"""What a namespace notes of where its rows come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache

from fti_assets.core.manifest import JoinedGroup
from fti_assets.core.times import microseconds
from fti_assets.features.online.table import OnlineTable
from fti_assets.stores.online.about import DamagedNamespaceError
from fti_assets.stores.online.store import About

Positions = Mapping[int, int]
"""How far a stream has come, by shard: the sequence of the last event."""

NOTHING_STORED = -(2**63)
"""What is before every available-at."""
_OF_STREAMS = ("positions", "seen")


@dataclass(frozen=True)
class Origin:
    """What a namespace notes of where it comes from: a lake's snapshot, a declaration, and the last whole load.

    ``positions`` are those of a stream: of each shard, the last event whose row it holds. ``seen`` is beyond them where some keys
    hold rows of later events, which others hold no more. ``newest_us`` is the greatest available-at of the lake's rows that it holds:
    those of a run may be of events behind the positions, which are not to be put in again. None if nobody has asked.
    """

    snapshot_at: str | None
    declared: str
    whole_from_us: int | None
    positions: Positions = field(default_factory=dict)
    seen: Positions = field(default_factory=dict)
    newest_us: int | None = None

    def to_json(self) -> str:
        """As it is stored; without a stream, as it always was."""
        noted = {name: value for name, value in asdict(self).items() if value or name not in _OF_STREAMS}
        if self.newest_us is None:
            del noted["newest_us"]
        return json.dumps(noted)

    def greatest(self, shard: int) -> int:
        """The last event of a shard of which any key holds a row."""
        return max(self.positions.get(shard, -1), self.seen.get(shard, -1))


def origin_of(about: About) -> Origin:
    """What a namespace notes.

    Raises:
        DamagedNamespaceError: it is something else.
    """
    try:
        return _parsed(about.origin) if about.origin else Origin(None, "", None)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedNamespaceError(
            f"a namespace says of where it comes from {about.origin!r:.200}: it is written again"
        ) from error


@lru_cache(maxsize=64)
def _parsed(text: str) -> Origin:
    """A turn of a stream asks for that of each of its namespaces several times; nobody changes what it is given."""
    plain = json.loads(text)
    positions, seen = (
        {int(shard): int(sequence) for shard, sequence in plain.pop(name, {}).items()} for name in _OF_STREAMS
    )
    return Origin(**plain, positions=positions, seen=seen)


def winner_terms(group: OnlineTable, whole: JoinedGroup) -> str:
    """What of the declaration says which row wins."""
    names = [key.group for key in whole.keys]
    times = (whole.event_time, whole.available_at, whole.serving_delay_us, whole.tie_break)
    return json.dumps([names, *times, microseconds(group.online_history)])


def moved_on(about: About, positions: Positions, *, snapshot_at: str | None = None) -> str:
    """The origin of a namespace that holds the rows of events up to these positions too, or that is of another snapshot."""
    origin = origin_of(about)
    at = origin.snapshot_at if snapshot_at is None else snapshot_at
    return replace(origin, snapshot_at=at, positions={**origin.positions, **positions}).to_json()
