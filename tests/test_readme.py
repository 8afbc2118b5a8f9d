"""What the README shows works as it stands."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from tests.support.programs import called

README = Path(__file__).parent.parent / "README.md"


def _block(marker: str) -> str:
    results = re.search(rf"<!-- {re.escape(marker)} -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert results is not None, f"the README has no block {marker}"
    return results[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = 400
    customers = pd.DataFrame(
        {
            "customer_id": np.arange(rows),
            "age": rng.normal(40, 10, rows).round(),
            "plan": rng.choice(["free", "pro"], rows),
        }
    )
    customers["churned"] = (rng.random(rows) < 1 / (1 + np.exp((customers.age - 40) / 4))).astype(int)
    customers.to_csv(tmp_path / "customers.csv", index=False)
    for name in ("churn.py", "app.py"):
        (tmp_path / name).write_text(_block(name))
    return tmp_path


def test_the_small_system_is_about_twenty_lines() -> None:
    lines = [line for line in _block("churn.py").splitlines() if line.strip()]
    assert len(lines) <= 22


def test_the_small_system_materializes_and_serves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    code, result = called("dagster", "asset", "materialize", "-f", "churn.py", "--select", "*")
    assert code == 0, result[-3000:]
    answer = subprocess.run([sys.executable, "app.py"], cwd=folder, capture_output=True, text=True, check=True)
    assert 0 < float(answer.stdout) < 1
    manifest = json.loads(next((folder / ".fti/models/churn/v1").glob("*/manifest.json")).read_text())
    assert manifest["metrics"]["log_loss"] < manifest["baseline"]["log_loss"]
    assert manifest["dataset"]["point_in_time"] is False


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first block, beside ten days of orders."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(README.read_text().partition("```python\n")[2].partition("```")[0])
    landing = folder / "landing" / "orders"
    landing.mkdir(parents=True)
    for number, day in enumerate(pd.date_range("2024-01-01", periods=10)):
        placed = [day + pd.Timedelta(hours=hour) for hour in (9, 10)]
        rows = pd.DataFrame({"order_id": [2 * number, 2 * number + 1], "shop": ["a", "b"], "placed_at": placed})
        rows.to_parquet(landing / f"{day:%Y-%m-%d}.parquet", index=False)
    return folder


def test_first_block_works_for_range_and_day(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    monkeypatch.syspath_prepend(shop)
    ranged = ("--partition-range", "2024-01-01...2024-01-09")
    code, result = called("dagster", "asset", "materialize", "-f", "shop.py", "--select", "*", *ranged)
    assert code == 0, result[-3000:]
    assert "RUN_SUCCESS" in result
    system = runpy.run_path("shop.py")
    orders, shop_load = system["orders"], system["shop_load"]
    stores = testing.stores_in(".fti")
    testing.materialize(orders, shop_load, stores=stores, partition="2024-01-10")
    assert len(fti.read(orders, stores=stores)) == 20
    assert fti.read(shop_load, stores=stores)["orders_7d"].max() == 7
    assets = system["defs"].resolve_all_asset_keys()
    assert sorted(key.to_user_string() for key in assets) == ["orders_v1", "shop_load_v1"]
