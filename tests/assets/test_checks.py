"""Checks: what a failed rule and a refused run say."""

from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.core.rules import Rule, Verdict
from fti_assets.orchestration.checks import check_result, check_specs, preview

KEY = dg.AssetKey("prices_v1")
POSITIVE = Rule("price_positive", "price: greater_than(0)")
USUAL = Rule("price_usual", "price: less_than(100)", blocking=False)


def test_failed_check_shows_count_and_sample_rows() -> None:
    row = {
        "price": np.float64(-1),
        "at": pd.Timestamp("2024-01-01"),
        "shop": None,
        "gone": pd.NaT,
        "nan": np.nan,
        "n": np.int64(3),
    }
    result = check_result(KEY, Verdict(POSITIVE, 7, (row,), "price: greater_than(0): 7 of 9 rows break it"))
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.ERROR
    assert result.description == "price: greater_than(0): 7 of 9 rows break it"
    assert result.metadata["failures"].value == 7
    sample: Any = result.metadata["sample"]
    assert [record.data for record in sample.records] == [
        {"price": -1.0, "at": "2024-01-01 00:00:00", "shop": None, "gone": None, "nan": None, "n": 3}
    ]


def test_a_preview_shows_fractions_to_six_digits() -> None:
    whole = [1 / 3, -2 / 3e5, 1234567.891, 1e300, 5.0, 0.0, 2**60 / 3]
    listed = ", ".join(f"({value!r}::DOUBLE, 7::BIGINT, 'a')" for value in [*whole, float("inf")])
    with duckdb.connect() as connection:
        displayed = preview(
            connection.sql(f"SELECT * FROM (VALUES {listed}) AS rows(x, n, s)".replace("inf", "'inf'")), limit=9
        )
    assert [record.data["x"] for record in displayed.records] == [
        0.333333, -6.66667e-06, 1234568.0, 1e300, 5.0, 0.0, float(round(2**60 / 3)), float("inf"),
    ]  # fmt: skip
    assert {(record.data["n"], record.data["s"]) for record in displayed.records} == {(7, "a")}


def test_a_row_that_failed_is_shown_with_every_digit() -> None:
    sample: Any = check_result(KEY, Verdict(USUAL, 1, ({"price": 100.0000001},))).metadata["sample"]
    (record,) = sample.records
    assert record.data == {"price": 100.0000001}


def test_a_rule_that_only_warns_does_not_block() -> None:
    blocking, warning = check_specs(KEY, [POSITIVE, USUAL])
    assert (blocking.blocking, warning.blocking) == (True, False)
    assert warning.description == "price: less_than(100)"
    assert check_result(KEY, Verdict(USUAL, 1)).severity is dg.AssetCheckSeverity.WARN
    assert check_result(KEY, Verdict(USUAL)).passed


@fti.feature_group(
    keys=["product"],
    schema=pa.DataFrameSchema({"product": pa.Column(str), "price": pa.Column(float, pa.Check.gt(0))}),
    retry_policy=dg.RetryPolicy(max_retries=3),
)
def prices() -> pd.DataFrame:
    return pd.DataFrame({"product": ["a", "b"], "price": [-3.5, 1.0]})


@dg.asset(deps=[prices.key])
def report() -> None: ...


def test_a_refused_run_says_why_and_is_not_retried(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    stores = fti.Stores(
        **{name: str(tmp_path_factory.mktemp("stores") / name) for name in ("lake", "models", "online")}
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [prices.assets_def, report], resources={"fti": stores}, instance=instance, raise_on_error=False
        )
        assert not result.success
        [failure] = result.filter_events(lambda event: event.is_step_failure)
        error = failure.step_failure_data.error
        assert error is not None
        assert "prices_v1: nothing was stored, because price: greater_than(0): 1 of 2 rows break it" in error.message
        assert "The failing rows are kept in" in error.message
        assert not result.filter_events(lambda event: event.is_step_restarted or event.is_step_up_for_retry)
        assert result.get_asset_materialization_events() == []
        failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
        assert [check.check_name for check in failed] == ["price_greater_than"]
        skipped = result.filter_events(lambda event: event.is_step_skipped or event.step_key == "report")
        assert all(not event.is_step_start for event in skipped)
