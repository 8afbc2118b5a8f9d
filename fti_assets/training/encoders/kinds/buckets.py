"""Bucketize: which of some intervals a number lies in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.errors import DeclarationError, excerpt
from fti_assets.training.encoders.fitted import FittedNumber
from fti_assets.training.encoders.kinds.scales import finite_singles, is_single, quantiles_of
from fti_assets.training.encoders.nodes import Nodes, Places


@checked_arguments()
@dataclass(frozen=True)
class Bucketize:
    """One 0/1 column for each interval of a number; a missing number gives all zeros.

    For number, integer and boolean columns. An interval includes its lower edge and excludes its upper one; the first and the last
    are unbounded, so they include infinite values. Source: ``numpy.digitize``; train edges as in scikit-learn's
    ``KBinsDiscretizer`` with ``strategy="quantile"``: quantiles by linear interpolation, with equal ones merged.

    Args:
        buckets: the number of intervals, with edges between them at equal shares of train.
        edges: the edges themselves, ascending.

    Raises:
        DeclarationError: neither or both are given, there are fewer than 2 buckets, or the edges do not ascend as float32.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Bucketize(edges=(0, 10)), np.array([1.0]), "number")
    FittedBucketize(edges=(0.0, 10.0), kind='bucketize')
    >>> fit(Bucketize(2), np.array([1.0, 5.0, 9.0]), "number")
    FittedBucketize(edges=(5.0,), kind='bucketize')
    """

    buckets: int | None = None
    edges: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if (self.buckets is None) == (self.edges is None):
            raise DeclarationError(
                f"{excerpt(self)}: give a number of buckets, as in fti.Bucketize(10), or edges=(0, 10, 60)"
            )
        if self.buckets is not None and (
            isinstance(self.buckets, bool) or not isinstance(self.buckets, int) or not 2 <= self.buckets <= 10_000
        ):
            raise DeclarationError(f"Bucketize({excerpt(self.buckets)}): give a whole number from 2 to 10000")
        if self.edges is None:
            return
        object.__setattr__(self, "edges", tuple(self.edges))
        if (
            not self.edges
            or not all(map(is_single, self.edges))
            or (np.diff(np.array(self.edges, np.float32)) <= 0).any()
        ):
            raise DeclarationError(
                f"Bucketize(edges={excerpt(self.edges)}): give finite numbers, each above the one before"
            )


@dataclass(frozen=True)
class FittedBucketize(FittedNumber):
    """The edges between the intervals, ascending; none if train has but one value."""

    edges: tuple[float, ...]
    kind: Literal["bucketize"] = "bucketize"

    def names(self, feature: str) -> list[str]:
        texts = [f"{edge:g}" for edge in self.edges]
        if len(set(texts)) < len(texts):
            texts = [f"{edge:.9g}" for edge in self.edges]
        if len(set(texts)) < len(
            texts
        ):  # as they were given they are closer than as float32, whose digits tell any two apart
            texts = [f"{float(np.float32(edge)):.9g}" for edge in self.edges]
        ends = ["", *texts, ""]
        return [f"{feature}:{low}..{high}" for low, high in pairwise(ends)]

    @classmethod
    def block(cls, nodes: Nodes, source: str, encoders: Sequence[FittedBucketize]) -> tuple[str, Places]:
        feature: list[int] = []
        low: list[float] = []
        high: list[float] = []
        places: Places = []
        for at, one in enumerate(encoders):
            places.append(list(range(len(low), len(low) + len(one.edges) + 1)))
            feature += [at] * (len(one.edges) + 1)
            low += [-np.inf, *one.edges]
            high += [*one.edges, np.inf]
        values = nodes.picked(source, feature)
        # What is infinite is brought below the last end, which is infinite too; NaN is below nothing.
        most = nodes.constant(np.finfo(np.float32).max, np.float32)
        values = nodes.add("Where", [nodes.add("Greater", [values, most]), most, values])
        below = nodes.add("Less", [values, nodes.constant([high], np.float32)])
        reached = nodes.add("Not", [nodes.add("Less", [values, nodes.constant([low], np.float32)])])
        return nodes.cast(nodes.add("And", [reached, below]), np.float32), places


def fit_bucketize(encoder: Bucketize, values: np.ndarray) -> FittedBucketize:
    """The edges, of train where they are not given."""
    if encoder.edges is not None:
        return FittedBucketize(tuple(map(float, encoder.edges)))
    numbers = finite_singles(values)
    if encoder.buckets is None or not len(numbers):
        return FittedBucketize(())
    quantiles = quantiles_of(numbers, encoder.buckets)[1:-1]
    edges = np.unique(quantiles.astype(np.float32)).astype(np.float64)
    return FittedBucketize(tuple(edges[edges > numbers.min()].tolist()))
