"""What each train row counts: the weights that undo a sample, and those of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import SampleRecord
from fti_assets.errors import DeclarationError, ModelError, excerpt, one_of

BINARY = ("0", "1")
"""What the classes of a binary model are called: false and true, or 0 and 1."""


@checked_arguments()
@dataclass(frozen=True)
class ClassWeights:
    """The weight of a row of each class in the training of a classifier, in ``data.train.weight``.

    Weights change the probabilities: they fit a population in which the classes are as frequent as their weights make them, so they are
    not calibrated. Use weights if ranking or a threshold matters; also use ``calibrate`` if the probability matters.

    Args:
        classes: ``"balanced"`` gives all classes the same total weight, ``n / (k * n_c)`` per row, as in scikit-learn. Or the
            weight of a row of each named class, ``{"1": 5.0}``; all other classes have weight 1, and the weights are scaled to 1 on
            average over the train rows. The classes of a binary model are ``"0"`` and ``"1"``.

    Raises:
        DeclarationError: a weight is not finite and above 0.

    >>> ClassWeights({"1": 5.0}).classes
    {'1': 5.0}
    """

    classes: Literal["balanced"] | Mapping[str, float]

    def __post_init__(self) -> None:
        if isinstance(self.classes, str):
            if self.classes != "balanced":
                raise DeclarationError(
                    f"ClassWeights({excerpt(self.classes)}): write 'balanced', or what each class counts, as in {{'1': 5.0}}"
                )
            return
        wrong = [name for name, weight in self.classes.items() if not (math.isfinite(weight) and weight > 0)]
        if wrong or not self.classes:
            raise DeclarationError(
                f"ClassWeights({excerpt(self.classes)}): a weight is a number above 0, as in {{'1': 5.0}}; what is to count nothing is "
                "left out by the dataset's where="
            )


def undoing(labels: np.ndarray, sample: SampleRecord | None) -> np.ndarray | None:
    """What each train row counts, float64 ``[n]``, so that the classes have the shares that they had before a sample.

    A row of a class of which 10 of 100 were kept counts 10, so each class counts as many rows as there were. None where no class was
    sampled: a share of all rows alike leaves the shares of classes as they are.

    Args:
        labels: canonical labels ``[n]`` of the rows that were kept.
        sample: what was kept.
    """
    if sample is None or "" in sample.shares:
        return None
    weights = np.ones(len(labels))
    for name, rows in sample.rows.items():
        is_class = labels == (name if labels.dtype.kind in "OU" else _number(name))
        weights[is_class] = rows / sample.kept[name]
    return weights


def row_weights(
    y: np.ndarray, classes: Sequence[str], undo: np.ndarray | None, weights: ClassWeights | None, *, what: str
) -> np.ndarray | None:
    """What each train row counts, float32 ``[n]``, 1 on average: the sample undone, times the weight of its class; None for all alike.

    The mean is 1 so that learning rates and penalties mean what they mean without weights.

    Args:
        y: the class of each row, as a position in ``classes``.
        classes: their names.
        undo: what ``undoing`` gives.
        weights: those of the classes.
        what: the model, for errors.

    Raises:
        ModelError: a class is named that there is not.
    """
    if (weights is None and undo is None) or not len(y):
        return None
    of_row = np.ones(len(y)) if undo is None else undo
    if weights is not None:
        of_row = of_row * _of_class(y.astype(np.int64), classes, of_row, weights, what=what)[y.astype(np.int64)]
    return np.asarray(of_row * (len(y) / of_row.sum()), dtype=np.float32)


def _of_class(
    codes: np.ndarray, classes: Sequence[str], of_row: np.ndarray, weights: ClassWeights, *, what: str
) -> np.ndarray:
    """What a row of each class counts ``[k]``."""
    if isinstance(weights.classes, str):
        counts = np.bincount(codes, weights=of_row, minlength=len(classes))
        return np.divide(1, counts, out=np.ones(len(classes)), where=counts > 0)
    if unknown := [name for name in weights.classes if name not in classes]:
        raise ModelError(f"{what} has a weight for the class {one_of(unknown)}: its classes are {one_of(classes)}")
    return np.array([weights.classes.get(name, 1.0) for name in classes])


def _number(name: str) -> float:
    try:
        return float(name)
    except ValueError:
        return math.nan  # a class of text among labels that are numbers: no row has it
