"""A small model that several tests train."""

from typing import Any

import fti_assets as fti


def linear_payer(dataset: Any, version: int) -> Any:
    """A linear regression on a dataset, gated by its champion's error."""

    @fti.model(
        name="payer",
        version=version,
        dataset=dataset,
        task="regression",
        gates=[fti.NotWorseThanChampion("rmse", tolerance=0.1)],
    )
    def train(data: fti.TrainingData) -> Any:
        from sklearn.linear_model import LinearRegression

        return LinearRegression().fit(data.train.X, data.train.y)

    return train
