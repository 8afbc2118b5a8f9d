"""Writing a namespace on a Redis server, under its lock."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import chain, islice
from typing import Any

from fti_assets.errors import StoreError
from fti_assets.stores.online.about import About, Schema, since_us
from fti_assets.stores.online.blobs import Blobs
from fti_assets.stores.online.protocol import chunks, in_order
from fti_assets.stores.online.redis.server import MARKER, RedisServer, to_json
from fti_assets.stores.online.row_cache import Writes

_LEFT_OVER_SECONDS = 3_600
_CHUNK = 500
_CHUNKS_A_TRIP = 10


class RedisWriter:
    """A namespace under its writers' lock; the lock's token fences off a writer that has lost it."""

    def __init__(self, server: RedisServer, namespace: str, about: About | None, *, lock: str, token: str) -> None:
        self.about = about
        self._server, self._client = server, server.client
        self._namespace, self._lock, self._token = namespace, lock, token.encode()
        self._abouts, self._staged = server.key("about"), server.key("staged", namespace)
        self._remove_leftovers()

    def load(self, schema: Schema, blobs: Blobs, *, answers_from: datetime | None, snapshot: int, origin: str) -> int:
        with self._server.store_errors():
            generation = self._number()
            place = self._server.key("rows", self._namespace, str(generation))
            self._client.sadd(self._staged, place)
            try:
                keys = self._stage(place, in_order(self._namespace, blobs))
                about = About(schema, since_us(answers_from), snapshot, keys, origin, generation, place)

                def switch(pipe: Any) -> None:
                    pipe.hset(place, MARKER, generation)
                    pipe.persist(place)
                    pipe.srem(self._staged, place)
                    if self.about is not None:
                        pipe.unlink(self.about.place)

                self._commit(about, switch)
            except BaseException:
                with suppress(StoreError), self._server.store_errors():
                    self._client.unlink(place)
                    self._client.srem(self._staged, place)
                raise
        return keys

    def apply(
        self, blobs: Blobs, removals: Iterable[bytes], *, answers_from: datetime | None, snapshot: int, origin: str
    ) -> int:
        about = self._load()
        with self._server.store_errors():
            updates: list[list[tuple[bytes, bytes]]] = []
            keys = about.keys
            for chunk in chunks(in_order(self._namespace, blobs), _CHUNK):
                before = self._client.hmget(about.place, [key for key, _ in chunk])
                keys += before.count(None)
                updates.append([pair for pair, old in zip(chunk, before, strict=True) if pair[1] != old])
            existing = self._existing(removals)
            keys -= len(existing)
            after = replace(
                about,
                answers_from_us=since_us(answers_from),
                snapshot=snapshot,
                keys=keys,
                origin=origin,
                generation=self._number(),
            )

            def write(pipe: Any) -> None:
                for chunk in filter(None, updates):
                    pipe.hset(about.place, mapping=dict(chunk))
                self._remove(pipe, about.place, existing)
                pipe.hset(about.place, MARKER, after.generation)

            self._commit(after, write)
        return keys

    def blobs(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        result: dict[bytes, bytes] = {}
        with self._server.store_errors():
            for start in range(0, len(keys), _CHUNK):
                chunk = list(keys[start : start + _CHUNK])
                values: Any = self._client.hmget(self._load().place, chunk)
                result |= {key: blob for key, blob in zip(chunk, values, strict=True) if blob is not None}
        return result

    def count_keys(self) -> int:
        with self._server.store_errors():
            return max(0, int(self._client.hlen(self._load().place)) - 1)  # one is the generation

    def delete(self, keys: Iterable[bytes]) -> int:
        about = self._load()
        with self._server.store_errors():
            existing = self._existing(keys)
            after = replace(about, keys=about.keys - len(existing), generation=self._number())

            def write(pipe: Any) -> None:
                self._remove(pipe, about.place, existing)
                pipe.hset(about.place, MARKER, after.generation)

            self._commit(after, write)
        return len(existing)

    def drop(self) -> None:
        if self.about is not None:
            place = self.about.place
            with self._server.store_errors():
                self._commit(None, lambda pipe: pipe.unlink(place))

    def _remove_leftovers(self) -> None:
        """Remove what a load left that was killed before it switched."""
        with self._server.store_errors():
            left: Any = self._client.smembers(self._staged)
            if left:
                self._client.unlink(*left)
                self._client.srem(self._staged, *left)

    def _stage(self, place: str, blobs: Blobs) -> int:
        """Write blobs to a HASH that nobody reads yet, and that goes by itself if this writer is killed."""
        keys = 0
        in_chunks = chunks(blobs, _CHUNK)
        while batch := list(islice(in_chunks, _CHUNKS_A_TRIP)):
            with self._client.pipeline(transaction=False) as pipe:
                for chunk in batch:
                    pipe.execute_command("HSET", place, *chain.from_iterable(chunk))
                    keys += len(chunk)
                pipe.expire(place, _LEFT_OVER_SECONDS)
                pipe.get(self._lock)
                if pipe.execute()[-1] != self._token:
                    raise self._lost_error()
        return keys

    def _existing(self, keys: Iterable[bytes]) -> list[bytes]:
        """Those of some keys that the namespace holds."""
        results, remainder = [], iter(keys)
        while chunk := list(islice(remainder, _CHUNK)):
            blobs = self._client.hmget(self._load().place, chunk)
            results += [key for key, blob in zip(chunk, blobs, strict=True) if blob is not None]
        return results

    def _remove(self, pipe: Any, place: str, keys: Sequence[bytes]) -> None:
        for start in range(0, len(keys), _CHUNK):
            pipe.hdel(place, *keys[start : start + _CHUNK])

    def _number(self) -> int:
        """A number that no write of this store had before."""
        return int(self._client.incr(self._server.key("count")))

    def _commit(self, about: About | None, write: Callable[[Any], Any]) -> None:
        """Write all or nothing, and only while the lock is held."""
        from redis.exceptions import WatchError

        with self._client.pipeline() as pipe:
            while True:
                try:
                    pipe.watch(self._lock)
                    if pipe.get(self._lock) != self._token:
                        raise self._lost_error()
                    pipe.multi()
                    write(pipe)
                    if about is None:
                        pipe.hdel(self._abouts, self._namespace)
                    else:
                        pipe.hset(self._abouts, self._namespace, to_json(about, self._namespace))
                    pipe.execute()
                    break
                except WatchError:  # the lock was prolonged meanwhile, or lost
                    continue
        Writes.count += 1
        self.about = about

    def _load(self) -> About:
        if self.about is None:
            raise StoreError(f"online namespace {self._namespace!r} was never loaded: load it whole first")
        return self.about

    def _lost_error(self) -> StoreError:
        return StoreError(
            f"the writers' lock of online namespace {self._namespace!r} in {self._server} was lost to another writer, since "
            "the server was not reached in time: what was there still serves. Load the group again"
        )
