"""A report on a lake that cannot be read says so of whatever it would have read there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

import fti_assets as fti
from fti_assets.report import page_of, report
from fti_assets.testing import stores_in

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01")


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def asked() -> pd.DataFrame: ...


view = fti.FeatureView(name="view", spine=asked, label=fti.Label(asked["y"]), features=[asked["x"]])


@fti.model(dataset=view, task="binary")
def risk(data: fti.TrainingData) -> Any: ...


scores = fti.batch_predictions(name="scores", model=risk, partitions_def=DAYS)
log = fti.prediction_log(name="risk_log", model=risk, partitions_def=DAYS)
watch = fti.monitor(name="watch", predictions=scores, quality=[fti.Quality("roc_auc")])
same = fti.parity(name="same", log=log)


def test_what_is_declared_and_cannot_be_read_is_told_apart_from_nothing(tmp_path: Path) -> None:
    result = report(fti.build_definitions([watch, same]), stores=stores_in(tmp_path / "typo"))
    assert result.problem
    assert [one.problem for one in (*result.monitors, *result.parities)] == ["the lake cannot be read"] * 2
    assert {one.state for one in result.groups} == {"unknown"}
    assert {one.table for one in result.delays} == {"asked_v1"}
    page = page_of(result)
    for untrue in ("No monitor is declared", "No parity is declared", "Nothing is stored of", "No stored group"):
        assert untrue not in page
