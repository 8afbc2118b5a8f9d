"""Stores in folders that a process cannot write are read and served all the same."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.cli.commands import main
from fti_assets.errors import StoreError
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.models.store import ModelStore
from tests.support.unreadable import as_nobody


@fti.feature_group(keys=["id"], online=True)
def ratings() -> pd.DataFrame:
    return pd.DataFrame({"id": range(100), "stars": [number % 7 for number in range(100)]})


@fti.feature_group(keys=["id"])
def people() -> pd.DataFrame:
    rows = range(100)
    return pd.DataFrame({"id": rows, "x": [number % 10 for number in rows], "y": [number % 3 == 0 for number in rows]})


liking = fti.FeatureView(
    name="liking", spine=people, label=fti.Label(people["y"]), features=[people["x"], ratings["stars"]]
)


@fti.model(dataset=liking, task="binary")
def likes(data: fti.TrainingData) -> Any:
    return LogisticRegression().fit(data.train.X, data.train.y)


def stores_in(home: Path) -> Stores:
    return Stores(lake=str(home / "lake"), models=str(home / "models"), online=str(home / "online"))


@contextmanager
def read_only(home: Path) -> Iterator[None]:
    """As a user who may read a folder and no more; root may write anything, so it becomes nobody for the block."""
    modes = {path: path.stat().st_mode for path in [home, *home.rglob("*")]}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222 | 0o444 | (0o111 if path.is_dir() else 0))
    try:
        with as_nobody():
            yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stores of a system that was trained, which the tests copy."""
    folder = tmp_path_factory.mktemp("trained")
    defs = fti.build_definitions([likes], resources={"fti": stores_in(folder)})
    with dg.DagsterInstance.ephemeral() as instance:
        assert defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success
    fti.read(people, stores=stores_in(folder))  # imports all that reading needs, as long as that may be read
    load(folder).predict({"id": 1, "x": 2})
    return folder


@pytest.fixture
def home(trained: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fti-read-only-"))  # pytest's own folders are not to be entered by others
    try:
        shutil.copytree(trained, folder, dirs_exist_ok=True)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield folder
    finally:
        shutil.rmtree(folder)


def load(home: Path) -> fti.Predictor:
    return fti.Predictor.load("likes", models=home / "models", online=home / "online")


SYSTEM = """
import fti_assets as fti
import pandas as pd


@fti.feature_group(keys=["id"])
def people() -> pd.DataFrame:
    return pd.DataFrame()


defs = fti.build_definitions([people], resources={{"fti": fti.Stores(lake="{home}/lake", online="{home}/online")}})
"""


def contents(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_a_read_only_lake_is_read(home: Path) -> None:
    before = contents(home)
    with read_only(home):
        assert len(fti.read(people, stores=stores_in(home))) == 100
        assert len(fti.read(liking.spine, stores=stores_in(home), at="2030-01-01")) == 100
    assert contents(home) == before


def test_a_read_only_lake_is_checked(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "system.py").write_text(SYSTEM.format(home=str(home)))
    (home / "lake" / "lake.lock").unlink()
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    before = contents(home)
    with read_only(home):
        assert main(["lake", "check", "-f", str(home / "system.py")]) == 0
    assert "files, 0 more that no snapshot names" in capsys.readouterr().out
    assert contents(home) == before


def test_read_only_stores_serve(home: Path) -> None:
    expected = load(home).predict({"id": 3, "x": 4})
    with read_only(home):
        served = load(home)
        assert served.predict({"id": 3, "x": 4}).value == expected.value
        assert served.predict([{"id": 3, "x": 4}, {"id": 777, "x": 1}])[1].missing == ("ratings_v1",)


def test_a_file_that_another_user_loads_is_opened_anew(home: Path) -> None:
    online = stores_in(home).online_store()
    with read_only(home):
        reader = online.reader("ratings_v1")
        assert reader.get((3,), 0).values == (3,)
    about = online.about("ratings_v1")
    online.load(
        "ratings_v1",
        key_types=about.schema.key_types,
        columns=about.schema.columns,
        rows=[((3,), [(None, None, (99,))])],
        answers_from=None,
        snapshot=2,
        event_time=False,
    )
    with read_only(home):
        assert reader.get((3,), 0).values == (99,)


def promote(home: Path) -> None:
    models = ModelStore(home / "models")
    champion = models.champion("likes").reference
    models.promote("likes", champion, expected=champion, reason="again")


def drop(home: Path) -> None:
    stores_in(home).online_store().drop("ratings_v1")


def take_lock(home: Path) -> None:
    with stores_in(home).offline_store().lock():
        raise AssertionError("nobody can write here")


def change_lake(home: Path) -> None:
    with stores_in(home).offline_store().connect() as lake:
        lake.connection.execute("CREATE TABLE lake.other (x INTEGER)")


@pytest.mark.parametrize("change", [promote, drop, take_lock])
def test_writing_is_refused_in_the_librarys_words(home: Path, change: Callable[[Path], None]) -> None:
    before = contents(home)
    with read_only(home), pytest.raises(StoreError, match="could not be written: Permission denied"):
        change(home)
    assert contents(home) == before


def test_nothing_is_written_into_a_copy_of_the_catalog(home: Path) -> None:
    """Where it would be lost without a word."""
    with read_only(home), pytest.raises((StoreError, duckdb.Error), match="read-only"):
        change_lake(home)


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("1", []),
        ("777", ["--expire"]),
        *(pytest.param(key, more, marks=pytest.mark.soak) for key, more in [("1", ["--expire"]), ("777", [])]),
    ],
)
def test_a_read_only_lake_is_looked_at_for_a_key(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str, more: list[str]
) -> None:
    (home / "system.py").write_text(SYSTEM.format(home=str(home)))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    look = ["forget", "people", "--key", f"id={key}", "--dry-run", "-f", str(home / "system.py"), *more]
    assert main(look) == 0
    expected = capsys.readouterr().out
    (home / "lake" / "lake.lock").unlink()
    before = contents(home)
    with read_only(home):
        assert main(look) == 0
        results = capsys.readouterr().out
        assert main([one for one in look if one != "--dry-run"]) == 1
    assert "lake.lock could not be written" in capsys.readouterr().err
    lines = [line for line in results.splitlines() if "without the writers' lock" not in line]
    assert len(lines) == len(results.splitlines()) - 1
    assert lines == expected.splitlines()
    assert contents(home) == before
