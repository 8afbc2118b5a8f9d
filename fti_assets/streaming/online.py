"""The online values of what a micro-batch touches, written with the stream's position in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack

import duckdb
import pyarrow as pa

from fti_assets.core import clock
from fti_assets.core.names import PARTITION
from fti_assets.core.times import from_microseconds, microseconds
from fti_assets.errors import StoreError
from fti_assets.features.events.reading import SEQUENCE, SHARD, event_schema
from fti_assets.features.events.typed_rows import lake_types
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.online.joined import joined_whole
from fti_assets.features.online.load import Unflushed, load_namespace
from fti_assets.features.online.merging import Merge
from fti_assets.features.online.origin import Positions, moved_on, origin_of, winner_terms
from fti_assets.features.online.rows import online_schema
from fti_assets.features.online.tails import TailMerge
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.online.about import About, DamagedNamespaceError
from fti_assets.stores.online.store import NamespaceWriter, OnlineStore
from fti_assets.streaming.others import EventsOfOthers
from fti_assets.streaming.outbox import Outbox
from fti_assets.streaming.stored_rows import StoredRows
from fti_assets.streaming.taken import behind

_log = logging.getLogger(__name__)


class OnlineNamespaces:
    """The namespaces that a service keeps: of its group, and of windows at the time of a request over it.

    Args:
        group: a group with a stream.
        targets: those of it and of the windows over it that are online.
        store: the online store.
        stored: the group's rows in the lake.
        types: the DuckDB type of each stored column, in the order of the table.
    """

    def __init__(
        self,
        group: FeatureGroup,
        targets: Sequence[FeatureGroup],
        store: OnlineStore,
        stored: StoredRows,
        types: Mapping[str, str],
    ) -> None:
        self._stored = stored
        others = EventsOfOthers(group)
        self._each = [OnlineRows(target, group, store, stored, types, others) for target in targets]

    def write(self, rows: pa.Table, positions: Positions) -> bool:
        """As ``OnlineRows.write`` for each; False if one is to be brought up by ``load``."""
        return all(one.write(rows, positions) for one in self._each)

    def load(self, lake: Lake, outbox: Outbox, shards: Collection[int]) -> None:
        """As ``OnlineRows.load`` for each."""
        for one in self._each:
            one.load(lake, outbox, shards)

    def are_own(self) -> bool:
        """Whether each is as this service has written it last."""
        return all(one.is_own() for one in self._each)

    def positions(self) -> Iterator[Positions]:
        """How far each holds events, by shard; none of one that is not there, or damaged."""
        return (one.positions() for one in self._each)

    def close(self) -> None:
        """Let go of the stores."""
        self._stored.close()
        for one in self._each:
            one.close()

    def advance(self, lake: Lake, snapshot: int, flushed: Positions) -> bool:
        """As ``OnlineRows.advance`` for each; False if one does not hold it yet."""
        results = [one.advance(lake, snapshot, flushed) for one in self._each]  # none is left out
        return all(results)


class OnlineRows:
    """One namespace as a service keeps it.

    Args:
        target: the group whose it is: the one with the stream, or windows over it.
        group: the group with the stream.
        store: the online store.
        stored: the group's rows in the lake.
        types: the DuckDB type of each stored column, in the order of the table.
        others: the events of shards that other services take.
    """

    def __init__(
        self,
        target: FeatureGroup,
        group: FeatureGroup,
        store: OnlineStore,
        stored: StoredRows,
        types: Mapping[str, str],
        others: EventsOfOthers,
    ) -> None:
        self._target, self._group, self._store, self._stored = target, group, store, stored
        self._others = others
        self._whole = joined_whole(target, types)
        self._schema, self._declared = online_schema(self._whole), winner_terms(target, self._whole)
        self._merge: Merge | TailMerge = Merge(self._whole) if self._whole.windows is None else TailMerge(self._whole)
        self._written: Positions | None = None
        self._held = ExitStack()

    def write(self, rows: pa.Table, positions: Positions) -> bool:
        """Put the rows of a micro-batch in; False if the namespace is not as this service left it, and ``load`` is to bring it up.

        Args:
            rows: those of events behind the namespace's position.
            positions: how far the service's shards reach with them.

        Raises:
            StoreError: the store cannot be written; nothing was changed.
        """
        with self._store.writing(self._target.table_name) as writer:
            about = writer.about
            if about is None or self._written is None or not self._is_mine(about):
                return False
            answers_from = clock.now() - self._target.online_history
            since = microseconds(answers_from)
            if about.answers_from_us is not None and since < about.answers_from_us:  # the clock went back
                since = about.answers_from_us
                answers_from = from_microseconds(since)
            # What the namespace holds already is not put in again: a load may have taken it from the outbox meanwhile, or from the lake,
            # where a run was ahead of this service.
            origin = origin_of(about)
            if origin.newest_us is None:
                return False
            try:
                new = self._stored.without(behind(rows, origin.positions), about.snapshot, origin.newest_us)
                blobs, removals = self._merged(new, writer, since)
            except (
                ValueError,
                StoreError,
                duckdb.Error,
            ):  # a damaged blob, or a snapshot that is gone: the lake and the outbox have it all
                return False
            writer.apply(
                iter(blobs),
                removals,
                answers_from=answers_from,
                snapshot=about.snapshot,
                origin=moved_on(about, positions),
            )
            self._written = dict(positions)  # under the lock, as the flush asks for it under the lock too
        return True

    def _merged(
        self, rows: pa.Table, writer: NamespaceWriter, since_us: int
    ) -> tuple[Sequence[tuple[bytes, bytes]], Sequence[bytes]]:
        """The new blobs of the keys of some rows, and the keys that have nothing left."""
        if isinstance(self._merge, TailMerge):
            keyed = self._merge.rows_by_key(rows)
            merged = self._merge.blobs(keyed, writer.blobs(list(keyed)), since_us)
            return merged.updates, merged.removals
        by_key = self._merge.rows_by_key(rows)
        return list(self._merge.blobs(by_key, writer.blobs(list(by_key)), since_us)), ()

    def load(self, lake: Lake, outbox: Outbox, shards: Collection[int]) -> int:
        """Bring the namespace to the lake's newest snapshot and all that the outbox holds besides; how many keys it has.

        What other services have put there and not yet flushed stays.

        Args:
            lake: the open lake.
            outbox: the service's.
            shards: those that the service takes.

        Raises:
            StoreError: the lake or the store cannot be read or written; the namespace is as it was.
        """
        with self._store.writing(self._target.table_name) as writer:
            # Under the namespace's lock: nobody writes what these do not hold.
            batches, positions = outbox.batches(), {s: at.sequence for s, at in outbox.positions().items()}
            rows = event_schema(self._group).empty_table()
            if batches is not None and batches.rows is not None:
                rows = batches.rows
            of_others, others = self._rows_of_others(lake, writer.about, shards)
            if of_others is not None:
                rows = pa.concat_tables([rows, of_others.cast(rows.schema)])
            unflushed = Unflushed(
                lambda connection, before: connection.from_arrow(behind(rows, before).drop_columns([PARTITION])),
                positions,
                lake_types(self._group),
                SHARD,
                SEQUENCE,
                self._group.identity,
                others,
            )
            keys = load_namespace(lake, self._target, writer, unflushed)
            self._written = positions
        self.close()
        self._held.enter_context(self._store.keep_open(self._target.table_name))
        return keys

    def _rows_of_others(
        self, lake: Lake, about: About | None, shards: Collection[int]
    ) -> tuple[pa.Table | None, Positions]:
        """The rows that other services have put into the namespace and not flushed, and how far they reach."""
        try:
            origin = None if about is None else origin_of(about)
        except DamagedNamespaceError:
            origin = None
        if origin is None:
            return None, {}
        places = lake.stream_places(self._group.table)
        flushed = {shard: sequence for shard, (sequence, _) in places.items()}
        up_to = {
            shard: origin.greatest(shard)
            for shard in {**origin.positions, **origin.seen}
            if shard not in shards and origin.greatest(shard) > flushed.get(shard, -1)
        }
        if not up_to:
            return None, {}
        try:
            return self._others.rows(flushed, up_to, {shard: stream for shard, (_, stream) in places.items()}), up_to
        except StoreError as error:  # the other services see it with their next turn or flush, and put it there again
            _log.warning(
                "%s is loaded without what other services have taken and not yet flushed, until they put it there again: %s",
                self._target.table_name,
                error,
            )
            return None, {}

    def is_own(self) -> bool:
        """Whether the namespace is as this service has written it last."""
        with self._store.writing(self._target.table_name) as writer:  # so that no turn is half done
            return writer.about is not None and self._is_mine(writer.about)

    def positions(self) -> Positions:
        """How far the namespace holds events, by shard; nothing if it is not there, or damaged."""
        try:
            about = self._store.about(self._target.table_name)
            return {} if about is None else origin_of(about).positions
        except DamagedNamespaceError:
            return {}

    def close(self) -> None:
        """Let go of the store until the next load."""
        self._held.close()

    def advance(self, lake: Lake, snapshot: int, flushed: Positions) -> bool:
        """Say that the namespace holds all of a snapshot, whose rows this service and its like have flushed; False if it does not yet.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._store.writing(self._target.table_name) as writer:
            about = writer.about
            if about is None or not self._is_mine(about):
                return False
            positions = origin_of(about).positions
            if (
                any(positions.get(shard, -1) < sequence for shard, sequence in flushed.items())
                or about.snapshot > snapshot
            ):
                return False
            at = lake.snapshot_at(snapshot)
            answers_from = None if about.answers_from_us is None else from_microseconds(about.answers_from_us)
            writer.apply(
                iter(()), (), answers_from=answers_from, snapshot=snapshot, origin=moved_on(about, {}, snapshot_at=at)
            )
        return True

    def _is_mine(self, about: About) -> bool:
        """Whether a namespace holds what this service wrote last, under the same declaration."""
        try:
            origin = origin_of(about)
        except DamagedNamespaceError:
            return False
        if about.schema is not self._schema:
            if about.schema != self._schema:
                return False
            self._schema = about.schema  # what a turn writes again is not compared again
        is_declared = origin.declared == self._declared
        positions = {shard: origin.positions.get(shard, -1) for shard in self._written or {}}
        return is_declared and positions == dict(self._written or {})
