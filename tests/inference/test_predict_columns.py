import copy
import pickle
from dataclasses import replace
from datetime import UTC

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import ColumnRule
from fti_assets.errors import RequestError
from tests.inference import test_predictor
from tests.inference.test_predictor import HOUR, NOON, REQUEST, WEATHER
from tests.support.examples import examples

world = test_predictor.world

REQUESTS = [
    REQUEST,
    REQUEST | {"flight_id": 8, "origin": "LGA", "distance": None},
    REQUEST | {"dest": None, "scheduled_at": None},
    REQUEST | {"origin": "JFK", "distance": 1e300},
]


def in_columns(requests):
    return {name: [request[name] for request in requests] for name in REQUEST}


def test_columns_are_answered_as_rows_are(world):
    world.promote(world.publish(2, encoders={"origin": {"categories": ["JFK"]}}))
    predictor = world.load()
    rows = predictor.predict(REQUESTS, at=NOON)
    answers = predictor.predict_columns(in_columns(REQUESTS), at=NOON)
    assert list(answers) == rows
    assert answers.values.dtype == np.float32
    assert answers.values.tolist() == [row.value for row in rows]
    assert answers.unknown["origin"].tolist() == [False, True, False, False]
    assert answers.missing["weather_v1"].tolist() == [False, True, False, False]
    assert np.isnan(answers.ages["weather_v1"][1])
    assert len(answers) == 4


def test_each_task_is_answered_in_columns(world):
    for number, task in enumerate(["multiclass", "regression"], 2):
        outputs = world.publish(number, task=task)
        with world.load(build=outputs.reference) as predictor:
            answers = predictor.predict_columns(in_columns(REQUESTS), at=NOON)
            assert list(answers) == predictor.predict(REQUESTS, at=NOON)
            assert answers.values.shape == ((4, 2) if task == "multiclass" else (4,))


@pytest.mark.parametrize(
    "table",
    [
        lambda columns: columns,
        lambda columns: {name: np.array(values, dtype=object) for name, values in columns.items()},
        lambda columns: columns | {"distance": np.array(columns["distance"], dtype=np.float64)},
        lambda columns: columns | {"scheduled_at": np.array(columns["scheduled_at"], dtype="datetime64[ns]")},
        pa.table,
        lambda columns: pa.RecordBatch.from_pydict(columns),
        pd.DataFrame,
        pl.DataFrame,
    ],
    ids=["lists", "objects", "floats", "times", "table", "batch", "pandas", "polars"],
)
def test_tables_of_every_library_are_columns(world, table):
    predictor = world.load()
    answers = predictor.predict_columns(table(in_columns(REQUESTS)), at=NOON)
    assert list(answers) == predictor.predict(REQUESTS, at=NOON)


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "flight_id": st.sampled_from([7, 8, None, "7", 7.5, 2**70]),
                "origin": st.sampled_from(["JFK", "", None, 3]),
                "dest": st.sampled_from(["BOS", "SFO"]),
                "distance": st.one_of(st.floats(), st.integers(), st.just("far")),
                "scheduled_at": st.sampled_from([NOON, None, "2013-06-01", "soon"]),
            }
        ),
        min_size=2,
        max_size=4,
    )
)
def test_any_columns_are_answered_or_refused_as_rows_are(world, requests):
    predictor = vars(world).get("loaded") or vars(world).setdefault("loaded", world.load())

    def outcome(ask):
        try:
            return list(ask())
        except RequestError as error:
            return str(error)

    rows = outcome(lambda: predictor.predict(requests, at=NOON))
    assert outcome(lambda: predictor.predict_columns(in_columns(requests), at=NOON)) == rows


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "flight_id": st.sampled_from([7, 8, np.int64(7), 7.0]),
                "origin": st.sampled_from(["JFK", "", None, "LGA", "Zürich"]),
                "dest": st.sampled_from(["BOS", "SFO", None]),
                "distance": st.one_of(st.floats(), st.integers(-(2**53), 2**53), st.none()),
                "scheduled_at": st.sampled_from([NOON, None, "2013-06-01", NOON.replace(tzinfo=UTC)]),
            }
        ),
        min_size=2,
        max_size=6,
    ),
    st.sampled_from([NOON, NOON - HOUR, NOON - 24 * HOUR, NOON + 5 * HOUR, NOON + 10 * HOUR]),
)
def test_many_are_answered_as_each_alone(world, requests, at):
    encoders = {"origin": {"categories": ["JFK"]}}
    rules = (ColumnRule("distance", "greater_than", {"min_value": 0}),)
    manifest = vars(world).get("ruled") or vars(world).setdefault(
        "ruled", world.publish(5, encoders=encoders, view=replace(world.view(), rules=rules))
    )
    predictor = vars(world).get("loaded") or vars(world).setdefault("loaded", world.load(build=manifest.reference))
    alone = [predictor.predict(one, at=at) for one in requests]
    together = predictor.predict(requests, at=at)
    # repr tells every bit of a float. The graph adds the numbers of one row in another order than those of several.
    np.testing.assert_allclose([one.value for one in together], [one.value for one in alone], rtol=1e-6)
    assert [repr(replace(one, value=0.0)) for one in together] == [repr(replace(one, value=0.0)) for one in alone]
    assert [*map(repr, predictor.predict_columns(in_columns(requests), at=at))] == [*map(repr, together)]


def test_what_an_answer_tells_outlives_its_predictor(world):
    expected = repr(world.load().predict(REQUESTS, at=NOON))
    with world.load() as predictor:
        answers = predictor.predict(REQUESTS, at=NOON)
        one = predictor.predict(REQUEST, at=NOON)
    copied = pickle.loads(pickle.dumps(answers))
    assert copied == answers
    assert repr(answers) == expected
    assert repr(copy.copy(one)) == repr(replace(one)) == repr(answers[0])
    with pytest.raises(AttributeError, match="'Prediction' object has no attribute 'feature'"):
        one.feature  # noqa: B018


def test_a_field_that_was_put_into_an_answer_stays(world):
    answer = world.load().predict(REQUEST, at=NOON)
    answer.missing = ("mine",)
    assert (answer.features["temp"], answer.missing, answer.unknown) == (70.0, ("mine",), ())


def test_a_wrong_request_among_columns_is_named_by_its_place(world):
    columns = in_columns(REQUESTS) | {"distance": [1.0, 2.0, "far", 4.0]}
    with pytest.raises(RequestError, match="request 2: 'distance' is 'far', a str, a number is expected"):
        world.load().predict_columns(columns, at=NOON)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda columns: columns | {"distance": [1.0]}, "differ in length: .*'distance': 1"),
        (lambda columns: columns | {"distance": 3.0}, "the column 'distance' is 3.0, a float"),
        (lambda columns: columns | {"origin": "JFK"}, "the column 'origin' is 'JFK', a str"),
        (lambda columns: columns | {"distance": np.zeros((4, 2))}, r"'distance' has the shape \[4, 2\]: \[n\]"),
        (
            lambda columns: {name: columns[name] for name in columns if name != "origin"},
            "the column 'origin' is missing",
        ),
        (lambda columns: columns | {"tail": [1, 2, 3, 4]}, "request 0: 'tail' is not a field"),
        (lambda columns: 7, "the requests are 7, a int: a mapping of field to its values"),
    ],
)
def test_what_are_no_columns_is_refused(world, change, problem):
    with pytest.raises(RequestError, match=problem):
        world.load().predict_columns(change(in_columns(REQUESTS)), at=NOON)


def test_no_requests_are_no_answers(world):
    answers = world.load().predict_columns({name: [] for name in REQUEST}, at=NOON)
    assert (list(answers), answers.values.shape, answers.features["temp"]) == ([], (0,), [])


def test_a_group_that_brings_nothing_to_a_column_is_refused_by_place(world):
    stale = replace(WEATHER, ttl_us=3_600_000_000)
    view = world.view()
    manifest = world.publish(3, view=replace(view, joins=tuple(stale if one is WEATHER else one for one in view.joins)))
    predictor = world.load(build=manifest.reference, on_missing="error")
    with pytest.raises(RequestError, match="request 0: weather_v1 brings a stale row"):
        predictor.predict_columns(in_columns(REQUESTS), at=NOON + HOUR)
