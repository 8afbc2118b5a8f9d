"""Values of one type behind one another: as an array, as bytes, and by rank."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from fti_assets.core.types import ColumnType

_DTYPES: dict[ColumnType, str] = {"number": "<f8", "integer": "<i8", "boolean": "u1", "timestamp": "<i8"}
_ONE: dict[ColumnType, struct.Struct] = {
    "number": struct.Struct("<d"),
    "integer": struct.Struct("<q"),
    "boolean": struct.Struct("<?"),
    "timestamp": struct.Struct("<q"),
}
_OFFSET = struct.Struct("<I")
_PAIR = struct.Struct("<II")


def array_of(values: Sequence[Any] | np.ndarray, kind: ColumnType) -> np.ndarray:
    """Values as an array ``[n]`` of their type; what stands for a null is 0 or empty. NaN is one value, and so is 0.0."""
    if kind == "text":
        result = np.empty(len(values), dtype=object)
        result[:] = values
        return result
    array = np.asarray(values, dtype=_DTYPES[kind])
    return array + 0.0 if kind == "number" else array


def ranks(values: np.ndarray) -> np.ndarray:
    """Of each value how many different ones are not greater: 1 for the least; NaN is the greatest, text goes by code point."""
    if values.dtype != object:
        return np.unique(values, return_inverse=True)[1].astype(np.int64).reshape(-1) + 1
    texts = values.tolist()  # numpy compares every two texts that it sorts; of few different ones these alone need be
    place_of = {text: place for place, text in enumerate(sorted({*texts}), 1)}
    return np.fromiter(map(place_of.__getitem__, texts), dtype=np.int64, count=len(texts))


def pack(values: np.ndarray, kind: ColumnType) -> bytes:
    """Values as bytes; of texts first where each begins and the last ends."""
    if kind != "text":
        return values.astype(_DTYPES[kind], copy=False).tobytes()
    texts = values.tolist()
    together = "".join(texts)
    content = together.encode()
    sizes = map(len, texts) if len(content) == len(together) else (len(text.encode()) for text in texts)  # mostly ASCII
    return struct.pack(f"<{len(texts) + 1}I", 0, *accumulate(sizes)) + content


def whole(values: np.ndarray, kind: ColumnType) -> tuple[bytes, int]:
    """Values that are no texts as bytes, and how many bytes each has."""
    return values.astype(_DTYPES[kind], copy=False).tobytes(), np.dtype(_DTYPES[kind]).itemsize


def unpack(places: Sequence[tuple[bytes, int, int]], kind: ColumnType) -> np.ndarray:
    """The values that ``pack`` wrote to some places behind one another; each is a blob, where they begin and how many there are."""
    if kind != "text":
        size = np.dtype(_DTYPES[kind]).itemsize
        return np.frombuffer(b"".join([blob[at : at + size * number] for blob, at, number in places]), _DTYPES[kind])
    texts: list[str] = []
    for blob, at, number in places:
        offsets = struct.unpack_from(f"<{number + 1}I", blob, at)
        begin = at + 4 * (number + 1)
        content = blob[begin : begin + offsets[-1]]
        together = str(content, "utf-8")
        if len(together) == len(content):
            texts += [together[first:end] for first, end in pairwise(offsets)]
        else:
            texts += [str(content[first:end], "utf-8") for first, end in pairwise(offsets)]
    return array_of(texts, kind)


def one(blob: bytes, at: int, number: int, place: int, kind: ColumnType) -> Any:
    """One of the values that ``pack`` wrote."""
    if kind != "text":
        packed = _ONE[kind]
        return packed.unpack_from(blob, at + place * packed.size)[0]
    first, end = _PAIR.unpack_from(blob, at + _OFFSET.size * place)
    begin = at + _OFFSET.size * (number + 1)
    return str(blob[begin + first : begin + end], "utf-8")
