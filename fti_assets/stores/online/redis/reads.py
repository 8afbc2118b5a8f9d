"""Reading namespaces of a Redis server: several in one round trip."""

import time
from collections.abc import Sequence
from typing import Any

from fti_assets.errors import DamagedError, NotMaterializedError, one_of
from fti_assets.stores.online.about import About
from fti_assets.stores.online.fetcher import Many, One
from fti_assets.stores.online.redis.server import MARKER, RedisServer, from_json
from fti_assets.stores.online.redis.wire import UnexpectedAnswerError, hmget, read_values

_TRIES = 5
_CHECK_SECONDS = 1.0


class RedisReads:
    """Reads blobs of several namespaces, one round trip for all of them.

    It talks to a connection of each thread itself, which takes less than half the time of the client's pipeline.
    """

    def __init__(self, server: RedisServer, namespaces: Sequence[str]) -> None:
        self._server = server
        self._namespaces = list(namespaces)
        self._next_check = 0.0

    def abouts(self) -> list[About]:
        if not self._namespaces:
            return []
        with self._server.store_errors():
            before: list[About] = []
            in_vain = 0
            while in_vain < _TRIES:  # of what stays the same: who loads all the time holds up nobody for ever
                store_errors: Any = self._server.client.hmget(self._server.key("about"), self._namespaces)
                for namespace, match in zip(self._namespaces, store_errors, strict=True):
                    if match is None:
                        raise NotMaterializedError(
                            f"online namespace {namespace!r} is no longer in {self._server}: load it again"
                        )
                abouts = [
                    from_json(match, namespace, what=self.where(position))
                    for position, (namespace, match) in enumerate(zip(self._namespaces, store_errors, strict=True))
                ]
                generations, _ = self.one(abouts, [None] * len(abouts))
                if generations == tuple(about.generation for about in abouts):
                    return abouts
                in_vain = in_vain + 1 if abouts == before else 0
                before = abouts
        raise DamagedError(
            f"the rows of {one_of(self._namespaces)} in the online store {self._server} are gone: the server has evicted "
            "them, or someone else removed or changed them. Give it memory and a policy that evicts no key of ours (noeviction), and "
            "load the groups again"
        )

    def one(self, abouts: Sequence[About], keys: Sequence[bytes | None]) -> One:
        if not abouts:  # nothing would be answered, and waited for
            return (), []
        places = [about.place for about in abouts]
        with self._server.store_errors():
            try:
                result = self._few(places, keys)
            except self._server.connection_error:
                result = self._few(places, keys)
        generations = tuple([generation_of(blobs[0]) for blobs in result])
        read = [blobs[1] if len(blobs) > 1 else None for blobs in result]
        self._check_absence(abouts, [key is not None and blob is None for key, blob in zip(keys, read, strict=True)])
        return generations, read

    def many(self, abouts: Sequence[About], keys: Sequence[Sequence[bytes]]) -> Many:
        result = self._trip(
            [("HMGET", about.place, MARKER, *of_namespace) for about, of_namespace in zip(abouts, keys, strict=True)]
        )
        self._check_absence(abouts, [None in blobs[1:] for blobs in result])
        return tuple([generation_of(blobs[0]) for blobs in result]), [blobs[1:] for blobs in result]

    def _check_absence(self, abouts: Sequence[About], is_absent: Sequence[bool]) -> None:
        """Compare how many keys namespaces have with how many they say, where a key was absent; at most once a second.

        Raises:
            DamagedError: one has lost keys, of which any may be the one that was asked for.
        """
        if not any(is_absent) or time.monotonic() < self._next_check:
            return
        places = [position for position, absent in enumerate(is_absent) if absent]
        # The generation after the count, which only grows: if it is the one that is known, so was it when they were counted.
        result = self._trip([
            command
            for position in places
            for command in (("HLEN", abouts[position].place), ("HMGET", abouts[position].place, MARKER))
        ])  # fmt: skip
        for position, fields, (marker,) in zip(places, result[::2], result[1::2], strict=True):
            about = abouts[position]
            if generation_of(marker) == about.generation and fields != about.keys + 1:
                raise DamagedError(
                    f"the online namespace {self.where(position)} says that it has {about.keys} keys, and has {max(0, fields - 1)}: "
                    "someone removed or added some, and one that is absent may be a known one. Load the group again"
                )
        self._next_check = time.monotonic() + _CHECK_SECONDS

    def where(self, position: int) -> str:
        return f"{self._server} {self._namespaces[position]}"

    def _few(self, places: Sequence[str], keys: Sequence[bytes | None]) -> list[Any]:
        """The marker, and a key if there is one, of each place: what ``_exchange`` gives, in a third of the time."""
        connection = self._server.connection()
        # The client connects, and says who it is; a version of it without this name goes the slower way.
        own_socket = getattr(connection, "_sock", None)
        if own_socket is not None:
            pairs = zip(places, keys, strict=True)
            try:
                own_socket.sendall(b"".join([hmget(place, MARKER, key) for place, key in pairs]))
                return read_values(own_socket.recv, len(places))
            except UnexpectedAnswerError:  # the client knows what it is
                connection.disconnect()
            except TimeoutError as error:
                connection.disconnect()
                raise self._server.late("Timeout reading from socket") from error
            except OSError as error:
                connection.disconnect()
                raise self._server.connection_error(str(error)) from error
            except BaseException:
                connection.disconnect()  # answers may still be on their way
                raise
        return self._exchange(
            [
                ("HMGET", place, MARKER) if key is None else ("HMGET", place, MARKER, key)
                for place, key in zip(places, keys, strict=True)
            ]
        )

    def _trip(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Send commands and read their answers, once more on a new connection if the one of before is broken."""
        with self._server.store_errors():
            try:
                return self._exchange(commands)
            except self._server.connection_error:
                return self._exchange(commands)

    def _exchange(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        connection = self._server.connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            return [connection.read_response() for _ in commands]
        except BaseException:
            connection.disconnect()  # answers may still be on their way
            raise


def generation_of(marker: bytes | None) -> int | None:
    """The generation that a namespace's rows name, None if they name none."""
    try:
        return None if marker is None else int(marker)
    except ValueError:
        return None
