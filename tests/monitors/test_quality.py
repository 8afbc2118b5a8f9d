"""What a monitor says of the quality of answers before labels come, as they come, and if they never do."""

from datetime import datetime
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.multioutput import MultiOutputClassifier

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.manifest.profiles import ColumnProfile, Profile
from fti_assets.core.records import from_json
from fti_assets.core.times import Partition
from fti_assets.errors import DeclarationError
from fti_assets.inference.serving.answers.prediction import Prediction
from fti_assets.inference.serving.log.lines import Redaction, answer_line
from fti_assets.training.judging.evaluation import evaluate
from fti_assets.training.retraining.situation import ModelSituation
from tests.support.logged import file_in
from tests.support.visits import (
    CUTOFFS,
    DAYS,
    LATER,
    SCORES,
    SORTER,
    SOURCE,
    Bench,
    in_day,
    linear,
    outcomes,
    run,
    visits,
)

METRICS = ["roc_auc", "log_loss", "brier", "accuracy", "f1"]
RULES = [
    fti.Quality("roc_auc", at_least=0.999, min_rows=20, slices=["member", "shop", "size", "nowhere"]),
    *(fti.Quality(name) for name in METRICS[1:]),
]
watch = fti.monitor(name="watch", predictions=SCORES, drift=[], weeks=0, quality=RULES)


def measure(bench: Bench, monitor: Any = watch, day: str = "", span: Any = None, now: str = LATER) -> Any:
    partition = {"partition_key": f"2013-01-{day}"} if day else {}
    with clock.at(now):
        return run(monitor, stores=bench.stores, instance=bench.instance, span=span, **partition)


def figures(bench: Bench, monitor: Any = watch, **where: Any) -> pd.DataFrame:
    rows: pd.DataFrame = fti.read(monitor, stores=bench.stores)
    rows = rows[rows["subject"] == "quality"]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows.reset_index(drop=True)


def one(bench: Bench, monitor: Any = watch, **where: Any) -> pd.Series:
    rows = figures(bench, monitor, **{"slice": "", "build": "", "estimated": False, **where})
    assert len(rows) == 1, rows
    return rows.iloc[0]


def problem_of(result: dg.ExecuteInProcessResult, check: str) -> str:
    (evaluation,) = [each for each in result.get_asset_check_evaluations() if each.check_name == check]
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    return "" if evaluation.passed else str(evaluation.metadata["problem"].value)


def answered(bench: Bench, day: int = 6) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """By hand: each stored answer with its label, in the order of time."""
    rows = bench.answers(day=f"{day:02}").merge(SOURCE, on="visit_id").sort_values("t_x")
    return rows["probability"].to_numpy(), rows["bought"].to_numpy(), rows


def test_served_quality_is_the_offline_evaluation_of_the_same_rows(bench: Bench) -> None:
    bench.predict(day="06")
    result = measure(bench, day="06")
    assert "no slices by 'nowhere'" in problem_of(result, "everything_measured")
    p, y, rows = answered(bench)
    offline = evaluate("binary", METRICS, {"probability": p}, y)
    assert {name: one(bench, statistic=name)["value"] for name in METRICS} == offline  # to the last digit
    assert offline["roc_auc"] == pytest.approx(roc_auc_score(y, p))
    assert offline["log_loss"] == pytest.approx(log_loss(y, p))
    build = bench.store.champion("buyer").reference
    assert one(bench, statistic="brier", build=build)["value"] == offline["brier"]
    area = one(bench, statistic="roc_auc")
    assert (area["rows"], area["threshold"], area["verdict"]) == (len(y), 0.999, "warning")
    assert area["low"] < area["value"] < area["high"]
    for shop in ("a", "b", "new"):
        of_shop = (rows["shop"] == shop).to_numpy()
        own = evaluate("binary", ["roc_auc"], {"probability": p[of_shop]}, y[of_shop]).get("roc_auc", np.nan)
        row = one(bench, statistic="roc_auc", slice=f"shop={shop}")
        assert row["rows"] == of_shop.sum()
        assert row["value"] == own or (np.isnan(own) and np.isnan(row["value"]))
    # Those of a column of the spine, of a feature of it, and of one that is joined.
    assert {"member=1", "member=0", "shop=a", "size=3", "size=7", "size="} < set(
        figures(bench, statistic="roc_auc")["slice"]
    )
    cause = cause_of(bench, fti.OnDegradation("roc_auc", monitor="watch"), watch, SCORES.models[0])
    assert cause is not None
    assert (cause.at, "roc_auc" in cause.reason) == (datetime(2013, 1, 6), True)
    assert cause_of(bench, fti.OnDegradation("brier", monitor="watch"), watch, SCORES.models[0]) is None


def cause_of(bench: Bench, trigger: Any, monitor: Any, model: Any) -> Any:
    """What a trigger of a model makes of what the monitor has stored."""
    with bench.stores.offline_store().connect() as lake:
        champion, now = bench.store.champion(model.name).reference, datetime.fromisoformat(LATER)
        target = Partition("2013-01-09", datetime(2013, 1, 9), datetime(2013, 1, 10))
        situation = ModelSituation(model, lake, target, None, champion, {monitor.name: monitor.table}, now)
        return trigger.cause(situation)


@pytest.mark.soak
def test_a_rerun_changes_nothing_and_a_range_gives_the_same(bench: Bench) -> None:
    for day in ("06", "07"):
        bench.predict(day=day)
        measure(bench, day=day)
    single = figures(bench)
    measure(bench, span=("06", "07"), now="2013-01-21")
    pd.testing.assert_frame_equal(figures(bench), single)


SLOW = fti.FeatureView(
    name="slow_view",
    spine=visits,
    label=fti.Label(outcomes["bought"], maturity="36h"),
    features=[visits["x", "member"]],
    encoders={"member": fti.OneHot()},
)


@fti.model(
    dataset=fti.training_dataset(
        name="slow_dataset", view=SLOW, split=fti.TimeSplit(validation="6h", test="1d"), partitions_def=CUTOFFS
    ),
    task="binary",
    evaluate=fti.Evaluation(metrics=["roc_auc", "log_loss"]),
)
def slow(data: fti.TrainingData) -> Any:
    return linear(data)


slow_scores = fti.batch_predictions(name="slow_scores", model=slow, partitions_def=DAYS)
slow_watch = fti.monitor(
    name="slow_watch",
    predictions=slow_scores,
    drift=[],
    weeks=0,
    quality=[
        fti.Quality("roc_auc", drop=0.0, min_rows=10, in_a_row=2),
        fti.Quality("log_loss", at_most=0, min_rows=10),
        fti.Quality("label_rate", at_least=0.9, min_rows=10),
    ],
)


@pytest.fixture
def slow_bench(bench: Bench) -> Bench:
    run(slow.dataset, slow, stores=bench.stores, instance=bench.instance, partition_key="2013-01-08")
    for day in ("05", "06"):
        bench.predict(slow_scores, day, now=f"2013-01-{day}T12:00:00")  # by the champion
    return bench


def test_estimates_come_first_then_mature_rows_then_the_error_of_the_estimate(slow_bench: Bench) -> None:
    bench = slow_bench
    measure(bench, slow_watch, day="06", now="2013-01-07T06:00:00")  # no row is 36 hours old
    rows = figures(bench, slow_watch, build="")
    assert rows["estimated"].all()
    assert set(rows["statistic"]) == {"roc_auc", "log_loss"}
    estimate = one(bench, slow_watch, statistic="roc_auc", estimated=True)
    assert estimate["low"] < estimate["value"] < estimate["high"]
    assert (estimate["rows"], estimate["reference"]) == (len(in_day(6)), "calibration")
    assert estimate["verdict"] in ("ok", "warning")
    by_labels, by_estimates = (
        fti.OnDegradation("log_loss", monitor="slow_watch", estimated=each) for each in (False, True)
    )
    assert cause_of(bench, by_labels, slow_watch, slow) is None
    assert "estimated" in cause_of(bench, by_estimates, slow_watch, slow).reason
    measure(bench, slow_watch, day="06", now="2013-01-08T00:00:00")  # those of the first half of the day are
    half = in_day(6)[in_day(6)["t"] <= "2013-01-06T12:00:00"]
    answers = bench.answers(slow_scores, "06").merge(half, on="visit_id").sort_values("t_x")
    offline = evaluate(
        "binary", ["roc_auc"], {"probability": answers["probability"].to_numpy()}, answers["bought"].to_numpy()
    )
    truth = one(bench, slow_watch, statistic="roc_auc")
    assert (truth["value"], truth["rows"]) == (offline["roc_auc"], len(half))
    assert one(bench, slow_watch, statistic="label_rate")["value"] == 1
    measure(bench, slow_watch, day="06")
    truth, estimate = (one(bench, slow_watch, statistic="roc_auc", estimated=each) for each in (False, True))
    assert truth["rows"] == len(in_day(6))
    assert (estimate["verdict"], np.isnan(estimate["threshold"])) == ("", True)  # the truth is there
    assert "estimated" not in cause_of(bench, by_labels, slow_watch, slow).reason
    error = one(bench, slow_watch, statistic="roc_auc_estimate_error")
    assert error["value"] == pytest.approx(estimate["value"] - truth["value"], abs=1e-12)


@pytest.mark.soak
def test_a_drop_is_counted_from_the_test_rows_and_warns_after_days_in_a_row(slow_bench: Bench) -> None:
    bench = slow_bench
    measure(bench, slow_watch, day="05")
    result = measure(bench, slow_watch, day="06")
    own = bench.store.champion("slow").metrics["roc_auc"]
    rows = figures(bench, slow_watch, statistic="roc_auc", build="", estimated=False).set_index("partition_start")
    assert set(rows["threshold"]) == {own}
    breaches = (rows["value"] < own).tolist()
    assert rows["verdict"].tolist() == ["ok", "warning" if all(breaches) else "ok"]
    assert bool(problem_of(result, "quality_roc_auc")) == all(breaches)


@pytest.mark.soak
def test_labels_that_never_come_are_counted_and_the_estimates_stay(slow_bench: Bench) -> None:
    bench = slow_bench
    store_outcomes(bench, SOURCE[0:0])
    problem = problem_of(measure(bench, slow_watch, day="06"), "quality_label_rate")
    assert "over all 0 (at least 0.9)" in problem
    row = one(bench, slow_watch, statistic="roc_auc")
    assert (row["rows"], row["verdict"], np.isnan(row["value"])) == (0, "too_few_rows", True)
    rate = one(bench, slow_watch, statistic="label_rate")
    assert (rate["value"], rate["rows"]) == (0, len(in_day(6)))
    assert len(figures(bench, slow_watch, build="", estimated=True)) == 2


def store_outcomes(bench: Bench, rows: pd.DataFrame, day: str = "2013-01-06") -> None:
    kinds = np.where(rows["bought"] == 0, "none", np.where(rows["member"], "club", "cash"))
    with bench.stores.offline_store().connect() as lake:
        own = rows[["visit_id", "t", "bought"]].assign(kind=kinds.astype(str), _partition=day)
        lake.connection.register("outcomes_now", own)
        lake.connection.execute(
            "CREATE TEMP TABLE changed_outcomes AS SELECT visit_id::BIGINT AS visit_id, t::TIMESTAMP AS t, bought::BIGINT AS bought, "
            "kind::VARCHAR AS kind, _partition FROM outcomes_now"
        )
        lake.replace(outcomes.table, "changed_outcomes", [day], asset="test", run_id="test")


def store_answers(bench: Bench, rows: pd.DataFrame, predictions: Any = SCORES) -> None:
    with bench.stores.offline_store().connect() as lake:
        lake.connection.register("answers_now", rows.assign(_partition="2013-01-06"))
        lake.connection.execute("CREATE TEMP TABLE changed_answers AS FROM answers_now")
        lake.replace(predictions.table, "changed_answers", ["2013-01-06"], asset="test", run_id="test")


@pytest.mark.soak
def test_the_latest_label_that_is_known_counts(bench: Bench) -> None:
    bench.predict(day="06")
    p, y, _ = answered(bench)
    rows = in_day(6)
    corrections = rows.assign(bought=1 - rows["bought"], t=pd.Timestamp("2013-01-15"))
    store_outcomes(bench, pd.concat([rows, corrections]))
    for now, labels in (("2013-01-10", y), (LATER, 1 - y)):
        measure(bench, day="06", now=now)
        assert (
            one(bench, statistic="brier")["value"] == evaluate("binary", ["brier"], {"probability": p}, labels)["brier"]
        )
    # What did not change keeps the time at which it was first measured.
    brier = figures(bench, statistic="brier", build="").set_index("estimated")["measured_at"]
    assert brier.to_dict() == {False: pd.Timestamp(LATER), True: pd.Timestamp("2013-01-10")}


def test_one_class_alone_has_no_area_and_a_strange_label_is_left_out(bench: Bench) -> None:
    bench.predict(day="06")
    rows = in_day(6).assign(bought=1)
    rows.iloc[0, rows.columns.get_loc("bought")] = 7
    store_outcomes(bench, rows)
    result = measure(bench, day="06")
    area = one(bench, statistic="roc_auc")
    assert (np.isnan(area["value"]), area["verdict"], area["rows"]) == (True, "", len(rows) - 1)
    assert one(bench, statistic="accuracy")["value"] >= 0
    assert "1 label is left out of" in problem_of(result, "everything_measured")
    assert problem_of(result, "quality_roc_auc") == ""


@pytest.mark.soak
def test_the_page_names_metrics_without_an_estimate(bench: Bench) -> None:
    bench.predict(day="06")
    watch_errors = fti.monitor(
        name="errors", predictions=SCORES, drift=[], weeks=0, quality=[fti.Quality("ece"), fti.Quality("brier")]
    )
    (event,) = measure(bench, watch_errors, day="06").get_asset_materialization_events()
    assert event.materialization.metadata["quality/without_estimate"].value == "ece"


def test_two_builds_are_told_apart_a_lost_one_and_bad_answers_stop_nothing(bench: Bench) -> None:
    bench.predict(day="06")
    rows, lost = bench.answers(day="06"), "v1/20130101T000000Z-00000000"
    first = bench.store.champion("buyer").reference
    rows["build"] = [first if number % 2 else lost for number in range(len(rows))]
    rows.iloc[[1, 3], rows.columns.get_loc("probability")] = np.nan
    store_answers(bench, rows)
    result = measure(bench, day="06")
    truth = rows.merge(SOURCE, on="visit_id").sort_values("t_x")
    for build in (first, lost):
        own = truth[(truth["build"] == build) & truth["probability"].notna()]
        scores = evaluate("binary", ["brier"], {"probability": own["probability"].to_numpy()}, own["bought"].to_numpy())
        row = one(bench, statistic="brier", build=build)
        assert (row["value"], row["rows"]) == (scores["brier"], len(own))
    assert np.isnan(one(bench, statistic="accuracy", build=lost)["value"])
    outcome = problem_of(result, "everything_measured")
    assert f"{lost} is lost" in outcome
    assert "2 answers" in outcome


def test_several_classes_are_measured_and_estimated(bench: Bench) -> None:
    kinds = fti.batch_predictions(name="kinds", model=SORTER, partitions_def=DAYS)
    of_kinds = fti.monitor(
        name="of_kinds",
        predictions=kinds,
        drift=[],
        weeks=0,
        quality=[fti.Quality("log_loss"), fti.Quality("accuracy")],
    )
    bench.predict(kinds, "06")
    measure(bench, of_kinds, day="06")
    classes = bench.store.champion("sorter").classes
    rows = bench.answers(kinds, "06").merge(SOURCE, on="visit_id").sort_values("t_x")
    p = np.array([[dict(each)[name] for name in classes] for each in rows["probabilities"]])
    kind = np.where(rows["bought"] == 0, "none", np.where(rows["member"], "club", "cash"))
    y = np.array([classes.index(each) for each in kind])
    offline = evaluate("multiclass", ["log_loss", "accuracy"], {"probabilities": p}, y, classes)
    assert {name: one(bench, of_kinds, statistic=name)["value"] for name in offline} == offline
    assert 0 < one(bench, of_kinds, statistic="accuracy", estimated=True)["value"] < 1


@pytest.mark.soak
def test_several_labels_are_measured_together_and_each(bench: Bench) -> None:
    view = fti.FeatureView(
        name="pair_view",
        spine=visits,
        label={"bought": fti.Label(outcomes["bought"]), "joined": fti.Label(visits["member"], maturity="1d")},
        features=[visits["x"]],
    )
    dataset = fti.training_dataset(
        name="pair_dataset", view=view, split=fti.TimeSplit(validation="12h", test="1d"), partitions_def=CUTOFFS
    )

    @fti.model(dataset=dataset, task="multilabel")
    def pair(data: fti.TrainingData) -> Any:
        return MultiOutputClassifier(LogisticRegression()).fit(data.train.X, data.train.y)

    pairs = fti.batch_predictions(name="pairs", model=pair, partitions_def=DAYS)
    for column in ("probabilities", "probabilities.gone"):
        with pytest.raises(DeclarationError, match=r"there is 'probabilities.bought', 'probabilities.joined', 'x'"):
            fti.monitor(name="of_none", predictions=pairs, drift=[fti.Drift("psi", columns=[column])])
    names = ["roc_auc", "log_loss:joined", "exact_match"]
    drift = [fti.Drift("psi", min_rows=5), fti.Drift("psi", reference="weeks_before", min_rows=5)]
    of_pairs = fti.monitor(name="of_pairs", predictions=pairs, drift=drift, quality=list(map(fti.Quality, names)))
    run(dataset, pair, stores=bench.stores, instance=bench.instance, partition_key="2013-01-06")
    bench.predict(pairs, "06")
    measure(bench, of_pairs, day="06", now="2013-01-07T12:00:00")
    rows = bench.answers(pairs, "06").merge(SOURCE, on="visit_id").sort_values("t_x")
    rows = rows[rows["t_x"] <= "2013-01-06T12:00:00"]  # by the longest maturity
    p = np.array([[dict(each)[name] for name in ("bought", "joined")] for each in rows["probabilities"]])
    y = rows[["bought", "member"]].to_numpy().astype(int)
    offline = evaluate("multilabel", names, {"probabilities": p}, y, ("bought", "joined"))
    assert {name: one(bench, of_pairs, statistic=name)["value"] for name in names} == offline
    of_each = ["roc_auc:bought", "roc_auc:joined"]  # beside the mean
    offline = evaluate("multilabel", of_each, {"probabilities": p}, y, ("bought", "joined"))
    assert {name: one(bench, of_pairs, statistic=name)["value"] for name in of_each} == offline
    # Estimates are of all answers; how labels come together is not known, so there are none of exact matches, and no interval of a mean.
    estimated = figures(bench, of_pairs, estimated=True, build="").set_index("statistic")
    assert set(estimated.index) == {"roc_auc", "log_loss:joined", *of_each}
    assert (estimated["rows"] == 24).all()
    assert np.isnan(estimated.loc["roc_auc", "low"])
    of_one = estimated.loc["log_loss:joined"]
    assert of_one["low"] < of_one["value"] < of_one["high"]
    errors = {f"{name}_estimate_error" for name in estimated.index}
    assert errors < set(figures(bench, of_pairs)["statistic"])
    # Each label is watched as one of a model of one label would be, on rows as old as the longest maturity.
    drifts = fti.read(of_pairs, stores=bench.stores)
    labels = drifts[(drifts["subject"] == "label") & (drifts["reference"] == "training")]
    assert set(labels["column_name"]) == {"bought", "joined"}
    profile = from_json(
        Profile, bench.store.file(bench.store.champion("pair"), "profile.json").decode(), what="profile"
    )
    for at, (name, column) in enumerate({"bought": "bought", "joined": "member"}.items()):
        own = labels[(labels["column_name"] == name) & (labels["statistic"] == "psi")]
        assert own["rows"].tolist() == [len(rows)]
        then, now = profile.labels[at], rows[column].astype(int)
        before = label_counts(then)
        shares = np.maximum([[before[0] / sum(before), before[1] / sum(before)], [1 - now.mean(), now.mean()]], 1e-4)
        psi = ((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()
        assert own["value"].tolist() == [pytest.approx(psi)], name


def label_counts(profile: ColumnProfile) -> tuple[float, float]:
    """How many rows are 0 and 1, as numbers or as booleans."""
    if profile.categories:
        return profile.categories.get("false", 0.0), profile.categories.get("true", 0.0)
    counts = [0.0, 0.0]
    for edge, count in zip((*profile.edges, np.inf), profile.counts, strict=True):
        counts[int(edge >= 1)] += count
    return counts[0], counts[1]


@pytest.mark.soak
def test_arms_of_a_log_are_told_apart_and_shadows_left_out(bench: Bench) -> None:
    log = fti.prediction_log(name="buyer_log", model=fti_model(), partitions_def=DAYS)
    of_log = fti.monitor(name="of_log", log=log, drift=[], weeks=0, quality=[fti.Quality("brier", slices=["member"])])
    build, rows = bench.store.champion("buyer").reference, in_day(6)
    lines, p, arms = [], [], []
    rng = np.random.default_rng(7)
    for number, row in enumerate(rows.to_dict("records")):
        arm = "champion" if number % 3 else "rival"
        p.append(float(rng.random()))
        arms.append(arm)
        for name, latency, value in ((f"r{number:03}", 0.01, p[-1]), (f"r{number:03}~arm", None, 1.0)):
            answer = Prediction(
                value, {"x": 1.0, "member": row["member"]}, (), row["t"].to_pydatetime(), "buyer", build, arm=arm
            )
            lines.append(
                answer_line(answer, {"visit_id": row["visit_id"]}, name, 0, row["t"], latency, Redaction(frozenset()))
            )
    file_in(bench.root / "log" / "buyer", lines)
    from fti_assets.inference.log.take_in import take_in

    with bench.stores.offline_store().connect() as lake:
        take_in(log, lake, bench.root / "log" / "buyer", ["2013-01-06"], asset="buyer_log_v1")
    measure(bench, of_log, day="06")
    order = np.argsort(rows["t"].to_numpy(), kind="stable")
    answered_now, y, by_arm = np.array(p)[order], rows["bought"].to_numpy()[order], np.array(arms)[order]
    assert (
        one(bench, of_log, statistic="brier")["value"]
        == evaluate("binary", ["brier"], {"probability": answered_now}, y)["brier"]
    )
    for name in ("champion", "rival"):
        own = evaluate("binary", ["brier"], {"probability": answered_now[by_arm == name]}, y[by_arm == name])["brier"]
        assert one(bench, of_log, statistic="brier", build=build, arm=name)["value"] == own
    assert {"member=1", "member=0"} < set(figures(bench, of_log, statistic="brier")["slice"])


def fti_model() -> Any:
    return SCORES.models[0]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([fti.Quality("rmse")], "'rmse' is not one for a binary model"),
        ([fti.Quality("brier"), fti.Quality("brier", at_most=1)], "two rules"),
        ([fti.Quality("brier", drop=0.1, slices=["shop"])], "slices"),
        ([fti.Quality("ece", drop=0.1)], "add it to fti.Evaluation"),
        ([fti.Quality("brier:bought")], "write 'brier'"),
    ],
)
def test_rules_that_cannot_be_measured_are_refused(rules: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        fti.monitor(name="watch", predictions=SCORES, quality=rules)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "rocauc"}, "no metric 'rocauc'"),
        ({"metric": "log_loss", "at_least": 0.5}, "better the lower"),
        ({"metric": "roc_auc", "at_least": 0.5, "drop": 0.1}, "one bound"),
        ({"metric": "roc_auc", "in_a_row": 0}, "at least 1"),
    ],
)
def test_an_impossible_rule_is_refused(options: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        fti.Quality(**options)
