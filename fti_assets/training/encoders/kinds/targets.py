"""Target encoding: a category becomes the mean label of its train rows, and no train row sees its own label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import GraphInput
from fti_assets.core.mixing import mixed
from fti_assets.core.types import MISSING_INTEGER, ColumnType
from fti_assets.core.types.columns import whole_numbers
from fti_assets.errors import DeclarationError, excerpt
from fti_assets.training.encoders.fitted import FittedSingle
from fti_assets.training.encoders.kinds.categories import Categories, by_name, categories_of
from fti_assets.training.encoders.nodes import Nodes, codes


@checked_arguments()
@dataclass(frozen=True)
class Target:
    """The mean label of a category's train rows, for a text, integer or boolean column of many categories.

    ``(sum of the category's labels + smoothing * mean of all) / (rows of the category + smoothing)``: few rows weigh little. A
    missing value is a category of its own; an unknown category gets the mean of all. A multiclass model gets a column for each
    class.

    In serving, validation and test, the means are those of the whole train part. A train row gets means of the other folds only, so
    its own label does not leak. The fold of a row is a hash of its position in the order of time and keys. If the dataset has a
    weight, labels and rows count by it, scaled to 1 on average. Source: Micci-Barreca (2001), cross-fitted as scikit-learn's
    ``TargetEncoder``.

    Args:
        smoothing: how many rows with the mean of all are added to each category, at least 0.
        folds: the number of folds, at least 2.

    Raises:
        DeclarationError: the smoothing is below 0 or infinite, or there are fewer than 2 folds.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> values, labels = np.array(["UA", "UA", "AA", "AA"], dtype=object), np.array([[1.0], [1.0], [0.0], [1.0]])
    >>> fit(Target(smoothing=2.0), values, "text", labels).means
    ((0.625,), (0.875,))
    """

    smoothing: float = 10.0
    folds: int = 5

    def __post_init__(self) -> None:
        if isinstance(self.smoothing, bool) or not (
            isinstance(self.smoothing, int | float) and 0 <= self.smoothing < 1e12
        ):
            raise DeclarationError(f"Target(smoothing={excerpt(self.smoothing)}): give a number of rows from 0 to 1e12")
        if isinstance(self.folds, bool) or not isinstance(self.folds, int) or not 2 <= self.folds <= 1000:
            raise DeclarationError(f"Target(folds={excerpt(self.folds)}): give a whole number from 2 to 1000")


@dataclass(frozen=True)
class FittedTarget(FittedSingle):
    """The categories, the smoothed mean label of each, of what is missing and of all: one number, or one of each class."""

    categories: Categories
    means: tuple[tuple[float, ...], ...]
    missing: tuple[float, ...]
    prior: tuple[float, ...]
    smoothing: float
    folds: int
    kind: Literal["target"] = "target"

    def names(self, feature: str) -> list[str]:
        if len(self.prior) == 1:
            return [f"{feature}:target"]
        return [f"{feature}:target{at}" for at in range(len(self.prior))]

    def nodes(self, nodes: Nodes, source: GraphInput) -> str:
        code = codes(nodes, source, self.categories, missing=1)
        rows = nodes.add("Reshape", [code, nodes.constant([-1], np.int64)])
        table = nodes.constant([self.prior, self.missing, *self.means], np.float32)
        return nodes.add("Gather", [table, rows], axis=0)


def fit_target(
    encoder: Target,
    values: np.ndarray,
    column_type: ColumnType,
    target: np.ndarray,
    weight: np.ndarray | None = None,
) -> FittedTarget:
    """The means of the whole train part; ``target`` is ``[n, c]``, ``weight`` what each row counts, ``[n]``."""
    categories = by_name(categories_of(values, column_type))
    prior, means = _means(_positions(values, categories), target, len(categories), encoder.smoothing, weight)
    return FittedTarget(
        categories,
        tuple(map(tuple, means[1:].tolist())),
        tuple(means[0].tolist()),
        tuple(prior.tolist()),
        float(encoder.smoothing),
        encoder.folds,
    )


def cross_fitted(
    encoder: FittedTarget, values: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """What the train rows get: float32 ``[n, c]``, for each of means that leave its fold out."""
    positions, folds = _positions(values, encoder.categories), folds_of(len(values), encoder.folds)
    result = np.empty(target.shape, dtype=np.float32)
    for fold in range(encoder.folds):
        own, other_folds = folds == fold, folds != fold
        if not own.any():
            continue
        prior, means = _means(
            positions[other_folds],
            target[other_folds],
            len(encoder.categories),
            encoder.smoothing,
            None if weight is None else weight[other_folds],
        )
        # A category that no other fold has is unknown to them: without smoothing nothing else would say so.
        counts = np.bincount(positions[other_folds], minlength=len(means))
        result[own] = np.where((counts > 0)[:, None], means, prior)[positions[own]]
    return result


def cross_fit(
    names: Sequence[str],
    encoders: Mapping[str, object],
    columns: Mapping[str, np.ndarray],
    target: np.ndarray,
    weight: np.ndarray | None = None,
) -> dict[int, np.ndarray]:
    """What is cross-fitted of the train rows, float32 ``[n]`` by its place among the names of the dense columns.

    It belongs in the place of what the graph gives, which are the means of the whole train part.
    """
    fitted: dict[int, np.ndarray] = {}
    for feature, encoder in encoders.items():
        if isinstance(encoder, FittedTarget):
            columns_of = cross_fitted(encoder, columns[feature], target, weight).T
            fitted |= {names.index(name): one for name, one in zip(encoder.names(feature), columns_of, strict=True)}
    return fitted


def folds_of(rows: int, folds: int) -> np.ndarray:
    """The fold of each of ``n`` rows, by SplitMix64 of its place: rows that lie side by side, or come in turns, are mixed.

    >>> folds_of(8, 3).tolist()
    [1, 0, 1, 1, 1, 0, 2, 2]
    """
    return (mixed(np.arange(rows)) % np.uint64(folds)).astype(np.int64)


def _positions(values: np.ndarray, categories: Categories) -> np.ndarray:
    """Of each value the place of its category, from 1 on; 0 for what is missing."""
    if values.dtype == object:
        of_category = {category: place for place, category in enumerate(categories, 1)}
        return np.array([of_category.get(value, 0) for value in values.tolist()], dtype=np.int64)
    keys = np.array([MISSING_INTEGER, *categories], dtype=np.int64)  # ascending
    return np.asarray(np.searchsorted(keys, whole_numbers(values)))


def _means(
    positions: np.ndarray, target: np.ndarray, categories: int, smoothing: float, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of all rows ``[c]``, and the smoothed ones of what is missing and of each category, ``[categories + 1, c]``."""
    counts = np.bincount(positions, weights=weight, minlength=categories + 1)[:, None].astype(np.float64)
    weighted = target if weight is None else target * weight[:, None]
    sums = np.stack(
        [np.bincount(positions, weights=one, minlength=categories + 1) for one in weighted.T], axis=1
    ).reshape(categories + 1, target.shape[1])
    prior = np.average(target, axis=0, weights=weight) if len(target) else np.zeros(target.shape[1])
    rows = counts + smoothing
    with np.errstate(invalid="ignore", divide="ignore"):
        return prior, np.where(rows > 0, (sums + smoothing * prior) / rows, prior)
