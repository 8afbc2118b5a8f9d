"""How a build's answers on its test rows are spread: what the answers that it gives later are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fti_assets.core.manifest import OUTPUT_NAMES, Task
from fti_assets.core.manifest.profiles import BINS, CATEGORIES, ColumnProfile, edges_of_ranks


def answers_profile(task: Task, outputs: np.ndarray, classes: Sequence[str]) -> tuple[ColumnProfile, ...]:
    """The profile of answers, by the rule of datasets.

    Args:
        task: what the build does.
        outputs: ``[n]``, or ``[n, k]`` of several numbers.
        classes: the ``k`` names of these.

    >>> [one.counts for one in answers_profile("regression", np.array([1.0, 1.0, 2.0]), ())]
    [(0.0, 2.0, 0.0, 1.0, 0.0)]
    """
    name, values = OUTPUT_NAMES[task], np.asarray(outputs, dtype=np.float64)
    if task == "multiclass":
        return (_of_classes(name, values, classes),)
    if values.ndim == 2:
        return tuple(_of_numbers(f"{name}.{one}", values[:, place]) for place, one in enumerate(classes))
    return (_of_numbers(name, values),)


def _of_numbers(name: str, values: np.ndarray) -> ColumnProfile:
    numbers = np.sort(values[~np.isnan(values)])
    count, nulls = len(numbers), float(len(values) - len(numbers))
    ranks = [-(-number * count // (2 * BINS)) - 1 for number in (1, *range(2, 2 * BINS, 2))] if count else []
    edges = edges_of_ranks(numbers[ranks].tolist())
    bins = np.bincount(np.searchsorted(edges, numbers), minlength=len(edges) + 1)
    return ColumnProfile(
        name, "number", float(len(values)), nulls, edges=edges, counts=tuple(map(float, bins)) if count else ()
    )


def _of_classes(name: str, values: np.ndarray, classes: Sequence[str]) -> ColumnProfile:
    counts = np.bincount(values.argmax(axis=1), minlength=len(classes)).tolist()
    by_class = sorted(
        ((one, float(count)) for one, count in zip(classes, counts, strict=True) if count), key=lambda x: (-x[1], x[0])
    )
    further = by_class[CATEGORIES:]
    return ColumnProfile(
        name,
        "text",
        float(len(values)),
        0.0,
        categories=dict(by_class[:CATEGORIES]),
        rest=sum(count for _, count in further),
        further_categories=len(further),
    )
