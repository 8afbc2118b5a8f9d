"""Every path of an answer, of models of several labels, rankings and composites of them: the same numbers wherever they are asked."""

from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import onnxruntime
import pytest

import fti_assets as fti
from fti_assets import Predictor
from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.core.manifest import OUTPUT_NAMES
from fti_assets.inference.log.take_in import take_in
from fti_assets.training.judging.evaluation import evaluate
from tests.integration import numbers_system as system
from tests.support.partitions import range_tags

FILE = Path(system.__file__)
MODELS = ["pair", "ranker", "mixed"]
NOW = "2013-01-08T12:00:00"


@dataclass
class World:
    """The stores of the system, with two builds of each model, and what was answered on the seventh of January."""

    root: Path
    stores: fti.Stores
    answers: dict[str, list[Any]]

    def load(self, model: str, **options: Any) -> Predictor:
        return Predictor.load(model, models=str(self.root / "models"), online=str(self.root / "online"), **options)

    def cli(self, capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
        with clock.at(NOW), chdir(self.root):
            assert main(list(map(str, arguments))) == 0, capsys.readouterr().err
        return capsys.readouterr().out


def requests() -> list[dict[str, Any]]:
    rows = system.SOURCE[system.SOURCE["t"].dt.day == 7]
    return [dict(row) for row in rows.to_dict("records")]


def asked(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in system.ASKED}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("numbers")
    stores = fti.Stores(**{name: str(root / name) for name in ("lake", "models", "online")})
    with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:

        def run(*assets: Any, now: str, **options: Any) -> None:
            assets = tuple(one.assets_def for one in assets)
            with clock.at(now):
                assert dg.materialize(assets, instance=instance, resources={"fti": stores}, **options).success

        days = range_tags("2013-01-01", "2013-01-07")
        run(system.shown, system.outcomes, system.crowds, now=NOW, tags=days)
        for cutoff in ("2013-01-06", "2013-01-07"):
            run(system.PAIR, system.LISTS, system.pair, system.ranker, now=f"{cutoff}T01:00", partition_key=cutoff)
        run(system.mixed, now="2013-01-07T02:00", partition_key="2013-01-07")
        patch.setenv("FTI_HOME", str(root))
        world, log = World(root, stores, {}), root / "log"
        with clock.at("2013-01-07T23:30:00"):
            for name in MODELS:
                predictor = world.load(name, log=str(log))
                world.answers[name] = [predictor.predict(asked(row), at=row["t"]) for row in requests()]
                predictor.close()
        with clock.at(NOW), stores.offline_store().connect() as lake:
            for name in MODELS:
                take_in(system.LOGS[name], lake, log / name, ["2013-01-07"], asset=f"{name}_log_v1")
        for watch in (system.pair_watch, system.ranker_watch, system.mixed_watch, system.pair_parity):
            run(watch, now=NOW, partition_key="2013-01-07")
        yield world


def test_a_composite_answers_what_its_models_answer(world: World) -> None:
    for pair, score, both in zip(*(world.answers[name] for name in MODELS), strict=True):
        assert both.value == {f"pair.{label}": p for label, p in pair.value.items()} | {"ranker": score.value}


def test_a_log_of_several_labels_is_judged_as_an_evaluation_judges(world: World) -> None:
    p = np.array([[one.value[label] for label in ("bought", "joined")] for one in world.answers["pair"]])
    y = np.array([[row["bought"], row["joined"]] for row in requests()])
    names = ["log_loss", "brier:joined", "exact_match"]
    offline = evaluate("multilabel", names, {"probabilities": p}, y, ("bought", "joined"))
    rows = fti.read(system.pair_watch, stores=world.stores)
    own = rows[(rows["subject"] == "quality") & (rows["build"] == "") & ~rows["estimated"]]
    assert {name: own[own["statistic"] == name]["value"].item() for name in names} == offline
    watched = set(map(tuple, rows[rows["statistic"] == "psi"][["subject", "column_name"]].to_numpy().tolist()))
    assert {("label", "bought"), ("label", "joined"), ("prediction", "probabilities.joined")} < watched
    compared = fti.read(system.pair_parity, stores=world.stores)
    assert set(compared["kind"]) == {"compared"}, "no break"


def test_logs_of_rankings_and_composites_are_watched(world: World) -> None:
    for watch, columns in (
        (system.ranker_watch, {"score", "grade", "price"}),
        (system.mixed_watch, {"answers.pair.bought", "answers.ranker", "price"}),
    ):
        rows = fti.read(watch, stores=world.stores)
        assert columns <= set(rows[rows["statistic"] == "psi"]["column_name"])


@pytest.mark.parametrize("model", MODELS)
def test_why_computes_the_same_answer_again(world: World, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    [answer, *_] = world.answers[model]
    result = world.cli(capsys, "why", answer.request_id, "-f", FILE, "--log", world.root / "log")
    assert f"{model} answered" in result
    assert ", the same; 2 of 2 features are the same" in result


@pytest.mark.parametrize("model", MODELS)
def test_an_exported_graph_and_a_bundle_answer_alike(
    world: World, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [answer, *_], [row, *_] = world.answers[model], requests()
    world.cli(capsys, "models", "export", model, "--to", "onnx", "--out", world.root / f"{model}-onnx")
    session = onnxruntime.InferenceSession(world.root / f"{model}-onnx" / "model.onnx")
    manifest = world.stores.model_store().champion(model)
    inputs: dict[str, Any] = {
        one.name: np.array([[answer.features["price"], answer.features["people"]]], dtype=np.float32)
        for one in session.get_inputs()
    }
    (output,) = session.run([OUTPUT_NAMES[manifest.task]], inputs)
    numbers = [answer.value] if isinstance(answer.value, float) else list(answer.value.values())
    assert np.ravel(output).tolist() == pytest.approx(numbers, abs=1e-6)
    bundle = world.root / f"{model}.zip"
    world.cli(capsys, "bundle", model, "--answers-for", "7d", "--out", bundle)
    with clock.at(NOW):
        present = Predictor.open_bundle(str(bundle)).predict(asked(row), at=NOW)
        assert present.value == world.load(model).predict(asked(row), at=NOW).value


@pytest.mark.parametrize("model", ["pair", "ranker"])
def test_a_backtest_judges_as_the_builds_were_judged(
    world: World, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = world.cli(capsys, "backtest", model, "-f", FILE, "--svg", world.root / "backtest.svg")
    [newest, *_] = sorted(world.stores.model_store().builds(model), key=lambda one: one.cutoff, reverse=True)
    [line] = [line for line in messages.splitlines() if line.startswith("2013-01-07")]
    figures = line.split()[3::4]  # each with its interval behind it
    assert figures == [f"{value:.4f}" for value in newest.metrics.values()]


def test_a_backtest_of_a_composite_says_what_it_is(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    with chdir(world.root):
        assert main(["backtest", "mixed", "-f", str(FILE)]) == 1
    assert "no model 'mixed', which is the composite mixed_v1: they have 'pair' or 'ranker'" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["pair", "ranker"])
def test_arms_of_a_rollout_answer_as_their_builds_do(
    world: World, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    builds = sorted(one.reference for one in world.stores.model_store().builds(model))
    options = ["--key", "query", "--share", "0.5", "--salt", "s", "--reason", "a trial"]
    for kind in ("ab", "shadow"):
        world.cli(capsys, "rollout", "start", model, f"rival={builds[0]}", "--kind", kind, *options)
        try:
            with clock.at(NOW):
                predictor = world.load(model, log=str(world.root / f"log_{kind}"))
                each = {
                    arm: world.load(model, build=build)
                    for arm, build in zip(("rival", "champion"), builds, strict=True)
                }
                answers = [(row, predictor.predict(asked(row), at=row["t"])) for row in requests()]
                predictor.close()
        finally:
            world.cli(capsys, "rollout", "stop", model, "--reason", "it is over")
        assert {one.arm for _, one in answers} == ({"champion", "rival"} if kind == "ab" else {"champion"})
        for row, one in answers:
            assert one.value == each[one.arm or "champion"].predict(asked(row), at=row["t"]).value
        if kind == "shadow":
            counts = predictor.shadows.counts
            assert counts["predicted"] > 0
            assert not counts["failed"]


@pytest.mark.soak
@pytest.mark.parametrize("model", ["pair", "ranker"])
def test_a_freshness_curve_and_mlflow_have_the_metrics_of_the_build(
    world: World, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [newest, *_] = sorted(world.stores.model_store().builds(model), key=lambda one: one.cutoff, reverse=True)
    name, value = next(iter(newest.metrics.items()))
    result = world.cli(capsys, "freshness", model, "-f", FILE, "--delays", "0h,6h", "--svg", world.root / "curve.svg")
    assert f"{name} is {value:.4f} as declared" in result
    address = f"sqlite:///{world.root / 'mlflow.db'}"
    assert "mirrored as run" in world.cli(capsys, "models", "track", model, newest.reference, "--to", address)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(address)
    [run] = client.search_runs([one.experiment_id for one in client.search_experiments() if one.name == model])
    assert set(newest.metrics.values()) <= set(run.data.metrics.values())
    assert run.data.params["task"] == newest.task
