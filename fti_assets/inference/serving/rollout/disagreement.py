"""How far two builds' answers to the same requests are apart."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from fti_assets.core.manifest import BY_NAME, Task


class Disagreement(NamedTuple):
    """Between pairs of answers: the sum of their distances, and how many decide otherwise."""

    distance: float = 0.0
    decisions: int = 0


def disagreement(task: Task, pairs: Iterable[tuple[Any, Any]]) -> Disagreement:
    """Compare answers in pairs.

    The distance of two numbers is their absolute difference; that of two distributions over classes the largest difference of the
    probability of any event, half the sum of the absolute differences (the total variation distance). Two answers decide otherwise if
    one is at least 0.5 and the other is not, as of one of several labels, or if another class has the highest probability; values of a
    regression, quantiles, scores of a ranking and answers of a composite decide nothing. The distance of two of several numbers is their
    mean absolute difference.

    Args:
        task: what both builds do.
        pairs: two answers each, as ``Prediction.value`` has them.

    >>> disagreement("binary", [(0.25, 0.75), (0.5, 0.625)])
    Disagreement(distance=0.625, decisions=1)
    """
    distance, decisions = 0.0, 0
    for one, other in pairs:
        if task == "multiclass":
            classes = {*one, *other}
            distance += sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in classes) / 2
            decisions += max(one, key=one.__getitem__) != max(other, key=other.__getitem__)
        elif task in BY_NAME:
            distance += sum(abs(one[name] - other.get(name, 0.0)) for name in one) / len(one)
            decisions += task == "multilabel" and any(
                (one[name] >= 0.5) != (other.get(name, 0.0) >= 0.5) for name in one
            )
        else:
            distance += abs(one - other)
            decisions += task == "binary" and (one >= 0.5) != (other >= 0.5)
    return Disagreement(float(distance), int(decisions))
