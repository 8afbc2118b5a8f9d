"""Figures of slices by what a log redacts are shown without its values, whatever these look like."""

from __future__ import annotations

from datetime import datetime

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.monitoring.measurement import Measurement
from fti_assets.monitoring.quality.judging import QUALITY
from fti_assets.monitors.quality.checks import quality_verdicts
from fti_assets.monitors.quality.redaction import MASK, mask_slice, redacted_by_logs

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01")
RULES = [fti.Quality("roc_auc", at_least=0.9, slices=["branch", ["branch", "vip"], "vip"])]


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def asked() -> pd.DataFrame: ...


view = fti.FeatureView(name="view", spine=asked, label=fti.Label(asked["y"]), features=[asked["branch", "vip"]])


@fti.model(dataset=view, task="binary")
def risk(data: fti.TrainingData) -> None: ...


log = fti.prediction_log(name="risk_log", model=risk, partitions_def=DAYS, redact=["branch"])


@pytest.mark.parametrize("value", ["Ann Lee", "Smith, John", " Bob", "a=b", '"x, y"', "", "(redacted)", "vip=1"])
def test_no_value_of_a_redacted_column_is_in_the_name_of_a_slice(value: str) -> None:
    hidden = redacted_by_logs([risk])
    assert hidden == {"branch"}
    assert mask_slice(f"branch={value}", RULES, hidden) == f"branch={MASK}"
    assert mask_slice(f"branch, vip={value}, 1", RULES, hidden) == f"branch, vip={MASK}"
    assert mask_slice(f"vip={value}", RULES, hidden) == f"vip={value}"
    assert mask_slice("", RULES, hidden) == ""


def test_checks_tell_no_value_of_a_redacted_column() -> None:
    figure = Measurement(
        partition_start=datetime(2024, 1, 1),
        subject=QUALITY,
        column_name="",
        statistic="roc_auc",
        slice="branch=Smith, John",
        value=0.5,
        rows=100,
        threshold=0.9,
        verdict="warning",
    )
    (verdict,) = quality_verdicts(RULES, [figure], redacted_by_logs([risk]))
    assert "Smith" not in str(verdict)
    assert f"branch={MASK} 0.5" in verdict.problem
