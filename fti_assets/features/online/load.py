"""A group's rows in the online store: computed from the lake, written in one transaction with its snapshot.

A namespace that was loaded from an older snapshot gets only the keys of rows that have come or gone since, which are looked for
in the partitions that have changed; all rows of these keys count, so that the result is that of a whole load.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import duckdb

from fti_assets.core import clock
from fti_assets.core.sql import quote, timestamp
from fti_assets.core.times import microseconds
from fti_assets.errors import StoreError
from fti_assets.features.online.joined import joined_whole
from fti_assets.features.online.origin import NOTHING_STORED, Origin, Positions, origin_of, winner_terms
from fti_assets.features.online.rows import blobs_of, encoded_key, online_schema, winners_since
from fti_assets.features.online.table import OnlineTable
from fti_assets.features.online.tails import tails_of
from fti_assets.stores.duckdb.json_text import json_text
from fti_assets.stores.duckdb.nul_texts import equal_columns
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.online.about import DamagedNamespaceError
from fti_assets.stores.online.blobs import Blobs
from fti_assets.stores.online.store import About, NamespaceWriter, OnlineStore, Schema

_KEYS_TABLE = quote("temp", "__fti_changed_keys")
_LEAST_HISTORY = timedelta(days=1)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unflushed:
    """What a service has taken from a stream and the lake has not yet.

    Args:
        rows: gives the rows behind a position as a relation of a connection, with the group's columns and those that name the event.
        positions: of the service's shards, how far they reach.
        types: the DuckDB type of each column, where the lake has no table yet.
        shard: the column that names an event's shard.
        sequence: the column that names its place there.
        identity: the columns that no two rows share: what a run has stored meanwhile is not there twice.
        others: of shards that other services take, up to which event the rows have what the namespace holds of them besides.
    """

    rows: Callable[[duckdb.DuckDBPyConnection, Positions], duckdb.DuckDBPyRelation]
    positions: Positions
    types: Mapping[str, str]
    shard: str
    sequence: str
    identity: Sequence[str]
    others: Positions = field(default_factory=dict)


def load_online(lake: Lake, store: OnlineStore, group: OnlineTable) -> int:
    """Bring a group's namespace to the lake's newest snapshot and say how many keys it holds.

    It holds every version that an instant from ``online_history`` ago on can need, those not yet visible included. Only
    the keys of changed rows are written, unless the namespace must be loaded whole: it is new, or was loaded from
    another declaration or lake, its snapshot has expired, the clock went back, half of its keys have changed, or its
    last whole load is longer ago than ``online_history`` (at least a day), so that what has expired goes. A namespace that
    holds events of a stream which the lake has not yet is left to the service that wrote them.
    """
    with store.writing(
        group.table_name
    ) as writer:  # read and write under one lock: of two loads, the newer snapshot stays
        return load_namespace(lake, group, writer)


def load_namespace(lake: Lake, group: OnlineTable, writer: NamespaceWriter, unflushed: Unflushed | None = None) -> int:
    """Bring a namespace whose lock is held to the lake's newest snapshot, and to what is not flushed to it yet; how many keys it holds."""
    try:
        with lake.one_snapshot():
            return _Load(lake, group, writer, unflushed).run()
    # The writer holds the namespace's lock all along, so nobody loads between the drop and the load.
    except DamagedNamespaceError as error:  # the lake has it all
        _log.warning("%s", error)
        writer.drop()
        with lake.one_snapshot():
            return _Load(lake, group, writer, unflushed).run()


class _Load:
    """One load of one group, from the newest snapshot of the lake into a namespace whose lock is held."""

    def __init__(
        self, lake: Lake, group: OnlineTable, writer: NamespaceWriter, unflushed: Unflushed | None = None
    ) -> None:
        self._lake, self._group, self._writer, self._unflushed = lake, group, writer, unflushed
        # Asked after the namespace's lock is held, so that a later load never has an earlier snapshot.
        self._snapshot = lake.snapshot()
        types = lake.types(group.table)
        if not types and unflushed is not None:
            types = dict(unflushed.types)
        self._whole = joined_whole(group, types)
        self._answers_from = None if group.event_time is None else clock.now() - group.online_history
        self._json = {name: types[name] for name in group.as_json}
        self._flushed = lake.stream_positions(group.table)
        self._changed: list[str] = []
        self._rows = self._in_json(self._all_rows(types))

    def _all_rows(self, types: Mapping[str, str]) -> duckdb.DuckDBPyRelation:
        stored = None
        if self._unflushed is None or self._lake.has(self._group.table):
            stored = self._lake.rows(self._group.table, snapshot=self._snapshot)
        if self._unflushed is None:
            assert stored is not None
            return stored
        # Read in the snapshot's own transaction, so that each event is on one side of the position.
        beside = self._unflushed.rows(self._lake.connection, self._flushed)
        of_events = ", ".join(
            quote(name) if name in beside.columns else f"NULL::{kind} AS {quote(name)}" for name, kind in types.items()
        )
        rows = beside.project(of_events)
        return rows if stored is None else stored.union(self._not_stored(rows, stored))

    def _not_stored(self, rows: duckdb.DuckDBPyRelation, stored: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
        """Unflushed rows without those that a run has stored meanwhile."""
        assert self._unflushed is not None
        connection, available = self._lake.connection, quote(str(self._group.times.available_at))
        mine = relation_name(rows)
        [(least, greatest)] = connection.execute(f"SELECT min({available}), max({available}) FROM {mine}").fetchall()
        if least is None:
            return rows
        names = {name: name for name in self._unflushed.identity}
        same = equal_columns(connection, mine, names, rows="new", target="stored")
        within = f"{available} BETWEEN {timestamp(least)} AND {timestamp(greatest)}"
        return connection.sql(
            f"FROM {mine} new WHERE NOT EXISTS (SELECT 1 FROM (FROM {relation_name(stored)} WHERE {within}) stored WHERE {same})"
        )

    def run(self) -> int:
        about = self._writer.about
        if about is not None and self._unflushed is None and self._is_ahead(about):
            _log.warning(
                "%s holds events of its stream that the lake has not yet: it is left to its service, fti stream %s, which brings it "
                "to what was materialized. Start it if it does not run",
                self._group.table_name,
                self._group.name if self._group.windows is None else self._group.windows.source,
            )
            return about.keys
        reason = "it was never loaded" if about is None else self._why_whole(about)
        if about is not None and reason is None:
            try:
                keys = self._changed_keys(about)
            except (StoreError, duckdb.Error) as error:  # such as a file of the old snapshot that is gone
                self._lake.begin_again()
                # The rows were named in the transaction that has just ended, and the newest snapshot may be another one now.
                anew = _Load(self._lake, self._group, self._writer, self._unflushed)
                return anew._load_whole(f"the changes cannot be determined: {error}")
            else:
                # Beyond half of the keys, one pass over all costs less than looking each up.
                if 2 * len(keys) > about.keys:
                    reason = f"{len(keys)} of its {about.keys} keys have changed"
                else:
                    return self._load_some(about, keys)
        return self._load_whole(reason)

    def _is_ahead(self, about: About) -> bool:
        positions = origin_of(about).positions
        return any(sequence > self._flushed.get(shard, -1) for shard, sequence in positions.items())

    def _why_whole(self, about: About) -> str | None:
        """Why the namespace cannot be loaded in part, None if it can."""
        count = self._writer.count_keys()
        if count != about.keys:
            return f"it says that it has {about.keys} keys, and has {count}"
        if about.schema != self._schema:
            return "its columns or its ttl have changed"
        origin = origin_of(about)
        if origin.declared != winner_terms(self._group, self._whole):
            return "its declaration has changed"
        if origin.snapshot_at is None or origin.snapshot_at != self._lake.snapshot_at(about.snapshot):
            return f"snapshot {about.snapshot}, which it was loaded from, is not in the lake"
        own = {} if self._unflushed is None else self._unflushed.positions
        if self._group.windows is not None and any(
            origin.greatest(shard) > max(sequence, self._flushed.get(shard, -1)) for shard, sequence in own.items()
        ):
            return "it holds events that are about to be read again, which would count twice"
        since, whole_from = self._since_us(), origin.whole_from_us
        if since is None:
            return None
        if about.answers_from_us is None or whole_from is None or since < about.answers_from_us:
            return "it does not reach back far enough"
        if since - whole_from > microseconds(max(self._group.online_history, _LEAST_HISTORY)):
            return "much of what it holds may have expired"
        return None

    def _load_whole(self, reason: str | None) -> int:
        _log.info("%s is loaded whole to the online store: %s", self._group.table_name, reason)
        return self._writer.load(
            self._schema,
            self._blobs(self._rows),
            answers_from=self._answers_from,
            snapshot=self._snapshot,
            origin=self._origin(self._since_us(), self._positions(), self._newest()),
        )

    def _load_some(self, about: About, changes: set[bytes]) -> int:
        _log.info("%s: %d of %d keys are loaded to the online store", self._group.table_name, len(changes), about.keys)
        connection = self._lake.connection
        keys = {key.group: key.group for key in self._whole.keys}
        same = equal_columns(connection, _KEYS_TABLE, keys, rows="changed", target="stored")
        mine = connection.sql(f"FROM {relation_name(self._rows)} stored SEMI JOIN {_KEYS_TABLE} changed ON {same}")
        return self._writer.apply(
            _taken_from(changes, self._blobs(mine)),
            _late(changes),
            answers_from=self._answers_from,
            snapshot=self._snapshot,
            origin=self._origin(origin_of(about).whole_from_us, self._positions(about), self._newest(about)),
        )

    def _positions(self, about: About | None = None) -> tuple[dict[int, int], dict[int, int]]:
        """Of which events it holds the rows when this load is done, and which some keys hold besides.

        Args:
            about: what a namespace said that is loaded in part.
        """
        own = {} if self._unflushed is None else self._unflushed.positions
        positions = {shard: max(self._flushed.get(shard, -1), own.get(shard, -1)) for shard in [*self._flushed, *own]}
        others = {} if self._unflushed is None else self._unflushed.others
        if about is None:
            return {**positions, **others}, {}
        origin = origin_of(about)
        foreign = [shard for shard in {**origin.positions, **origin.seen} if shard not in own]
        # Of a shard whose events are among the rows, or where nothing was made anew, all keys hold what they held.
        unchanged = [s for s in foreign if s in others or not self._changed]
        positions |= {s: max(n, positions.get(s, -1)) for s, n in origin.positions.items() if s in unchanged}
        seen = {s: at for s in foreign if (at := origin.greatest(s)) > positions.get(s, -1)}
        return positions, seen

    def _newest(self, about: About | None = None) -> int | None:
        """The greatest available-at of the lake's rows, or a later one; None where no stream is taken.

        Args:
            about: what a namespace said that is loaded in part.
        """
        loaded_until = None if about is None else origin_of(about).newest_us
        available = self._group.times.available_at
        if available is None or (loaded_until is None and self._unflushed is None and not self._flushed):
            return None
        if not self._lake.has(self._group.table):
            return NOTHING_STORED
        if about is not None and loaded_until is not None and not self._changed:
            return loaded_until
        partitions = (
            None
            if loaded_until is None
            else [key for key in self._changed if key in self._lake.ledger(self._group.table)]
        )
        rows = relation_name(self._lake.rows(self._group.table, snapshot=self._snapshot, partitions=partitions))
        [(newest,)] = self._lake.connection.execute(f"SELECT epoch_us(max({quote(available)})) FROM {rows}").fetchall()
        return max(NOTHING_STORED if one is None else one for one in (newest, loaded_until))

    def _changed_keys(self, about: About) -> set[bytes]:
        """The keys with rows that only one of the snapshots has, looked for in the partitions that changed: as a table, and encoded."""
        old, new = (self._lake.ledger(self._group.table, snapshot=at) for at in (about.snapshot, self._snapshot))
        partitions = [
            partition
            for partition in sorted(old.keys() | new.keys())
            if partition not in old
            or partition not in new
            or old[partition].data_version != new[partition].data_version
        ]
        self._changed = partitions
        before, after = (
            relation_name(self._lake.rows(self._group.table, snapshot=at, partitions=partitions))
            for at in (about.snapshot, self._snapshot)
        )
        # ALL, so that of two equal rows the loss of one counts too.
        removals, additions = f"(FROM {before} EXCEPT ALL FROM {after})", f"(FROM {after} EXCEPT ALL FROM {before})"
        both = f"SELECT {self._keys} FROM {removals} UNION SELECT {self._keys} FROM {additions}"
        if self._unflushed is not None:
            events = self._unflushed.rows(self._lake.connection, self._flushed)
            both += f" UNION SELECT {self._keys} FROM {relation_name(events)} WHERE {self._is_new(origin_of(about).positions)}"
        # A table, not a view: it is asked twice, and its sources are two snapshots to be read whole.
        self._lake.connection.execute(f"CREATE OR REPLACE TEMP TABLE {_KEYS_TABLE} AS {both}")
        rows = self._lake.connection.execute(f"SELECT {encoded_key(self._whole.keys)} FROM {_KEYS_TABLE}").fetchall()
        return {bytes(key) for (key,) in rows if key is not None}

    def _is_new(self, positions: Positions) -> str:
        """The SQL of whether an event is behind some positions."""
        assert self._unflushed is not None
        shard, sequence = quote(self._unflushed.shard), quote(self._unflushed.sequence)
        return (
            " AND ".join(f"NOT ({shard} = {int(s)} AND {sequence} <= {int(n)})" for s, n in positions.items()) or "true"
        )

    @property
    def _schema(self) -> Schema:
        return online_schema(self._whole, as_json=self._group.as_json)

    def _in_json(self, rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
        """The rows with their lists and maps as JSON text, which a blob holds."""
        if not self._json:
            return rows
        texts = [f"{json_text(name, kind)} AS {quote(name)}" for name, kind in self._json.items()]
        return rows.project(f"* REPLACE ({', '.join(texts)})")

    @property
    def _keys(self) -> str:
        return ", ".join(quote(key.group) for key in self._whole.keys)

    def _blobs(self, rows: duckdb.DuckDBPyRelation) -> Blobs:
        since, connection = self._since_us(), self._lake.connection
        if self._whole.windows is not None and since is not None:
            return tails_of(connection, rows, self._whole, since)
        versions = rows if since is None else winners_since(connection, rows, self._whole, since)
        return blobs_of(connection, versions, self._whole)

    def _since_us(self) -> int | None:
        return None if self._answers_from is None else microseconds(self._answers_from)

    def _origin(self, whole_from_us: int | None, positions: tuple[Positions, Positions], newest_us: int | None) -> str:
        at = self._lake.snapshot_at(self._snapshot)
        return Origin(at, winner_terms(self._group, self._whole), whole_from_us, *positions, newest_us).to_json()


def _taken_from(keys: set[bytes], blobs: Blobs) -> Blobs:
    """The blobs, each key of which is taken out of a set as it passes."""
    for pair in blobs:
        # Keys that are left when all blobs have passed have no row any more: `_remaining` gives them for deletion.
        keys.discard(pair[0])
        yield pair


def _late(keys: set[bytes]) -> Iterator[bytes]:
    """What a set holds when it is asked, and not before."""
    yield from sorted(keys)
