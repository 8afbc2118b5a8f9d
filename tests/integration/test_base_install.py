"""An app's environment: the wheel with what it needs and nothing else, beside the stores that a pipeline filled."""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock

ROOT = Path(__file__).parents[2]

NOW = "2013-06-20T00:00:00"
AT = "2013-06-19T13:45:00"
REQUEST = {"visit_id": 7, "shop": "north", "basket": 31.5, "opened_at": "2013-06-19T08:00:00Z"}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
HEAVY = ["dagster", "duckdb", "onnx", "pandas", "pandera", "pyarrow", "pytorch_lightning", "redis", "sklearn", "torch"]

ON_DEMAND = """
import numpy as np

from fti_assets import on_demand


@on_demand(outputs={"hours_open": float, "is_morning": bool})
def opening(opened_at: np.ndarray, visited_at: np.ndarray) -> dict[str, np.ndarray]:
    hour = visited_at.astype("datetime64[h]").astype(np.int64) % 24
    return {"hours_open": (visited_at - opened_at) / np.timedelta64(1, "h"), "is_morning": hour < 12}
"""

APP = """
import importlib.util
import json
import sys

models, online, request, at, heavy = sys.argv[1:]

from fti_assets import Predictor

prediction = Predictor.load("purchase", models=models, online=online).predict(json.loads(request), at=at)
assert not {name.partition(".")[0] for name in sys.modules} & set(json.loads(heavy))

import fti_assets
from fti_assets.errors import MissingExtraError

try:
    fti_assets.feature_group
except MissingExtraError as error:
    refusal = str(error)
answer = {
    "value": prediction.value,
    "features": prediction.features,
    "missing": prediction.missing,
    "build": prediction.build,
    "importable": [name for name in json.loads(heavy) if importlib.util.find_spec(name)],
    "installed_at": fti_assets.__file__,
    "refusal": refusal,
}
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class App:
    """A folder with an app's script and its on-demand module, and the environment that it runs in."""

    folder: Path
    environment: Path

    def run(self, program: str, *arguments: str) -> str:
        """What a program of the environment prints, run where nothing of this repository can be imported."""
        isolated = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FTI_"))}
        command = [self.environment / "bin" / program, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=isolated, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    here = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    pip(sys.executable, "wheel", str(ROOT), "--no-deps", *here, "--wheel-dir", str(folder))
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and its base dependencies, of the versions that are installed here."""
    folder = tmp_path_factory.mktemp("environment")
    pinned = folder / "constraints.txt"
    pinned.write_text("".join(f"{name}=={importlib.metadata.version(name)}\n" for name in ("numpy", "onnxruntime")))
    venv.create(folder / "venv", with_pip=False)
    target = f"--python={folder / 'venv' / 'bin' / 'python'}"
    # What the app imports is compiled when it does; of all else, most is never imported.
    pip(sys.executable, target, "install", "--no-compile", str(wheel), "--constraint", str(pinned))
    return folder / "venv"


def pip(python: str, *arguments: str) -> None:
    done = subprocess.run([python, "-m", "pip", "--quiet", *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder where an on-demand module and the stores of a small system lie."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "shop_on_demand.py").write_text(ON_DEMAND)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        opening = importlib.import_module("shop_on_demand").opening
        stores = fti.Stores(**{name: str(folder / name) for name in ("lake", "models", "online")})
        with clock.at(NOW):
            for declaration in system(opening):
                dg.materialize([declaration.assets_def], resources={"fti": stores}, run_config=QUIET)
        yield folder
    del sys.modules["shop_on_demand"]


@pytest.fixture(scope="module")
def app(pipeline: Path, environment: Path, tmp_path_factory: pytest.TempPathFactory) -> App:
    folder = tmp_path_factory.mktemp("app")
    shutil.copy(pipeline / "shop_on_demand.py", folder)
    (folder / "app.py").write_text(APP)
    return App(folder, environment)


def system(opening: Any) -> list[Any]:
    """Will a visitor of a shop buy something? Visits of twenty days, the shops' rates of the hours before, a model."""
    rng = np.random.default_rng(0)
    visited = pd.date_range("2013-06-01", "2013-06-19 23:00", freq="20min", unit="us")
    drawn = pd.DataFrame(
        {
            "visit_id": np.arange(len(visited)),
            "visited_at": visited,
            "shop": rng.choice(["north", "south", "east"], len(visited)),
            "basket": rng.gamma(2, 15, len(visited)),
            "opened_at": visited.normalize() + timedelta(hours=8),
        }
    )

    @fti.feature_group(keys=["visit_id"], event_time="visited_at")
    def visits() -> pd.DataFrame:
        return drawn

    @fti.feature_group(keys=["visit_id"], event_time="decided_at")
    def decisions() -> pd.DataFrame:
        bought = drawn["basket"] + 20 * (drawn["shop"] == "north") > rng.normal(40, 10, len(drawn))
        return pd.DataFrame(
            {"visit_id": drawn["visit_id"], "decided_at": visited + timedelta(minutes=30), "bought": bought}
        )

    @fti.feature_group(
        keys=["shop"], event_time="hour", serving_delay="5min", ttl="1d", online=True, online_history="7d"
    )
    def shop_rates() -> pd.DataFrame:
        hours = pd.date_range("2013-06-01", "2013-06-19 23:00", freq="1h", unit="us")
        rows = pd.MultiIndex.from_product([["north", "south", "east"], hours], names=["shop", "hour"]).to_frame(
            index=False
        )
        return rows.assign(rate=rng.random(len(rows)))

    view = fti.FeatureView(
        name="purchases",
        spine=visits,
        label=fti.Label(decisions["bought"], maturity="1h"),
        features=[visits["shop", "basket"], shop_rates["rate"], opening],
        encoders={"shop": fti.OneHot()},
    )
    dataset = fti.training_dataset(name="purchases", view=view, split=fti.TimeSplit(validation="1d", test="4d"))

    @fti.model(dataset=dataset, task="binary", gates=[fti.BeatsBaseline("log_loss")])
    def purchase(data: fti.TrainingData) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression().fit(data.train.X, data.train.y)

    return [visits, decisions, shop_rates, dataset, purchase]


def test_app_gets_answer_of_full_environment_from_base_install(app: App, pipeline: Path) -> None:
    models, online = pipeline / "models", pipeline / "online"
    here = fti.Predictor.load("purchase", models=models, online=online).predict(REQUEST, at=AT)
    present = json.loads(
        app.run("python", "app.py", str(models), str(online), json.dumps(REQUEST), AT, json.dumps(HEAVY))
    )
    assert (present["value"], present["features"], present["missing"]) == (here.value, here.features, [])
    assert present["build"] == here.build
    assert present["features"]["hours_open"] == 5.75
    assert 0.05 < present["value"] < 0.95
    assert Path(present["installed_at"]).is_relative_to(app.environment)
    assert present["importable"] == []
    assert present["refusal"] == (
        "fti_assets.feature_group needs dagster, which is not installed: pip install 'fti-assets[pipelines]'"
    )


def test_app_without_on_demand_module_is_told_to_ship_it(app: App, pipeline: Path, tmp_path: Path) -> None:
    shutil.copy(app.folder / "app.py", tmp_path)
    arguments = [str(pipeline / "models"), str(pipeline / "online"), json.dumps(REQUEST), AT, json.dumps(HEAVY)]
    with pytest.raises(AssertionError, match="the app must ship that module, on its import path"):
        App(tmp_path, app.environment).run("python", "app.py", *arguments)


def test_command_line_of_base_install_lists_builds(app: App, pipeline: Path) -> None:
    result = app.run("fti", "models", "purchase", "--models", str(pipeline / "models"))
    assert "accepted, champion" in result
    assert "passed beats_baseline" in result


def test_a_new_system_is_written_by_the_base_install(app: App, tmp_path: Path) -> None:
    app.run("fti", "init", "shop_returns", "--folder", str(tmp_path / "new"))
    assert (tmp_path / "new" / "shop_returns" / "features.py").exists()
    assert (tmp_path / "new" / ".github" / "workflows" / "ml.yml").exists()


def test_wheel_holds_package_and_nothing_of_repository_around_it(wheel: Path, environment: Path) -> None:
    [installed] = environment.glob("lib/python*/site-packages/fti_assets")
    shipped = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.suffix not in (".pyc", "")}
    sources = ROOT / "fti_assets"
    assert shipped == {str(path.relative_to(sources)) for path in sources.rglob("*") if path.suffix not in (".pyc", "")}
    assert "core/manifest/manifest.schema.json" in shipped
    assert not [name for name in ("tests", "examples", "resources", "benchmarks") if (installed.parent / name).exists()]
