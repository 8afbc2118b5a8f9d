"""Searching for a model's parameters: the space, the trials of a study, and what a build says of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge

import fti_assets as fti
from fti_assets import testing
from fti_assets.core.manifest import TuningRecord
from fti_assets.core.records import from_json, to_json
from fti_assets.errors import DeclarationError, MissingExtraError, ModelError
from fti_assets.training.judging.pictures.build_pictures import SHOWN_IN_PLACE, image
from fti_assets.training.tuning.journal import Journal, forget_journal, open_journal
from fti_assets.training.tuning.pictures import tuning_pictures, tuning_section
from fti_assets.training.tuning.pruning import pruning_text
from fti_assets.training.tuning.search import Search
from fti_assets.training.tuning.spaces import Space, at_places, check_space, names_in, parameters_of
from fti_assets.training.tuning.study import Study, TrialRecord
from fti_assets.training.tuning.trial import Trial, TrialPruned
from tests.support.examples import examples

FAMILIES: Space = {
    "family": fti.Choice({"near": {"x": fti.Uniform(0.0, 1.0)}, "far": {"x": fti.LogUniform(1.0, 100.0), "n": fti.Integers(1, 3)}}),
    "z": fti.Integers(0, 40, step=10),
}  # fmt: skip


def lines_of(log: list[str]) -> Callable[[str], object]:
    return log.append


def search(train: Callable[[Trial], Any], log: list[str] | None = None, **tuning: Any) -> Search:
    """A search whose models are numbers, and each number its own error."""
    tell = lines_of([] if log is None else log)
    return Search(fti.Tuning(**{"space": FAMILIES, **tuning}), "rmse", False, train, float, tell, tell)


def distance(trial: Trial) -> float:
    value = abs(trial["x"] - 0.3) + trial["z"] / 10
    for epoch in range(3):
        trial.report(epoch, value * (3 - epoch))
    if trial["z"] == 40:
        raise ValueError("too far")
    return value


def without_seconds(study: Study) -> list[TrialRecord]:
    return [replace(one, seconds=0.0) for one in study.trials]


@pytest.fixture(scope="module")
def study() -> Study:
    return search(distance, trials=14, pruning="median").run(Journal(None))[1]


def test_same_seed_gives_the_same_study(study: Study) -> None:
    again = search(distance, trials=14, pruning="median").run(Journal(None))[1]
    assert without_seconds(again) == without_seconds(study)
    other = search(distance, trials=4, seed=3).run(Journal(None))[1]
    assert [one.parameters for one in other.trials] != [one.parameters for one in study.trials[:4]]


def test_study_has_trials_of_each_end(study: Study) -> None:
    assert {one.state for one in study.trials} == {"complete", "pruned", "failed"}
    assert [one.number for one in study.trials] == list(range(1, 15))
    for one in study.trials:
        at_places(FAMILIES, one.parameters)
        assert (one.value is None) == (one.state != "complete")
        assert one.error == ("ValueError: too far" if one.state == "failed" else "")
    values = [one.value for one in study.trials if one.value is not None]
    assert study.best is not None
    assert study.best.value == min(values)


def test_median_prunes_what_is_worse_than_half(study: Study) -> None:
    complete: list[TrialRecord] = []
    for one in study.trials:
        for epoch, value in one.reported.items():
            earlier = [other.reported[epoch] for other in complete if epoch in other.reported]
            best = min(value for at, value in one.reported.items() if int(at) <= int(epoch))
            is_worse = len(complete) >= 5 and best > np.median(earlier)
            is_last = one.state == "pruned" and epoch == max(one.reported, key=int)
            assert is_worse == is_last
        if one.state == "complete":
            complete.append(one)


@pytest.mark.parametrize("done", [1, 7, 13])
def test_killed_study_goes_on_as_if_nothing_happened(study: Study, tmp_path: Path, done: int) -> None:
    file = tmp_path / ".tuning" / "a.jsonl"
    with open_journal(file) as journal:
        for trial in study.trials[:done]:
            journal.add(trial)
    with file.open("a") as lines:
        lines.write('{"number": 99, "sta')  # the process was killed while it wrote
    called: list[int] = []

    def train(trial: Trial) -> float:
        called.append(trial.number)
        return distance(trial)

    with open_journal(file) as journal:
        assert len(journal.trials) == done
        model, resumed = search(train, trials=14, pruning="median").run(journal)
    assert without_seconds(resumed) == without_seconds(study)
    assert resumed.resumed == done
    assert study.best is not None
    again = [study.best.number] if study.best.number <= done else []
    assert called == [*(one.number for one in study.trials[done:] if one.same_as is None), *again]
    assert model == study.best.value
    with open_journal(file) as journal:
        assert [replace(one, seconds=0.0) for one in journal.trials] == without_seconds(study)
    forget_journal(file)
    assert list(tmp_path.iterdir()) == []


PRUNINGS: list[Any] = [
    {"name": "percentile", "percentile": 25.0, "n_startup_trials": 2},
    {"name": "halving", "reduction_factor": 2},
    {"name": "hyperband", "max_resource": 4, "reduction_factor": 2},
    {"name": "patient", "patience": 1},
    {"name": "threshold", "upper": 3.0},
    "wilcoxon",
]


@pytest.mark.soak
@pytest.mark.parametrize("pruning", PRUNINGS, ids=pruning_text)
def test_study_of_any_pruner_goes_on_as_if_nothing_happened(pruning: Any, tmp_path: Path) -> None:
    model, whole = search(distance, trials=14, pruning=pruning).run(Journal(None))
    assert whole.pruning == pruning_text(pruning)
    assert whole.counts["complete"] >= 1
    if pruning_text(pruning) not in ("wilcoxon", "patient, patience=1"):  # each epoch is better than the one before
        assert whole.counts["pruned"] >= 1
    for done in (5, 11):
        file = tmp_path / f"{done}.jsonl"
        with open_journal(file) as journal:
            for trial in whole.trials[:done]:
                journal.add(trial)
        with open_journal(file) as journal:
            resumed_model, resumed = search(distance, trials=14, pruning=pruning).run(journal)
        assert without_seconds(resumed) == without_seconds(whole)
        assert resumed_model == model


@given(st.lists(st.lists(st.floats(0, 9), min_size=4, max_size=4), min_size=2, max_size=14))
@settings(max_examples=examples(20))
def test_trials_end_where_optuna_itself_ends_them(curves: list[list[float]]) -> None:
    """Each trial reports a curve of four epochs; optuna is asked by hand with a pruner of the same terms."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def train(trial: Trial) -> float:
        for epoch, value in enumerate(curves[trial.number - 1]):
            trial.report(epoch, value)
        return curves[trial.number - 1][-1]

    space = {"x": fti.Uniform(0.0, 1.0)}
    tuning = fti.Tuning(space=space, trials=len(curves), pruning={"name": "halving", "reduction_factor": 2})
    tell = lines_of([])
    _, study = Search(tuning, "rmse", False, train, float, tell, tell).run(Journal(None))
    by_hand = optuna.create_study(pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2))
    for own, curve in zip(study.trials, curves, strict=True):
        trial, reported, ended = by_hand.ask(), 0, False
        while reported < len(curve) and not ended:
            trial.report(curve[reported], reported)
            reported, ended = reported + 1, trial.should_prune()
        by_hand.tell(trial, None if ended else curve[-1], state=None if not ended else optuna.trial.TrialState.PRUNED)
        assert (len(own.reported), own.state) == (reported, "pruned" if ended else "complete")


def test_journal_of_another_space_is_not_taken_over(study: Study) -> None:
    journal = Journal(None)
    journal.trials = study.trials
    _, made = search(lambda trial: trial["y"], space={"y": fti.Uniform(0.0, 1.0)}, trials=2).run(journal)
    assert made.resumed == 0
    assert len(made.trials) == 2


def test_two_runs_of_one_study_do_not_mix(tmp_path: Path, study: Study) -> None:
    file = tmp_path / "a.jsonl"
    with open_journal(file) as first, open_journal(file) as second:
        first.add(study.trials[0])
        second.add(study.trials[1])
    with open_journal(file) as journal:
        assert journal.trials == study.trials[:1]


def test_parameters_that_were_tried_are_not_trained_again() -> None:
    called: list[Any] = []

    def train(trial: Trial) -> float:
        called.append(trial["flag"])
        return float(trial["flag"] is True)

    _, made = search(train, space={"flag": fti.Choice([True, False, None])}, trials=8).run(Journal(None))
    assert sorted(map(str, called)) == ["False", "None", "True"]
    assert len(made.trials) == 8
    for one in made.trials:
        if one.same_as is not None:
            same = made.trials[one.same_as - 1]
            assert (one.parameters, one.value) == (same.parameters, same.value)
            assert same.same_as is None


def test_study_of_failures_alone_names_them() -> None:
    log: list[str] = []

    def train(trial: Trial) -> float:
        raise ValueError(f"no {trial['x']}"[:4])

    with pytest.raises(ModelError, match="no trial of 3 is complete, .* They failed with ValueError: no"):
        search(train, log, trials=3).run(Journal(None))
    assert sum("failed, with" in line for line in log) == 3


def test_study_of_pruned_trials_alone_says_so() -> None:
    def train(trial: Trial) -> float:
        trial.report(0, 2.0)
        return 1.0

    with pytest.raises(ModelError, match=r"there is no model\. 3 were ended early by pruning='threshold, upper=1.0'"):
        search(train, trials=3, pruning={"name": "threshold", "upper": 1.0}).run(Journal(None))


def test_missing_package_ends_the_study_at_once() -> None:
    called = []

    def train(trial: Trial) -> float:
        called.append(trial)
        raise MissingExtraError("needs lightgbm")

    with pytest.raises(MissingExtraError):
        search(train, trials=3).run(Journal(None))
    assert len(called) == 1


def test_trial_refuses_epochs_backwards_and_lost_values() -> None:
    trial = Trial({"x": 1})
    trial.report(3, 0.5)
    with pytest.raises(ModelError, match="epoch 3 was reported before"):
        trial.report(3, 0.4)
    with pytest.raises(ModelError, match="diverged"):
        trial.report(4, float("nan"))
    with pytest.raises(ModelError, match=r"report\(4, None\): the value is no number"):
        trial.report(4, None)  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="no parameter 'y': it has 'x'"):
        trial["y"]
    assert not issubclass(TrialPruned, ModelError)


@pytest.mark.parametrize("epoch", [0.5, 1.0, True, "1", -1, None])
def test_an_epoch_is_a_whole_number(epoch: Any) -> None:
    with pytest.raises(ModelError, match=r"report\(epoch=.*a whole number from 0 on"):
        Trial({"x": 1}).report(epoch, 0.5)


def test_epochs_of_numpy_prune_as_pythons_own() -> None:
    def train(trial: Trial) -> float:
        for epoch in np.arange(3):
            trial.report(epoch, np.float32(trial["x"] * (3 - epoch)))
        return float(trial["x"])

    _, study = search(train, trials=12, pruning="median").run(Journal(None))
    assert study.counts["pruned"] > 0
    assert all({*one.reported} <= {"0", "1", "2"} for one in study.trials)


@settings(max_examples=examples(90), deadline=None)
@given(st.data())
def test_parameters_of_a_space_are_found_at_their_places(data: st.DataObject) -> None:
    def choose(place: str, domain: Any) -> Any:
        if isinstance(domain, fti.Choice):
            return data.draw(st.sampled_from(domain.values))
        if isinstance(domain, fti.Integers):
            return data.draw(st.integers(0, (domain.high - domain.low) // domain.step)) * domain.step + domain.low
        return data.draw(st.floats(domain.low, domain.high))

    parameters = parameters_of(FAMILIES, choose)
    values, domains = at_places(FAMILIES, parameters)
    assert [*values.values()] == [*parameters.values()]
    assert [*values] == ["family", *(f"family={parameters['family']}/{one}" for one in parameters if one in "xn"), "z"]
    assert values.keys() == domains.keys()
    for strange in ({**parameters, "z": 5}, {**parameters, "more": 1}, {"family": parameters["family"]}):
        with pytest.raises(ValueError, match="."):
            at_places(FAMILIES, strange)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: fti.Tuning(space={}), "in which nothing can be tried"),
        (lambda: fti.Tuning(space={"a b": fti.Uniform(0, 1)}), "a parameter 'a b'"),
        (lambda: fti.Tuning(space={"a": (0, 1)}), "for the parameter 'a': write fti.Uniform"),
        (lambda: fti.Tuning(space={"a": fti.Uniform(0, 1)}, trials=0), "trials=0"),
        (lambda: fti.Tuning(space={"a": fti.Uniform(0, 1)}, pruning="hard"), "pruning='hard': it is 'none', 'median'"),
        (lambda: fti.Tuning(space={"a": fti.Uniform(0, 1)}, pruning="hyperband"), "'hyperband' needs 'max_resource'"),
        (lambda: fti.Tuning(space={"a": fti.Uniform(0, 1)}, pruning="threshold"), "needs 'lower' or 'upper'"),
        (
            lambda: fti.Tuning(space={"a": fti.Uniform(0, 1)}, pruning={"name": "median", "patience": 1}),
            "'median' takes 'n_startup_trials', .*, not 'patience'",
        ),
        (
            lambda: fti.Tuning(space={"a": fti.Uniform(0, 1)}, pruning={"name": "percentile", "percentile": "low"}),
            "'percentile' is no number",
        ),
        (lambda: fti.Tuning(space={"a": fti.Uniform(0, 1)}, seed=-1), "seed=-1"),
        (lambda: fti.Uniform(1, 1), "low end is to be below"),
        (lambda: fti.LogUniform(0, 1), "above 0"),
        (lambda: fti.Integers(0, 5, step=2), "a step leads from 0 to 5"),
        (lambda: fti.Integers(0, 5, log=True), "a low end of 1"),
        (lambda: fti.Choice([]), "nothing to choose from"),
        (lambda: fti.Choice("ab"), "a list of values"),
        (lambda: fti.Choice([1, True]), "twice"),
        (lambda: fti.Choice([Ridge()]), "texts, numbers, True"),
        (lambda: fti.Choice({"a": 3}), "parameters that only it has"),
        (lambda: check_space({"a": fti.Choice({"b": {"a": fti.Uniform(0, 1)}})}, what="m"), "in a choice and above"),
        (
            lambda: check_space({name: fti.Choice({"b": {"c": fti.Uniform(0, 1)}}) for name in "xy"}, what="m"),
            "in two choices that are made at once",
        ),
    ],
)
def test_impossible_space_is_refused_at_load(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        make()


def test_choices_that_exclude_each_other_share_names() -> None:
    check_space(FAMILIES, what="m")
    assert names_in(FAMILIES) == {"family", "x", "n", "z"}


@fti.feature_group(keys=["ride_id"])
def rides() -> None: ...


FARES = fti.FeatureView(name="tuned_fares", spine=rides, label=fti.Label(rides["fare"]), features=[rides["distance"]])


def frame(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    distance = rng.random(rows)
    return pd.DataFrame({"distance": distance, "fare": 3 + distance + rng.normal(scale=0.01, size=rows)})


TUNING = fti.Tuning(space={"family": fti.Choice({"line": {}, "ridge": {"alpha": fti.LogUniform(1e-3, 1e3)}})}, trials=4)


def tuned(function: Callable[..., Any], **options: Any) -> Any:
    return fti.model(name="fare", dataset=FARES, task="regression", **{"tune": TUNING, **options})(function)


def test_build_is_the_model_of_the_best_trial() -> None:
    made: dict[int, Any] = {}

    @tuned
    def fare(data: fti.TrainingData, trial: fti.Trial) -> Any:
        made[trial.number] = Ridge(trial["alpha"]) if trial["family"] == "ridge" else LinearRegression()
        return made[trial.number].fit(data.train.X, data.train.y)

    build = testing.train_tiny(fare, frame())
    study = build.study
    assert study is not None
    assert study.best is not None
    assert build.trained is made[study.best.number]
    # The oracle: each model judged by hand on validation.
    validation = build.data.validation
    for one in study.trials:
        answers = made[one.same_as or one.number].predict(validation.X)
        assert one.value == pytest.approx(np.sqrt(np.mean((answers - validation.y) ** 2)), rel=1e-5)
    assert {one.parameters["family"] for one in study.trials} == {"line", "ridge"}
    assert from_json(Study, to_json(study), what="study") == study
    assert from_json(TuningRecord, to_json(study.in_short), what="tuning").parameters == study.best.parameters


def test_trials_see_the_same_data_and_no_test_part() -> None:
    observed: list[Any] = []

    @tuned
    def fare(data: fti.TrainingData, trial: fti.Trial) -> Any:
        observed.append(data.train)
        return LinearRegression().fit(data.test.X, data.test.y)

    with pytest.raises(ModelError, match="asks for data.test.X: the gates judge on the test part"):
        testing.train_tiny(fare, frame())
    assert all(np.array_equal(one.X, observed[0].X) and np.array_equal(one.y, observed[0].y) for one in observed)


def test_a_trial_that_writes_into_its_data_changes_no_other() -> None:
    def study(*, in_place: bool) -> Study:
        @tuned
        def fare(data: fti.TrainingData, trial: fti.Trial) -> Any:
            x, y = data.train.X, data.train.y
            if not in_place:
                x, y = x.copy(), y.copy()
            most = 3 + trial["most"]
            np.clip(y, 3, most, out=y)
            x *= most
            model = LinearRegression().fit(x / most, y)
            if in_place:
                data.train.columns["distance"][:] = 0
                for values in (data.validation.X, data.validation.y, data.validation.columns["distance"]):
                    values[:] = 3
            return model

        space = {"most": fti.Uniform(0.1, 1.0)}
        study = testing.train_tiny(replace(fare, tune=fti.Tuning(space=space, trials=5)), frame()).study
        assert study is not None
        return study

    honest, writing = study(in_place=False), study(in_place=True)
    assert [one.value for one in writing.trials] == [one.value for one in honest.trials]
    assert len({one.value for one in honest.trials}) == 5


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (frame().assign(split="train").assign(split=lambda all_: np.where(all_.index < 9, "test", "train")), "no rows"),
        (frame().assign(fare=1.0), "means nothing on its 12 validation rows"),
    ],
    ids=["no validation", "equal labels"],
)
def test_trials_that_cannot_be_judged_are_not_begun(rows: pd.DataFrame, said: str) -> None:
    @tuned
    def fare(data: fti.TrainingData, trial: fti.Trial) -> Any:
        raise AssertionError("was called")

    fare = replace(fare, tune=replace(TUNING, metric="r2"))
    with pytest.raises(ModelError, match=said):
        testing.train_tiny(fare, rows)


def test_tuned_function_without_a_trial_is_refused_at_load() -> None:
    with pytest.raises(DeclarationError, match="write def fare.data: fti.TrainingData, trial: fti.Trial"):

        @tuned
        def fare(data: fti.TrainingData) -> Any: ...

    with pytest.raises(DeclarationError, match="an fti.Trial, but nothing is tuned"):

        @fti.model(dataset=FARES, task="regression")
        def untuned(data: fti.TrainingData, trial: fti.Trial) -> Any: ...

    with pytest.raises(DeclarationError, match="there is no metric 'rmsse'"):
        tuned(lambda data, trial: None, tune=replace(TUNING, metric="rmsse"))
    with pytest.raises(DeclarationError, match="'roc_auc' is not one for a regression"):
        tuned(lambda data, trial: None, tune=replace(TUNING, metric="roc_auc"))


def test_pictures_of_a_study_are_shown_in_place(study: Study) -> None:
    svgs = tuning_pictures(replace(study, importance={f"{name}_of_a_long_name": 0.2 for name in "abcdefg"}))
    assert set(svgs) == {"history", "importance"}
    for name, svg in svgs.items():
        assert len(image(svg, name)) < SHOWN_IN_PLACE
    many = replace(
        study, trials=tuple(replace(study.trials[0], number=n, value=1 / n, state="complete") for n in range(1, 300))
    )
    assert len(image(tuning_pictures(many)["history"], "history")) < SHOWN_IN_PLACE
    higher = tuning_pictures(replace(study, higher_is_better=True, importance={}))
    assert set(higher) == {"history"}
    page = tuning_section(study)
    assert page.count("<tr><td class=n>") == len(study.trials)
    assert "ValueError: too far" in page


def test_importance_finds_the_parameter_that_matters() -> None:
    space = {
        "large": fti.Uniform(0.0, 9.0),
        "small": fti.Uniform(0.0, 0.1),
        "kind": fti.Choice({"a": {"x": fti.Uniform(0, 1)}}),
    }
    _, made = search(lambda trial: trial["large"] + trial["small"], space=space, trials=8).run(Journal(None))
    assert made.importance["large"] > 0.8
    assert sum(made.importance.values()) == pytest.approx(1)
    _, equal = search(lambda trial: 1.0, trials=3).run(Journal(None))
    assert equal.importance == {}


@pytest.mark.parametrize(("higher_is_better", "told"), [(False, [(1, 0.5)]), (True, [(1, -0.5)])])
def test_loss_is_reported_in_the_direction_of_the_metric(higher_is_better: bool, told: list[tuple[int, float]]) -> None:
    reported: list[tuple[int, float]] = []
    trial = Trial({}, report=lambda epoch, value: reported.append((epoch, value)), higher_is_better=higher_is_better)
    trial.report_loss(1, 0.5)
    assert reported == told


@pytest.mark.soak
def test_fit_of_torch_ends_with_a_pruned_trial() -> None:
    import torch

    tuning = fti.Tuning(space={"scale": fti.LogUniform(1e-3, 1e3)}, trials=9, pruning="median")

    @tuned
    def fare(data: fti.TrainingData, trial: fti.Trial) -> Any:
        net = torch.nn.Sequential(Dense(), torch.nn.Linear(data.dense_dim, 1))
        with torch.no_grad():
            net[1].weight.mul_(trial["scale"])
        return data.fit(net, epochs=3, batch_size=16, report=trial.report_loss)

    class Dense(torch.nn.Module):
        def forward(self, x: dict[str, Any]) -> Any:
            return x["dense"]

    study = testing.train_tiny(replace(fare, tune=tuning), frame()).study
    assert study is not None
    assert study.counts["pruned"] > 0
    for one in study.trials:
        assert one.state == "pruned" or len(one.reported) == 3
        assert not one.error
