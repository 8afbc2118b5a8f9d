"""What the server answers: in plain JSON, and in the tensors of the protocol."""

from __future__ import annotations

import gzip
import itertools
import json
import logging
import re
import struct
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.errors import DeclarationError, NoChampionError, PredictionError
from fti_assets.inference.server import Limits, ServingApp, serving_app
from fti_assets.inference.server.reading import query_of
from fti_assets.stores.models.plain import publish_graph
from tests.inference.test_predictor import HOUR, NOON, NUMBER_FEATURES, REQUEST, WEATHER, World, world
from tests.support.examples import examples
from tests.support.serving import ask, sum_and_difference

__all__ = ["world"]

PLAIN = REQUEST | {"scheduled_at": (NOON + 2 * HOUR).isoformat()}
AT = NOON.isoformat()
VALUE = 187 + 70 + 0.25 + 150 + 140 + 28 + 1000.0


@pytest.fixture
def app(world: World) -> ServingApp:
    publish_graph(world.models, "simple", sum_and_difference())
    return made(world)


def made(world: World, *names: str, **options: Any) -> ServingApp:
    return serving_app(
        *(names or ("delay_net", "simple")), models=world.models.root, online=world.online.root, **options
    )


def tensors(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Requests as the inputs of an inference request."""
    datatypes = {"flight_id": "INT64", "distance": "FP64"}
    return [
        {
            "name": name,
            "datatype": datatypes.get(name, "BYTES"),
            "shape": [len(requests)],
            "data": [request[name] for request in requests],
        }
        for name in PLAIN
    ]


def infer(app: ServingApp, inputs: Any, model: str = "delay_net", **more: Any) -> Any:
    return ask(app, "POST", f"/v2/models/{model}/infer", {"inputs": inputs, "parameters": {"at": AT}} | more)


def test_a_plain_request_is_answered_with_its_reasons(app, world):
    answer = ask(app, "POST", f"/predict/delay_net?at={AT}", PLAIN, {"X-Request-Id": "mine"})
    assert answer.status == 200
    expected = world.load().predict(REQUEST, at=NOON)
    result = answer.json
    assert (result["value"], result["build"], result["at"]) == (VALUE, expected.build, AT)
    assert result["features"] == expected.features
    assert result["ages"] == expected.ages
    assert result["missing"] == []
    assert result["request_id"] == answer.headers["x-request-id"] == "mine"


def test_several_plain_requests_are_answered_in_order(app):
    other = PLAIN | {"origin": "LGA"}
    answer = ask(app, "POST", f"/predict/delay_net?at={AT}", [PLAIN, other]).json
    assert answer["predictions"][0]["value"] == VALUE
    assert answer["predictions"][1]["missing"] == ["weather_v1"]
    assert ask(app, "POST", "/predict/delay_net", []).json["predictions"] == []


def test_plain_requests_are_answered_with_other_values_of_features(app, world):
    requests = {"requests": [PLAIN, PLAIN], "overrides": {"weather.temp": 30}}
    answer = ask(app, "POST", f"/predict/delay_net?at={AT}", requests)
    expected = world.load().predict(REQUEST, at=NOON, overrides={"temp": 30.0})
    assert answer.status == 200
    for result in answer.json["predictions"]:
        assert (result["value"], result["features"]) == (expected.value, expected.features)
        assert result["overridden"] == ["temp"]
        assert "explanation" not in result
    assert ask(app, "POST", f"/predict/delay_net?at={AT}", PLAIN).json["overridden"] == []
    assert ask(app, "POST", "/predict/delay_net", {"requests": []}).json["predictions"] == []


def test_each_plain_request_may_have_its_own_overrides(app, world):
    inputs = [{"weather.temp": 30}, None, {"seats": None}]
    answer = ask(app, "POST", f"/predict/delay_net?at={AT}", {"requests": [PLAIN] * 3, "overrides": inputs})
    assert answer.status == 200
    predictor = world.load()
    expected = [predictor.predict(REQUEST, at=NOON, overrides=one) for one in inputs]
    messages = answer.json["predictions"]
    assert [one["value"] for one in messages] == [one.value for one in expected]
    assert [one["features"] for one in messages] == [one.features for one in expected]
    assert [one["overridden"] for one in messages] == [["temp"], [], ["seats"]]
    described = [body["properties"]["overrides"] for body in app_schema(app)["oneOf"] if "overrides" in str(body)]
    assert [[form["type"] for form in one["oneOf"]] for one in described] == [["object", "array"]]


def test_plain_requests_are_explained(app, world, monkeypatch):
    columns = {name: np.array([1.0, 2.0]) for name in (*NUMBER_FEATURES, "tail")} | {
        "origin": np.array(["JFK", ""], dtype=object)
    }
    [serving] = [entry.predictor.serving for entry in [app.answering.repository.get("delay_net")]]
    monkeypatch.setattr(serving, "_background", columns)
    result = ask(app, "POST", f"/predict/delay_net?at={AT}", {"requests": [PLAIN], "explain": True}).json[
        "predictions"
    ][0]
    explanation = result["explanation"]
    assert (explanation["rows"], explanation["exact"]) == (2, True)
    assert explanation["base"] + sum(explanation["contributions"].values()) == pytest.approx(result["value"], abs=1e-3)
    bodies = app_schema(app)["oneOf"]
    assert [body["properties"]["explain"]["enum"] for body in bodies if "explain" in body.get("properties", {})] == [
        [False],
        [True, "score"],
    ]


def app_schema(app):
    document = ask(app, "GET", "/openapi.json").json
    return document["paths"]["/predict/delay_net"]["post"]["requestBody"]["content"]["application/json"]["schema"]


@pytest.mark.parametrize(
    ("asked", "status", "problem"),
    [
        ({"requests": PLAIN}, 400, "requests is {.*}: a list of requests is expected"),
        (
            {"requests": [PLAIN], "override": {}},
            400,
            "the body has 'override': requests, overrides and explain are expected",
        ),
        (
            {"requests": [PLAIN], "overrides": "temp"},
            400,
            "overrides is 'temp': an object of feature to value, or a list",
        ),
        ({"requests": [PLAIN], "overrides": None}, 400, "overrides is None: an object of feature to value, or a list"),
        ({"requests": [], "overrides": [{}]}, 400, "overrides has 1 elements: one for each of the 0 requests"),
        ({"requests": [PLAIN], "overrides": [[]]}, 400, "request 0: overrides are .*where a mapping of feature"),
        ({"requests": [PLAIN] * 2, "overrides": [{}, {"temp": "hot"}]}, 400, "request 1: the override 'temp' is 'hot'"),
        ({"requests": [PLAIN], "overrides": {"tmp": 1}}, 400, "did you mean 'temp'"),
        ({"requests": [PLAIN], "explain": "log"}, 400, "explain is 'log'"),
        ({"requests": [PLAIN], "explain": 1}, 400, "explain is 1: true, false or 'score' is expected"),
        ({"requests": [PLAIN] * 11, "explain": True}, 400, "11 rows to explain: at most 10 are explained at once"),
        ({"requests": [PLAIN], "explain": True}, 422, "keeps no rows of its data to explain an answer against"),
    ],
)
def test_a_wrong_what_if_is_refused(app, asked, status, problem):
    answer = ask(app, "POST", f"/predict/delay_net?at={AT}", asked)
    assert answer.status == status
    assert re.search(problem, answer.json["error"])


def test_without_a_time_the_prediction_is_at_now(app):
    with clock.at(NOON):
        assert ask(app, "POST", "/predict/delay_net", PLAIN).json["at"] == AT


def test_tensors_of_fields_get_the_features_looked_up(app):
    answer = infer(app, tensors(PLAIN, PLAIN | {"distance": 188.0}), id="7")
    assert answer.status == 200
    assert answer.json["outputs"] == [
        {"name": "probability", "datatype": "FP32", "shape": [2], "data": [VALUE, VALUE + 1]}
    ]
    assert (answer.json["id"], answer.json["model_name"], answer.json["model_version"]) == ("7", "delay_net", "1")
    assert answer.json["parameters"]["build"] == "v1/20130601T000000Z-00000001"


def test_binary_tensors_are_read_and_written(app):
    texts = {"origin": "JFK", "dest": "BOS", "scheduled_at": PLAIN["scheduled_at"]}
    blobs = {name: struct.pack("<I", len(text)) + text.encode() for name, text in texts.items()}
    blobs |= {"flight_id": struct.pack("<i", 7), "distance": struct.pack("<f", 187.0)}
    datatypes = {"flight_id": "INT32", "distance": "FP32"}
    inputs = [
        {
            "name": name,
            "datatype": datatypes.get(name, "BYTES"),
            "shape": [1, 1],
            "parameters": {"binary_data_size": len(blob)},
        }
        for name, blob in blobs.items()
    ]
    head = json.dumps(
        {
            "inputs": inputs,
            "parameters": {"at": AT},
            "outputs": [{"name": "probability", "parameters": {"binary_data": True}}],
        }
    ).encode()
    answer = ask(
        app, "POST", "/v2/models/delay_net/infer", head + b"".join(blobs.values()),
        {"Inference-Header-Content-Length": str(len(head))},
    )  # fmt: skip
    assert answer.status == 200, answer.body
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.body[:length])["outputs"][0]["parameters"] == {"binary_data_size": 4}
    assert struct.unpack("<f", answer.body[length:]) == (VALUE,)


def test_a_model_of_classes_answers_a_matrix(world):
    world.promote(world.publish(9, task="multiclass"))
    answer = infer(made(world, "delay_net"), tensors(PLAIN)).json
    assert answer["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [VALUE, VALUE * 10]}
    ]
    assert answer["parameters"]["classes"] == ["late", "on_time"]


def test_the_graph_of_a_model_takes_its_own_inputs(app, world):
    described = ask(app, "GET", "/v2/models/delay_net.graph").json
    assert [(one["name"], one["datatype"], one["shape"]) for one in described["inputs"]] == [
        ("numbers", "FP32", [-1, 6]),
        ("text.origin", "BYTES", [-1, 1]),
        ("integer.tail", "INT64", [-1, 1]),
    ]
    inputs = [
        {"name": "numbers", "datatype": "FP32", "shape": [1, 6], "data": [[1, 2, None, 4, 5, 6]]},
        {"name": "text.origin", "datatype": "BYTES", "shape": [1, 1], "data": ["JFK"]},
        {"name": "integer.tail", "datatype": "INT64", "shape": [1, 1], "data": [5]},
    ]
    assert infer(app, inputs, "delay_net.graph").json["outputs"][0]["data"] == [1 + 2 - 1 + 4 + 5 + 6 + 1000.0]


def test_a_plain_graph_is_served_as_it_is(app):
    inputs = [
        {"name": f"INPUT{number}", "datatype": "INT32", "shape": [1, 16], "data": [list(range(16))]}
        for number in range(2)
    ]
    answer = infer(app, inputs, "simple").json
    assert [one["data"] for one in answer["outputs"]] == [[2 * n for n in range(16)], [0] * 16]
    one = infer(app, inputs, "simple", outputs=[{"name": "OUTPUT1"}]).json
    assert [output["name"] for output in one["outputs"]] == ["OUTPUT1"]
    assert ask(app, "POST", "/predict/simple", {}).status == 404


def test_metadata_name_the_fields_of_a_request(app):
    result = ask(app, "GET", "/v2/models/delay_net/versions/1").json
    assert result["inputs"][0] == {"name": "flight_id", "datatype": "INT64", "shape": [-1]}
    assert result["outputs"] == [{"name": "probability", "datatype": "FP32", "shape": [-1]}]
    assert ask(app, "GET", "/v2/models/delay_net/config").json["input"][1]["data_type"] == "TYPE_STRING"
    assert ask(app, "GET", "/v2/models/delay_net/versions/2").status == 404
    server = ask(app, "GET", "/v2").json
    assert server["name"] == "fti_assets"
    assert "binary_tensor_data" in server["extensions"]


def test_the_repository_loads_and_unloads(app, world):
    app = made(world, "delay_net")
    index = {entry["name"]: entry["state"] for entry in ask(app, "POST", "/v2/repository/index", {}).json}
    assert index == {"delay_net": "READY", "delay_net.graph": "READY", "simple": "UNAVAILABLE"}
    assert ask(app, "GET", "/v2/models/simple/ready").status == 400
    assert ask(app, "POST", "/v2/repository/models/simple/load", {}).status == 200
    assert ask(app, "GET", "/v2/models/simple/ready").status == 200
    assert ask(app, "POST", "/v2/repository/models/delay_net/unload", {}).status == 200
    assert infer(app, []).status == 404
    assert ask(app, "GET", "/v2/health/ready").status == 400
    assert ask(app, "POST", "/v2/repository/models/delay_net/unload", {}).status == 400
    for name in ("nobody", "No name"):
        refused = ask(app, "POST", f"/v2/repository/models/{name}/load", {})
        assert refused.status == 400
        assert name in refused.json["error"]
    names = [entry["name"] for entry in ask(app, "POST", "/v2/repository/index", {"ready": True}).json]
    assert names == ["simple"]


def test_statistics_count_rows_and_requests(app):
    infer(app, tensors(PLAIN, PLAIN))
    infer(app, [])
    [result] = ask(app, "GET", "/v2/models/delay_net/stats").json["model_stats"]
    assert (result["inference_count"], result["execution_count"]) == (2, 1)
    assert (result["inference_stats"]["success"]["count"], result["inference_stats"]["fail"]["count"]) == (1, 1)


def test_metrics_say_builds_ages_and_what_was_missing(app):
    ask(app, "POST", f"/predict/delay_net?at={AT}", [PLAIN, PLAIN | {"origin": "LGA"}])
    ask(app, "POST", "/predict/delay_net", {"no": "field"})
    text = ask(app, "GET", "/metrics").body.decode()
    build = "v1/20130601T000000Z-00000001"
    assert f'fti_predictions_total{{arm="champion",build="{build}",model="delay_net"}} 2.0' in text
    assert 'fti_missing_total{group="weather_v1",model="delay_net"} 1.0' in text
    assert 'fti_feature_age_seconds_bucket{group="weather_v1",le="3600.0",model="delay_net"} 1.0' in text
    assert 'fti_requests_total{model="delay_net",status="400"} 1.0' in text
    assert 'fti_request_seconds_count{model="delay_net",stage="graph"} 1.0' in text


def test_a_new_champion_serves_after_it_is_followed(app, world):
    world.promote(world.publish(2, shift=5.0))
    assert ask(app, "POST", f"/predict/delay_net?at={AT}", PLAIN).json["value"] in (VALUE, VALUE + 5)
    app.repository.follow()
    assert ask(app, "POST", f"/predict/delay_net?at={AT}", PLAIN).json["value"] == VALUE + 5


def test_answer_is_of_one_build_whatever_is_promoted_meanwhile(world):
    """Of two builds that take turns at every look, each answer has the classes, the values and the name of one."""
    app = made(world, "delay_net")
    served = app.repository.get("delay_net")
    first = served.predictor.serving
    world.promote(world.publish(9, task="multiclass", version=2, shift=5.0))
    app.repository.follow()
    builds = itertools.cycle([first, served.predictor.serving])

    class Switching:
        serving = property(lambda self: next(builds))

        def shadow(self, *_: object) -> None:
            """None goes on."""

    served.predictor = Switching()
    observed = set()
    for _ in range(5):
        answer = infer(app, tensors(PLAIN)).json
        [output] = answer["outputs"]
        observed.add(
            (answer["model_version"], answer["parameters"]["build"][:2], output["name"], tuple(output["data"]))
        )
        next(builds)
    one, two = ("1", "v1", "probability", (VALUE,)), ("2", "v2", "probabilities", (VALUE + 5, (VALUE + 5) * 10))
    assert observed <= {one, two}
    assert observed


def test_without_the_token_only_health_is_answered(world):
    app = made(world, "delay_net", tokens=["s3cret", "other"])
    assert ask(app, "GET", "/v2/health/live").status == 200
    for headers in ({}, {"Authorization": "Bearer s3cre"}, {"Authorization": "Basic s3cret"}):
        refused = ask(app, "GET", "/v2/models/delay_net", headers=headers)
        assert refused.status == 401
        assert refused.headers["www-authenticate"] == "Bearer"
    for token in ("s3cret", "other"):
        assert ask(app, "GET", "/v2/models/delay_net", headers={"Authorization": f"Bearer {token}"}).status == 200
    with pytest.raises(DeclarationError, match="empty token"):
        made(world, "delay_net", tokens=[""])


def test_a_request_is_logged_with_its_id(app, caplog):
    with caplog.at_level(logging.INFO, logger="fti_assets.access"):
        ask(app, "POST", f"/predict/delay_net?at={AT}", PLAIN, {"X-Request-Id": "abc"})
    line = json.loads(caplog.messages[-1])
    assert (line["request_id"], line["status"], line["model"], line["rows"]) == ("abc", 200, "delay_net", 1)


def test_the_app_can_be_mounted_below_a_path(app):
    assert ask(app, "GET", "/v2/health/live", root_path="/models").status == 200


def test_openapi_has_an_example_that_is_answered(app):
    document = ask(app, "GET", "/openapi.json").json
    body = document["paths"]["/predict/delay_net"]["post"]["requestBody"]["content"]["application/json"]
    assert ask(app, "POST", "/predict/delay_net", body["example"]).status == 200
    page = ask(app, "GET", "/").body.decode()
    assert "delay_net" in page
    assert "http://" not in page
    assert "https://" not in page


def test_model_that_cannot_be_served_is_error_together(world):
    with pytest.raises(NoChampionError):
        made(world, "nobody")
    with pytest.raises(DeclarationError, match="names no model"):
        serving_app(models=world.models.root)
    assert fti.serving_app is serving_app


def test_a_compressed_body_is_bounded_as_it_unpacks(world):
    app = made(world, "delay_net", limits=Limits(body_bytes=100_000))
    packed = gzip.compress(json.dumps(PLAIN).encode())
    assert ask(app, "POST", f"/predict/delay_net?at={AT}", packed, {"Content-Encoding": "gzip"}).json["value"] == VALUE
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000
    assert ask(app, "POST", "/predict/delay_net", bomb, {"Content-Encoding": "gzip"}).status == 413
    assert ask(app, "POST", "/predict/delay_net", packed[:-9], {"Content-Encoding": "gzip"}).status == 400
    assert ask(app, "POST", "/predict/delay_net", b"x", {"Content-Encoding": "br"}).status == 415


@pytest.mark.parametrize("path", ["/predict/delay_net", "/v2/models/delay_net/infer", "/v2/repository/index"])
def test_a_body_is_bounded_whatever_it_says(world, path):
    app = made(world, "delay_net", limits=Limits(body_bytes=1_000))
    result = ask(app, "POST", path, b"", {"Content-Length": "1001"})
    came = ask(app, "POST", path, chunks=[b" " * 600, b" " * 600, b""])
    for refused in (result, came):
        assert refused.status == 413
        assert refused.headers["connection"] == "close"


def test_rows_are_bounded(world):
    app = made(world, "delay_net", limits=Limits(rows=2))
    assert ask(app, "POST", "/predict/delay_net", [PLAIN] * 3).status == 413
    assert infer(app, tensors(*[PLAIN] * 3)).status == 413
    assert infer(app, tensors(*[PLAIN] * 2)).status == 200


def test_tensors_are_told_what_is_unusual_about_their_rows(app):
    answer = infer(app, tensors(PLAIN, PLAIN | {"origin": "LGA"}))
    assert answer.json["parameters"]["missing"] == [[], ["weather_v1"]]
    assert "unknown" not in answer.json["parameters"]


@pytest.mark.parametrize("refused", [{"on_missing": "error"}, {"unknown_keys": "error"}])
def test_a_server_refuses_what_it_is_told_to(world, refused):
    app = made(world, "delay_net", **refused)
    stranger = PLAIN | {"origin": "LGA"}
    assert ask(app, "POST", f"/predict/delay_net?at={AT}", PLAIN).status == 200
    for answer in (ask(app, "POST", f"/predict/delay_net?at={AT}", stranger), infer(app, tensors(PLAIN, stranger))):
        assert (answer.status, "weather_v1" in answer.json["error"]) == (400, True)
    with pytest.raises(PredictionError, match="'missing' or 'error' is expected"):
        made(world, "delay_net", unknown_keys="refuse")


def test_one_request_too_many_is_told_to_come_back(world):
    app = made(world, "delay_net", limits=Limits(requests=1))
    app.answering.active = 1
    refused = ask(app, "POST", "/predict/delay_net", PLAIN)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    app.answering.active = 0
    assert ask(app, "POST", "/predict/delay_net", PLAIN).status == 200
    assert app.answering.active == 0


def test_damaged_online_store_is_503_until_it_is_mended(world):
    path = next(world.online.root.glob("weather_v1.*"))
    whole = path.read_bytes()
    app = made(world, "delay_net")
    path.write_bytes(b"no database" * 1000)
    refused = ask(app, "POST", f"/predict/delay_net?at={AT}", PLAIN)
    assert (refused.status, refused.headers.get("retry-after")) == (503, "1")
    assert "weather_v1" in refused.json["error"]
    path.write_bytes(whole)
    assert ask(app, "POST", f"/predict/delay_net?at={AT}", PLAIN).json["value"] == VALUE


WRONG = {
    "no JSON": (b"{", "no JSON"),
    "no UTF-8": (b'{"id": "\xff", "inputs": []}', "no JSON"),
    "no inputs": (b"{}", "inputs"),
    "inputs of another type": (b'{"inputs": 1}', "inputs"),
    "deep": (
        b'{"inputs": [{"name": "f", "datatype": "INT8", "shape": [1], "data": ' + b"[" * 100_000,
        "nested too deep",
    ),
    "an unknown datatype": ({"inputs": [{"name": "origin", "datatype": "TEXT", "shape": [1], "data": ["x"]}]}, "TEXT"),
    "a negative shape": ({"inputs": [{"name": "origin", "datatype": "BYTES", "shape": [-1], "data": []}]}, "shape"),
    "a huge shape": ({"inputs": [{"name": "origin", "datatype": "BYTES", "shape": [2**30] * 8, "data": []}]}, "values"),
    "too few values": (
        {"inputs": [{"name": "origin", "datatype": "BYTES", "shape": [2], "data": ["x"]}]},
        "2 are expected",
    ),
    "a number for text": (
        {"inputs": [{"name": "origin", "datatype": "BYTES", "shape": [1], "data": [1]}]},
        "text is expected",
    ),
    "a fraction for a whole": (
        {"inputs": [{"name": "f", "datatype": "INT64", "shape": [1], "data": [1.5]}]},
        "whole number",
    ),
    "true for a whole": (
        {"inputs": [{"name": "f", "datatype": "INT64", "shape": [1], "data": [True]}]},
        "whole number",
    ),
    "too large a whole": ({"inputs": [{"name": "f", "datatype": "INT8", "shape": [1], "data": [128]}]}, "beyond"),
    "too large a number": ({"inputs": [{"name": "f", "datatype": "FP32", "shape": [1], "data": [1e39]}]}, "beyond"),
    "an input twice": ({"inputs": [{"name": "f", "datatype": "INT8", "shape": [1], "data": [1]}] * 2}, "twice"),
    "no data": ({"inputs": [{"name": "f", "datatype": "INT8", "shape": [1]}]}, "neither data"),
    "ragged data": ({"inputs": [{"name": "f", "datatype": "INT8", "shape": [2, 2], "data": [[1, 2], [3]]}]}, "depth 1"),
    "a size that lies": (
        {"inputs": [{"name": "f", "datatype": "INT8", "shape": [1], "parameters": {"binary_data_size": 9}}]},
        "binary_data_size",
    ),
    "an unknown output": ({"inputs": tensors(PLAIN), "outputs": [{"name": "other"}]}, "other"),
    "an unknown input": (
        {"inputs": [*tensors(PLAIN), {"name": "x", "datatype": "INT8", "shape": [1], "data": [1]}]},
        "'x'",
    ),
    "an input less": ({"inputs": tensors(PLAIN)[1:]}, "flight_id"),
    "lengths that differ": ({"inputs": [*tensors(PLAIN)[:-1], *tensors(PLAIN, PLAIN)[-1:]]}, "differ in length"),
    "a key without a value": (
        {"inputs": [{"name": "flight_id", "datatype": "INT64", "shape": [1], "data": [None]}, *tensors(PLAIN)[1:]]},
        "whole number",
    ),
    "a time that is none": (
        {
            "inputs": [
                *tensors(PLAIN)[:-1],
                {"name": "scheduled_at", "datatype": "BYTES", "shape": [1], "data": ["noon"]},
            ]
        },
        "scheduled_at",
    ),
    "a time of prediction that is none": ({"inputs": tensors(PLAIN), "parameters": {"at": "noon"}}, "at is"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(app, case):
    body, expected = WRONG[case]
    answer = ask(app, "POST", "/v2/models/delay_net/infer", body)
    assert answer.status == 400, answer.body
    assert expected in answer.json["error"]


@pytest.mark.parametrize("length", ["-1", "x", "99999999999999999999999", "1000000"])
def test_a_header_that_lies_about_the_json_is_refused(app, length):
    answer = ask(app, "POST", "/v2/models/delay_net/infer", b"{}", {"Inference-Header-Content-Length": length})
    assert answer.status == 400
    assert "Inference-Header-Content-Length" in answer.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/delay_net/infer", 405),
        ("POST", "/v2/models/delay_net", 405),
        ("DELETE", "/metrics", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/v2/models/other", 404),
        ("POST", "/v2/models/delay_net/versions/9/infer", 404),
        ("POST", "/predict/other", 404),
        ("GET", "/predict/../../etc/passwd", 404),
        ("GET", "/v2/health/%00", 404),
    ],
)
def test_what_is_not_there_is_refused(app, method, path, status):
    assert ask(app, method, path, b"").status == status


def test_an_instant_before_what_the_store_answers_is_named(world):
    world.load_group(WEATHER, [], answers_from=NOON)
    app = made(world, "delay_net")
    early = (NOON - timedelta(days=4)).isoformat()
    refused = ask(app, "POST", f"/predict/delay_net?at={early}", PLAIN)
    assert refused.status == 422
    assert "weather_v1" in refused.json["error"]


@settings(max_examples=examples(200))
@given(st.text(alphabet="at=&%+; -1:é", max_size=8).map(lambda text: text.encode("latin-1")))
def test_a_query_says_what_it_says_to_the_standard_library(text):
    assert query_of(text) == parse_qs(text.decode("latin-1"))
