"""A champion of another view is judged by the versions of spine rows that the dataset has."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.core import clock
from tests.support.models import linear_payer

ROWS, HOUR = 400, timedelta(hours=1)
TIMES = pd.Series(pd.date_range(datetime(2025, 1, 1), periods=ROWS, freq="h"))
X = np.random.default_rng(3).normal(size=ROWS)


@fti.feature_group(keys=["id"], event_time="t", available_at="known")
def orders() -> pd.DataFrame:
    """Each order as it was, and corrected twice after its prediction time."""
    first = pd.DataFrame({"id": range(ROWS), "t": TIMES, "known": TIMES, "x": X, "z": 1.0})
    return pd.concat([first, *(first.assign(known=TIMES + later * HOUR, x=50.0 * later) for later in (1, 2))])


@fti.feature_group(keys=["id"], event_time="t")
def payments() -> pd.DataFrame:
    return pd.DataFrame({"id": range(ROWS), "t": TIMES + HOUR, "paid": X})


def declared(version: int, columns: tuple[str, ...]) -> tuple[Any, Any]:
    view = fti.FeatureView(
        name="paying", version=version, spine=orders, label=fti.Label(payments["paid"]), features=[orders[columns]]
    )
    dataset = fti.training_dataset(name="orders_to_pay", version=version, view=view)

    return dataset, linear_payer(dataset, version)


def test_the_champion_sees_the_version_of_the_prediction_time(tmp_path: Path) -> None:
    stores = testing.stores_in(tmp_path)
    with clock.at("2025-02-01"):
        testing.materialize(orders, payments, stores=stores)
    for version, columns, now in [(1, ("x",), "2025-01-12"), (2, ("x", "z"), "2025-02-01")]:
        with clock.at(now):
            testing.materialize(*declared(version, columns), stores=stores)
    first, second = stores.model_store().builds("payer")
    assert first.metrics["rmse"] == pytest.approx(0, abs=1e-3)
    [verdict] = second.gates
    reason = re.fullmatch(rf"rmse \S+ is not worse than (\S+) of the champion {first.reference}\b.*", verdict.reason)
    assert reason is not None
    assert float(reason[1]) == pytest.approx(0, abs=1e-3)
