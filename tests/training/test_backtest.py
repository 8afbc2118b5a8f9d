"""A model at one cutoff after another: each score is that of a build of the cutoff, and nothing is kept."""

from pathlib import Path
from xml.etree import ElementTree

import dagster as dg
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.errors import DeclarationError, ModelError, NotMaterializedError
from fti_assets.training.backtest.picture import picture
from fti_assets.training.backtest.run import backtest
from fti_assets.training.backtest.scores import AtCutoff, Backtest
from fti_assets.training.backtest.text import as_text
from tests.training.test_model_run import BUYING, buyer, made

__all__ = ["made"]


def stores_of(made: Path, models: Path) -> fti.Stores:
    return fti.Stores(lake=made / "lake", models=models)


@pytest.fixture(scope="module")
def result(made: Path) -> Backtest:
    return backtest(buyer(), stores=stores_of(made, made / "nowhere"), cutoffs=["2013-01-08", "2013-01-07"])


def test_each_cutoff_is_judged_on_its_own_test_rows(made: Path, result: Backtest) -> None:
    assert [point.partition for point in result.points] == ["2013-01-07", "2013-01-08"]
    for point in result.points:
        rows = fti.read(BUYING, partitions=[point.partition], stores=stores_of(made, made / "models"))
        train, test = (rows[rows["split"] == part] for part in ("train", "test"))
        assert point.rows["test"] == len(test)
        fitted = LogisticRegression().fit(train[["spend"]], train["bought"])
        expected = roc_auc_score(test["bought"], fitted.predict_proba(test[["spend"]])[:, 1])
        assert point.metrics["roc_auc"] == pytest.approx(expected, abs=1e-6)
        assert point.baseline["roc_auc"] == 0.5
        assert point.intervals["roc_auc"].low <= point.metrics["roc_auc"] <= point.intervals["roc_auc"].high


def test_nothing_of_a_backtest_is_kept(made: Path, result: Backtest) -> None:
    assert not (made / "nowhere").exists()


def test_existing_builds_are_taken_as_they_are(made: Path) -> None:
    stores = stores_of(made, made / "models")
    (build,) = stores.model_store().builds("buyer")
    messages: list[str] = []
    taken = backtest(buyer(), stores=stores, existing=True, metrics=["log_loss"], say=messages.append)
    assert [(point.partition, point.metrics) for point in taken.points] == [("2013-01-06", build.metrics)]
    assert taken.metrics == ("log_loss",)
    assert sum("has no build, so it is left out" in line for line in messages) == len(messages) - 1
    assert "the builds of the model store" in as_text(taken)
    with pytest.raises(NotMaterializedError, match="leave --existing out"):
        backtest(buyer(), stores=stores, existing=True, last=1)


def test_cutoff_without_a_model_does_not_end_the_others(made: Path) -> None:
    def fit(data: fti.TrainingData) -> object:
        if data.train.rows < 100:
            raise ModelError("too few rows")
        return LogisticRegression().fit(data.train.X, data.train.y)

    stores = stores_of(made, made / "nowhere")
    some = backtest(buyer(fit), stores=stores, cutoffs=["2013-01-05", "2013-01-08"])
    assert [point.problem for point in some.points] == ["too few rows", ""]
    assert "2013-01-05  too few rows" in as_text(some)
    with pytest.raises(ModelError, match="cannot be trained at any of '2013-01-05': too few rows"):
        backtest(buyer(fit), stores=stores, cutoffs=["2013-01-05"])


def test_error_of_a_library_does_not_end_the_others(made: Path) -> None:
    def fit(data: fti.TrainingData) -> object:
        if data.train.rows < 100:
            raise ValueError("n_splits=5 is\ntoo many")
        return LogisticRegression().fit(data.train.X, data.train.y)

    stores, messages = stores_of(made, made / "nowhere"), list[str]()
    some = backtest(buyer(fit), stores=stores, cutoffs=["2013-01-05", "2013-01-08"], say=messages.append)
    assert [point.problem for point in some.points] == ["ValueError: n_splits=5 is too many", ""]
    assert some.points[1].metrics["roc_auc"] > 0.5
    assert "Traceback" in messages[0], "it says where"


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (SystemExit(4), "buyer_v1 ends the process with exit code 4"),
        (Speechless(), "Speechless: <that cannot be shown: RuntimeError>"),
    ],
)
def test_no_error_of_the_function_ends_the_others(made: Path, error: BaseException, problem: str) -> None:
    def fit(data: fti.TrainingData) -> object:
        if data.train.rows < 100:
            raise error
        return LogisticRegression().fit(data.train.X, data.train.y)

    some = backtest(buyer(fit), stores=stores_of(made, made / "nowhere"), cutoffs=["2013-01-05", "2013-01-08"])
    assert some.points[0].problem.startswith(problem)
    assert some.points[1].metrics


def test_table_and_picture_show_every_cutoff(result: Backtest) -> None:
    text = as_text(result)
    assert text.splitlines()[0].startswith("buyer at 2 cutoffs, trained at each")
    scores = result.scores("roc_auc")
    assert f"{np.mean(scores):.4f}, {min(scores):.4f} to {max(scores):.4f}" in text
    root = ElementTree.fromstring(picture(result))
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}circle")) == 2 * len(result.metrics)
    kinds = [one.get("class") for one in root.findall(f"{space}path")]
    assert kinds.count("whisker") == 2 * len(result.metrics)
    assert kinds.count("baseline") == len(result.metrics)
    undefined = AtCutoff("2013-01-09", "", {}, {}, {}, {"train": 1, "test": 1})
    assert "undefined at each cutoff" in picture(Backtest("buyer", ("r2",), (undefined,), False))
    assert "undefined" in as_text(Backtest("buyer", ("r2",), (undefined,), False))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"metrics": ["rmse"]}, DeclarationError, "does not evaluate 'rmse'"),
        ({"last": 0}, DeclarationError, "last=0"),
        ({"cutoffs": ["2014-01-01"]}, NotMaterializedError, "has no partition '2014-01-01'"),
    ],
)
def test_impossible_backtest_is_refused(
    made: Path, options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        backtest(buyer(), stores=stores_of(made, made / "nowhere"), **options)  # type: ignore[arg-type]


@pytest.mark.soak
def test_tuned_model_is_tuned_at_each_cutoff(made: Path) -> None:
    numbers: list[int] = []

    @fti.model(name="buyer", dataset=BUYING, task="binary", tune=fti.Tuning(space={"C": fti.Uniform(0.1, 1)}, trials=2))
    def tuned(context: dg.AssetExecutionContext, data: fti.TrainingData, trial: fti.Trial) -> object:
        numbers.append(trial.number)
        return LogisticRegression(**trial).fit(data.train.X, data.train.y)

    backtest(tuned, stores=stores_of(made, made / "nowhere"), last=2)
    assert numbers == [1, 2, 1, 2]


def test_versions_of_a_model_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = [buyer(), buyer(version=2)]
    monkeypatch.setattr(
        "fti_assets.cli.training.backtest.load_definitions", lambda file, module: fti.build_definitions(versions)
    )
    assert main(["backtest", "buyer"]) == 1
    assert "several versions of model 'buyer': write 'buyer_v1' or 'buyer_v2'" in capsys.readouterr().err
