"""Which of some rows in an order stand at an instant: how many, the n-th of them, and how many before one.

Each row stands from one moment until another, whatever its place in the order. The n-th that stands is found bit by bit of its
place, with what entered and what left counted apart: a wavelet tree of both sequences, of Grossi, Gupta and Vitter, "High-order
entropy-compressed text indexes" (2003).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Moments:
    """Some instants, as what had happened by each: how many rows had entered and how many had left.

    Args:
        entered: rows of all groups; those of earlier groups have all entered.
        left: and have all left.
    """

    entered: Whole
    left: Whole

    @property
    def number(self) -> Whole:
        """How many rows stand."""
        return self.entered - self.left

    def __getitem__(self, which: NDArray[np.generic]) -> Moments:
        return Moments(self.entered[which], self.left[which])


class Standing:
    """Rows in an order, by when each enters and leaves.

    A moment is a whole number that grows with the group and, within one, with time, and all rows of a group have left before
    the first moment of the next: so one sequence holds them all.

    Args:
        enters: the moment from which on a row stands.
        leaves: the moment from which on it does no more; one that is not after ``enters`` stands never.
    """

    def __init__(self, enters: Whole, leaves: Whole) -> None:
        leaves = np.maximum(enters, leaves)
        self._entering, self._leaving = np.argsort(enters, kind="stable"), np.argsort(leaves, kind="stable")
        self._enters, self._leaves = enters[self._entering], leaves[self._leaving]
        rows = np.arange(len(enters))
        self.first_in_first_out = bool((self._entering == rows).all() and (self._leaving == rows).all())

    def at(self, moments: Whole) -> Moments:
        """What has happened by each moment."""
        return Moments(
            np.searchsorted(self._enters, moments, side="right"), np.searchsorted(self._leaves, moments, side="right")
        )

    def nth(self, moments: Moments, places: Whole) -> Whole:
        """The row at a place among those that stand, counted from 0; there must be one."""
        if self.first_in_first_out:
            result: Whole = moments.left + places
            return result
        entered, left, node = moments.entered, moments.left, np.zeros(len(places), np.int64)
        for shift, entered_zeros, left_zeros in self._levels():
            start = node << (shift + 1)
            low_entered = entered_zeros[start + entered] - entered_zeros[start]
            low_left = left_zeros[start + left] - left_zeros[start]
            low = low_entered - low_left
            is_high = places >= low
            places = np.where(is_high, places - low, places)
            entered = np.where(is_high, entered - low_entered, low_entered)
            left = np.where(is_high, left - low_left, low_left)
            node = (node << 1) + is_high.astype(np.int64)
        return node

    def before(self, moments: Moments, rows: Whole) -> Whole:
        """How many of the rows that stand come before a row in the order."""
        if self.first_in_first_out:
            before: Whole = np.minimum(np.maximum(rows - moments.left, 0), moments.number)
            return before
        entered, left, counts = moments.entered, moments.left, np.zeros(len(rows), np.int64)
        for shift, entered_zeros, left_zeros in self._levels():
            start = rows >> (shift + 1) << (shift + 1)
            low_entered = entered_zeros[start + entered] - entered_zeros[start]
            low_left = left_zeros[start + left] - left_zeros[start]
            is_high = (rows >> shift & 1).astype(bool)
            counts = counts + np.where(is_high, low_entered - low_left, 0)
            entered = np.where(is_high, entered - low_entered, low_entered)
            left = np.where(is_high, left - low_left, low_left)
        return counts

    def _levels(self) -> Iterator[tuple[int, Whole, Whole]]:
        """For each bit of a row's place, from the highest on, how many have a 0 there before each position of both sequences.

        In a level the rows are sorted by their higher bits, and of equal ones in the order of the sequence: a node of the tree
        begins where the places of its rows begin.
        """
        number = len(self._enters)
        positions, entering, leaving = np.arange(number), self._entering, self._leaving
        for shift in range(max(0, number - 1).bit_length() - 1, -1, -1):
            starts = positions >> (shift + 1) << (shift + 1)
            (entered_zeros, entering), (left_zeros, leaving) = (
                _divided(sequence, shift, positions, starts) for sequence in (entering, leaving)
            )
            yield shift, entered_zeros, left_zeros


def _divided(sequence: Whole, shift: int, positions: Whole, starts: Whole) -> tuple[Whole, Whole]:
    """The number of rows with a 0 before each position, and the sequence with each node's 0s before its 1s."""
    is_high = (sequence >> shift & 1).astype(bool)
    zeros = np.zeros(len(sequence) + 1, np.int64)
    np.cumsum(~is_high, out=zeros[1:])
    before = zeros[:-1] - zeros[starts]
    # Each place occurs once, so a node with 1s has all of its 0s.
    target = np.where(is_high, positions + (1 << shift) - before, starts + before)
    result = np.empty_like(sequence)
    result[target] = sequence
    return zeros, result
