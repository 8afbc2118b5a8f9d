"""How the keys of a namespace become bytes: each key its own, the same ones in every process."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from fti_assets.core.times import from_microseconds, microseconds, naive_utc
from fti_assets.core.types import KEY_TYPES, SIDES, ColumnType
from fti_assets.errors import DataError, one_of
from fti_assets.stores.online.versions import Key

_OF_NUMBER: dict[ColumnType, Callable[[int], Any]] = {"boolean": bool, "timestamp": from_microseconds}


def row_encoder(
    encode: Callable[[Key], bytes], key_types: Sequence[ColumnType], slots: Sequence[int]
) -> Callable[[Sequence[Any]], bytes | None]:
    """The function from a row that holds a key's parts at some slots to the encoded key, None if a part is missing."""
    if len(slots) == 1:
        [slot] = slots
        if tuple(key_types) == ("text",):

            def encode_text(row: Sequence[Any]) -> bytes | None:
                part = row[slot]
                if part.__class__ is str:
                    return part.encode()  # type: ignore[no-any-return]
                return None if part is None else encode((part,))

            return encode_text
        return lambda row: None if (part := row[slot]) is None else encode((part,))

    def encode_row(row: Sequence[Any]) -> bytes | None:
        key = tuple([row[slot] for slot in slots])
        return None if None in key else encode(key)

    return encode_row


def column_encoder(
    encode: Callable[[Key], bytes], key_types: Sequence[ColumnType], slots: Sequence[int]
) -> Callable[[Sequence[Sequence[Any]]], list[bytes | None]]:
    """The function from ``n`` rows in columns, in which a key's parts are at some slots, to their encoded keys."""
    if len(slots) == 1:
        [slot] = slots
        if tuple(key_types) == ("text",):
            of_row = row_encoder(encode, key_types, (0,))

            def encode_texts(columns: Sequence[Sequence[Any]]) -> list[bytes | None]:
                column = columns[slot]
                try:
                    return list(map(str.encode, column))
                except TypeError:  # one is missing, or no text
                    return [of_row((one,)) for one in column]

            return encode_texts
        return lambda columns: [None if part is None else encode((part,)) for part in columns[slot]]
    return lambda columns: [
        None if None in key else encode(key) for key in zip(*[columns[slot] for slot in slots], strict=True)
    ]


def key_encoder(key_types: Sequence[ColumnType], namespace: str) -> Callable[[Key], bytes]:
    """The function from the keys of a namespace to bytes: one text is its UTF-8, else texts carry their length. A time is
    its microseconds since 1970 in UTC.

    Raises:
        DataError: a type cannot be a key's; the encoder itself raises it for a key of other types.
    """
    if not key_types or not set(key_types) <= set(KEY_TYPES):
        raise DataError(
            f"online namespace {namespace!r} has keys of types {one_of(key_types)}: each is {one_of(KEY_TYPES)}"
        )
    kinds: list[type] = [SIDES[kind].plain for kind in key_types]

    def check_key(key: Key) -> Key:
        if [type(part) for part in key] != kinds:
            result = ", ".join(type(part).__name__ for part in key)
            raise DataError(
                f"key {key!r} of online namespace {namespace!r} has types ({result}), not {tuple(key_types)}"
            )
        return key

    def encode(key: Key) -> bytes:
        parts = []
        for part in check_key(key):
            if part.__class__ is str:
                text = part.encode()
                # The length in front keeps ("a", "b:c") and ("a:b", "c") apart.
                parts.append(b"%d:%b" % (len(text), text))
            elif part.__class__ is datetime:
                parts.append(b"%d;" % microseconds(naive_utc(part)))
            else:
                parts.append(b"%d;" % part)
        return b"".join(parts)

    def encode_text(key: Key) -> bytes:
        text: str = key[0] if len(key) == 1 and key[0].__class__ is str else check_key(key)[0]
        return text.encode()

    return encode_text if kinds == [str] else encode


def key_decoder(key_types: Sequence[ColumnType]) -> Callable[[bytes], Key]:
    """The function from the bytes that ``key_encoder`` makes to the key.

    >>> encode, decode = key_encoder(("text", "integer"), "planes_v1"), key_decoder(("text", "integer"))
    >>> decode(encode(("JFK", 7)))
    ('JFK', 7)
    """
    if tuple(key_types) == ("text",):
        return lambda blob_key: (blob_key.decode(),)

    def decode(blob_key: bytes) -> Key:
        parts: list[Any] = []
        start = 0
        for kind in key_types:
            if kind == "text":
                colon = blob_key.index(b":", start)
                end = colon + 1 + int(blob_key[start:colon])
                parts.append(blob_key[colon + 1 : end].decode())
                start = end
            else:
                end = blob_key.index(b";", start)
                parts.append(_OF_NUMBER.get(kind, int)(int(blob_key[start:end])))
                start = end + 1
        return tuple(parts)

    return decode
