"""Vectors: the numbers of a list column of one length, such as an embedding, as every side of the library has them.

The canonical array of a column of vectors is ``[n]`` objects: float32 arrays ``[dim]``, NaN for an element that is missing, and None for a
vector that is missing as a whole. A graph takes float32 ``[n, dim]``, where a missing vector is NaN throughout.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fti_assets.errors import DataError

_SINGLE = np.dtype("float32")


def vector(value: Any) -> np.ndarray | None:
    """A list or array of numbers as float32 ``[dim]``; None for None. A null among them is NaN, what is beyond float32 infinite.

    >>> vector([0.5, None, 1e300])
    array([0.5, nan, inf], dtype=float32)
    """
    if value is None:
        return None
    if isinstance(value, np.ma.MaskedArray):
        value = np.ma.filled(value.astype(np.float64), np.nan)
    numbers = np.asarray(value, dtype=np.float64 if isinstance(value, list | tuple) else None)
    with np.errstate(over="ignore", under="ignore"):
        return numbers.astype(_SINGLE, copy=False)


def vectors(values: Iterable[Any]) -> np.ndarray:
    """Lists or arrays of numbers, None where missing, as a canonical array ``[n]`` of objects.

    >>> vectors([[1, 2], None]).tolist()
    [array([1., 2.], dtype=float32), None]
    """
    own = [value if value.__class__ is np.ndarray and value.dtype == _SINGLE else vector(value) for value in values]
    array = np.empty(len(own), dtype=object)
    for index, value in enumerate(own):  # a slice would make a matrix of vectors of one length
        array[index] = value
    return array


def are_vectors(values: np.ndarray) -> bool:
    """Whether a canonical array is of vectors; objects are text else, of which none is None.

    >>> are_vectors(vectors([None])), are_vectors(np.array(["a"], dtype=object)), are_vectors(np.array([1.0]))
    (True, False, False)
    """
    return values.dtype == object and len(values) > 0 and not isinstance(values[0], str)


def matrix(values: Sequence[np.ndarray | None] | np.ndarray, dim: int, *, what: str) -> np.ndarray:
    """Vectors as float32 ``[n, dim]``, NaN throughout where one is missing.

    Args:
        values: a canonical array ``[n]`` of vectors.
        dim: how many numbers each has.
        what: what they are, for the error.

    Raises:
        DataError: one has another length.

    >>> matrix(vectors([[1, 2], None]), 2, what="the vector 'image'").tolist()
    [[1.0, 2.0], [nan, nan]]
    """
    for index, value in enumerate(values):
        if value is not None and value.shape != (dim,):
            shape = f"{len(value)} numbers" if value.ndim == 1 else f"the shape {list(value.shape)}"
            raise DataError(f"{what} has {shape} in row {index}, where {dim} numbers are expected")
    result = np.empty((len(values), dim), dtype=np.float32)
    nothing = np.full(dim, np.nan, dtype=np.float32)
    if len(values):
        np.stack([nothing if value is None else value for value in values], out=result)
    return result


def plain_vector(value: np.ndarray | None) -> list[float | None] | None:
    """A vector as JSON has it: a list of numbers, None for NaN; None for None.

    >>> plain_vector(np.array([0.5, np.nan], dtype=np.float32))
    [0.5, None]
    """
    if value is None:
        return None
    numbers: list[float | None] = value.tolist()
    return [None if one != one else one for one in numbers] if np.isnan(value).any() else numbers
