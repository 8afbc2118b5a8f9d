"""How differently a column's values are spread in two sets of rows, told from their counts alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from fti_assets.core.manifest.profiles import LARGEST, RULE, Bins, ColumnProfile
from fti_assets.monitoring.drift.counts import MADE_OF_CATEGORIES, NUMBERS

EPSILON = 1e-4
"""The share that PSI gives to a bin with fewer values, since the logarithm of none is infinite."""

LEAST_SHARE = 0.01
"""A category with this share of the values on one side counts in the churn: rarer ones come and go by chance."""

OF_PRESENCE = ("psi", "jensen_shannon")
"""The distances that there are of a column of which the reference has no value: those of a value that is there or not."""

VERSION = f"drift-4 epsilon={EPSILON:g} share={LEAST_SHARE:g} edges={RULE}"
"""What all figures rest on, with versions of its own: one that changes them gets another."""


def statistics_of(column: ColumnProfile) -> tuple[str, ...]:
    """The statistics that a column of its type has, its null rate first."""
    if column.type in NUMBERS:
        return ("null_rate", "psi", "ks", "jensen_shannon", "wasserstein")
    if column.type in MADE_OF_CATEGORIES:
        return ("null_rate", "psi", "jensen_shannon", "unknown_rate", "category_churn")
    return ("null_rate",)  # every instant is a new one: only what is made of it can be compared


def compare(
    reference: ColumnProfile, current: ColumnProfile, learned: Collection[str] | None = None
) -> dict[str, float | None]:
    """Every statistic of a column; None for what cannot be told.

    A distance of a vector is the largest of those of its norm and of its projections, where both sides have them. Where no row of the
    reference has a value, PSI and Jensen-Shannon distance are those of two shares, of rows without a value and with one.

    Args:
        reference: the counts that are compared with; their edges and categories are those of all figures.
        current: the counts of the rows that are judged, in the same bins.
        learned: the categories that a model knows, where the reference does not name all of its own.

    >>> then = ColumnProfile("x", "number", 4, 0, edges=(1.0, 2.0), counts=(2, 2, 0))
    >>> now = ColumnProfile("x", "number", 4, 1, edges=(1.0, 2.0), counts=(1, 1, 1))
    >>> round(compare(then, now)["ks"], 3), compare(then, now)["null_rate"]
    (0.333, 0.25)
    """
    names = statistics_of(reference)
    results: dict[str, float | None] = dict.fromkeys(names)
    results["null_rate"] = null_rate(current)
    if never_had_a_value(reference):
        names, without = tuple(dict.fromkeys([*names, *OF_PRESENCE])), null_rate(current)
        results |= dict.fromkeys(OF_PRESENCE)
        if without is not None:
            p, q = np.array([1.0, 0.0]), np.array([without, 1.0 - without])
            results["psi"], results["jensen_shannon"] = psi(p, q), jensen_shannon(p, q)
    elif reference.type in NUMBERS:
        for one, other in _pairs(reference, current):
            for name, figure in _of_bins(one, other).items():
                results[name] = max((own for own in (results[name], figure) if own is not None), default=None)
    else:
        before, after = _categories(reference, current)
        if before.sum() > 0 and after.sum() > 0:
            p, q = before / before.sum(), after / after.sum()
            results["psi"], results["jensen_shannon"] = psi(p, q), jensen_shannon(p, q)
    if reference.type in MADE_OF_CATEGORIES:
        results["unknown_rate"] = unknown_rate(reference, current, learned)
        results["category_churn"] = category_churn(reference, current)
    return {name: results[name] for name in names}


def null_rate(column: ColumnProfile) -> float | None:
    """The share of rows without a value; None of no rows."""
    return column.nulls / column.rows if column.rows else None


def never_had_a_value(column: ColumnProfile) -> bool:
    """Whether there are rows, and none of them has a value."""
    return column.rows > 0 and column.nulls == column.rows


def psi(p: np.ndarray, q: np.ndarray) -> float:
    """The population stability index of two lists of shares, each at least ``EPSILON``: a symmetric Kullback-Leibler divergence.

    Source: Siddiqi, "Credit Risk Scorecards" (2006): below 0.1 nothing has changed, from 0.25 on much has.

    Args:
        p: ``[bins]``, the shares of the reference.
        q: ``[bins]``, those of the rows that are judged.
    """
    p, q = np.maximum(p, EPSILON), np.maximum(q, EPSILON)
    return math.fsum(((q - p) * np.log(q / p)).tolist())


def ks(p: np.ndarray, q: np.ndarray) -> float:
    """The largest difference of the shares at or below an edge: the Kolmogorov-Smirnov statistic of the binned values, ``p`` and ``q``
    as for ``psi``."""
    return float(np.abs(np.cumsum(p) - np.cumsum(q)).max())


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """The Jensen-Shannon distance of base 2, from 0 to 1, ``p`` and ``q`` as for ``psi``.

    Source: Endres and Schindelin, "A new metric for probability distributions" (2003).
    """
    middle = (p + q) / 2
    terms: list[float] = []
    for share in (p, q):
        own = share > 0
        terms += (share[own] * np.log2(share[own] / middle[own])).tolist()
    return math.sqrt(max(0.0, math.fsum(terms) / 2))


def wasserstein(p: np.ndarray, q: np.ndarray, edges: Sequence[float]) -> float | None:
    """How far values must be moved on average, in standard deviations of the reference; None if it has but one place.

    A value lies at the upper edge of its bin, and above the last edge at that edge: what is far outside moves it no further, and what is
    infinite lies where the last finite value does.

    Args:
        p: ``[edges + 1]``, the shares of the reference.
        q: ``[edges + 1]``, those of the rows that are judged.
        edges: the edges of the bins.
    """
    ends = np.asarray(edges, dtype=np.float64)
    is_finite = np.abs(ends) < LARGEST
    if is_finite.sum() < 2:
        return None
    if not is_finite.all():
        # A bin goes with the next one where the edge between them is left out.
        starts = np.flatnonzero(np.concatenate(([True], is_finite)))
        p, q, ends = np.add.reduceat(p, starts), np.add.reduceat(q, starts), ends[is_finite]
    # Halved before they are subtracted: the span of two doubles may be more than a double holds.
    half = ends / 2
    places = (half - half[0]) / (half[-1] - half[0])
    places = np.append(places, 1.0)
    mean = p @ places
    spread = math.sqrt(max(0.0, p @ (places - mean) ** 2))
    if spread == 0:
        return None
    moved = np.abs(np.cumsum(p) - np.cumsum(q))[:-1] @ np.diff(places)
    return float(moved / spread)


def unknown_rate(
    reference: ColumnProfile, current: ColumnProfile, learned: Collection[str] | None = None
) -> float | None:
    """The share of values in categories that neither the reference names nor the model knows; None if the reference has no rows, or does
    not name all of its own categories and the model tells none."""
    present = current.rows - current.nulls
    if not present or not reference.rows or (reference.further_categories and learned is None):
        return None
    categories: Collection[str] = reference.categories
    if reference.further_categories:
        categories = {*categories, *(learned or ())}
    return 1.0 - sum(count for name, count in current.categories.items() if name in categories) / present


def unknown_rate_of_reference(reference: ColumnProfile, learned: Collection[str] | None = None) -> float:
    """The reference's own ``unknown_rate``: values in categories that it does not name and that ``max_categories`` of an encoder left out.

    Of categories that are not named only their number and their rows are known: those that the model knows are the most frequent, so that
    this is at least their share.

    >>> seen = ColumnProfile("t", "text", 100, 0, categories={"a": 80}, rest=20, further_categories=10)
    >>> unknown_rate_of_reference(seen, ["a"]), unknown_rate_of_reference(seen, ["a", "b", "c", "d", "e", "f"])
    (0.2, 0.1)
    """
    present = reference.rows - reference.nulls
    if not present or not reference.further_categories:
        return 0.0
    others = len({*(learned or ())} - reference.categories.keys())
    return reference.rest / present * max(0.0, 1.0 - others / reference.further_categories)


def category_churn(reference: ColumnProfile, current: ColumnProfile) -> float | None:
    """Of the categories with ``LEAST_SHARE`` of the values on one side, the share that the other does not have at all.

    Categories that the reference may have among those it does not name are left out. None if there is none.
    """
    before, after = reference.rows - reference.nulls, current.rows - current.nulls
    if not reference.rows or not after:
        return None
    old = {name for name, count in reference.categories.items() if count >= LEAST_SHARE * before}
    new = {name for name, count in current.categories.items() if count >= LEAST_SHARE * after}
    if reference.further_categories:
        new &= reference.categories.keys()
    both = old | new
    absent = [name for name in both if not reference.categories.get(name) or not current.categories.get(name)]
    return len(absent) / len(both) if both else None


def together(columns: Iterable[ColumnProfile]) -> ColumnProfile | None:
    """The counts of several sets of rows in the same bins as those of one; None of none."""
    result: ColumnProfile | None = None
    for one in columns:
        if result is None:
            result = one
            continue
        categories = dict(result.categories)
        for name, count in one.categories.items():
            categories[name] = categories.get(name, 0.0) + count
        result = replace(
            result,
            rows=result.rows + one.rows,
            nulls=result.nulls + one.nulls,
            counts=_sums(result.counts, one.counts),
            directions=tuple(
                replace(bins, counts=_sums(bins.counts, more.counts))
                for bins, more in zip(result.directions, one.directions, strict=True)
            ),
            categories=categories,
            rest=result.rest + one.rest,
            further_categories=max(result.further_categories, one.further_categories),
        )
    return result


def _sums(counts: tuple[float, ...], more: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(a + b for a, b in zip(counts, more, strict=True))


def _pairs(reference: ColumnProfile, current: ColumnProfile) -> Iterator[tuple[Bins, Bins]]:
    """The bins of numbers that both have: the column's own, and those of each direction."""
    if reference.edges == current.edges:
        yield Bins(reference.edges, reference.counts), Bins(current.edges, current.counts)
    if [one.edges for one in reference.directions] == [one.edges for one in current.directions]:
        yield from zip(reference.directions, current.directions, strict=True)


def _of_bins(reference: Bins, current: Bins) -> dict[str, float | None]:
    """The distances of numbers in the same bins; nothing if a side has none."""
    if not sum(reference.counts) or not sum(current.counts):
        return {}
    p, q = (np.array(one.counts) / sum(one.counts) for one in (reference, current))
    return {
        "psi": psi(p, q),
        "ks": ks(p, q),
        "jensen_shannon": jensen_shannon(p, q),
        "wasserstein": wasserstein(p, q, reference.edges),
    }


def _categories(reference: ColumnProfile, current: ColumnProfile) -> tuple[np.ndarray, np.ndarray]:
    """The counts of both in the reference's categories; what it does not name is one category."""
    names = list(reference.categories)
    now = [current.categories.get(name, 0.0) for name in names]
    rest = current.rows - current.nulls - sum(now)
    return np.array([*reference.categories.values(), reference.rest]), np.array([*now, rest])
