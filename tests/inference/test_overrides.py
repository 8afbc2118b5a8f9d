import json
from dataclasses import replace

import pytest

from fti_assets.errors import RequestError
from fti_assets.inference.serving.log.files import closed_files
from tests.inference import test_predictor
from tests.inference.test_predictor import HOUR, NOON, PLANES, REQUEST, WEATHER

world = test_predictor.world


def test_an_overridden_feature_reaches_the_model_and_the_on_demand_functions(world):
    predictor = world.load()
    result = predictor.predict(REQUEST, at=NOON)
    answer = predictor.predict(REQUEST, at=NOON, overrides={"temp": 30})
    assert (result.features["temp"], result.features["heat"], result.overridden) == (70.0, 140.0, ())
    assert (answer.features["temp"], answer.features["heat"], answer.overridden) == (30.0, 60.0, ("temp",))
    assert answer.value == result.value - 40 - 80
    assert answer.ages == result.ages


@pytest.mark.parametrize("name", ["temp", "weather.temp", "weather_v1.temp"])
def test_a_joined_feature_has_its_name_and_that_of_its_column(world, name):
    answer = world.load().predict(REQUEST, at=NOON, overrides={name: 30.0})
    assert (answer.features["temp"], answer.overridden) == (30.0, ("temp",))


def test_an_output_of_an_on_demand_function_is_overridden_before_the_next_one(world):
    answer = world.load().predict(REQUEST, at=NOON, overrides={"calendar.hour_of_day": 3, "doubled.twice": None})
    assert (answer.features["hour_of_day"], answer.features["twice"]) == (3, None)
    answer = world.load().predict(REQUEST, at=NOON, overrides={"hour_of_day": 3})
    assert (answer.features["twice"], answer.overridden) == (6.0, ("hour_of_day",))


def test_each_request_may_have_its_own_overrides(world):
    predictor = world.load()
    requests = [REQUEST, REQUEST, REQUEST]
    inputs = [{"temp": 30.0}, None, {"seats": None}]
    answers = predictor.predict(requests, at=NOON, overrides=inputs)
    assert answers == [predictor.predict(REQUEST, at=NOON, overrides=one) for one in inputs]
    assert [answer.overridden for answer in answers] == [("temp",), (), ("seats",)]
    columns = {name: [value] * 3 for name, value in REQUEST.items()}
    in_columns = predictor.predict_columns(columns, at=NOON, overrides=inputs)
    assert list(in_columns) == answers
    assert in_columns.overridden["temp"].tolist() == [True, False, False]
    assert predictor.features(REQUEST, at=NOON, overrides={"temp": 1.0})["heat"] == 2.0


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ({"tmp": 1.0}, "the override 'tmp' is no looked-up or computed feature: did you mean 'temp'"),
        ({"weather.wind": 1.0}, "'weather.wind' is no looked-up or computed feature: .*There are 'temp', 'observed'"),
        ({"distance": 1.0}, "the override 'distance' is a field of the request: give it there"),
        ({"temp": "hot"}, "the override 'temp' is 'hot', a str, a number is expected"),
        (
            {"seats": 2**70},
            "the override 'seats' is 1180591620717411303424, an int, a whole number of 64 bits is expected",
        ),
        ({"temp": 1.0, "weather.temp": 2.0}, "'weather.temp' and 'temp' override the same feature"),
        (
            {"planes.seats": 1},
            "the override 'planes.seats' is of several joins: name one of the features 'seats' and 'dest_seats'",
        ),
        ("temp", "overrides are 'temp': a mapping of feature to value, or a list"),
        ([{"temp": 1.0}, {}], "or a list of one for each of the 1 requests"),
    ],
)
def test_a_wrong_override_is_refused_with_what_there_is(world, overrides, problem):
    with pytest.raises(RequestError, match=problem):
        world.load().predict(REQUEST, at=NOON, overrides=overrides)


def test_a_wrong_override_of_one_request_is_named_by_its_place(world):
    with pytest.raises(RequestError, match="request 1: the override 'temp' is 'hot'"):
        world.load().predict([REQUEST, REQUEST], at=NOON, overrides=[None, {"temp": "hot"}])


def test_a_group_whose_values_are_all_given_is_not_asked_for_a_row(world):
    predictor = world.load(on_missing="error")
    requests = REQUEST | {"flight_id": 99}
    with pytest.raises(RequestError, match="planes_v1 brings no row"):
        predictor.predict(requests, at=NOON, overrides={"seats": 3, "tail": 4})
    answer = predictor.predict(requests, at=NOON, overrides={"seats": 3, "tail": 4, "dest_seats": 3})
    assert (answer.missing, answer.features["seats"]) == (("planes_v1",), 3)


def test_a_group_that_is_joined_twice_is_overridden_by_the_feature(world):
    second = replace(
        WEATHER,
        keys=(replace(WEATHER.keys[0], spine="dest"),),
        columns=(replace(WEATHER.columns[0], feature="dest_temp"),),
    )
    view = world.view()
    manifest = world.publish(4, view=replace(view, joins=(WEATHER, second, *view.joins[1:])))
    predictor = world.load(build=manifest.reference)
    with pytest.raises(
        RequestError, match="'weather.temp' is of several joins: name one of the features 'temp' and 'dest_temp'"
    ):
        predictor.predict(REQUEST, at=NOON + HOUR, overrides={"weather.temp": 1.0})
    answer = predictor.predict(REQUEST, at=NOON, overrides={"weather_v1[dest].temp": 1.0})
    assert (answer.overridden, answer.features["temp"]) == (("dest_temp",), 70.0)
    assert PLANES in view.joins


def test_answers_are_logged_in_columns_too_and_those_to_what_if_are_not(world, tmp_path):
    with world.load(log=tmp_path / "log") as predictor:
        predictor.predict(REQUEST, at=NOON, overrides={"temp": 1.0})
        mixed = predictor.predict([REQUEST, REQUEST], at=NOON, overrides=[{"temp": 1.0}, None])
        columns = {name: [value] * 2 for name, value in REQUEST.items()}
        answers = predictor.predict_columns(columns, at=NOON)
    [file] = closed_files(tmp_path / "log" / answers.model)
    logged = [result for result in map(json.loads, file.lines()) if "request_id" in result]
    assert [result["request_id"] for result in logged] == [
        mixed[1].request_id,
        answers.request_id,
        answers.request_id,
    ]
    assert [result["value"] for result in logged] == [mixed[1].value, *answers.values.tolist()]
