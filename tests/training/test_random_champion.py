"""A champion of a random split is compared on the rows that its own split left out."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

import fti_assets as fti
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.times import instant
from fti_assets.stores.models.store import ModelStore, build_id

ROWS = 2_000
RNG = np.random.default_rng(5)
CHANCE = pd.DataFrame({"id": range(ROWS), "x": RNG.normal(size=ROWS), "y": RNG.random(ROWS) < 0.5, "shop": 7})


def materialize(seed: int, keys: tuple[str, ...] = ("id",), version: int = 1) -> ModelManifest:
    """A tree that learns chance by heart, beside a gate that asks for no worse accuracy than the champion's."""

    def people() -> pd.DataFrame:
        return CHANCE

    earlier = [fti.feature_group(keys=["id", "shop"], version=1)(people)] if version > 1 else []
    people = fti.feature_group(keys=list(keys), version=version)(people)
    view = fti.FeatureView(name="chance", spine=people, label=fti.Label(people["y"]), features=[people["x"]])
    dataset = fti.training_dataset(name="chances", view=view, split=fti.RandomSplit(seed=seed))

    @fti.model(
        dataset=dataset,
        task="binary",
        evaluate=fti.Evaluation(metrics=["accuracy"]),
        gates=[fti.NotWorseThanChampion("accuracy", tolerance=0.15)],
    )
    def guesser(data: fti.TrainingData) -> Any:
        return DecisionTreeClassifier(random_state=0).fit(data.train.X, data.train.y)

    job = fti.build_definitions([guesser, *earlier]).resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=dg.DagsterInstance.ephemeral(), raise_on_error=False)
    return ModelStore(".fti/models").builds("guesser")[-1]


@pytest.fixture(scope="module")
def of_seed_0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stores with a champion of seed 0, made once."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("of_seed_0")
        patch.chdir(folder)
        patch.delenv("FTI_HOME", raising=False)
        materialize(seed=0)
    return folder / ".fti"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FTI_HOME", raising=False)
    return tmp_path


@pytest.mark.soak
def test_another_seed_is_compared_on_rows_champion_never_had(home: Path, of_seed_0: Path) -> None:
    shutil.copytree(of_seed_0, home / ".fti")
    [champion] = ModelStore(".fti/models").builds("guesser")
    assert champion.dataset.random_parts.seed == 0
    challenger = materialize(seed=1)
    (verdict,) = challenger.gates
    assert f"of the champion {champion.reference}" in verdict.reason
    assert verdict.passed, verdict.reason  # by heart, the champion would be right on four of five of these rows


def test_keys_in_another_order_are_those_of_champions_split(home: Path) -> None:
    materialize(seed=0, keys=("id", "shop"))
    (verdict,) = materialize(seed=0, keys=("shop", "id"), version=2).gates
    assert verdict.passed, verdict.reason


@pytest.mark.soak
def test_champion_that_did_not_note_its_split_is_not_compared(home: Path, of_seed_0: Path) -> None:
    shutil.copytree(of_seed_0, home / ".fti")
    store = ModelStore(".fti/models")
    [champion] = store.builds("guesser")
    earlier = replace(
        champion,
        build=build_id(instant(champion.cutoff), "0000000a"),
        dataset=replace(champion.dataset, random_parts=None),
        files={},
    )
    store.publish(earlier, store.load("guesser", champion.reference)[1], "a card")
    store.promote("guesser", earlier.reference, expected=champion.reference, reason="by hand")
    store.folder(champion).rename(home / "gone")
    (verdict,) = materialize(seed=0).gates
    assert not verdict.passed
    assert "was split at random by an earlier release, which did not note how" in verdict.reason
