"""What the predictor says of a request that the model has not learned to answer."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.core.manifest import Column, ColumnRule
from fti_assets.errors import ModelError, PredictionError, RequestError
from fti_assets.features.validation.request_rules import request_rules
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.inference.serving.requests.rules import RequestRules

SCHEMA = pa.DataFrameSchema(
    {
        "customer_id": pa.Column(int),
        "age": pa.Column(int, pa.Check.in_range(0, 120), nullable=True),
        "visits": pa.Column(int, pa.Check.ge(0, raise_warning=True)),
        "plan": pa.Column(str, pa.Check.str_matches("[a-z]+$"), nullable=True),
        "region": pa.Column(int),
        "active": pa.Column(bool),
        "word": pa.Column(str, pa.Check.isin(["", "a", "b"])),
        "note": pa.Column(str, pa.Check.isin(["a", "b"]), nullable=True),
        "churned": pa.Column(bool),
    }
)
REQUEST = {"customer_id": 1, "age": 33, "visits": 3, "plan": "pro", "region": 7}
REQUEST |= {"active": True, "word": "a", "note": "b"}


def training_rows(region: int = 7) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer_id": range(200),
            "age": np.arange(200) % 80,
            "visits": np.arange(200) % 7,
            "plan": np.where(np.arange(200) % 3, "pro", "free"),
            "region": region + np.arange(200) % 2,
            "active": np.arange(200) % 2 == 0,
            "word": np.array(["", "a", "b"])[np.arange(200) % 3],
            "note": np.array([None, "a", "b"])[np.arange(200) % 3],
            "churned": np.arange(200) % 5 == 0,
        }
    )


def materialize(home: Path, region: int = 7) -> Any:
    @fti.feature_group(keys=["customer_id"], schema=SCHEMA)
    def customers() -> pd.DataFrame:
        return training_rows(region)

    view = fti.FeatureView(
        name="churn_view",
        spine=customers,
        label=fti.Label(customers["churned"]),
        features=[customers["age", "visits", "plan", "region", "active", "word", "note"]],
        encoders={name: fti.OneHot() for name in ("plan", "region", "word", "note")},
    )

    @fti.model(dataset=view, task="binary")
    def churn(data: fti.TrainingData) -> LogisticRegression:
        return LogisticRegression().fit(data.train.X, data.train.y)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTI_HOME", str(home))
        defs = fti.build_definitions([churn])
        job = defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=dg.DagsterInstance.ephemeral(), raise_on_error=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    assert materialize(home).success
    return home


def load(home: Path, **strictness: Any) -> Predictor:
    return Predictor.load("churn", models=home / "models", online=home / "online", **strictness)


def test_a_usual_request_is_no_stranger(home):
    answer = load(home, unknown_categories="error", out_of_schema="error").predict(REQUEST)
    assert (answer.unknown, answer.out_of_schema) == ((), ())


@pytest.mark.parametrize("plan", ["PRO", "gold"])
def test_an_unknown_category_is_reported(home, plan):
    assert load(home).predict(REQUEST | {"plan": plan}).unknown == ("plan",)


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_a_missing_category_is_not_unknown(home, missing):
    assert load(home).predict(REQUEST | {"plan": missing}).unknown == ()


@pytest.mark.parametrize("region", [9, 2**53 + 7, -(2**63)])
def test_an_unknown_whole_number_answers_as_no_known_one(home, region):
    """As no category at all, whatever number of a model it would become."""
    predictor = load(home)
    answer = predictor.predict(REQUEST | {"region": region})
    assert answer.unknown == ("region",)
    assert answer.value == predictor.predict(REQUEST | {"region": None}).value


def test_a_value_that_the_schema_refuses_is_reported(home):
    answers = load(home).predict([REQUEST | {"age": 10**12}, REQUEST, REQUEST | {"age": -1, "plan": "P1"}])
    assert [answer.out_of_schema for answer in answers] == [("age",), (), ("age", "plan")]


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT, np.float64("nan")])
def test_a_missing_value_is_reported_where_the_schema_allows_none(home, missing):
    fields = dict.fromkeys(["visits", "region", "active", "word"], missing)
    predictor = load(home)
    assert predictor.predict(REQUEST | fields).out_of_schema == ("visits", "region", "active", "word")
    columns = {name: [value, missing if name in fields else value] for name, value in REQUEST.items()}
    marks = predictor.predict_columns(columns).out_of_schema
    assert {name: mark.tolist() for name, mark in marks.items()} == {key: [False, True] for key in fields}
    with pytest.raises(RequestError, match="request 1: 'visits' is None, which its schema refuses"):
        load(home, out_of_schema="error").predict([REQUEST, REQUEST | {"visits": missing}])


def test_a_missing_value_is_not_reported_where_the_schema_allows_it(home):
    missing = [None, float("nan"), pd.NA]
    requests = [REQUEST | {"age": value, "plan": value, "note": value} for value in missing]
    answers = load(home, unknown_categories="error", out_of_schema="error").predict(requests)
    assert {(answer.unknown, answer.out_of_schema) for answer in answers} == {((), ())}


def test_the_empty_text_is_missing_where_the_schema_allows_that(home):
    assert load(home).predict(REQUEST | {"plan": "", "note": ""}).out_of_schema == ()


def test_no_training_row_is_out_of_schema(home):
    predictor = load(home, out_of_schema="error")
    rows = training_rows().drop(columns="churned")
    requests = [row.to_dict() for _, row in rows.iterrows()]
    assert [predictor.predict(request).out_of_schema for request in requests[:20]] == [()] * 20
    assert predictor.predict_columns(rows).out_of_schema == {}
    assert {answer.out_of_schema for answer in predictor.predict(requests)} == {()}


def test_a_manifest_without_nullability_lets_every_field_be_null():
    rules = RequestRules([ColumnRule("plan", "isin", {"allowed_values": ["pro"]})], [Column("plan", "text")])
    assert [rules.broken_by([value]) for value in (None, "", "pro", "gold")] == [(), (), (), ("plan",)]


def test_a_rule_that_warns_is_not_reported(home):
    assert load(home).predict(REQUEST | {"visits": -1}).out_of_schema == ()


def test_strangers_are_refused_where_so_declared(home):
    with pytest.raises(RequestError, match="'plan' is 'PRO', which the model has not learned"):
        load(home, unknown_categories="error").predict(REQUEST | {"plan": "PRO"})
    with pytest.raises(RequestError, match="request 1: 'age' is 1000000000000, which its schema refuses"):
        load(home, out_of_schema="error").predict([REQUEST, REQUEST | {"age": 10**12}])


def test_an_unknown_strictness_is_refused(home):
    with pytest.raises(PredictionError, match="out_of_schema is 'refuse': 'report' or 'error' is expected"):
        load(home, out_of_schema="refuse")


@pytest.mark.soak
def test_categories_that_numbers_of_a_model_merge_are_refused(tmp_path):
    result = materialize(tmp_path, region=2**53)
    [failure] = result.get_step_failure_events()
    assert "'region' has categories such as 90071992547409" in failure.step_failure_data.error_display_string
    assert ModelError.__name__ in failure.step_failure_data.error_display_string


CHECKS: list[tuple[pa.Check, list[Any]]] = [
    (pa.Check.eq(3), [2, 3]),
    (pa.Check.ne(3), [2, 3]),
    (pa.Check.gt(3), [3, 4]),
    (pa.Check.ge(3), [2, 3]),
    (pa.Check.lt(3), [2, 3]),
    (pa.Check.le(3), [3, 4]),
    (pa.Check.in_range(1, 3), [0, 1, 3, 4]),
    (pa.Check.in_range(1, 3, include_min=False, include_max=False), [1, 2, 3]),
    (pa.Check.isin([1, 2]), [1, 3]),
    (pa.Check.notin([1, 2]), [1, 3]),
    (pa.Check.str_matches("a+"), ["aab", "baa", ""]),
    (pa.Check.str_contains("a$"), ["ba", "ab"]),
    (pa.Check.str_startswith("a"), ["ab", "ba"]),
    (pa.Check.str_endswith("a"), ["ab", "ba"]),
    (pa.Check.str_length(1, 2), ["", "a", "abc"]),
    (pa.Check.str_length(max_value=2), ["", "abc"]),
    (pa.Check.str_length(exact_value=2), ["a", "ab"]),
    (pa.Check.gt(pd.Timestamp("2024-01-01")), [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")]),
]


@pytest.mark.parametrize(("check", "values"), CHECKS, ids=[f"{check.name}-{n}" for n, (check, _) in enumerate(CHECKS)])
def test_rules_of_requests_are_those_of_pandera(check, values):
    kind = "timestamp" if isinstance(values[0], pd.Timestamp) else "text" if isinstance(values[0], str) else "integer"
    schema = pa.DataFrameSchema({"a": pa.Column(checks=check)})
    rules = RequestRules(request_rules(schema, [Column("a", kind)]).rules, [Column("a", kind)])
    for value in [*values, None]:
        try:
            schema.validate(pd.DataFrame({"a": [value]}))
            expected: tuple[str, ...] = ()
        except pa.errors.SchemaError:
            expected = ("a",)
        assert rules.broken_by([value]) == expected, value
