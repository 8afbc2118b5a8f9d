"""Whether a model's function took what its rows count."""

from __future__ import annotations

from fti_assets.errors import ModelError
from fti_assets.training.datasets.sampling.weights import ClassWeights
from fti_assets.training.models.data import TrainingData


def unused_weights(data: TrainingData, weights: ClassWeights | None, *, what: str) -> list[str]:
    """What a build is warned of if its function has not asked for the weights of the dataset's rows, or those that undo a sample.

    Raises:
        ModelError: it has not asked for those of classes, which were declared for it.
    """
    if not data.train.is_weighted or data.train.took_weight:
        return []
    how = "pass data.train.weight on, as in fit(X, y, sample_weight=data.train.weight), or the third of each batch to data.loss"
    if weights is not None:
        raise ModelError(
            f"{what} declares weights={weights!r}, and its function never took them: {how}; or leave weights= out"
        )
    if data.train.counts is not None:
        return [
            f"the rows of the dataset do not count alike, and the function of {what} never took data.train.weight, so it learned as if "
            f"they did: {how}"
        ]
    return [
        f"the train rows are a sample of some classes, and the function of {what} never took data.train.weight, so its answers are of the "
        f"sample's shares and not of the world's: {how}"
    ]
