"""What a service does off the path of freshness: commits to the lake, and online values made again when others changed the lake."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from fti_assets.errors import SchemaChangedError, StoreError, list_some
from fti_assets.features.events.typed_rows import lake_types
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.stored_partitions import refuse_other_partitions
from fti_assets.stores.lake.appends import appended_to
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import OnlineStore
from fti_assets.streaming.flush import FLUSH_ROWS, Flush, flush, refuse_foreign
from fti_assets.streaming.online import OnlineNamespaces
from fti_assets.streaming.outbox import Outbox, Position
from fti_assets.streaming.stored_rows import StoredRows

_FLUSHES_A_CONNECTION = 1_000
"""An open lake remembers what it has looked at."""


class Flusher:
    """Brings one group's outbox to the lake, and its namespace to the lake. It may be called from any thread.

    Args:
        group: a group with a stream.
        store: the offline store.
        online: the online store.
        windows: windows at the time of a request over the group.
        run_id: what the ledger names as the run.
    """

    def __init__(
        self,
        group: FeatureGroup,
        store: OfflineStore,
        online: OnlineStore,
        windows: Sequence[FeatureGroup] = (),
        *,
        run_id: str = "",
    ) -> None:
        self._group, self._store, self._run_id = group, store, run_id
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._lake: Lake | None = None
        self._uses = 0
        self._bases: Mapping[str, str] | None = None
        self._shards: frozenset[int] = frozenset()
        self._own: dict[int, int] | None = None
        """Of this service's shards, where the lake stands by what it has flushed itself; None where that is not sure."""
        self._commit: tuple[int, Mapping[int, int]] | None = None
        """The last commit that the namespaces do not say that they hold: its snapshot and positions."""
        self.online: OnlineNamespaces | None = None
        if targets := [one for one in (group, *windows) if one.online]:
            with self._connected() as lake:
                types = lake.types(group.table) or lake_types(group)
                self.online = OnlineNamespaces(group, targets, online, StoredRows(store, group), types)

    def close(self) -> None:
        with self._lock:
            self._close()
            if self.online is not None:
                self.online.close()

    def start(self, outbox: Outbox, shards: Sequence[int]) -> None:
        """Bring outbox, lake and namespace together after whatever ended the service before.

        Args:
            outbox: the service's.
            shards: those that it takes.

        Raises:
            SchemaChangedError: the stored table has other columns, types or partitions.
            StoreError: a store cannot be read or written.
        """
        with self._lock, self._connected() as lake:
            self._shards = frozenset(shards)
            refuse_other_partitions(lake, self._group)
            _refuse_other_types(lake, self._group)
            places, positions = _places(lake, self._group, shards), outbox.positions()
            is_lost = any(
                at.flushed is not None and (s not in places or places[s].sequence < at.flushed)
                for s, at in positions.items()
            )
            is_behind = any(s not in positions or positions[s].sequence < at.sequence for s, at in places.items())
            if is_behind and not is_lost:
                self._flush_all(lake, outbox)
                places = _places(lake, self._group, shards)
            if is_behind or is_lost:
                # Others have gone on, or the lake was put back to an earlier state: where it stands is where the stream goes on.
                outbox.begin_at(places)
            self._own = {shard: places[shard].sequence if shard in places else -1 for shard in shards}
            self._load(lake, outbox)

    def flush(self, outbox: Outbox, report: Callable[[Flush], None]) -> None:
        """Commit what the outbox holds, some rows at a time, and tell of each commit.

        Raises:
            LostShardError: another service has gone on with a shard.
            StoreError: a commit failed; the outbox still has what is not committed.
        """
        with self._lock, self._connected() as lake, outbox.beside() as beside:
            self._flush_all(lake, beside, report)
            if self.online is not None:
                bases = _bases(lake, self._group)
                # A run has replaced a partition, or another service has loaded what this one then did not have.
                if not _with_new(self._bases or {}, bases) or not self._is_own():
                    self._load_again(lake, beside)
                self._bases = bases

    def load(self, outbox: Outbox) -> None:
        """Bring the namespace to the lake and the outbox.

        Raises:
            LostShardError: another service has gone on with a shard.
            StoreError: a store cannot be read or written.
        """
        with self._lock, self._connected() as lake, outbox.beside() as beside:
            self._load_again(lake, beside)

    def _load_again(self, lake: Lake, outbox: Outbox) -> None:
        """A load while the service runs, which has kept whatever it has put online.

        Raises:
            LostShardError: the namespace holds later events of its shards.
        """
        if self.online is not None:
            positions = {shard: at.sequence for shard, at in outbox.positions().items()}
            own = {shard: positions.get(shard, -1) for shard in self._shards}
            for reached in self.online.positions():
                refuse_foreign(self._group, own, reached, "put online")
        self._load(lake, outbox)

    def _flush_all(self, lake: Lake, outbox: Outbox, report: Callable[[Flush], None] = lambda one: None) -> None:
        # What comes meanwhile waits for the next flush: else a commit that takes as long as the next event would follow another for ever.
        newest, last = outbox.newest(), 0
        while last < newest and (batches := outbox.batches(at_most_rows=FLUSH_ROWS)) is not None:
            last = batches.last
            own, self._own = self._own, None  # until it is sure that it was committed
            result = flush(lake, self._group, batches, run_id=self._run_id, own=own)
            self._own = {shard: result.positions.get(shard, -1) for shard in self._shards}
            outbox.discard(batches.last, result.positions)
            if result.commit.changed:
                self._commit = result.commit.snapshot, result.positions
            self._advance(lake)
            report(result)
        self._advance(lake)

    def _advance(self, lake: Lake) -> None:
        """Let the namespaces say that they hold the last commit, if they do: of a backlog, what was flushed comes online later."""
        if self.online is None or self._commit is None:
            return
        snapshot, positions = self._commit
        with lake.one_snapshot():
            # Nobody has replaced a partition since the namespace was loaded: it holds what this snapshot has.
            if (
                lake.snapshot() != snapshot
                or not _with_new(self._bases or {}, _bases(lake, self._group))
                or self.online.advance(lake, snapshot, positions)
            ):
                self._commit = None

    def _load(self, lake: Lake, outbox: Outbox) -> None:
        if self.online is not None:
            # Asked before: what changes meanwhile is loaded once more.
            self._bases = _bases(lake, self._group)
            self.online.load(lake, outbox, self._shards)
            self._commit = None

    def _is_own(self) -> bool:
        """Whether the namespaces are as this service has written them."""
        assert self.online is not None
        try:
            return self.online.are_own()
        except StoreError:  # it is away, which a turn sees
            return True

    @contextmanager
    def _connected(self) -> Iterator[Lake]:
        """The lake, open for many uses; after an error it is opened again."""
        if self._lake is None or self._uses >= _FLUSHES_A_CONNECTION:
            self._close()
            self._lake, self._uses = self._open.enter_context(self._store.connect()), 0
        self._uses += 1
        try:
            yield self._lake
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        self._lake = None
        self._open.close()
        self._open = ExitStack()


def _places(lake: Lake, group: FeatureGroup, shards: Sequence[int]) -> dict[int, Position]:
    """Where the lake stands, of some shards."""
    places = lake.stream_places(group.table)
    return {s: Position(places[s][0], places[s][0], places[s][1] or None) for s in shards if s in places}


def _bases(lake: Lake, group: FeatureGroup) -> dict[str, str]:
    """Of each partition the data version that it had when it was replaced last."""
    return {key: appended_to(record) for key, record in lake.ledger(group.table).items()}


def _with_new(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Whether no partition was replaced between two looks: there may be new ones, which began with an append."""
    return all(before.get(key, "") == base for key, base in after.items()) and before.keys() <= after.keys()


def _refuse_other_types(lake: Lake, group: FeatureGroup) -> None:
    stored, types = lake.types(group.table), lake_types(group)
    other = [
        f"{name} is stored as {stored[name]} and declared as {kind}"
        for name, kind in types.items()
        if stored.get(name, kind) != kind
    ]
    if other:
        raise SchemaChangedError(
            f"{group.table.full_name} has columns of other types than events are stored in: {list_some(other)}. Raise the version, so "
            f"that the stream gets a table of its own, or start over if what is stored is not needed: fti reset {group.table_name}"
        )
