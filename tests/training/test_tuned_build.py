"""A tuned model as a Dagster asset: what its build, its page and its log say of the trials, and a run that is killed."""

import json
from typing import Any

import dagster as dg
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import from_json
from fti_assets.errors import DeclarationError
from fti_assets.training.models.model import Model
from fti_assets.training.tuning.study import STUDY, Study
from tests.training.test_model_run import BUYING, Bench, bench, made, materialized

__all__ = ["bench", "made"]


class Killed(BaseException):
    """The process ends in the middle of a trial."""


TRIALS: dict[str, Any] = {"killed": None, "calls": []}
"""In which trial a run is killed, and which trials there were: no value that a function closes over, which would make it another one."""


def tuned_buyer(**options: Any) -> Model:
    space = {"C": fti.LogUniform(1e-4, 1.0)}

    @fti.model(name="buyer", dataset=BUYING, task="binary", tune=fti.Tuning(space=space, trials=3), **options)
    def train(data: fti.TrainingData, trial: fti.Trial) -> Any:
        if trial.number == TRIALS["killed"]:
            raise Killed
        return LogisticRegression(**trial).fit(data.train.X, data.train.y)

    return train


def study_of(bench: Bench, manifest: ModelManifest) -> Study:
    return from_json(Study, bench.store.file(manifest, STUDY), what="study")


def test_build_says_how_its_parameters_were_chosen(
    bench: Bench, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tuned_buyer()
    with monkeypatch.context() as patch:
        patch.setitem(TRIALS, "killed", 3)
        assert not bench.train(model, "08").success
    assert bench.builds() == []
    folder = bench.store.aliases_file("buyer").parent
    assert len(list(folder.glob(".tuning/*.jsonl"))) == 1
    capfd.readouterr()
    result = bench.train(model, "08")
    log = capfd.readouterr().err
    (manifest,) = bench.builds()
    study = study_of(bench, manifest)
    assert manifest.tuning == study.in_short
    assert study.best is not None
    assert manifest.tuning.parameters == study.best.parameters
    assert (len(study.trials), study.resumed, study.metric) == (3, 2, "roc_auc")
    assert not (folder / ".tuning").exists()
    assert "the study goes on after 2 trials" in log
    assert f"trial 3 of 3: roc_auc {study.trials[2].value:.6g}" in log

    displayed = materialized(result, model)["2013-01-08"].metadata
    assert json.loads(json.dumps(displayed["tuning/parameters"].value)) == manifest.tuning.parameters
    assert displayed["tuning/trials"].value == 3
    assert "svg+xml" in str(displayed["tuning/history"].value)
    card = str(displayed["card"].value)
    assert f"those of trial {study.best.number} of 3: roc_auc" in card
    assert manifest.packages["optuna"]
    page = (bench.store.folder(manifest) / "pictures.html").read_text()
    assert page.count("<td>complete") == 3
    assert dict(model.assets_def.metadata_by_key[model.key])["tuning"] == "3 trials by roc_auc over C"

    # Another run makes the same study again.
    bench.train(model, "08")
    again = study_of(bench, bench.builds()[-1])
    assert again.resumed == 0
    assert [(one.parameters, one.value) for one in again.trials] == [
        (one.parameters, one.value) for one in study.trials
    ]


@pytest.mark.soak
def test_killed_study_of_a_function_that_closes_over_another_value_begins_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune = fti.Tuning(space={"C": fti.LogUniform(1e-4, 1)}, trials=3)

    def made(sign: int) -> Model:
        @fti.model(name="buyer", dataset=BUYING, task="binary", tune=tune)
        def model(data: fti.TrainingData, trial: fti.Trial) -> Any:
            if trial.number == TRIALS["killed"]:
                raise Killed
            return LogisticRegression(**trial).fit(data.train.X * sign, data.train.y)

        return model

    with monkeypatch.context() as patch:
        patch.setitem(TRIALS, "killed", 3)
        assert not bench.train(made(1), "08").success
    assert bench.train(made(-1), "08").success
    assert study_of(bench, bench.builds()[-1]).resumed == 0
    assert made(1).assets_def.code_versions_by_key != made(-1).assets_def.code_versions_by_key


@pytest.mark.soak
def test_killed_study_with_another_resource_begins_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Labels(dg.ConfigurableResource):  # type: ignore[misc]
        sign: int

    @fti.model(
        name="buyer", dataset=BUYING, task="binary", tune=fti.Tuning(space={"C": fti.LogUniform(1e-4, 1)}, trials=3)
    )
    def model(data: fti.TrainingData, trial: fti.Trial, labels: Labels) -> Any:
        if trial.number == TRIALS["killed"]:
            raise Killed
        return LogisticRegression(**trial).fit(data.train.X * labels.sign, data.train.y)

    for sign, resumed in ((-1, 0), (1, 2)):
        with monkeypatch.context() as patch:
            patch.setitem(TRIALS, "killed", 3)
            assert not bench.train(model, "08", resources={"labels": Labels(sign=1)}).success
        assert bench.train(model, "08", resources={"labels": Labels(sign=sign)}).success
        assert study_of(bench, bench.builds()[-1]).resumed == resumed


@pytest.mark.soak
def test_killed_study_of_another_config_begins_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Features(dg.Config):  # type: ignore[misc]
        power: int = 1
        intercept: bool = True

    @fti.model(
        name="buyer", dataset=BUYING, task="binary", tune=fti.Tuning(space={"C": fti.LogUniform(1e-4, 1)}, trials=3)
    )
    def model(data: fti.TrainingData, trial: fti.Trial, config: Features) -> Any:
        TRIALS["calls"].append((config.power, trial.number))
        if trial.number == TRIALS["killed"]:
            raise Killed
        return LogisticRegression(**trial).fit(data.train.X * (-1) ** (config.power - 1), data.train.y)

    def train(**config: Any) -> list[tuple[int, int]]:
        TRIALS["calls"].clear()
        bench.train(model, "08", run_config={"ops": {model.asset_name: {"config": config}}})
        return list(TRIALS["calls"])

    with monkeypatch.context() as patch:
        patch.setitem(TRIALS, "killed", 3)
        assert train(power=1, intercept=True) == [(1, 1), (1, 2), (1, 3)]
    # What is judged the other way round was trained with the other config in all trials.
    assert train(power=2)[:3] == [(2, 1), (2, 2), (2, 3)]
    study = study_of(bench, bench.builds()[-1])
    assert study.resumed == 0
    assert max(one.value or 0.0 for one in study.trials) < 0.5
    # The killed one still goes on, in whatever order its config is written.
    train(intercept=True, power=1)
    assert study_of(bench, bench.builds()[-1]).resumed == 2


def test_other_trials_are_another_code_version() -> None:
    versions = {
        tuned_buyer().assets_def.code_versions_by_key[dg.AssetKey("buyer_v1")],
        tuned_buyer(gates=[fti.BeatsBaseline("log_loss")]).assets_def.code_versions_by_key[dg.AssetKey("buyer_v1")],
    }
    assert len(versions) == 2


def test_config_and_space_share_no_name() -> None:
    class Settings(dg.Config):  # type: ignore[misc]
        C: float = 1.0

    with pytest.raises(DeclarationError, match="tunes 'C', which its config has too"):

        @fti.model(dataset=BUYING, task="binary", tune=fti.Tuning(space={"C": fti.Uniform(0, 1)}))
        def train(data: fti.TrainingData, trial: fti.Trial, config: Settings) -> Any: ...
