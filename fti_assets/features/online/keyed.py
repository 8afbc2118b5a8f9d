"""The rows of a batch by their encoded keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

_NONE = -1
"""In place of a key for rows that have none."""


def places_of_keys(
    rows: pa.Table, names: Sequence[str], encode: Callable[[tuple[Any, ...]], bytes]
) -> tuple[list[bytes], np.ndarray]:
    """The different encoded keys of some rows in the order of their bytes, and of each row the place of its own, int64 ``[n]``.

    Args:
        rows: ``n`` rows.
        names: the columns of the key; a row with a null in one has no key, and the place -1.
        encode: from a key to its bytes.
    """
    parts = [rows.column(name).combine_chunks().dictionary_encode() for name in names]
    codes = [part.indices.fill_null(_NONE).to_numpy(zero_copy_only=False).astype(np.int64) for part in parts]
    values = [part.dictionary.to_pylist() for part in parts]
    if len(parts) == 1:
        encoded = [encode((value,)) for value in values[0]]
        places = codes[0]
    else:
        together = np.zeros(rows.num_rows, dtype=np.int64)
        for of_part, different in zip(codes, values, strict=True):
            # Far below 2^63 for as many rows as a batch has.
            together = np.where((of_part == _NONE) | (together == _NONE), _NONE, together * len(different) + of_part)
        distinct, first, places = np.unique(together, return_index=True, return_inverse=True)
        places = places.reshape(-1).astype(np.int64)
        if len(distinct) and distinct[0] == _NONE:
            first, places = first[1:], places - 1
        encoded = [
            encode(tuple(of_part[code[row]] for of_part, code in zip(values, codes, strict=True)))
            for row in first.tolist()
        ]
    order = sorted(range(len(encoded)), key=encoded.__getitem__)
    moved = np.full(len(encoded) + 1, _NONE)  # the last one is that of -1
    moved[order] = np.arange(len(encoded))
    return [encoded[place] for place in order], moved[places]
