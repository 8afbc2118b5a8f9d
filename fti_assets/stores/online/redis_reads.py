"""Reading namespaces of a Redis server: several in one round trip."""

from collections.abc import Sequence
from typing import Any

from fti_assets.errors import DamagedError, NotMaterializedError, one_of
from fti_assets.stores.online.about import About
from fti_assets.stores.online.reader import Many, One
from fti_assets.stores.online.redis_server import MARKER, RedisServer, from_json

_TRIES = 5


class RedisReads:
    """Reads blobs of several namespaces, one round trip for all of them.

    It talks to a connection of each thread itself, which takes less than half the time of the client's pipeline.
    """

    def __init__(self, server: RedisServer, namespaces: Sequence[str]) -> None:
        self._server = server
        self._namespaces = list(namespaces)

    def abouts(self) -> list[About]:
        if not self._namespaces:
            return []
        with self._server.store_errors():
            for _ in range(_TRIES):
                store_errors: Any = self._server.client.hmget(self._server.key("about"), self._namespaces)
                for namespace, match in zip(self._namespaces, store_errors, strict=True):
                    if match is None:
                        raise NotMaterializedError(
                            f"online namespace {namespace!r} is no longer in {self._server}: load it again"
                        )
                abouts = [from_json(match, what=self.where(position)) for position, match in enumerate(store_errors)]
                generations, _ = self.one(abouts, [None] * len(abouts))
                if generations == tuple(about.generation for about in abouts):
                    return abouts
        raise DamagedError(
            f"the rows of {one_of(self._namespaces)} in the online store {self._server} are gone: the server has evicted "
            "them, or someone else removed them. Give it memory and a policy that evicts no key of ours (noeviction), and "
            "load the groups again"
        )

    def one(self, abouts: Sequence[About], keys: Sequence[bytes | None]) -> One:
        result = self._trip(
            [
                ("HMGET", about.place, MARKER) if key is None else ("HMGET", about.place, MARKER, key)
                for about, key in zip(abouts, keys, strict=True)
            ]
        )
        generations = tuple([_number(blobs[0]) for blobs in result])
        return generations, [blobs[1] if len(blobs) > 1 else None for blobs in result]

    def many(self, abouts: Sequence[About], keys: Sequence[Sequence[bytes]]) -> Many:
        result = self._trip(
            [("HMGET", about.place, MARKER, *of_namespace) for about, of_namespace in zip(abouts, keys, strict=True)]
        )
        return tuple([_number(blobs[0]) for blobs in result]), [blobs[1:] for blobs in result]

    def where(self, position: int) -> str:
        return f"{self._server} {self._namespaces[position]}"

    def _trip(self, commands: list[tuple[Any, ...]]) -> list[list[bytes | None]]:
        """Send commands and read their answers, once more on a new connection if the one of before is broken."""
        with self._server.store_errors():
            try:
                return self._exchange(commands)
            except self._server.broken:
                return self._exchange(commands)

    def _exchange(self, commands: list[tuple[Any, ...]]) -> list[list[bytes | None]]:
        connection = self._server.connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            return [connection.read_response() for _ in commands]
        except BaseException:
            connection.disconnect()  # answers may still be on their way
            raise


def _number(marker: bytes | None) -> int | None:
    return None if marker is None else int(marker)
