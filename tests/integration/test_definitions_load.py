"""A code location is loaded by each run and each command: what only a step needs is not imported for that."""

import subprocess
import sys
from pathlib import Path

import pytest

STEPS = ["sklearn", "scipy", "skl2onnx", "onnx", "onnxruntime", "torch", "pandera", "narwhals", "polars"]
SYSTEM = """
import sys

import dagster as dg
import pandas as pd

import fti_assets as fti

days = dg.DailyPartitionsDefinition(start_date="2024-01-01")


@fti.feature_group(keys=["order"], event_time="placed_at", serving_delay="1h", ttl="30d", online=True, partitions_def=days)
def orders(context: dg.AssetExecutionContext) -> pd.DataFrame: ...


@fti.feature_group(keys=["shop"], event_time="hour", lookback="7d", serving_delay="15min", partitions_def=days)
def load(orders: fti.Table) -> fti.Table:
    return fti.window_aggregate(orders, keys=["shop"], every="1h", windows=["3h"], aggregates={"n": fti.Count()})


prices = fti.sql_feature_group(name="prices", keys=["shop"], sql="SELECT shop, max(price) AS price FROM orders GROUP BY shop")
shops = fti.external_group(name="shops", source=fti.ParquetFiles(path="shops/*.parquet"), keys=["shop"])
view = fti.FeatureView(
    name="returned", spine=orders, label=fti.Label(orders["returned"]),
    features=[orders["plan", "shop"], load["n"], shops["size"]],
    encoders={"plan": fti.OneHot(), "shop": fti.Embedding(4)},
)
cutoffs = dg.MonthlyPartitionsDefinition(start_date="2024-02-01", end_offset=1)
dataset = fti.training_dataset(name="returned_rows", view=view, split=fti.TimeSplit(validation="7d", test="7d"), partitions_def=cutoffs)


@fti.model(dataset=dataset, task="binary", gates=[fti.BeatsBaseline("log_loss")])
def returns(data: fti.TrainingData) -> object: ...


scores = fti.batch_predictions(name="scores", model=returns, partitions_def=days)


@fti.new_data_sensor(targets=[orders])
def landed() -> dict[fti.FeatureGroup, dict[str, str]]: ...


defs = fti.build_definitions([scores, prices], sensors=[landed], jobs=[fti.upkeep_job(keep="30d")])
dg.Definitions.validate_loadable(defs)
"""
README = Path(__file__).parents[2] / "README.md"
SMALL = README.read_text().partition("<!-- churn.py -->\n```python\n")[2].partition("```")[0]


@pytest.mark.parametrize("source", [SYSTEM, pytest.param(SMALL, marks=pytest.mark.soak)], ids=["everything", "readme"])
def test_definitions_load_without_what_steps_import(source: str, tmp_path: Path) -> None:
    (tmp_path / "system.py").write_text(source)
    code = f"import sys, system; print([name for name in {STEPS} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert loaded.stdout == "[]\n", loaded.stdout + loaded.stderr[-3000:]
