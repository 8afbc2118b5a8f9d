"""What a graph answers beside the labels, checked, as every metric takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fti_assets.core.manifest import BY_NAME, OUTPUT_NAMES, Task, each_task, model_of
from fti_assets.errors import DeclarationError, ModelError, one_of

THRESHOLD = 0.5
"""The probability from which on a binary model says yes, if none is chosen."""

Thresholds = float | tuple[float, ...]
"""That of a binary model, or of each of several labels; one number is for all of them."""


_ROUNDING = 1e-3
"""By how much the float32 probabilities of a row, however many, may miss a sum of one."""


@dataclass(frozen=True)
class Answers:
    """Labels and answers of ``n`` rows.

    Args:
        y: ``[n]``: 0 or 1, the class's position, the value, or the label to rank by; of several labels ``[n, k]``.
        predictions: float64: ``[n]``, ``[n, k]`` for a multiclass model, whose rows sum to one, or for several labels, or ``[n, q]`` for
            quantiles.
        threshold: the probability from which on a binary model says yes, or that of each of several labels.
        levels: those of the quantiles, ascending.
        scores: ``[n, k]``, by which rows are ranked and the likeliest class told, if not by the predictions.
        queries: ``[n]``, the number of each row's query, of a ranking model.
        labels: the names of several labels.
        task: what is done for them, where there are several.
        weight: ``[n]``, what each row counts beside the others; None where all count alike.
    """

    y: np.ndarray
    predictions: np.ndarray
    threshold: Thresholds = THRESHOLD
    levels: tuple[float, ...] = ()
    scores: np.ndarray | None = None
    queries: np.ndarray | None = None
    labels: tuple[str, ...] = ()
    task: Task | None = None
    weight: np.ndarray | None = None

    @property
    def classes(self) -> int:
        """How many classes a multiclass model tells apart; 0 for another."""
        return self.predictions.shape[1] if self.predictions.ndim == 2 and not self.labels else 0

    @property
    def ranking(self) -> np.ndarray:
        """What rows are ranked by, as the predictions are laid out."""
        return self.predictions if self.scores is None else self.scores

    @property
    def decided(self) -> np.ndarray:
        """``[n]``: the class that is predicted, 0 or 1 by the threshold or the position of the likeliest; of several labels ``[n, k]``.

        A graph answers in float32, so the threshold is compared as one: a probability of 0.7 is a yes from 0.7 on.
        """
        if self.classes:
            return np.asarray(self.ranking.argmax(axis=1))
        return np.asarray(
            self.predictions.astype(np.float32) >= np.asarray(self.threshold, dtype=np.float32), dtype=np.int64
        )

    def of_label(self, label: str) -> "Answers":
        """Those of one of several labels.

        Raises:
            DeclarationError: there is none of the name.
        """
        if label not in self.labels:
            raise DeclarationError(
                f"there is no label {label!r}: {one_of(self.labels) if self.labels else 'the answers are of one'}"
            )
        at = self.labels.index(label)
        threshold = self.threshold[at] if isinstance(self.threshold, tuple) else self.threshold
        return Answers(self.y[:, at], self.predictions[:, at], threshold, weight=self.weight)

    def part(self, rows: np.ndarray) -> "Answers":
        """Those of some rows, by position."""
        scores, queries, weight = (
            None if one is None else one[rows] for one in (self.scores, self.queries, self.weight)
        )
        return replace(
            self, y=self.y[rows], predictions=self.predictions[rows], scores=scores, queries=queries, weight=weight
        )


def answers_of(
    task: Task,
    outputs: Mapping[str, np.ndarray],
    y: np.ndarray,
    classes: Sequence[str] = (),
    *,
    threshold: Thresholds = THRESHOLD,
    queries: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> Answers:
    """A graph's outputs beside the labels, as ``evaluate`` takes them; ``weight`` is what each row counts, ``[n]``.

    Raises:
        ModelError: the outputs are not finite, or do not have the shape that the task and ``y`` ask for.
    """
    name = OUTPUT_NAMES[task]
    if name not in outputs:
        raise ModelError(f"{model_of(task)} gives the output {name!r}, but there is {one_of(outputs)}")
    predictions = np.asarray(outputs[name], dtype=np.float64)
    shape = (len(y), len(classes)) if task in BY_NAME else (len(y),)
    if predictions.shape != shape:
        raise ModelError(f"the output {name!r} has the shape {list(predictions.shape)}, not {list(shape)}")
    wrong = ~np.isfinite(predictions.reshape(len(y), -1)).all(axis=1) if len(y) else np.zeros(0, dtype=bool)
    if wrong.any():
        raise ModelError(
            f"the output {name!r} is not finite for {int(wrong.sum())} of {len(y)} rows, such as row "
            f"{int(wrong.argmax())}: look for missing values that Passthrough() lets through, or training that diverged"
        )
    if each_task(task) != task:
        if y.shape != shape:
            raise ModelError(f"there are labels of the shape {list(y.shape)}, not {list(shape)}")
        return Answers(y, predictions, threshold, labels=tuple(classes), task=task, weight=weight)
    if task == "quantile":
        return Answers(y, predictions, threshold, tuple(map(float, classes)), weight=weight)
    if task == "ranking":
        return Answers(y, predictions, queries=queries)
    if task != "multiclass":
        return Answers(y, predictions, threshold, weight=weight)
    sums = predictions.sum(axis=1, keepdims=True)
    # Divided by its sum a probability moves by a digit, which would break the ties that the graph gave.
    scores = predictions if np.allclose(sums, 1, rtol=0, atol=_ROUNDING) else None
    return Answers(y, predictions / sums, threshold, scores=scores, weight=weight)
