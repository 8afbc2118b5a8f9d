"""Labels as a model learns them: 0 and 1, the positions of classes, or values; and what cannot be learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fti_assets.core.manifest import Task, each_task
from fti_assets.core.types import EXACT
from fti_assets.errors import DataError, one_of

_REMEDIES: Mapping[str, str] = {
    "binary": "Give 0 and 1, or booleans, in the group that the label comes from; task='multiclass' learns any labels",
    "quantile": "Give finite numbers in the group that the label comes from",
    "ranking": "Give grades such as 0, 1 and 2 in the group that the label comes from",
    "regression": "Give finite numbers in the group that the label comes from; task='multiclass' learns any labels",
}


def train_target(labels: np.ndarray, task: Task) -> np.ndarray:
    """Canonical train labels ``[n]`` as encoders learn from them: float64 ``[n, 1]``, 0 and 1 of each class, ``[n, c]``, or each of several
    labels, ``[n, k]``.

    Raises:
        DataError: as ``label_codes``.
    """
    classes = class_names(labels) if task == "multiclass" else ()
    if labels.ndim == 2:
        classes = tuple(f"number {at}" for at in range(labels.shape[1]))
    return target_of(label_codes(labels, task, classes, what="the train part"), task, len(classes))


def target_of(y: np.ndarray, task: Task, classes: int) -> np.ndarray:
    """The same of ``y``, as ``Part`` describes it."""
    if task == "multiclass":
        return np.asarray(y[:, None] == np.arange(classes), dtype=np.float64)
    if y.ndim == 2:
        return np.asarray(y, dtype=np.float64)
    return np.asarray(y[:, None], dtype=np.float64)


def class_names(labels: np.ndarray) -> tuple[str, ...]:
    """The sorted distinct classes of labels ``[n]``, as text; whole numbers are written without a point, what is missing is none.

    >>> class_names(np.array([2.0, 1.0, np.nan])), class_names(np.array(["nan", "b", ""], dtype=object))
    (('1', '2'), ('b', 'nan'))

    Raises:
        DataError: a class is a number so large that its neighbours would be the same class.
    """
    _refuse_merged_classes(labels)
    return tuple(sorted({_class_name(label) for label in np.unique(labels[~_missing(labels)]).tolist()}))


def label_codes(labels: np.ndarray, task: Task, classes: Sequence[str], *, what: str) -> np.ndarray:
    """Turn canonical labels ``[n]``, or several ``[n, k]`` that are called like ``classes``, into ``y``, as ``Part`` describes it.

    Raises:
        DataError: a label is missing, not finite, not 0 or 1 for binary, or not among the classes.
    """
    if each_task(task) != task:
        each = each_task(task)
        columns = [
            label_codes(column, each, (), what=f"the label {name!r} of {what}")
            for name, column in zip(classes, labels.T, strict=True)
        ]
        return np.stack(columns, axis=1)
    missing = int(_missing(labels).sum())
    if missing and task == "multiclass":
        raise DataError(
            f"{what} has {missing} labels that are missing or empty text, which is not a class: leave those rows out, or give them a "
            "class with a name, such as 'none'"
        )
    if task == "multiclass":
        _refuse_merged_classes(labels)
        codes = {name: code for code, name in enumerate(classes)}
        distinct, positions = np.unique(labels, return_inverse=True)
        names = [_class_name(label) for label in distinct.tolist()]
        unknown = [name for name in names if name not in codes]
        if unknown:
            raise DataError(
                f"{what} has labels that the train part does not have: {one_of(unknown[:10])}; its classes are "
                f"{one_of(list(classes)[:20])}. Leave those rows out or let train reach further back"
            )
        return np.array([codes[name] for name in names], dtype=np.int64)[positions]
    kind = {"binary": "0 or 1", "ranking": "finite numbers from 0 on"}.get(task, "finite numbers")
    try:
        numbers = labels.astype(np.float64)
    except ValueError as error:
        raise DataError(
            f"{what} has labels that are not numbers, but a {task} model learns {kind}: {error}. {_REMEDIES[task]}"
        ) from error
    wrong = ~np.isin(numbers, (0.0, 1.0)) if task == "binary" else ~np.isfinite(numbers.astype(np.float32))
    if task == "ranking":
        wrong |= numbers < 0
    if wrong.any():
        values = one_of(np.unique(numbers[wrong])[:10].tolist())
        raise DataError(
            f"{what} has {int(wrong.sum())} labels that are not {kind}, as {task} needs: {values}. {_REMEDIES[task]}"
        )
    return numbers.astype(np.int64 if task == "binary" else np.float32)


def _refuse_merged_classes(labels: np.ndarray) -> None:
    """Refuse classes that are whole numbers of which a float, in which a label comes, stands for several."""
    if labels.dtype.kind != "f" or not len(large := labels[np.abs(labels) >= EXACT]):
        return
    raise DataError(
        f"the label has the value {large[0]:.0f}, and from 2**53 on several whole numbers are one to a model: classes that large must be "
        "text; let the group that the label comes from store it as text"
    )


def _missing(labels: np.ndarray) -> np.ndarray:
    """Where canonical labels ``[n]`` are missing: NaN among numbers, the empty string among text."""
    return np.asarray(labels == "" if labels.dtype.kind in "OU" else np.isnan(labels))


def _class_name(label: Any) -> str:
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)
