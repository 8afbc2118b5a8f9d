"""The online store across machines: Redis, one HASH a namespace, one checked blob a key.

A whole load writes a HASH of its own beside the one that serves and switches to it in one transaction; what is written
in part is one transaction. One field of the HASH that serves holds the namespace's generation, so that a read sees in
one command whether its answers are still those of the namespace.
"""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

from fti_assets.errors import StoreError
from fti_assets.stores.online.about import About
from fti_assets.stores.online.protocol import OnlineStore, absent, all_whole, checked_namespace, readable_or_none
from fti_assets.stores.online.reader import NamespacesReader
from fti_assets.stores.online.redis.reads import RedisReads, generation_of
from fti_assets.stores.online.redis.server import MARKER, RedisServer, from_json
from fti_assets.stores.online.redis.writer import RedisWriter

_log = logging.getLogger(__name__)
_WAIT_SECONDS = 600.0
_POLL_SECONDS = 0.05
_TRIES = 5
_SCAN_COUNT = 1000
# In one script: between a GET and a DEL the lock may expire and become another writer's.
_IF_HELD = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call({}) end return 0"
_PROLONG, _RELEASE = _IF_HELD.format("'PEXPIRE', KEYS[1], ARGV[2]"), _IF_HELD.format("'DEL', KEYS[1]")


class RedisOnlineStore(OnlineStore):
    """Namespaces on a Redis server, all under one prefix.

    Args:
        location: ``redis://host:port/db?prefix=name``; the prefix is ``fti`` by default. Other options of the URL are
            those of redis-py, such as ``socket_timeout=2``.
        lock_seconds: how long a writer's lock outlives a writer that was killed.

    Raises:
        MissingExtraError: redis-py is not installed.
        StoreError: the location is no address of a server.

    >>> store = RedisOnlineStore("redis://127.0.0.1:6379/0?prefix=flights")  # doctest: +SKIP
    >>> store.reader("weather_v1", columns=["temp"]).get(("JFK",), at_us=1_370_000_000_000_000)  # doctest: +SKIP
    Winner(event_us=1369998000000000, visible_us=1369999800000000, values=(71.6,))
    """

    is_embedded = False

    def __init__(self, location: str, *, lock_seconds: float = 20.0) -> None:
        self._server = RedisServer(location)
        self._lock_seconds = lock_seconds

    @property
    def location(self) -> str:
        return self._server.location

    def __str__(self) -> str:
        return str(self._server)

    def namespaces(self) -> tuple[str, ...]:
        with self._server.store_errors():
            names: Any = self._server.client.hkeys(self._server.key("about"))
        return tuple(sorted(name.decode() for name in names))

    def about(self, namespace: str) -> About | None:
        with self._server.store_errors():
            result: Any = self._server.client.hget(self._server.key("about"), checked_namespace(namespace))
        return None if result is None else from_json(result, namespace, what=f"{self} {namespace}")

    @contextmanager
    def writing(self, namespace: str) -> Iterator[RedisWriter]:
        lock, token = self._server.key("lock", checked_namespace(namespace)), os.urandom(16).hex()
        with self._server.store_errors():
            self._acquire(lock, token)
        self._warn_of_eviction()
        over = Event()
        keeper = Thread(target=self._keep, args=(lock, token, over), name=f"keeps {lock}", daemon=True)
        keeper.start()
        try:
            yield RedisWriter(self._server, namespace, readable_or_none(self, namespace), lock=lock, token=token)
        finally:
            over.set()
            keeper.join()
            with (
                suppress(StoreError),
                self._server.store_errors(),
            ):  # of a server that is out of reach the lock goes by itself
                self._server.client.eval(_RELEASE, 1, lock, token)

    def readers(
        self, selections: Sequence[tuple[str, Sequence[str] | None]], slots: Sequence[Sequence[int]] = ()
    ) -> NamespacesReader:
        for namespace, _ in selections:
            if self.about(namespace) is None:
                raise absent(self, namespace)
        return NamespacesReader(RedisReads(self._server, [namespace for namespace, _ in selections]), selections, slots)

    def everything(self, namespace: str) -> tuple[About, Iterator[tuple[bytes, bytes]]]:
        for _ in range(_TRIES):
            about = self.about(namespace)
            if about is None:
                raise absent(self, namespace)
            with self._server.store_errors():
                rows = dict(self._server.client.hscan_iter(about.place, count=_SCAN_COUNT))
                marker: Any = self._server.client.hget(about.place, MARKER)
            # Keys that are written while they are scanned may come as they were or as they are.
            if generation_of(marker) == about.generation and self.about(namespace) == about:
                del rows[MARKER]
                return about, all_whole(sorted(rows.items()), namespace, f"{self} {namespace}")
        raise StoreError(
            f"online namespace {namespace!r} in {self} was written again {_TRIES} times while it was read whole: do it again when its "
            "loads are done"
        )

    def counts(self, namespace: str) -> tuple[int, int]:
        while True:
            about = self.about(namespace)
            if about is None:
                raise absent(self, namespace)
            with self._server.store_errors():
                fields: Any = self._server.client.hlen(about.place)
            if self.about(namespace) == about:
                return about.keys, max(0, fields - 1)  # one is the generation

    def _warn_of_eviction(self) -> None:
        """Say so if the server may drop what is written: policies over ``allkeys``, where there is a limit to reach."""
        with suppress(StoreError), self._server.store_errors():  # a user who may not ask is not warned
            memory: Any = self._server.client.info("memory")
            policy = str(memory.get("maxmemory_policy", ""))
            if policy.startswith("allkeys") and memory.get("maxmemory"):
                _log.warning(
                    "the online store %s may drop rows: its maxmemory-policy is %s, and at %s bytes it evicts whole namespaces, which "
                    "are then refused until they are loaded again; set noeviction, or a volatile policy",
                    self, policy, memory["maxmemory"],
                )  # fmt: skip

    def _acquire(self, lock: str, token: str) -> None:
        until = time.monotonic() + _WAIT_SECONDS
        while not self._server.client.set(lock, token, nx=True, px=int(self._lock_seconds * 1000)):
            if time.monotonic() > until:
                raise StoreError(
                    f"another writer has held {lock} in the online store {self} for {_WAIT_SECONDS:g} s: wait for its load "
                    "to end, or end it"
                )
            time.sleep(_POLL_SECONDS)

    def _keep(self, lock: str, token: str, over: Event) -> None:
        """Prolong a lock while its writer lives; a writer that has lost it is refused when it commits."""
        while not over.wait(self._lock_seconds / 3):
            with suppress(StoreError), self._server.store_errors():
                self._server.client.eval(_PROLONG, 1, lock, token, int(self._lock_seconds * 1000))
