"""Tensors of the Open Inference Protocol as numpy arrays, and back: as JSON, and as the bytes of its binary extension.

An array of ``BYTES`` has the dtype object and holds Python text: whatever this project serves takes and gives text.
"""

import math
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fti_assets.core.types import EXACT
from fti_assets.core.types.columns import float64_rounds
from fti_assets.errors import RequestError, excerpt, one_of

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}") for sign in ("U", "") for bits in (8, 16, 32, 64)},
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}
"""The protocol's datatypes that this server takes, and the dtype of each."""

_BY_DTYPE = {dtype: name for name, dtype in DATATYPES.items()}
_MOST_DIMENSIONS = 8
_LENGTH = struct.Struct("<I")
_NUMBERS = {int, float}
_LARGEST = int(sys.float_info.max)


def datatype_of(array: np.ndarray) -> str:
    """The protocol's name of an array's dtype."""
    return _BY_DTYPE.get(array.dtype, "BYTES")


def check_shape(name: str, datatype: str, shape: Sequence[Any]) -> int:
    """How many elements a tensor has.

    Raises:
        RequestError: its datatype is none, or its shape is no shape.
    """
    if datatype not in DATATYPES:
        raise RequestError(f"input {name!r} has the datatype {excerpt(datatype)}: {one_of(DATATYPES)} is expected")
    whole = all(size.__class__ is int and 0 <= size < 2**31 for size in shape)
    if not whole or not 0 < len(shape) <= _MOST_DIMENSIONS:
        raise RequestError(
            f"input {name!r} has the shape {excerpt(list(shape))}: 1 to {_MOST_DIMENSIONS} whole numbers from 0 on are expected"
        )
    return math.prod(shape)


def from_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> np.ndarray:
    """An array of JSON values, nested as the shape says or flat; a null is NaN in a tensor of floats.

    Raises:
        RequestError: the values do not fit the shape or the datatype.
    """
    count = check_shape(name, datatype, shape)
    if not isinstance(data, list):
        raise RequestError(f"input {name!r} has the data {excerpt(data)}: a list of {datatype} is expected")
    flat = data
    if len(shape) > 1 and data and data[0].__class__ is list:
        flat = list(_flat(name, shape, data, 0))
    if len(flat) != count:
        raise RequestError(f"input {name!r} of shape {list(shape)} has {len(flat)} values: {count} are expected")
    return _to_array(name, datatype, flat).reshape(shape)


def from_bytes(name: str, datatype: str, shape: Sequence[int], content: memoryview) -> np.ndarray:
    """An array of a tensor's bytes: little-endian, a ``BYTES`` element behind its length of four bytes.

    Raises:
        RequestError: the bytes are too few or too many, or are no UTF-8.
    """
    count = check_shape(name, datatype, shape)
    if datatype == "BYTES":
        return _texts(name, count, content).reshape(shape)
    dtype = DATATYPES[datatype]
    if len(content) != count * dtype.itemsize:
        raise RequestError(
            f"input {name!r} of shape {list(shape)} and datatype {datatype} has {len(content)} bytes: "
            f"{count * dtype.itemsize} are expected"
        )
    if datatype == "BOOL":  # any byte but 0 is true, which numpy alone would keep as it is
        return np.not_equal(np.frombuffer(content, dtype=np.uint8), 0).reshape(shape)  # type: ignore[no-any-return]
    # The protocol says little-endian whatever the machine is; on most the cast copies nothing.
    return np.frombuffer(content, dtype=dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)


def to_json(array: np.ndarray) -> list[Any]:
    """The values of an array in row-major order; NaN and the infinities, which JSON has not, are null."""
    if array.dtype.kind == "f":
        return [value if math.isfinite(value) else None for value in array.ravel().tolist()]
    return array.ravel().tolist()  # type: ignore[no-any-return]


def to_bytes(array: np.ndarray) -> bytes:
    """The bytes of an array, as ``from_bytes`` reads them."""
    if array.dtype.kind != "O":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    parts = []
    for text in array.ravel().tolist():
        content = str(text).encode()
        parts += [_LENGTH.pack(len(content)), content]
    return b"".join(parts)


def _flat(name: str, shape: Sequence[int], data: Any, depth: int) -> Iterator[Any]:
    if data.__class__ is not list or len(data) != shape[depth]:
        length = len(data) if data.__class__ is list else excerpt(data)
        raise RequestError(
            f"input {name!r} of shape {list(shape)} has {length} at depth {depth} of its data: "
            f"a list of {shape[depth]} is expected"
        )
    if depth == len(shape) - 1:
        yield from data
        return
    for part in data:
        yield from _flat(name, shape, part, depth + 1)


def _to_array(name: str, datatype: str, values: list[Any]) -> np.ndarray:
    dtype, kinds = DATATYPES[datatype], set(map(type, values))
    if datatype == "BYTES":
        _check(name, datatype, values, kinds <= {str, type(None)}, "text")
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    if datatype == "BOOL":
        _check(name, datatype, values, kinds <= {bool}, "true or false")
        return np.array(values, dtype=dtype)
    if dtype.kind == "f":
        _check(name, datatype, values, kinds <= {*_NUMBERS, type(None)}, "a number or null")
        if int in kinds and datatype == "FP64":
            _refuse_rounded(name, values)
        try:
            with np.errstate(over="ignore"):
                array = np.array([math.nan if value is None else value for value in values], dtype=dtype)
        except OverflowError:
            array = np.array([math.inf])
        if np.isinf(array).any():  # JSON has no infinity, so that one stands for a number without room
            raise RequestError(f"input {name!r} has a number that is beyond the largest of {datatype}")
        return array
    # By exact class: to isinstance, true is a whole number.
    _check(name, datatype, values, kinds <= {int}, "a whole number")
    try:
        return np.array(values, dtype=dtype)
    except OverflowError as error:
        raise RequestError(f"input {name!r} has a whole number that is beyond those of {datatype}") from error


def _refuse_rounded(name: str, values: list[Any]) -> None:
    """Refuse whole numbers that float64 would round, before nobody can tell any more: their field may take them whole, as INT64."""
    for position, value in enumerate(values):
        if value.__class__ is int and EXACT <= abs(value) <= _LARGEST and float64_rounds(value, float(value)):
            raise RequestError(
                f"input {name!r} of datatype FP64 has {excerpt(value)} at position {position}: float64 rounds it, as it merges whole "
                "numbers from 2**53 on: send INT64 where the input takes it; an id is text"
            )


def _check(name: str, datatype: str, values: list[Any], fits: bool, expectation: str) -> None:
    if fits:
        return
    kinds = {"text": (str,), "true or false": (bool,), "a whole number": (int,)}.get(expectation, (int, float))
    position, value = next(
        (position, value)
        for position, value in enumerate(values)
        if value.__class__ not in kinds and not (value is None and expectation in ("text", "a number or null"))
    )
    raise RequestError(
        f"input {name!r} of datatype {datatype} has {excerpt(value)} at position {position}: {expectation} is expected"
    )


def _texts(name: str, count: int, content: memoryview) -> np.ndarray:
    texts: list[str] = []
    place, end = 0, len(content)
    while place < end and len(texts) < count:
        length = _LENGTH.unpack_from(content, place)[0] if place + 4 <= end else -1
        if length < 0 or place + 4 + length > end:
            raise RequestError(
                f"input {name!r} ends within its element {len(texts)}: each of BYTES is a length of four bytes and as many bytes"
            )
        try:
            texts.append(str(content[place + 4 : place + 4 + length], "utf-8"))
        except UnicodeDecodeError as error:
            raise RequestError(f"input {name!r} has bytes in element {len(texts)} that are not UTF-8 text") from error
        place += 4 + length
    if len(texts) != count or place != end:
        raise RequestError(
            f"input {name!r} has {len(texts)} elements and {end - place} bytes after them: {count} elements are expected"
        )
    array = np.empty(count, dtype=object)
    array[:] = texts
    return array
