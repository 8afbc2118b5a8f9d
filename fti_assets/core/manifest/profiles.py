"""Profiles: how the values of features and label were spread over a dataset's train rows, for what is compared with them later."""

import math
import sys
from collections.abc import Sequence
from dataclasses import field
from itertools import pairwise

import numpy as np

from fti_assets.core.records import record
from fti_assets.core.types import ColumnType

PROFILE = "profile.json"
"""The file of a build that holds the profile of its dataset."""

RULE = "quantiles-20-2"
"""How bins and categories are made, with a version of its own: quantiles by twentieths, and the 50 most frequent categories.

An edge is the value at rank ``ceil(i * n / 20)`` of the ``n`` sorted numbers, for ``i`` from 1 to 19, each value once, an infinite one as
the largest finite of its sign. A value at two of these ranks, or at the first and at ``ceil(n / 40)``, is that of many rows, and has a
bin of its own: the next float32 below it, which is what a model can tell apart from it, is an edge too. A bin holds what is above the
edge before it and at most its own; the first one and the last one are open. NaN counts as null, and so does empty text. Categories that
are as frequent as each other come by name. ``quantiles-20-1`` had no edge below a value of many rows, and none for infinite ones.
"""
BINS = 20
CATEGORIES = 50
RANKS = (1 / (2 * BINS), *(number / BINS for number in range(1, BINS)))
"""The shares of the sorted numbers whose last values make the edges."""
LARGEST = sys.float_info.max
"""The edge that parts what is infinite from what is not."""


def edges_of_ranks(values: Sequence[float]) -> tuple[float, ...]:
    """The edges by ``RULE``.

    Args:
        values: the number at each of ``RANKS``, in their order; none of no numbers.

    >>> [round(edge, 3) for edge in edges_of_ranks([0.0] * 12 + [4.0, *range(10, 17)])]
    [-0.0, 0.0, 4.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0]
    """
    edges = {min(max(float(value), -LARGEST), LARGEST) for value in values[1:]}
    for value, following in pairwise(values):
        if value == following and math.isfinite(value):
            edges.add(_next_below(float(value)))
    return tuple(sorted(edges))


def _next_below(value: float) -> float:
    with np.errstate(over="ignore"):
        below = float(np.nextafter(np.float32(value), np.float32(-np.inf)))
    return below if math.isfinite(below) else float(np.nextafter(value, -LARGEST))


@record(frozen=True)
class Bins:
    """The edges and counts of numbers, one count more than edges; neither without any number."""

    edges: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()


@record(frozen=True)
class ColumnProfile:
    """The values of a column.

    ``rows`` counts all, ``nulls`` those without a value. A number has ``edges`` and one count a bin, one more than edges; without any
    value it has neither. A vector has the edges and counts of its Euclidean norm to five digits, missing numbers being 0, the ``dim``
    of most rows, and ``directions``: bins of its projection on each of some pinned directions, none in profiles of earlier releases.
    Text and booleans have the rows of each category, ``rest`` of all others, and how many of those there are. Counts of a dataset
    that keeps a sample of classes are of the rows before it, as far as the sample tells.
    """

    name: str
    type: ColumnType
    rows: float
    nulls: float
    edges: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()
    categories: dict[str, float] = field(default_factory=dict)
    rest: float = 0
    further_categories: int = 0
    dim: int | None = None
    directions: tuple[Bins, ...] = ()


@record(frozen=True)
class Profile:
    """The features and the label of a dataset's train rows; ``rule`` says how bins and categories were made.

    ``answers`` is of a build's answers on its test rows, each called as prediction tables call it: the answer of several numbers is its
    most probable class, of quantiles and composites each number under ``<output>.<name>``. Datasets and builds of earlier releases
    have none. Of several labels ``label`` is the first, and ``labels`` has them all.
    """

    features: tuple[ColumnProfile, ...]
    label: ColumnProfile
    rule: str = RULE
    answers: tuple[ColumnProfile, ...] = ()
    labels: tuple[ColumnProfile, ...] = ()
