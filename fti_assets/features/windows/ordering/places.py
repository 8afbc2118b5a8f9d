"""What stands at a place of an order: the first and last rows, the first and last different values, percentiles."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from fti_assets.features.windows.ordering.standing import Moments, Standing, Whole

NOTHING = -1
"""The number of a row that there is not."""


def nth_rows(standing: Standing, moments: Moments, n: int, *, last: bool) -> Whole:
    """The first or last ``n`` rows at each moment, ``[n, moments]``; ``NOTHING`` where there are fewer."""
    numbers = moments.number
    places = np.repeat(np.arange(n)[:, None], len(numbers), axis=1)
    exists = places < numbers
    rows = np.full(exists.shape, NOTHING, np.int64)
    _, which = np.nonzero(exists)
    of = (numbers - 1 - places)[exists] if last else places[exists]
    rows[exists] = standing.nth(moments[which], of)
    return rows


def percentiles(
    values: NDArray[np.float64], standing: Standing, moments: Moments, share: Fraction
) -> NDArray[np.float64]:
    """The value in place ``(n - 1) * share`` of the sorted ones that stand at each moment, of which there are some."""
    above = (moments.number - 1) * share.numerator
    places, parts = above // share.denominator, above % share.denominator
    between = np.nonzero(parts)[0]
    rows = standing.nth(
        Moments(
            np.concatenate([moments.entered, moments.entered[between]]),
            np.concatenate([moments.left, moments.left[between]]),
        ),
        np.concatenate([places, places[between] + 1]),
    )
    results = values[rows]
    result, high = results[: len(places)], results[len(places) :]
    low, part = result[between], parts[between] / share.denominator
    with np.errstate(invalid="ignore"):  # of both infinities
        mixed = low * (1 - part) + high * part
    # Rounded, it may lie a step beyond the two.
    result[between] = np.where(low == high, low, np.minimum(np.maximum(mixed, low), high))
    return result


def spans_of_values(codes: Whole, enters: Whole, leaves: Whole, *, last: bool) -> tuple[Whole, Whole, Whole]:
    """From when until when a row is the last, or the first, of those with its value: rows, and where each span begins and ends.

    Args:
        codes: a number for each row's group and value, from 0 on; rows are in their order.
        enters: the moment from which on a row stands; ``leaves`` likewise.
    """
    times, places = np.unique(np.concatenate([enters, leaves]), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    of_code = codes[order] * len(times)
    starts, ends = of_code + places[: len(codes)][order], of_code + places[len(codes) :][order]
    standing = Standing(starts, ends)
    changes = np.unique(np.concatenate([starts, ends]))
    moments = standing.at(changes)
    some = np.nonzero(moments.number)[0]
    nth = moments.number[some] - 1 if last else np.zeros(len(some), np.int64)
    rows = order[standing.nth(moments[some], nth)]
    # A change after which a value stands is not its last one, since its last row leaves.
    return rows, times[changes[some] % len(times)], times[changes[some + 1] % len(times)]
