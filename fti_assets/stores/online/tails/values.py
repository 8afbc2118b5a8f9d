"""Values of one type behind one another: as an array, as bytes, and by rank."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
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
    return np.unique(values, return_inverse=True)[1].astype(np.int64).reshape(-1) + 1


def pack(values: np.ndarray, kind: ColumnType) -> bytes:
    """Values as bytes; of texts first where each begins and the last ends."""
    if kind != "text":
        return values.astype(_DTYPES[kind], copy=False).tobytes()
    texts = [value.encode() for value in values.tolist()]
    offsets = np.zeros(len(texts) + 1, dtype="<u4")
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return offsets.tobytes() + b"".join(texts)


def unpack(blob: bytes, at: int, number: int, kind: ColumnType) -> tuple[np.ndarray, int]:
    """The values that ``pack`` wrote, and where their bytes end."""
    if kind != "text":
        array = np.frombuffer(blob, _DTYPES[kind], number, at)
        return array, at + array.nbytes
    offsets = np.frombuffer(blob, "<u4", number + 1, at).tolist()
    begin = at + 4 * (number + 1)
    texts = [blob[begin + first : begin + end].decode() for first, end in pairwise(offsets)]
    return array_of(texts, kind), begin + offsets[-1]


def one(blob: bytes, at: int, number: int, place: int, kind: ColumnType) -> Any:
    """One of the values that ``pack`` wrote."""
    if kind != "text":
        packed = _ONE[kind]
        return packed.unpack_from(blob, at + place * packed.size)[0]
    first, end = _PAIR.unpack_from(blob, at + _OFFSET.size * place)
    begin = at + _OFFSET.size * (number + 1)
    return str(blob[begin + first : begin + end], "utf-8")
