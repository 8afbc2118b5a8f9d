"""Loans: the declarations on a few rows, and a month of decisions that are the same online as offline, with an A/B that is decided."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from examples.loans import demo, on_demand, system
from examples.loans.on_demand import ratios, region
from examples.loans.records import FILE
from fti_assets import testing
from fti_assets.core import clock
from fti_assets.errors import FtiError, RequestError

MARCH = "2018-03-01"


def test_the_declarations_are_at_most_150_lines() -> None:
    files = [Path(str(module.__file__)) for module in (system, on_demand)]
    assert sum(bool(line.strip()) for file in files for line in file.read_text().splitlines()) <= 150


def test_the_file_has_three_months_of_loans() -> None:
    rows = pd.read_parquet(FILE)
    assert rows["application_id"].is_unique
    assert rows["month"].value_counts().sort_index().tolist() == [3395, 2988, 3617]
    assert set(rows["grade"]) == set("ABCDEFG")


def test_ratios_of_an_application() -> None:
    names = ("loan_amount", "annual_income", "total_credit_limit", "total_credit_utilized", "earliest_credit_line")
    rows = [[10_000, 40_000, 20_000, 5_000, 2009], [10_000, 0, 0, 0, 2008], [500, 1_000, 1, 2, 1998]]
    results = ratios(
        **{name: np.array(column, dtype=float) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    )
    assert results["loan_to_income"].tolist() == [0.25, 10_000.0, 0.5]
    assert results["credit_used"].tolist() == [0.25, 0.0, 2.0]
    assert results["history"].tolist() == ["under 10 years", "10 to 19 years", "20 years or more"]


def test_each_state_is_in_one_region() -> None:
    states = pd.read_parquet(FILE)["state"].unique()
    results = pd.Series(region(state=states.astype(object))["region"]).value_counts()
    assert results.to_dict() == {"south": 17, "west": 13, "midwest": 11, "northeast": 9}  # nobody applied from Iowa


def test_what_is_unknown_has_no_region_and_no_history() -> None:
    assert region(state=np.array(["NJ", "DC", "ZZ", "", None], dtype=object))["region"].tolist() == [
        "northeast", "south", None, None, None,
    ]  # fmt: skip
    unknown = dict.fromkeys(["loan_amount", "annual_income", "total_credit_limit", "total_credit_utilized"], np.ones(1))
    assert ratios(**unknown, earliest_credit_line=np.array([np.nan]))["history"].tolist() == [None]


def test_what_became_of_a_month_is_known_when_it_is_over() -> None:
    rows = testing.rows(system.grades, partition="2018-02-28")
    assert len(rows) == 2988
    assert rows["is_risky"].mean() == pytest.approx(0.18909, abs=1e-5)
    assert testing.rows(system.grades, partition="2018-02-27").empty


def test_a_state_is_told_by_what_was_known_of_it() -> None:
    graded = pd.DataFrame(
        {
            "application_id": [1, 2, 3],
            "state": "NJ",
            "graded_at": pd.to_datetime(["2018-01-31", "2018-02-28", "2018-03-31"]),
            "is_risky": [True, False, True],
            "interest_rate": [20.0, 10.0, 30.0],
        }
    )
    results = testing.rows(system.state_record, partition=MARCH, grades=graded)
    # The January loan became known on the first of February, the one of February on the first of March, at this very midnight.
    assert results[["risky_rate_62d", "rate_62d", "loans_62d"]].to_numpy().tolist() == [[0.5, 15.0, 2]]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    """The stores on the first of March: both models have passed their gates, and nobody has approved one."""
    stores = testing.stores_in(tmp_path_factory.mktemp("loans"))
    groups = [system.grades, system.applications, system.state_record]
    testing.materialize(*groups, stores=stores, partition=("2018-01-01", MARCH), now=demo.TRAINED)
    models = [system.rows_alone, system.grader_alone, system.rows_in_context, system.grader_in_context]
    testing.materialize(*models, stores=stores, partition=MARCH, now=demo.TRAINED)
    return stores


@pytest.fixture
def predictor(stores: fti.Stores, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> fti.Predictor:
    """Of the approved model, with the other one for half of the applications."""
    monkeypatch.setenv("FTI_HOME", str(Path(str(stores.lake)).parent))
    with clock.at(demo.TRAINED):
        if stores.model_store().aliases("grader").champion is None:
            with pytest.raises(FtiError, match="champion"):
                fti.Predictor.load("grader", models=stores.models, online=stores.online)
            demo.approve()
            output = capsys.readouterr().out
            assert "passed equal_opportunity_difference_by_homeownership" in output
            assert "ab of grader by application_id" in output
    return fti.Predictor.load("grader", models=stores.models, online=stores.online)


def requests(stores: fti.Stores) -> list[dict[str, object]]:
    rows = fti.read(system.applications, partitions=[MARCH], stores=stores).head(60)
    plain = rows.drop(columns="applied_at").astype(object)
    return plain.where(plain.notna(), None).to_dict("records")


def test_each_model_answers_online_as_offline(stores: fti.Stores, predictor: fti.Predictor) -> None:
    questions = requests(stores)
    with clock.at(demo.TRAINED):
        answers = predictor.predict(questions, at=f"{MARCH}T00:00Z", explain="score")
    assert {answer.arm for answer in answers} == {"champion", "challenger"}
    for arm, view in (("champion", system.alone), ("challenger", system.in_context)):
        pairs = [(one, answer) for one, answer in zip(questions, answers, strict=True) if answer.arm == arm]
        offline = view.features_for([one for one, _ in pairs], at=f"{MARCH}T00:00Z", stores=stores)
        for row, (_, answer) in zip(offline, pairs, strict=True):
            assert answer.features == {name: row[name] for name in answer.features}
            parts = answer.explanation
            assert parts.exact
            odds = parts.base + sum(parts.contributions.values())
            assert 1 / (1 + np.exp(-odds)) == pytest.approx(answer.value, abs=1e-4)
            assert bool(answer.ages) == (arm == "challenger")


def test_a_request_that_no_application_can_be_is_refused(stores: fti.Stores, predictor: fti.Predictor) -> None:
    request = requests(stores)[0] | {"homeownership": "CASTLE", "loan_amount": 70_000.0}
    with clock.at(demo.TRAINED):
        (answer,) = predictor.predict([request], at=f"{MARCH}T00:00Z")
        assert set(answer.out_of_schema) == {"homeownership", "loan_amount"}
        with pytest.raises(RequestError, match="term"):
            predictor.predict({name: value for name, value in request.items() if name != "term"}, at=f"{MARCH}T00:00Z")


@pytest.mark.soak
def test_a_month_later_the_arms_are_compared_on_what_was_graded(stores: fti.Stores, predictor: fti.Predictor) -> None:
    questions, log = requests(stores), Path(os.environ["FTI_HOME"], "log")
    with (
        clock.at(demo.DECIDED),
        fti.Predictor.load("grader", models=stores.models, online=stores.online, log=log) as logged,
    ):
        arms = [answer.arm for answer in logged.predict(questions)]
    testing.materialize(system.grades, system.decisions, stores=stores, partition=(MARCH, demo.END), now=demo.GRADED)
    testing.materialize(system.arms, stores=stores, now=demo.GRADED)
    results = fti.read("grader_arms_v1", stores=stores).set_index("arm")
    assert results["keys"].to_dict() == {arm: arms.count(arm) for arm in set(arms)}
    assert set(results["verdict"]) == {"wait"}  # of so few, nothing is said
