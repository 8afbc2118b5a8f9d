"""A model as a Dagster asset: what is published, what is promoted, and what the gates compare with."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.manifest import GateVerdict, ModelManifest, ThresholdRecord
from fti_assets.errors import AliasConflictError, DeclarationError, NotMaterializedError
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.store import ModelStore, build_id
from fti_assets.training.calibration.calibrators import fit_calibrator
from fti_assets.training.judging.evaluation import evaluate
from fti_assets.training.judging.scores import Scores
from fti_assets.training.models.model import Model
from fti_assets.training.models.run import _config_text
from tests.on_demand import doubled
from tests.support.partitions import range_tags
from tests.support.worlds import made_once

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-10")
CUTOFFS = dg.DailyPartitionsDefinition(start_date="2013-01-05", end_date="2013-01-10")
FIRST_ID = 2**60  # keys that a float cannot tell apart


def source() -> pd.DataFrame:
    """A visit every half hour of a week; the third kind of visit is new on the fifth day."""
    t = pd.date_range("2013-01-01", "2013-01-08", freq="30min", inclusive="left")
    rng = np.random.default_rng(7)
    spend, habit = rng.normal(size=(2, len(t)))
    kinds = np.where(t < pd.Timestamp("2013-01-05"), "browse", rng.choice(["browse", "gift"], len(t)))
    return pd.DataFrame(
        {
            "visit_id": FIRST_ID + np.arange(len(t)),
            "t": t,
            "spend": spend,
            "habit": habit,
            "bought": (spend + habit + rng.normal(scale=0.5, size=len(t)) > 0).astype(int),
            "amount": 10 + 3 * spend + rng.normal(scale=0.1, size=len(t)),
            "kind": np.where(spend > 0, "buy", kinds),
        }
    )


SOURCE = source()


def of_run(context: dg.AssetExecutionContext, *columns: str) -> pd.DataFrame:
    window = context.partition_time_window
    start, end = (moment.replace(tzinfo=None) for moment in (window.start, window.end))
    return SOURCE[(SOURCE["t"] >= start) & (SOURCE["t"] < end)][["visit_id", "t", *columns]]


@fti.feature_group(keys=["visit_id"], event_time="t", partitions_def=DAYS)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return of_run(context, "spend")


@fti.feature_group(keys=["visit_id"], event_time="t", available_at="a", partitions_def=DAYS)
def outcomes(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = of_run(context, "bought", "amount", "kind")
    return rows.assign(a=rows["t"] + pd.Timedelta("2h"))


@fti.feature_group(name="habits", keys=["visit_id"], event_time="t", partitions_def=DAYS)
def habits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return of_run(context, "habit")


@fti.feature_group(name="habits", version=2, keys=["visit_id"], event_time="t", partitions_def=DAYS)
def new_habits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = of_run(context, "habit")
    return rows.assign(habit=rows["habit"].round())


def dataset(name: str, label: str, *features: Any) -> Any:
    view = fti.FeatureView(
        name=name, spine=visits, label=fti.Label(outcomes[label], maturity="3h"), features=[visits["spend"], *features]
    )
    split = fti.TimeSplit(validation="1d", test="1d")
    return fti.training_dataset(name=f"{name}_dataset", view=view, split=split, partitions_def=CUTOFFS)


BUYING = dataset("buying", "bought")
WITH_HABITS = dataset("with_habits", "bought", habits["habit"])
WITH_NEW_HABITS = dataset("with_new_habits", "bought", new_habits["habit"])
AMOUNTS = dataset("amounts", "amount", doubled)
KINDS = dataset("kinds", "kind")


def run(
    *declarations: Any, stores: fti.Stores, instance: dg.DagsterInstance, span: tuple[str, str] | None = None,
    resources: dict[str, Any] | None = None, **options: Any,
) -> dg.ExecuteInProcessResult:  # fmt: skip
    return dg.materialize(
        [declaration.assets_def for declaration in declarations],
        instance=instance,
        resources={"fti": stores, **(resources or {})},
        tags=(range_tags(*span) if span else {}) | options.pop("tags", {}),
        **options,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with the week, the datasets of its last cutoffs and one buyer, made once: tests only read it."""
    return made_once(tmp_path_factory, "week_of_buying", week_of_buying)


def week_of_buying(root: Path) -> None:
    stores = fti.Stores(lake=str(root / "lake"), models=str(root / "models"))
    with dg.DagsterInstance.ephemeral() as instance:
        groups = (visits, outcomes, habits, new_habits)
        run(*groups, stores=stores, instance=instance, span=("2013-01-01", "2013-01-07"))
        run(BUYING, KINDS, stores=stores, instance=instance, span=("2013-01-05", "2013-01-08"))
        others = (WITH_HABITS, WITH_NEW_HABITS, AMOUNTS)
        run(*others, stores=stores, instance=instance, span=("2013-01-07", "2013-01-08"))
        run(buyer(), stores=stores, instance=instance, partition_key="2013-01-06")


class Bench:
    """Where a test trains: the shared lake, a model store and an instance of its own."""

    def __init__(self, made: Path, models: Path, instance: dg.DagsterInstance) -> None:
        self.stores = fti.Stores(lake=str(made / "lake"), models=str(models))
        self.store: ModelStore = self.stores.model_store()
        self.made = ModelStore(made / "models")
        self.instance = instance

    def train(self, model: Model, cutoff: str | None = None, **options: Any) -> dg.ExecuteInProcessResult:
        partition = {} if cutoff is None else {"partition_key": f"2013-01-{cutoff}"}
        return run(model, stores=self.stores, instance=self.instance, raise_on_error=False, **partition, **options)

    def builds(self, model: str = "buyer") -> list[ModelManifest]:
        return self.store.builds(model)

    @property
    def champion(self) -> str | None:
        return self.store.aliases("buyer").champion

    def published(self, cutoff: str, *, promoted: bool = False, **changed: Any) -> ModelManifest:
        """The buyer that was made once, as a build of another cutoff."""
        (one,) = self.made.builds("buyer")
        at = datetime.fromisoformat(f"2013-01-{cutoff}")
        manifest = replace(one, **{"build": build_id(at), "cutoff": at.isoformat(), "files": {}, **changed})
        self.store.publish(manifest, self.made.load("buyer", one.reference)[1], "a card")
        if promoted:
            self.store.promote("buyer", manifest.reference, expected=self.champion, reason="by hand")
        return manifest

    def rows(self, dataset: Any, cutoff: str, split: str = "test") -> pd.DataFrame:
        stored = fti.read(dataset, partitions=[f"2013-01-{cutoff}"], stores=self.stores)
        return stored[stored["split"] == split].sort_values("t")

    def score(self, manifest: ModelManifest, columns: dict[str, Any], y: Any, metric: str = "log_loss") -> float:
        """A build's metric on raw features, computed apart from the library's step."""
        graph = Graph.from_bytes(self.store.load(manifest.model, manifest.reference)[1], manifest.inputs, what="it")
        outputs = graph.run({name: np.asarray(values, dtype=np.float64) for name, values in columns.items()})
        return evaluate(manifest.task, [metric], outputs, np.asarray(y), manifest.classes)[metric]


@pytest.fixture
def bench(made: Path, tmp_path: Path) -> Iterator[Bench]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Bench(made, tmp_path / "models", instance)


def good(data: fti.TrainingData) -> Any:
    return LogisticRegression().fit(data.train.X, data.train.y)


def bad(data: fti.TrainingData) -> Any:
    return LogisticRegression().fit(data.train.X, 1 - data.train.y)


def buyer(fit: Callable[[fti.TrainingData], Any] = good, **options: Any) -> Model:
    declared = {
        "name": "buyer",
        "dataset": BUYING,
        "task": "binary",
        "gates": [fti.BeatsBaseline("log_loss")],
        **options,
    }

    @fti.model(**declared)
    def train(data: fti.TrainingData) -> Any:
        return fit(data)

    return train


def materialized(result: dg.ExecuteInProcessResult, model: Model) -> dict[str | None, dg.AssetMaterialization]:
    return {event.partition: event for event in result.asset_materializations_for_node(model.asset_name)}


NOT_WORSE = fti.NotWorseThanChampion("log_loss")


def test_an_accepted_build_is_published_promoted_and_materialized(bench: Bench) -> None:
    model = buyer(gates=[fti.BeatsBaseline("log_loss"), NOT_WORSE])
    with clock.at("2013-01-08T09:00:00"):
        result = bench.train(model, "08")
    assert result.success
    (manifest,) = bench.builds()
    assert manifest.status == "accepted"
    assert bench.champion == manifest.reference
    assert manifest.build.startswith("20130108T000000Z-")
    assert (manifest.cutoff, manifest.created_at) == ("2013-01-08T00:00:00", "2013-01-08T09:00:00")
    test, train = bench.rows(BUYING, "08"), bench.rows(BUYING, "08", "train")
    assert manifest.metrics["log_loss"] == bench.score(manifest, {"spend": test["spend"]}, test["bought"])
    assert manifest.dataset.rows == {"train": len(train), "validation": 48, "test": len(test)}
    assert manifest.encoders["spend"]["mean"] == pytest.approx(train["spend"].mean(), rel=1e-6)
    assert manifest.run_id == result.run_id
    assert [(gate.gate, gate.passed) for gate in manifest.gates] == [
        ("beats_baseline_log_loss", True),
        ("not_worse_than_champion_log_loss", True),
    ]
    assert manifest.gates[1].reason == "there is no champion to compare with"
    event = materialized(result, model)["2013-01-08"]
    assert (event.tags or {})["dagster/data_version"] == manifest.build
    assert event.metadata["champion_after_run"].value == manifest.reference
    assert event.metadata["test/log_loss"].value == manifest.metrics["log_loss"]
    card = (bench.store.root / "buyer" / manifest.reference / "card.md").read_text()
    assert event.metadata["card"].value == card
    importance = manifest.importance
    assert importance is not None
    assert (importance.metric, importance.score) == ("roc_auc", manifest.metrics["roc_auc"])
    assert event.metadata["importance/spend"].value == importance.features["spend"].mean > 0.1
    assert "data:image/svg+xml" in str(event.metadata["importance"].value)
    assert "## What it rests on" in card
    assert "It is **accepted**" in card
    assert "partition `2013-01-08`" in card
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())


@pytest.mark.parametrize("gates_fail_run", [True, False])
def test_rejected_build_is_kept_and_not_materialized_and_champion_stays(bench: Bench, gates_fail_run: bool) -> None:
    champion = bench.published("07", promoted=True).reference
    model = buyer(bad, gates_fail_run=gates_fail_run)
    result = bench.train(model, "08")
    assert result.success is not gates_fail_run
    kept, rejected = bench.builds()
    assert (kept.status, rejected.status) == ("accepted", "rejected")
    assert bench.champion == champion == kept.reference
    assert not materialized(result, model)
    (evaluation,) = [one for one in result.get_asset_check_evaluations() if not one.passed]
    assert f"{rejected.reference}: log_loss" in str(evaluation.description)
    assert "is not better than the baseline" in str(evaluation.description)
    assert "It is **rejected**" in (bench.store.root / "buyer" / rejected.reference / "card.md").read_text()


def test_champion_gate_compares_with_newest_accepted_build_of_earlier_cutoff(bench: Bench) -> None:
    bench.published("05")
    earlier = bench.published("06", promoted=True)
    bench.published("06T12:00", status="rejected")
    bench.published("07")
    bench.published("08")
    bench.train(buyer(gates=[fti.NotWorseThanChampion("log_loss", tolerance=1.0)]), "07")
    (verdict,) = bench.builds()[-2].gates
    assert verdict.passed
    assert f"of the champion {earlier.reference}" in verdict.reason
    assert not bench.train(buyer(bad, gates=[NOT_WORSE]), "07").success
    (verdict,) = bench.builds()[-2].gates
    assert not verdict.passed
    assert "is worse than" in verdict.reason
    assert f"of the champion {earlier.reference}" in verdict.reason


@pytest.mark.soak
def test_versions_of_one_cutoff_are_each_others_challengers(bench: Bench) -> None:
    options = {"gates": [NOT_WORSE], "gates_fail_run": False}
    bench.train(buyer(**options), "08")
    network = bench.builds()[-1]
    assert bench.champion == network.reference
    bench.train(buyer(bad, version=2, **options), "08")
    loser = bench.builds()[-1]
    assert (loser.status, bench.champion) == ("rejected", network.reference)
    assert f"of the champion {network.reference}" in loser.gates[0].reason
    assert loser.gates[0].value == pytest.approx(loser.metrics["log_loss"] - network.metrics["log_loss"])
    assert loser.gates[0].interval is not None
    bench.train(buyer(version=3, **options), "08")  # as good is not worse
    winner = bench.builds()[-1]
    assert (winner.version, winner.status, bench.champion) == (3, "accepted", winner.reference)
    assert winner.gates[0].value == 0


def test_slice_gap_is_judged_on_slices_of_test_rows(bench: Bench) -> None:
    gap = fti.SliceGap("log_loss", by="habit", at_most=0.0, min_rows=1)
    evaluated = fti.Evaluation(metrics=["log_loss"], slices=["habit"])
    assert not bench.train(buyer(dataset=WITH_NEW_HABITS, evaluate=evaluated, gates=[gap]), "08").success
    (rejected,) = bench.builds()
    (verdict,) = rejected.gates
    worst, scores = max(rejected.slices["habit"].items(), key=lambda item: item[1]["log_loss"])
    assert f"log_loss {scores['log_loss']:.6g} of habit {worst!r} ({scores['rows']:.0f} rows)" in verdict.reason
    assert f"{rejected.metrics['log_loss']:.6g} overall" in verdict.reason


def test_a_threshold_is_chosen_on_validation_and_stays_the_champions_own(bench: Bench) -> None:
    evaluated = fti.Evaluation(
        metrics=["f1", "log_loss"],
        threshold="f1",
        slices=[("spend", "habit")],
        fairness=["habit"],
        cluster="visit_id",
        min_rows=2,
    )
    crossed = fti.SliceGap("log_loss", by="spend, habit", at_most=100.0, min_rows=1)
    not_worse = fti.NotWorseThanChampion("f1", tolerance=1.0)
    assert bench.train(buyer(dataset=WITH_NEW_HABITS, evaluate=evaluated, gates=[crossed]), "07").success
    at_09 = fti.Evaluation(metrics=["f1", "log_loss"], threshold=0.9)
    assert bench.train(buyer(dataset=WITH_NEW_HABITS, evaluate=at_09, gates=[not_worse]), "08").success
    chosen, declared = bench.builds()
    assert chosen.threshold is not None
    assert (chosen.threshold.goal, chosen.threshold.rows) == ("f1", chosen.dataset.rows["validation"])
    assert declared.threshold == ThresholdRecord(float(np.float32(0.9)))
    assert "spend, habit" in chosen.slices
    assert [verdict.gate for verdict in chosen.gates] == ["slice_gap_log_loss_by_spend_habit"]
    assert chosen.intervals["f1"].low <= chosen.metrics["f1"] <= chosen.intervals["f1"].high
    assert chosen.bootstrap is not None
    assert chosen.fairness["habit"].figures["equalized_odds_difference"] >= 0
    card = (bench.store.folder(chosen) / "card.md").read_text()
    assert "## Fairness by habit" in card
    assert "of 1,000 draws of the test values of `visit_id` with their rows. The model says yes from" in card
    # The champion decides at its own threshold, at which it has the F1 that it would not have at 0.9.
    [verdict] = declared.gates
    champion = float(verdict.reason.split("of the champion")[0].split()[-1])
    assert champion > declared.metrics["f1"]


def test_a_threshold_without_a_validation_part_is_refused() -> None:
    split = fti.HashSplit(validation=0.0, test=0.3)
    without = fti.training_dataset(name="without", view=BUYING.view, split=split, partitions_def=CUTOFFS)
    with pytest.raises(
        DeclarationError, match="chooses its threshold by 'f1' on the validation part, but its dataset without_v1 has"
    ):
        buyer(dataset=without, evaluate=fti.Evaluation(metrics=["f1", "log_loss"], threshold="f1"))


def test_a_slice_gap_by_an_unsliced_column_is_refused() -> None:
    gap = fti.SliceGap("log_loss", by="spend", at_most=0.1)
    with pytest.raises(DeclarationError, match="gates by 'spend', but its slices are nothing: add them"):
        buyer(gates=[gap])
    metrics, other = (
        fti.Evaluation(metrics=["log_loss"], slices=["spend"]),
        fti.SliceGap("brier", by="spend", at_most=1),
    )
    with pytest.raises(DeclarationError, match="gates on 'brier', but evaluates"):
        buyer(evaluate=metrics, gates=[other])


def test_a_gate_of_ones_own_sees_every_score(bench: Bench) -> None:
    champion = bench.published("07", promoted=True).reference
    observed: list[Scores] = []

    @dataclass(frozen=True)
    class Watched:
        name: str = "watched"
        metric: str = "log_loss"

        def judge(self, scores: Scores) -> GateVerdict:
            observed.append(scores)
            return GateVerdict(self.name, True, "it was seen")

    bench.train(buyer(gates=[Watched()]), "08")
    (scores,) = observed
    made = bench.builds()[-1]
    assert (scores.metrics, scores.baseline, scores.slices) == (made.metrics, made.baseline, made.slices)
    assert scores.champion is not None
    assert (scores.champion.build, scores.champion.problem) == (champion, None)
    assert set(scores.champion.metrics) == set(scores.champion.challenger) == set(made.metrics)


def test_functions_that_write_into_their_data_are_judged_alike(bench: Bench) -> None:
    def overwrite(part: Any) -> None:
        for values in (part.X, *part.inputs.values(), *part.columns.values(), *part.stored.columns.values()):
            values[:] = 0

    def built(name: str, *, writes: bool) -> ModelManifest:
        def fit(data: fti.TrainingData) -> Any:
            model = good(data)
            for part in (data.train, data.validation, data.test) if writes else ():
                overwrite(part)
                part.y[:] = 1
            return model

        def share(train: Any, test: Any) -> Any:
            answers = np.full(test.rows, train.y.mean())
            if writes:
                train.y[:] = 1
                for values in (train.X, test.X, *test.columns.values()):
                    values[:] = 0
            return answers

        @fti.gate()
        def any_answer(scores: Scores) -> bool:
            assert scores.answers is not None
            if writes:
                scores.answers.y[:] = scores.answers.predictions[:] = 1
            return True

        gates = [any_answer, fti.CalibrationSlope(0.0, 100.0)]
        gates += [fti.BeatsBaseline("log_loss", baseline=one) for one in ("prior", share, "logistic")]
        model = buyer(
            fit,
            name=name,
            gates=gates,
            calibrate="platt",
            evaluate=fti.Evaluation(metrics=["log_loss", "roc_auc"], threshold="f1", confidence=0.9),
            importance=fti.Importance(),
        )
        bench.train(model, "08")
        (manifest,) = bench.builds(name)
        return manifest

    honest, writing = built("honest", writes=False), built("writing", writes=True)
    for name in (
        "metrics", "baseline", "baselines", "gates", "status", "threshold", "calibration", "importance", "intervals", "sha256",
    ):  # fmt: skip
        assert getattr(writing, name) == getattr(honest, name), name
    test = bench.rows(BUYING, "08")
    share_of_train = np.full(len(test), bench.rows(BUYING, "08", "train")["bought"].mean())
    assert writing.baseline["log_loss"] == pytest.approx(log_loss(test["bought"], share_of_train), rel=1e-5)


def test_baselines_of_gates_are_kept_and_shown(bench: Bench) -> None:
    def by_spend(train: Any, test: Any) -> np.ndarray:
        return np.where(test.columns["spend"] > 0, 0.75, 0.25)

    gates = [fti.BeatsBaseline("log_loss", baseline=one, when_unsure="pass") for one in ("logistic", by_spend)]
    result = bench.train(buyer(gates=gates), "08")
    made = bench.builds()[-1]
    y, spend = (bench.rows(BUYING, "08")[column] for column in ("bought", "spend"))
    expected = log_loss(y, np.where(spend > 0, 0.75, 0.25))
    assert made.baselines["by_spend"]["log_loss"] == pytest.approx(expected)
    assert set(made.baselines) == {"logistic", "by_spend"}
    evaluation = {one.check_name: one for one in result.get_asset_check_evaluations()}["beats_by_spend_log_loss"]
    displayed = {name: value.value for name, value in evaluation.metadata.items()}
    assert displayed["value"] == pytest.approx(expected - made.metrics["log_loss"])
    assert displayed["interval/low"] <= displayed["value"] <= displayed["interval/high"]
    card = (bench.store.root / "buyer" / made.reference / "card.md").read_text()
    assert "| metric | model | interval | baseline | logistic | by_spend |" in card


def test_gates_on_calibration_fairness_and_cost_judge_a_build(bench: Bench) -> None:
    @fti.gate(metric="brier")
    def brier_at_all(scores: Scores) -> Any:
        return scores.metrics["brier"] < 1, f"{len(scores.answers.y) if scores.answers else 0} test rows"

    gates = [
        fti.MetricBounds("ece", at_most=1.0),
        fti.CalibrationSlope(at_least=0.01, at_most=100),
        fti.FairnessBounds("demographic_parity_difference", "habit", at_most=1.0),
        fti.GraphLatency(at_most="10s", over="p95"),
        fti.GraphSize(at_most=10),
        brier_at_all,
    ]
    evaluation = fti.Evaluation(metrics=["ece", "brier"], fairness=["habit"])
    model = buyer(dataset=WITH_NEW_HABITS, evaluate=evaluation, gates=gates, gates_fail_run=False)
    bench.train(model, "08")
    verdicts = {one.gate: one for one in bench.builds()[-1].gates}
    assert [name for name, one in verdicts.items() if not one.passed] == ["graph_size"]
    assert all(one.value is not None for name, one in verdicts.items() if name != "brier_at_all")
    assert 0 < verdicts["graph_latency"].value < verdicts["graph_latency"].bound == 10_000  # type: ignore[operator]
    assert verdicts["brier_at_all"].reason.endswith(" test rows")


def test_a_rolled_back_build_is_not_compared_with(bench: Bench) -> None:
    first, second = bench.published("05", promoted=True), bench.published("06", promoted=True)
    bench.store.roll_back("buyer", reason="it was wrong")
    bench.train(buyer(gates=[fti.NotWorseThanChampion("log_loss", tolerance=1.0)]), "07")
    reason = bench.builds()[-1].gates[0].reason
    assert first.reference in reason
    assert second.reference not in reason
    assert bench.champion == bench.builds()[-1].reference


def test_the_comparison_leaves_out_what_the_champion_trained_on(bench: Bench) -> None:
    test = bench.rows(BUYING, "08")
    middle = test["t"].iloc[20]
    (one,) = bench.made.builds("buyer")
    champion = bench.published("07T12:00", dataset=replace(one.dataset, trained_until=middle.isoformat()))
    bench.train(buyer(gates=[fti.NotWorseThanChampion("log_loss", tolerance=1.0)]), "08")
    challenger = bench.builds()[-1]
    unseen = test[test["t"] > middle]
    assert len(unseen) == len(test) - 21
    own, theirs = (bench.score(one, {"spend": unseen["spend"]}, unseen["bought"]) for one in (challenger, champion))
    reason = challenger.gates[0].reason
    assert reason.startswith(f"log_loss {own:.6g} is ")
    assert f"{theirs:.6g} of the champion {champion.reference}" in reason
    assert own != challenger.metrics["log_loss"]


def test_champion_trained_on_every_test_row_is_incomparable(bench: Bench) -> None:
    (one,) = bench.made.builds("buyer")
    bench.published("07T12:00", dataset=replace(one.dataset, trained_until="2013-01-08T00:00:00"))
    assert not bench.train(buyer(gates=[fti.BeatsBaseline("log_loss"), NOT_WORSE]), "08").success
    baseline, champion = bench.builds()[-1].gates
    assert baseline.passed
    assert not champion.passed
    assert "has trained on every test row" in champion.reason


def test_a_champion_of_another_view_keeps_its_own_features(bench: Bench) -> None:
    bench.train(buyer(dataset=WITH_HABITS), "07")
    (champion,) = bench.builds()
    bench.train(
        buyer(dataset=WITH_NEW_HABITS, version=2, gates=[fti.NotWorseThanChampion("log_loss", tolerance=1.0)]), "08"
    )
    challenger = bench.builds()[-1]
    test = bench.rows(WITH_NEW_HABITS, "08")
    exact = test.drop(columns="habit").merge(SOURCE[["visit_id", "habit"]], on="visit_id", validate="one_to_one")
    theirs = bench.score(champion, {"spend": exact["spend"], "habit": exact["habit"]}, exact["bought"])
    rounded = bench.score(champion, {"spend": test["spend"], "habit": test["habit"]}, test["bought"])
    assert f"{theirs:.6g} of the champion {champion.reference}" in challenger.gates[0].reason
    assert f"{theirs:.6g}" != f"{rounded:.6g}"
    assert bench.champion == challenger.reference


def test_a_champion_without_common_rows_fails_its_gate(bench: Bench) -> None:
    (one,) = bench.made.builds("buyer")
    bench.published("07", view=replace(one.view, spine="outcomes", spine_version=7))
    assert not bench.train(buyer(gates=[NOT_WORSE]), "08").success
    (verdict,) = bench.builds()[-1].gates
    assert "cannot be compared with: features.outcomes_v7 is not in the offline store" in verdict.reason


def test_a_damaged_champion_is_passed_over_by_gates(bench: Bench) -> None:
    (whole,) = bench.made.builds("buyer")
    spoilt, unreadable = (bench.published(cutoff).reference for cutoff in ("07", "07T12:00"))
    (bench.store.root / "buyer" / spoilt / "model.onnx").write_bytes(b"")
    (bench.store.root / "buyer" / unreadable / "manifest.json").write_text("{")
    bench.train(buyer(gates=[NOT_WORSE]), "08")
    built = bench.store.readable_builds("buyer")
    reasons = [
        verdict.reason for build in built if build.reference not in (whole.reference, spoilt) for verdict in build.gates
    ]
    assert "champion" in reasons[-1]
    assert spoilt not in reasons[-1]
    assert unreadable not in reasons[-1]


def test_backfilling_older_cutoff_does_not_move_champion_back(bench: Bench) -> None:
    champion = bench.published("07", promoted=True).reference
    model = buyer()
    result = bench.train(model, "05")
    assert result.success
    assert list(materialized(result, model)) == ["2013-01-05"]
    assert [build.status for build in bench.builds()] == ["accepted", "accepted"]
    assert bench.champion == champion


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibration_is_within_the_graph_and_fitted_on_validation(bench: Bench, method: Any) -> None:
    bench.train(buyer(version=7, gates=[]), "08")
    plain = bench.builds()[-1]
    purpose = {"intended_use": "Ranking visits by a person.", "limits": ["Not for\nchildren.", "No visits at night."]}
    model = buyer(calibrate=method, gates=[], evaluate=fti.Evaluation(metrics=["log_loss", "ece"]), **purpose)
    result = bench.train(model, "08")
    [made] = [one for one in bench.builds() if one.calibration is not None]
    validation, test = (bench.rows(BUYING, "08", split) for split in ("validation", "test"))
    assert made.calibration is not None
    assert (made.calibration.method, made.calibration.rows) == (method, len(validation))

    def asked(manifest: ModelManifest, rows: pd.DataFrame) -> np.ndarray:
        graph = Graph.from_bytes(bench.store.load("buyer", manifest.reference)[1], manifest.inputs, what="it")
        return graph.run({"spend": rows["spend"].to_numpy(np.float64)})["probability"]

    calibrator = fit_calibrator(method, asked(plain, validation), validation["bought"].to_numpy() == 1)
    assert asked(made, test) == pytest.approx(calibrator(asked(plain, test)), abs=1e-5)
    assert made.calibration.before["log_loss"] == pytest.approx(log_loss(test["bought"], asked(plain, test)), abs=1e-6)
    assert made.calibration.after["log_loss"] == pytest.approx(made.metrics["log_loss"], abs=1e-6)
    entries = materialized(result, model)["2013-01-08"].metadata
    assert {"calibration", "calibration_before", "calibration/method"} <= set(entries)
    folder = bench.store.root / "buyer" / made.reference
    card = (folder / "card.md").read_text()
    assert f"calibrated ({method}) on {len(validation)} validation rows" in card
    assert "## Intended use\n\nRanking visits by a person.\n\n## Limits\n\n- Not for children." in card
    assert f"Before calibration ({method})" in (folder / "pictures.html").read_text()


def test_classes_are_calibrated_too(bench: Bench) -> None:
    model = buyer(dataset=KINDS, task="multiclass", calibrate="platt", gates=[], evaluate=None)
    bench.train(model, "08")
    made = bench.builds()[-1]
    assert made.calibration is not None
    graph = Graph.from_bytes(bench.store.load("buyer", made.reference)[1], made.inputs, what="it")
    answers = graph.run({"spend": bench.rows(KINDS, "08")["spend"].to_numpy(np.float64)})["probabilities"]
    assert answers.sum(axis=1) == pytest.approx(1)
    assert made.calibration.after["log_loss"] == pytest.approx(made.metrics["log_loss"], abs=1e-5)


def test_calibration_without_meaning_is_refused() -> None:
    with pytest.raises(DeclarationError, match="a regression model gives no probabilities"):
        buyer(dataset=AMOUNTS, task="regression", calibrate="platt", gates=[])
    with pytest.raises(DeclarationError, match="it is 'platt' or 'isotonic'"):
        buyer(calibrate="temperature")
    split = fti.HashSplit(validation=0.0)
    data = fti.training_dataset(name="unvalidated", view=BUYING.view, split=split, partitions_def=CUTOFFS)
    with pytest.raises(DeclarationError, match="its dataset unvalidated_v1 has none"):
        buyer(dataset=data, calibrate="isotonic")


def test_promotion_by_hand_leaves_the_champion_to_people(bench: Bench) -> None:
    model = buyer(promote="by_hand")
    result = bench.train(model, "07")
    assert result.success
    assert bench.champion is None
    displayed = materialized(result, model)["2013-01-07"].metadata
    (build,) = bench.builds()
    assert (displayed["champion_after_run"].value, build.status) == ("none", "accepted")
    assert str(displayed["promotion"].value).startswith(
        "waits for a person: compare it with fti models diff buyer v1/20130107"
    )


def test_promotion_after_an_experiment_leaves_all_but_the_first_build_to_it(bench: Bench) -> None:
    model = buyer(promote="after_experiment")
    assert bench.train(model, span=("2013-01-05", "2013-01-06")).success
    first, second = bench.builds()
    assert bench.champion == first.reference
    change = bench.store.aliases("buyer").history[-1]
    assert change.author == f"run {first.run_id}"
    assert change.evidence is not None
    assert (change.evidence.metrics, change.evidence.gates) == (first.metrics, first.gates)
    assert (second.status, second.cutoff > first.cutoff) == ("accepted", True)


@pytest.mark.soak
def test_a_range_builds_and_judges_each_cutoff_in_order(bench: Bench) -> None:
    latest: list[float] = []

    def bad_on_the_sixth(data: fti.TrainingData) -> Any:
        latest.append(data.train.rows)
        return bad(data) if len(latest) == 2 else good(data)

    gates = [fti.BeatsBaseline("log_loss"), fti.NotWorseThanChampion("log_loss", tolerance=1.0)]
    model = buyer(bad_on_the_sixth, gates=gates)
    result = bench.train(model, span=("2013-01-05", "2013-01-08"))
    assert not result.success
    assert latest == sorted(latest)
    builds = bench.builds()
    assert [build.status for build in builds] == ["accepted", "rejected", "accepted", "accepted"]
    events = materialized(result, model)
    assert list(events) == ["2013-01-05", "2013-01-07", "2013-01-08"]
    accepted = [build for build in builds if build.status == "accepted"]
    assert [(event.tags or {})["dagster/data_version"] for event in events.values()] == [b.build for b in accepted]
    assert bench.champion == builds[-1].reference
    assert builds[0].reference in builds[2].gates[1].reason  # not the rejected one in between
    assert [change.champion for change in bench.store.aliases("buyer").history] == [b.reference for b in accepted]
    failed = {one.check_name: str(one.description) for one in result.get_asset_check_evaluations() if not one.passed}
    assert builds[1].reference in failed["beats_baseline_log_loss"]
    assert builds[3].reference not in failed["beats_baseline_log_loss"]


def test_alias_that_changed_meanwhile_is_conflict_and_build_is_kept(bench: Bench) -> None:
    first, second = bench.published("05", promoted=True), bench.published("06", promoted=True)

    def meanwhile(data: fti.TrainingData) -> Any:
        bench.store.roll_back("buyer", first.reference, reason="by hand")
        return good(data)

    model = buyer(meanwhile)
    result = bench.train(model, "07")
    (failure,) = result.get_step_failure_events()
    assert AliasConflictError.__name__ in str(failure.step_failure_data.error)
    assert bench.champion == first.reference
    assert bench.builds()[-1].status == "accepted"
    assert len(bench.builds()) == 3
    assert not materialized(result, model)
    aliases = bench.store.aliases("buyer")
    assert aliases.rolled_back == (second.reference,)
    (noted,) = aliases.unpromoted
    assert (noted.build, noted.run_id) == (bench.builds()[-1].reference, result.run_id)
    assert noted.reason.startswith(f"the champion of model 'buyer' is {first.reference}, not {second.reference}")


def test_run_config_resources_and_the_context_reach_the_function(bench: Bench) -> None:
    class Hyperparameters(dg.Config):
        strength: float = 1.0

    class Tracker(dg.ConfigurableResource):  # type: ignore[type-arg]
        project: str

    observed: dict[str, Any] = {}

    @fti.model(dataset=BUYING, task="binary")
    def configured(
        context: dg.AssetExecutionContext, config: Hyperparameters, tracker: Tracker, rows: fti.TrainingData
    ) -> Any:
        observed.update(partition=context.partition_key, strength=config.strength, project=tracker.project)
        return LogisticRegression(C=config.strength).fit(rows.train.X, rows.train.y)

    config = {"ops": {configured.asset_name: {"config": {"strength": 0.25}}}}
    result = bench.train(configured, "07", run_config=config, resources={"tracker": Tracker(project="visits")})
    assert result.success
    assert observed == {"partition": "2013-01-07", "strength": 0.25, "project": "visits"}


def test_a_lightning_module_is_trained_exported_and_judged(bench: Bench) -> None:
    import pytorch_lightning as pl
    import torch

    class Net(pl.LightningModule):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(width, 1)

        def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.layer(x["dense"]).squeeze(-1)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            x, y = batch
            return torch.nn.functional.binary_cross_entropy_with_logits(self(x), y)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=0.1)

    model = buyer(lambda data: data.fit(Net(data.dense_dim), epochs=5, batch_size=32))
    assert bench.train(model, "08").success
    (manifest,) = bench.builds()
    assert manifest.outputs[0].name == "probability"
    assert manifest.metrics["log_loss"] < manifest.baseline["log_loss"]


def test_a_regression_model_end_to_end(bench: Bench) -> None:
    model = buyer(
        lambda data: LinearRegression().fit(data.train.X, data.train.y),
        dataset=AMOUNTS,
        task="regression",
        gates=[fti.BeatsBaseline("rmse")],
        latency_goal="250ms",
    )
    assert bench.train(model, "08").success
    (manifest,) = bench.builds()
    assert manifest.latency_goal == 0.25
    test = bench.rows(AMOUNTS, "08")
    columns = {"spend": test["spend"], "double_spend": 2 * test["spend"]}
    rmse = bench.score(manifest, columns, test["amount"], "rmse")
    assert manifest.metrics["rmse"] == pytest.approx(rmse, rel=1e-5)  # labels are float32 there
    assert rmse < 0.2
    assert manifest.outputs[0].name == "value"


@pytest.mark.soak
def test_champion_is_compared_while_on_demand_versions_stay(bench: Bench) -> None:
    options = {"dataset": AMOUNTS, "task": "regression", "gates": [fti.NotWorseThanChampion("rmse", tolerance=1.0)]}
    model = buyer(lambda data: LinearRegression().fit(data.train.X, data.train.y), **options)
    bench.train(model, "07")
    (one,) = bench.builds()
    (call,) = one.view.on_demand

    def publish(cutoff: datetime, **changed: Any) -> str:
        called = replace(one.view, on_demand=(replace(call, **changed),))
        manifest = replace(one, build=build_id(cutoff), cutoff=cutoff.isoformat(), view=called, files={})
        bench.store.publish(manifest, bench.store.load("buyer", one.reference)[1], "a card")
        return manifest.reference

    edited = publish(datetime(2013, 1, 7, 10), module_sha256="0" * 64)  # the module was edited since
    assert bench.train(model, "08").success
    assert f"of the champion {edited}" in bench.builds()[-1].gates[0].reason
    publish(datetime(2013, 1, 7, 11), version=9, function="halved")
    assert not bench.train(model, "08").success
    (rejected,) = (build for build in bench.builds() if build.status == "rejected")
    assert "cannot be compared with: on-demand function 'doubled' version 9" in rejected.gates[0].reason


def test_multiclass_model_against_a_champion_of_fewer_classes(bench: Bench) -> None:
    options = {"dataset": KINDS, "task": "multiclass", "gates": [fti.BeatsBaseline("accuracy")]}
    assert bench.train(buyer(**options), "05").success
    gates = [fti.NotWorseThanChampion("accuracy", tolerance=1.0)]
    assert bench.train(buyer(**{**options, "gates": gates}), "08").success
    champion, challenger = bench.builds()
    assert champion.classes == ("browse", "buy")
    assert challenger.classes == ("browse", "buy", "gift")
    assert challenger.outputs[0].name == "probabilities"
    test = bench.rows(KINDS, "08")
    _, graph_bytes = bench.store.load("buyer", champion.reference)
    probabilities = Graph.from_bytes(graph_bytes, champion.inputs, what="it").run({"spend": test["spend"].to_numpy()})
    answers = np.array(champion.classes)[probabilities["probabilities"].argmax(axis=1)]
    expected = float((answers == test["kind"].to_numpy()).mean())
    assert f"{expected:.6g} of the champion {champion.reference}" in challenger.gates[0].reason


@pytest.mark.soak
def test_two_models_of_one_dataset_encode_otherwise(bench: Bench) -> None:
    def train(data: fti.TrainingData) -> Any:  # of a request without a value it is asked, too
        return make_pipeline(SimpleImputer(), LogisticRegression()).fit(data.train.X, data.train.y)

    kinds = {"name": "raw_buyer", "encoders": {"spend": fti.Passthrough()}}
    plain, raw = buyer(gates=[]), buyer(train, gates=[], **kinds)
    assert raw.dataset is plain.dataset
    for model in (plain, raw):
        assert bench.train(model, "08").success
    observed = {model.name: bench.builds(model.name)[0] for model in (plain, raw)}
    assert observed["raw_buyer"].encoders["spend"] == {"kind": "passthrough"}
    assert observed["buyer"].encoders["spend"]["kind"] == "standardize"
    train, test = (bench.rows(BUYING, "08", part)["spend"].to_numpy() for part in ("train", "test"))
    for name, encode in (("buyer", lambda x: (x - train.mean()) / train.std()), ("raw_buyer", lambda x: x)):
        y = bench.rows(BUYING, "08", "train")["bought"]
        expected = LogisticRegression().fit(encode(train)[:, None], y).predict_proba(encode(test)[:, None])[:, 1]
        _, graph = bench.store.load(name, observed[name].reference)
        answers = Graph.from_bytes(graph, observed[name].inputs, what="it").run({"spend": test})["probability"]
        np.testing.assert_allclose(answers, expected, atol=1e-4)


def test_a_models_own_encoders_change_its_code_version() -> None:
    plain, raw = buyer(), buyer(encoders={"spend": fti.Passthrough()})
    assert plain.assets_def.code_versions_by_key != raw.assets_def.code_versions_by_key
    same = buyer(encoders={"spend": fti.Passthrough()})
    assert same.assets_def.code_versions_by_key == raw.assets_def.code_versions_by_key


@pytest.mark.parametrize(
    ("encoders", "said"),
    [
        ({"spent": fti.OneHot()}, "model 'buyer' has encoders for 'spent': its features are 'spend'"),
    ],
)
def test_impossible_encoders_of_a_model_are_refused(encoders: Any, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        buyer(encoders=encoders)


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ("0ms", "model 'buyer' has latency_goal='0ms': no answer takes no time"),
        ("fast", "model 'buyer': latency_goal 'fast' is not a duration"),
    ],
)
def test_an_impossible_latency_goal_is_refused(goal: str, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        buyer(latency_goal=goal)


def test_a_latency_goal_changes_the_code_version() -> None:
    plain, quick = buyer(), buyer(latency_goal="50ms")
    assert plain.assets_def.code_versions_by_key != quick.assets_def.code_versions_by_key


def test_slices_are_in_the_manifest_and_on_the_card(bench: Bench) -> None:
    model = buyer(dataset=WITH_NEW_HABITS, evaluate=fti.Evaluation(metrics=["log_loss"], slices=["habit"]), gates=[])
    assert bench.train(model, "08").success
    (manifest,) = bench.builds()
    rows = {value: metrics["rows"] for value, metrics in manifest.slices["habit"].items()}
    assert (
        rows
        == bench.rows(WITH_NEW_HABITS, "08")["habit"].map("{:.0f}".format).replace("-0", "0").value_counts().to_dict()
    )
    assert "## By habit" in (bench.store.root / "buyer" / manifest.reference / "card.md").read_text()


def test_a_dataset_partition_that_is_not_there_is_named(bench: Bench) -> None:
    result = bench.train(buyer(), "09")
    (failure,) = result.get_step_failure_events()
    error = str(failure.step_failure_data.error)
    assert NotMaterializedError.__name__ in error
    assert "buying_dataset_v1 has no partition '2013-01-09'" in error
    assert bench.builds() == []


def test_a_champion_of_a_random_split_is_not_compared(bench: Bench) -> None:
    champion = bench.published("06", promoted=True)
    dataset = replace(champion.dataset, trained_until=None, point_in_time=False)
    random = bench.published("05", dataset=dataset, promoted=False)
    bench.store.promote("buyer", random.reference, expected=champion.reference, reason="by hand")
    shutil.rmtree(bench.store.root / "buyer" / champion.reference)
    bench.train(buyer(gates=[NOT_WORSE]), "08")
    (verdict,) = bench.builds()[-1].gates
    assert not verdict.passed
    assert "so it is unknown which test rows the champion has trained on" in verdict.reason


@pytest.mark.parametrize("gates", [[], [NOT_WORSE]], ids=["none", "not worse"])
def test_training_after_the_champion_is_lost_promotes_another(bench: Bench, gates: list[Any]) -> None:
    lost = bench.published("06", promoted=True)
    shutil.rmtree(bench.store.aliases_file("buyer").parent / lost.reference)
    result = bench.train(buyer(gates=gates), "07")
    assert result.success, result.get_step_failure_events()
    (build,) = bench.builds()
    assert bench.champion == build.reference != lost.reference


@pytest.mark.parametrize(
    ("one", "other", "are_alike"),
    [
        ({1: "a", "1": "b"}, {"1": "b", 1: "a"}, True),
        ({1: "a", "1": "b"}, {1: "b", "1": "a"}, False),
        ({"of": [{(1, 2): 3, None: 4}]}, {"of": [{None: 4, (1, 2): 3}]}, True),
        ({"of": {"a", "b", "c", "d"}}, {"of": {"d", "c", "b", "a"}}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
    ],
)
def test_equal_configs_are_one_text(one, other, are_alike):
    class Config(dg.Config):
        value: Any = None

    texts = []
    for value in (one, other):
        context: Any = SimpleNamespace(run=SimpleNamespace(run_config={"ops": value}))
        texts.append(_config_text(context, {"config": Config.model_construct(value=value)}))
    assert (texts[0] == texts[1]) is are_alike


def test_the_text_of_a_plain_config_is_its_json():
    config = {"ops": {"b": {"config": {"epochs": 3, "rates": [0.1, None]}}, "a": {}}}
    context: Any = SimpleNamespace(run=SimpleNamespace(run_config=config))
    assert _config_text(context, {}) == json.dumps([config, {}], sort_keys=True)
