"""The shop, whose model learns from windows that are computed at the time of each visit; the tests of such windows run it."""

from typing import Any

import fti_assets as fti
from tests.testing.shop import CUTOFFS, outcomes, relation_name

buying = fti.request_windows(
    outcomes, name="buying_lately", keys=["customer"], every="1h", windows=["50min", "6h", "2d"], online=True,
    aggregates={"bought": fti.Mean("bought"), "outcomes": fti.Count(), "last": fti.Last("bought"), "sd": fti.Std("bought")},
)  # fmt: skip
COLUMNS = tuple(name for name in buying.columns or () if name != "customer")

windowed_dataset = fti.training_dataset(
    name="windowed_dataset",
    view=relation_name(buying[COLUMNS], name="windowed"),
    split=fti.TimeSplit(validation="1d", test="1d"),
    partitions_def=CUTOFFS,
)


@fti.model(dataset=windowed_dataset, task="binary")
def windowed_buyer(data: fti.TrainingData) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(data.train.X, data.train.y)
