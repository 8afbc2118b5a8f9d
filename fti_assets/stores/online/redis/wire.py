"""Few small answers of a Redis server, read as they come over the wire: the client's own ways take three times as long.

Both versions of Redis' protocol are spoken, so far as ``HMGET`` needs them.
"""

from collections.abc import Callable
from functools import lru_cache

Values = list[bytes | None]

_READ_BYTES = 65_536
_ARRAY, _TEXT, _NULL = b"*$_"
_END = b"\r\n"


class UnexpectedAnswerError(Exception):
    """The server sent something else than values: an error, or news that nobody asked for."""


def hmget(place: str, marker: bytes, key: bytes | None) -> bytes:
    """The command for a marker, and a key, among the fields at a place, as it is sent.

    >>> hmget("fti:1", b"m", b"JFK")
    b'*4\\r\\n$5\\r\\nHMGET\\r\\n$5\\r\\nfti:1\\r\\n$1\\r\\nm\\r\\n$3\\r\\nJFK\\r\\n'
    """
    if key is None:
        return b"*3\r\n" + _to_marker(place, marker)
    return b"*4\r\n%b$%d\r\n%b\r\n" % (_to_marker(place, marker), len(key), key)


@lru_cache(1_000)
def _to_marker(place: str, marker: bytes) -> bytes:
    parts = (b"HMGET", place.encode(), marker)
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def read_values(receive: Callable[[int], bytes], count: int) -> list[Values]:
    """The answers to so many commands, each an array of values.

    Args:
        receive: the socket's ``recv``.

    Raises:
        ConnectionError: the server closes the connection.
        UnexpectedAnswerError: one is something else; what comes after it is unread.
    """
    data = b""
    while True:
        piece = receive(_READ_BYTES)
        if not piece:
            raise ConnectionError("the server closed the connection")
        data = data + piece if data else piece
        if (results := _parsed(data, count)) is not None:
            return results


def _parsed(data: bytes, count: int) -> list[Values] | None:
    """What the data say; None if they are not whole yet."""
    results: list[Values] = []
    place = 0
    for _ in range(count):
        end = data.find(_END, place)
        if end < 0:
            return None
        if data[place] != _ARRAY:
            raise UnexpectedAnswerError(data[place : place + 80])
        size, place = int(data[place + 1 : end]), end + 2
        values: Values = []
        for _ in range(size):
            end = data.find(_END, place)
            if end < 0:
                return None
            kind = data[place]
            if kind == _NULL or (kind == _TEXT and data[place + 1] == ord("-")):
                values.append(None)
                place = end + 2
            elif kind == _TEXT:
                start = end + 2
                end = start + int(data[place + 1 : start - 2])
                place = end + 2
                if place > len(data):
                    return None
                values.append(data[start:end])
            else:
                raise UnexpectedAnswerError(data[place : place + 80])
        results.append(values)
    return results
