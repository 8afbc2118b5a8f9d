"""From the events of a stream to rows of its group, and the events that cannot be rows, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from fti_assets.core.names import PARTITION
from fti_assets.core.times import microseconds
from fti_assets.features.events.dead_letter import DeadLetter, dead_letter
from fti_assets.features.events.row_rules import RowRules
from fti_assets.features.events.spans import Spans
from fti_assets.features.events.typed_rows import TypedRows, arrow_types, lake_types
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.partitions import is_timed
from fti_assets.stores.streams.decoding import Decode
from fti_assets.stores.streams.event import Event

SHARD, SEQUENCE = "_fti_shard", "_fti_sequence"
"""The columns that name the event of a row."""

AHEAD = timedelta(days=1)
"""How long before its partition an event may be stored: a clock that is a minute off is no reason to refuse one."""


@dataclass(frozen=True)
class Intake:
    """What some events came to.

    Args:
        rows: the columns of the group, ``_partition``, and which event each row is of; in the order of the events.
        dead_letters: the events that are no rows.
    """

    rows: pa.Table
    dead_letters: list[DeadLetter]


def event_schema(group: FeatureGroup) -> pa.Schema:
    """The columns of the rows of a group's events."""
    own = {PARTITION: pa.string(), SHARD: pa.int64(), SEQUENCE: pa.int64()}
    return pa.schema([*arrow_types(group).items(), *own.items()])


class EventReader:
    """Makes rows of a group's events: decoded, of the types that the lake stores, in a partition, and within the schema's rules.

    Args:
        group: a group with a stream.
        decode: what an event says.
    """

    def __init__(self, group: FeatureGroup, decode: Decode) -> None:
        assert group.schema is not None
        assert group.available_at is not None
        assert is_timed(group.partitions_def)
        self._group, self._decode = group, decode
        self._types = lake_types(group)
        self._typed = TypedRows(group)
        self._rules = RowRules(group.schema, self._types)
        self._spans = Spans(group.partitions_def)
        self._by_arrival = group.partition_by == group.available_at

    def read(self, events: Sequence[Event]) -> Intake:
        """The rows of some events, and the others."""
        problems: dict[int, str] = {}
        decoded: list[Mapping[str, Any]] = []
        places: list[int] = []
        for place, event in enumerate(events):
            content = self._decode(event)
            if isinstance(content, str):
                problems[place] = content
            else:
                decoded.append(content)
                places.append(place)
        columns, wrong = self._typed.columns(decoded)
        problems |= {places[position]: reason for position, reason in wrong.items()}
        stored_at = np.fromiter((events[place].stored_at for place in places), np.int64, len(places))
        group = self._group
        assert group.available_at is not None
        assert group.partition_by is not None
        columns[group.available_at] = pa.array(stored_at, pa.timestamp("us"))
        rows = pa.table({name: columns[name] for name in self._types})
        keys = self._partitions(rows, stored_at, wrong)
        for position, key in enumerate(keys):
            if key is None and position not in wrong:
                problems[places[position]] = self._outside(rows, position)
        for position, reason in self._rules.problems(rows).items():
            problems.setdefault(places[position], reason)
        rows = rows.append_column(PARTITION, pa.array(keys, pa.string()))
        for name, values in (
            (SHARD, [events[at].shard for at in places]),
            (SEQUENCE, [events[at].sequence for at in places]),
        ):
            rows = rows.append_column(name, pa.array(values, pa.int64()))
        if problems:
            rows = rows.take(pa.array([at for at, place in enumerate(places) if place not in problems], pa.int64()))
        return Intake(rows, [_dead(events[place], reason) for place, reason in sorted(problems.items())])

    def _partitions(self, rows: pa.Table, stored_at: np.ndarray, wrong: Mapping[int, str]) -> list[str | None]:
        """The partition of each row; None outside of all, and where its time is wrong or so far ahead that nobody waits for it."""
        if self._by_arrival:
            return self._spans.keys_of(stored_at)
        column = rows.column(self._group.partition_by).combine_chunks()
        instants = column.cast(pa.int64()).fill_null(np.iinfo(np.int64).min // 2).to_numpy(zero_copy_only=False)
        keys = self._spans.keys_of(instants)
        ahead = microseconds(AHEAD)
        for position in np.flatnonzero(instants > stored_at + ahead):
            keys[position] = None
        return keys

    def _outside(self, rows: pa.Table, position: int) -> str:
        column = self._group.partition_by
        value = rows.column(column)[position].as_py()
        stored = rows.column(self._group.available_at)[position].as_py()
        if value > stored + AHEAD:
            return f"{column} is {value}, more than a day after the broker stored it at {stored}: look at the producer's clock and units"
        return f"{column} is {value}, in none of the partitions of {self._group.table_name}"


def _dead(event: Event, reason: str) -> DeadLetter:
    return dead_letter(event.shard, event.sequence, event.stored_at, reason, event.payload)
