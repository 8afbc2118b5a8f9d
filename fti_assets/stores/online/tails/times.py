"""Times in a blob as a sequence of whole numbers."""

import sys
from collections.abc import Sequence

import numpy as np


def times_at(blob: bytes, at: int, number: int) -> Sequence[int]:
    """``number`` times from some byte on, in which can be searched without copying them."""
    if sys.byteorder == "little":
        return memoryview(blob)[at : at + 8 * number].cast("q")
    times: list[int] = np.frombuffer(blob, "<i8", number, at).tolist()
    return times
