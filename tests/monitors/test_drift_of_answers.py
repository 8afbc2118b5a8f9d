"""What a monitor says of days that go well and of days that do not, end to end."""

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.manifest.profiles import Profile
from fti_assets.core.records import from_json
from fti_assets.inference.log.take_in import take_in
from fti_assets.inference.serving.answers.prediction import Prediction
from fti_assets.inference.serving.log.lines import Redaction, answer_line, usage_line
from fti_assets.inference.serving.log.service import Usage
from tests.support.logged import file_in
from tests.support.visits import BUYER, DAYS, LATER, SCORES, SORTER, SOURCE, Bench, in_day, run

RULES = [
    fti.Drift("psi", min_rows=5),
    fti.Drift("null_rate", min_rows=5),
    fti.Drift("psi", reference="weeks_before", min_rows=5),
]
watch = fti.monitor(name="watch", predictions=SCORES, drift=RULES)


def measure(bench: Bench, monitor: Any = watch, day: str = "", span: Any = None, now: str = LATER) -> Any:
    partition = {"partition_key": f"2013-01-{day}"} if day else {}
    with clock.at(now):
        return run(monitor, stores=bench.stores, instance=bench.instance, span=span, **partition)


def figures(bench: Bench, monitor: Any = watch, **where: Any) -> pd.DataFrame:
    rows: pd.DataFrame = fti.read(monitor, stores=bench.stores)
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows.reset_index(drop=True)


def one(bench: Bench, monitor: Any = watch, **where: Any) -> pd.Series:
    rows = figures(bench, monitor, **where)
    assert len(rows) == 1, rows
    return rows.iloc[0]


def problem_of(result: dg.ExecuteInProcessResult, check: str) -> str:
    (evaluation,) = [each for each in result.get_asset_check_evaluations() if each.check_name == check]
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    return "" if evaluation.passed else str(evaluation.metadata["problem"].value)


def psi(edges: Any, before: Any, after: Any) -> float:
    p, q = (np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) for values in (before, after))
    p, q = (np.maximum(each / each.sum(), 1e-4) for each in (p, q))
    return float(((q - p) * np.log(q / p)).sum())


def profile(bench: Bench) -> Profile:
    manifest = bench.store.champion("buyer")
    return from_json(Profile, bench.store.file(manifest, "profile.json").decode(), what="profile")


def test_figures_are_those_of_the_rows_of_the_day_and_of_the_weeks_before(bench: Bench) -> None:
    bench.predict(day="05")
    bench.predict(day="06")
    measure(bench, day="06")
    (own,) = [each for each in profile(bench).features if each.name == "x"]
    day, before = (in_day(number)["x"].dropna() for number in (6, 5))
    learned = SOURCE[SOURCE["t"] < "2013-01-05"]
    assert set(own.edges) <= set(learned["x"])
    build = bench.store.champion("buyer").reference
    of_training = one(bench, column_name="x", statistic="psi", reference="training")
    p = np.array(own.counts) / sum(own.counts)
    q = np.bincount(np.searchsorted(own.edges, day), minlength=len(own.edges) + 1) / len(day)
    p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    assert of_training["value"] == pytest.approx(((q - p) * np.log(q / p)).sum())
    assert (of_training["rows"], of_training["build"], of_training["threshold"]) == (len(day), build, 0.2)
    of_weeks = one(bench, column_name="x", statistic="psi", reference="weeks_before")
    assert of_weeks["value"] == pytest.approx(psi(own.edges, before, day))
    assert of_weeks["build"] == ""
    # Features of other groups, of a lookup and of a function are there, and the label and the answer too.
    columns = set(map(tuple, figures(bench, reference="training")[["subject", "column_name"]].values.tolist()))
    assert {("feature", "queue"), ("feature", "size"), ("feature", "hour_of_day")} < columns
    assert {("label", "bought"), ("prediction", "probability")} < columns
    assert one(bench, statistic="answers")["value"] == len(in_day(6))
    label = one(bench, subject="label", statistic="psi", reference="training")
    assert label["rows"] == len(in_day(6))


@pytest.mark.soak
def test_days_run_one_by_one_or_as_a_range_have_the_same_rows(bench: Bench) -> None:
    bench.predict(span=("05", "06"))
    for day in ("05", "06"):
        measure(bench, day=day)
    single = figures(bench)
    other = fti.monitor(name="other", predictions=SCORES, drift=RULES)
    result = measure(bench, other, span=("05", "06"))
    pd.testing.assert_frame_equal(figures(bench, other), single)
    events = result.asset_materializations_for_node("other_v1")
    assert [event.partition for event in events if event.partition] == [f"2013-01-0{day}" for day in (5, 6)]
    assert any(name.startswith("history/") for name in events[-1].metadata)
    pictures = [value.value for name, value in events[-1].metadata.items() if name.startswith("history/")]
    assert all(len(picture) < 1000 for picture in pictures)


def test_each_build_of_a_day_is_compared_with_what_it_learned_from(bench: Bench) -> None:
    first = bench.store.champion("buyer").reference
    bench.predict(day="06", now="2013-01-06T12:00:00")
    rows = fti.read(SCORES, stores=bench.stores)
    second = bench.build("2013-01-05T12:00:00", files={})  # an old build, without a profile
    half = rows.assign(build=[first, second] * (len(rows) // 2) + [first] * (len(rows) % 2))
    store_answers(bench, half)
    result = measure(bench, day="06")
    assert result.success
    of_first = one(bench, column_name="x", statistic="psi", build=first)
    of_second = one(bench, column_name="x", statistic="psi", build=second)
    assert (of_first["verdict"] == "no_reference") is False
    assert of_second["verdict"] == "no_reference"
    assert np.isnan(of_second["value"])
    assert one(bench, column_name="x", statistic="null_rate", build=second)["value"] >= 0
    assert f"{second} of 'buyer' has no profile" in problem_of(result, "everything_measured")


def test_a_day_without_answers_warns_where_the_days_before_had_some(bench: Bench) -> None:
    bench.predict(span=("05", "07"))
    store_answers(bench, fti.read(SCORES, stores=bench.stores).head(0), "2013-01-08")
    by_default = fti.monitor(name="by_default", predictions=SCORES)
    result = measure(bench, by_default, day="08")
    figure = one(bench, by_default, statistic="missing_answers")
    assert (figure["value"], figure["rows"], figure["threshold"]) == (1.0, 24, 0.9)
    assert (figure["verdict"], figure["reference"], figure["build"]) == ("warning", "weeks_before", "")
    assert problem_of(result, "missing_answers_weeks_before").startswith(
        "answers are missing (at most 90%): 100% of the 24 usual answers of probability on 2013-01-08. Look"
    )
    assert one(bench, by_default, statistic="answers")["value"] == 0
    calm = measure(bench, by_default, day="07")
    assert problem_of(calm, "missing_answers_weeks_before") == ""
    first = measure(bench, by_default, day="05")
    assert problem_of(first, "missing_answers_weeks_before") == ""
    start = pd.Timestamp("2013-01-05")
    figure = one(bench, by_default, statistic="missing_answers", partition_start=start)
    assert figure["verdict"] == "no_reference"


@pytest.mark.soak
def test_a_build_that_is_lost_leaves_its_answers_to_be_counted(bench: Bench) -> None:
    bench.predict(day="06")
    rows = fti.read(SCORES, stores=bench.stores)
    store_answers(bench, rows.assign(build="v1/20130101T000000Z-00000000"))
    result = measure(bench, day="06")
    assert one(bench, statistic="answers")["value"] == len(rows)
    assert set(figures(bench)["subject"]) == {"prediction"}
    assert "cannot be told" in problem_of(result, "everything_measured")


def store_answers(bench: Bench, rows: pd.DataFrame, partition: str = "2013-01-06") -> None:
    with bench.stores.offline_store().connect() as lake:
        lake.connection.register("answers_now", rows.assign(_partition=partition))
        lake.connection.execute("CREATE TEMP TABLE changed_answers AS FROM answers_now")
        lake.replace(SCORES.table, "changed_answers", [partition], asset="test", run_id="test")


def test_a_day_without_any_answer_there_is_refused(bench: Bench) -> None:
    bench.predict(day="05")
    with pytest.raises(Exception, match="has no answers to measure: 'scores_v1 2013-01-06'"):
        measure(bench, day="06")


def test_a_missing_day_is_said_stops_no_other_and_breaks_no_row(bench: Bench) -> None:
    rules = [fti.Drift("psi", at_most=0.0, min_rows=5, in_a_row=2)]
    strict = fti.monitor(name="strict", predictions=SCORES, drift=rules)
    bench.predict(day="05")
    bench.predict(day="07")
    assert problem_of(measure(bench, strict, day="05"), "psi_training") == ""
    result = measure(bench, strict, span=("06", "07"))
    assert "scores_v1 2013-01-06" in problem_of(result, "answers_there")
    assert "'x'" in problem_of(result, "psi_training")
    answers = figures(bench, strict, statistic="answers")["value"]
    assert answers.tolist() == [len(in_day(5)), 0, len(in_day(7))]
    verdicts = figures(bench, strict, column_name="x", statistic="psi", reference="training")["verdict"]
    assert verdicts.tolist() == ["ok", "warning"]


@pytest.mark.soak
def test_labels_count_once_they_are_there(bench: Bench) -> None:
    bench.predict(day="06")
    measure(bench, day="06", now="2013-01-05T00:00:00")
    before = one(bench, subject="label", statistic="psi", reference="training")
    assert (before["rows"], before["verdict"]) == (0, "too_few_rows")
    measured = figures(bench)
    measure(bench, day="06")
    after = one(bench, subject="label", statistic="psi", reference="training")
    assert after["rows"] == len(in_day(6))
    again = figures(bench).merge(measured, on=[name for name in measured.columns if name != "measured_at"])
    assert len(again) > 20  # what the labels do not touch keeps the time at which it was measured
    assert (again["measured_at_x"] == pd.Timestamp("2013-01-05")).all()


@pytest.mark.soak
def test_the_most_probable_class_of_several_is_compared(bench: Bench) -> None:
    kinds = fti.batch_predictions(name="kinds", model=SORTER, partitions_def=DAYS)
    of_kinds = fti.monitor(name="of_kinds", predictions=kinds, drift=[fti.Drift("psi", min_rows=5)])
    bench.predict(kinds, "06")
    measure(bench, of_kinds, day="06")
    answer = one(bench, of_kinds, subject="prediction", statistic="psi", reference="training")
    assert answer["column_name"] == "probabilities"
    assert answer["value"] >= 0


def test_what_servers_logged_is_compared_without_redacted_features_and_shadows(bench: Bench) -> None:
    log = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=DAYS, redact=["mood"])
    of_log = fti.monitor(name="of_log", log=log, drift=RULES)
    build, rows = bench.store.champion("buyer").reference, in_day(6)
    lines = []
    for number, row in enumerate(rows.to_dict("records")):
        for name, latency in ((f"r{number}", 0.01), (f"r{number}~arm", None)):
            x = 99.0 if latency is None else row["x"]
            observed = {"x": x, "member": row["member"], "queue": None, "mood": "good"}
            answer = Prediction(0.5, observed, (), row["t"].to_pydatetime(), "buyer", build)
            lines.append(
                answer_line(
                    answer, {"visit_id": row["visit_id"]}, name, 0, row["t"], latency, Redaction(frozenset(["mood"]))
                )
            )
    used = Usage(5.0, 1.0, 80_000_000, {"200": 9, "503": 1})
    lines.append(usage_line(rows["t"].iloc[0].to_pydatetime(), used))
    file_in(bench.root / "log" / "buyer", lines, redacted=["mood"])
    with bench.stores.offline_store().connect() as lake:
        take_in(log, lake, bench.root / "log" / "buyer", ["2013-01-06"], asset="buyer_log_v1")
    measure(bench, of_log, day="06")
    (own,) = [each for each in profile(bench).features if each.name == "x"]
    row = one(bench, of_log, column_name="x", statistic="ks", reference="training")
    day = np.searchsorted(own.edges, rows["x"].dropna())
    p, q = np.cumsum(own.counts) / sum(own.counts), np.cumsum(np.bincount(day, minlength=len(own.edges) + 1)) / len(day)
    assert (row["value"], row["rows"]) == (pytest.approx(abs(p - q).max()), len(day))
    assert one(bench, of_log, column_name="queue", statistic="null_rate", reference="training")["verdict"] == "warning"
    assert "mood" not in set(figures(bench, of_log)["column_name"])
    label = one(bench, of_log, subject="label", statistic="psi", reference="training")
    assert label["rows"] == len(rows)
    served = figures(bench, of_log, subject="service").set_index("statistic")
    assert served.loc["requests", "value"] == len(rows)
    assert (served.loc["p99_ms", "value"], served.loc["error_rate", "value"]) == (10.0, 0.1)
    missing = served.loc["missing_rate"].set_index("column_name")["value"].to_dict()
    assert missing == dict.fromkeys(missing, 0.0)
    assert set(missing) == {"crowds_v1", "shops_v1"}
    assert set(served["verdict"]) == {""}
