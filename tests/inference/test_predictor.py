import asyncio
import hashlib
import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from fti_assets.core import clock
from fti_assets.core.manifest import (
    NUMBERS,
    OUTPUT_NAMES,
    Column,
    DatasetRecord,
    GraphInput,
    GraphOutput,
    JoinedColumn,
    JoinedGroup,
    JoinedKey,
    ModelManifest,
    OnDemandCall,
    ViewRecord,
)
from fti_assets.core.on_demand.meaning import meaning
from fti_assets.core.records import to_json
from fti_assets.core.times import microseconds
from fti_assets.core.types.columns import canonical
from fti_assets.errors import (
    DamagedError,
    NoChampionError,
    NotMaterializedError,
    PredictionError,
    RequestError,
    StoreError,
)
from fti_assets.inference.serving import served_model
from fti_assets.inference.serving.log.files import closed_files
from fti_assets.inference.serving.lookup import OnlineReader
from fti_assets.inference.serving.predictor import Prediction, Predictor
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.reader import ModelReader
from fti_assets.stores.models.store import ModelStore, build_id
from fti_assets.stores.online.store import SqliteOnlineStore
from tests.support.examples import examples, repetitions

NOON = datetime(2013, 6, 1, 12)
HOUR = timedelta(hours=1)
ON_DEMAND = """
import numpy as np
from fti_assets import on_demand

@on_demand(outputs={"hour_of_day": int, "heat": float})
def calendar(scheduled_at, predict_at, temp, dest_seats):
    wait = (scheduled_at - predict_at) / np.timedelta64(1, "h")
    return {"hour_of_day": (scheduled_at.astype("datetime64[h]").astype(np.int64) % 24), "heat": temp * wait}

@on_demand(outputs={"twice": float})
def doubled(hour_of_day):
    return {"twice": hour_of_day * 2}
"""
REQUEST = {"flight_id": 7, "origin": "JFK", "dest": "BOS", "distance": 187.0, "scheduled_at": NOON + 2 * HOUR}
NUMBER_FEATURES = ("distance", "temp", "dest_late_rate", "seats", "heat", "twice")


def graph(task: str = "binary", shift: float = 0.0) -> bytes:
    """Adds up the numbers, a missing one as -1; JFK adds 1000, a missing tail number 100."""
    constants = {
        "minus_one": np.array([-1], np.float32),
        "last": np.array([1]),
        "shift": np.array([shift], np.float32),
        "no_tail": np.array([-(2**63)]),
        "classes": np.array([[1.0, 10.0]], np.float32),
        "flat": np.array([-1]),
        "hundred": np.array([100], np.float32),
    }
    nodes = [
        helper.make_node("IsNaN", ["numbers"], ["absent"]),
        helper.make_node("Where", ["absent", "minus_one", "numbers"], ["filled"]),
        helper.make_node("ReduceSum", ["filled", "last"], ["summed"], keepdims=1),
        helper.make_node(
            "LabelEncoder",
            ["text.origin"],
            ["coded"],
            domain="ai.onnx.ml",
            keys_strings=["JFK"],
            values_floats=[1000.0],
            default_float=0.0,
        ),
        helper.make_node("Equal", ["integer.tail", "no_tail"], ["is_absent"]),
        helper.make_node("Cast", ["is_absent"], ["tailless"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["tailless", "hundred"], ["penalty"]),
        helper.make_node("Sum", ["summed", "coded", "penalty", "shift"], ["total"]),
    ]
    name = {"binary": "probability", "multiclass": "probabilities", "regression": "value"}[task]
    if task == "multiclass":
        nodes.append(helper.make_node("Mul", ["total", "classes"], [name]))
    else:
        nodes.append(helper.make_node("Reshape", ["total", "flat"], [name]))
    made = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["n", len(NUMBER_FEATURES)]),
            helper.make_tensor_value_info("text.origin", TensorProto.STRING, ["n", 1]),
            helper.make_tensor_value_info("integer.tail", TensorProto.INT64, ["n", 1]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2] if task == "multiclass" else ["n"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 4)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString())


WEATHER = JoinedGroup(
    "weather",
    1,
    (JoinedKey("origin", "airport", "text"),),
    (JoinedColumn("temp", "temp", "number"), JoinedColumn("observed", "seen", "timestamp")),
    event_time="observed_at",
    ttl_us=microseconds(6 * HOUR),
)
DELAYS = JoinedGroup(
    "delays",
    2,
    (JoinedKey("dest", "airport", "text"),),
    (JoinedColumn("dest_late_rate", "late_rate", "number"),),
    event_time="hour",
)
PLANES = JoinedGroup(
    "planes",
    1,
    (JoinedKey("dest", "airport", "text"), JoinedKey("flight_id", "flight", "integer")),
    (
        JoinedColumn("seats", "seats", "integer"),
        JoinedColumn("tail", "tail", "integer"),
        JoinedColumn("dest_seats", "seats", "integer"),
    ),
)


@dataclass
class World:
    models: ModelStore
    online: SqliteOnlineStore
    module: str
    source: Path

    def meaning(self, function: str) -> str:
        """What a function of the module means now, empty if there is none."""
        return meaning(self.module, function) if f"def {function}" in self.source.read_text() else ""

    def view(self) -> ViewRecord:
        digest = hashlib.sha256(self.source.read_bytes()).hexdigest()
        calls = (
            OnDemandCall(
                "calendar",
                1,
                self.module,
                "calendar",
                digest,
                ("scheduled_at", "predict_at", "temp", "dest_seats"),
                (Column("hour_of_day", "integer"), Column("heat", "number")),
                meaning=self.meaning("calendar"),
            ),
            OnDemandCall(
                "doubled", 1, self.module, "doubled", digest, ("hour_of_day",), (Column("twice", "number"),),
                meaning=self.meaning("doubled"),
            ),
        )  # fmt: skip
        request = (
            Column("flight_id", "integer"),
            Column("origin", "text"),
            Column("dest", "text"),
            Column("distance", "number"),
            Column("scheduled_at", "timestamp"),
        )
        types = {
            "origin": "text",
            "seats": "integer",
            "tail": "integer",
            "hour_of_day": "integer",
            "observed": "timestamp",
        }
        names = ("origin", *NUMBER_FEATURES, "tail", "hour_of_day", "observed")
        features = tuple(Column(name, types.get(name, "number")) for name in names)
        joins = (WEATHER, DELAYS, PLANES)
        return ViewRecord("delay", 1, "schedule", 1, ("flight_id",), "predict_at", request, joins, calls, features)

    def publish(self, token: int = 1, *, task: str = "binary", shift: float = 0.0, **other: Any) -> ModelManifest:
        made = graph(task, shift)
        fields = {
            "model": "delay_net",
            "version": 1,
            "build": build_id(datetime(2013, 6, 1), f"{token:08x}"),
            "task": task,
            "status": "accepted",
            "cutoff": "2013-06-01T00:00:00",
            "created_at": "2013-06-01T01:00:00",
            "view": self.view(),
            "dataset": DatasetRecord("d", 1, "", "", {}, point_in_time=True),
            "inputs": (
                GraphInput(NUMBERS, "float32", NUMBER_FEATURES),
                GraphInput("text.origin", "string", ("origin",)),
                GraphInput("integer.tail", "int64", ("tail",)),
            ),
            "outputs": (GraphOutput(OUTPUT_NAMES[task], "float32"),),
            "encoders": {},
            "metrics": {},
            "baseline": {},
            "gates": (),
            "snapshot": 1,
            "code_version": "",
            "packages": {},
            "sha256": hashlib.sha256(made).hexdigest(),
            "classes": ("late", "on_time") if task == "multiclass" else (),
        }
        manifest = ModelManifest(**(fields | other))
        self.models.publish(manifest, made, "")
        return manifest

    def promote(self, manifest: ModelManifest) -> None:
        expected = self.models.aliases("delay_net").champion
        self.models.promote("delay_net", manifest.reference, expected=expected, reason="test")

    def load_group(self, group: JoinedGroup, rows: Any, *, answers_from: datetime | None = None) -> None:
        columns = {column.column: Column(column.column, column.type) for column in group.columns}
        self.online.load(
            group.table_name,
            key_types=tuple(key.type for key in group.keys),
            columns=tuple(columns.values()),
            rows=rows,
            answers_from=answers_from,
            snapshot=1,
            event_time=group.event_time is not None,
        )

    def fill(self) -> None:
        """Load what the tests ask for."""
        observed = microseconds(NOON - 5 * HOUR)
        self.load_group(
            WEATHER,
            [
                (
                    ("JFK",),
                    [
                        version(NOON - 4 * HOUR, NOON - 5 * HOUR, 60.0, observed),
                        version(NOON, NOON - HOUR, 70.0, None),
                    ],
                )
            ],
        )
        self.load_group(DELAYS, [(("BOS",), [version(NOON - HOUR, NOON - 2 * HOUR, 0.25)])])
        self.load_group(PLANES, [(("BOS", 7), [(None, None, (150, 12345))])])

    def load(self, **options: Any) -> Predictor:
        return Predictor.load("delay_net", models=self.models.root, online=self.online.root, **options)


def version(visible: datetime, event: datetime, *values: Any) -> tuple[int, int, tuple[Any, ...]]:
    return microseconds(visible), microseconds(event), values


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    module = f"app_on_demand_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"
    source = tmp_path / f"{module}.py"
    source.write_text(ON_DEMAND)
    monkeypatch.syspath_prepend(tmp_path)
    made = World(ModelStore(tmp_path / "models"), SqliteOnlineStore(tmp_path / "online"), module, source)
    made.fill()
    made.promote(made.publish())
    yield made
    sys.modules.pop(module, None)


def test_one_request_is_answered_with_what_was_known_then(world):
    answer = world.load().predict(REQUEST, at=NOON)
    assert answer.features == {
        "origin": "JFK",
        "distance": 187.0,
        "temp": 70.0,
        "dest_late_rate": 0.25,
        "seats": 150,
        "heat": 140.0,
        "twice": 28.0,
        "tail": 12345,
        "hour_of_day": 14,
        "observed": None,
    }
    assert answer == Prediction(
        value=187 + 70 + 0.25 + 150 + 140 + 28 + 1000.0,
        features=answer.features,
        missing=(),
        at=NOON,
        model="delay_net",
        build="v1/20130601T000000Z-00000001",
        ages={"weather_v1": 3600.0, "delays_v2": 7200.0, "planes_v1": None},
    )
    assert isinstance(answer.value, float)
    assert type(answer.features["hour_of_day"]) is int


def test_an_earlier_instant_sees_the_earlier_row(world):
    features = world.load().features(REQUEST, at=NOON - timedelta(microseconds=1))
    assert (features["temp"], features["observed"]) == (60.0, NOON - 5 * HOUR)


def test_what_is_missing_is_none_to_app_and_nan_to_model(world):
    answer = world.load().predict(REQUEST | {"origin": "SFO", "dest": None, "distance": None}, at=NOON)
    assert answer.missing == ("weather_v1", "delays_v2", "planes_v1")
    assert answer.features["temp"] is answer.features["seats"] is answer.features["heat"] is None
    assert answer.value == 5 * -1 + 28 + 100


def test_row_older_than_its_ttl_is_missing_both_ends_inclusive(world):
    predictor = world.load()
    assert predictor.predict(REQUEST, at=NOON + 5 * HOUR).missing == ()
    stale = predictor.predict(REQUEST, at=NOON + 5 * HOUR + timedelta(microseconds=1))
    assert (stale.missing, stale.features["temp"]) == (("weather_v1",), None)


def test_late_row_is_picked_up_by_running_predictor(world):
    predictor = world.load()
    assert predictor.features(REQUEST, at=NOON)["dest_late_rate"] == 0.25
    world.load_group(DELAYS, [(("BOS",), [version(NOON, NOON - HOUR, 0.75)])])
    assert predictor.features(REQUEST, at=NOON)["dest_late_rate"] == 0.75


def test_a_list_gives_a_list_with_the_same_answers(world):
    predictor = world.load()
    requests = [REQUEST, REQUEST | {"origin": "SFO"}, REQUEST | {"dest": None}, REQUEST | {"flight_id": 8}, REQUEST]
    assert predictor.predict(requests, at=NOON) == [predictor.predict(request, at=NOON) for request in requests]
    assert predictor.features(tuple(requests), at=NOON) == [predictor.features(one, at=NOON) for one in requests]
    assert predictor.predict([], at=NOON) == []


def test_the_clock_is_the_prediction_time_by_default(world):
    predictor = world.load()
    with clock.at(NOON):
        assert predictor.predict(REQUEST) == predictor.predict(REQUEST, at=NOON)


@pytest.mark.parametrize(
    "at",
    [
        "2013-06-01T12:00:00",
        "2013-06-01T12:00:00Z",
        "2013-06-01T08:00:00-04:00",
        NOON.replace(tzinfo=UTC),
        np.datetime64("2013-06-01T12:00:00", "ns"),
    ],
)
def test_instants_are_converted_to_naive_utc(world, at):
    predictor = world.load()
    answer = predictor.predict(REQUEST, at=at)
    assert (answer.at, answer.features["temp"]) == (NOON, 70.0)
    requests = predictor.features(REQUEST | {"scheduled_at": at}, at=NOON)
    assert requests["hour_of_day"] == 12


@pytest.mark.parametrize(
    ("task", "expected"), [("multiclass", {"late": 1575.25, "on_time": 15752.5}), ("regression", 1575.25)]
)
def test_each_task_has_its_form_of_value(world, task, expected):
    world.promote(world.publish(2, task=task))
    assert world.load().predict(REQUEST, at=NOON).value == expected


def test_the_graph_gets_the_arrays_that_it_gets_offline(world):
    predictor = world.load()
    manifest, made = world.models.load("delay_net", predictor.build)
    answers = predictor.predict([REQUEST, REQUEST | {"origin": "é", "dest": "X", "distance": 1e300}], at=NOON)
    types = {feature.name: feature.type for feature in manifest.view.features}
    columns = {name: canonical([answer.features[name] for answer in answers], types[name]) for name in types}
    offline = Graph.from_bytes(made, manifest.inputs, what="graph").run(columns)["probability"]
    assert [answer.value for answer in answers] == offline.tolist()


numbers = st.floats(allow_nan=False, width=32)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrivals=st.lists(
        st.tuples(st.sampled_from(["BOS", "BOS", "LAX"]), st.integers(0, 6), st.sampled_from([0, 0, 1, 3])),
        unique=True,
        min_size=3,
        max_size=12,
    ),
    # Few instants, so that a row is asked for just when it is there and just before it is too old.
    asked=st.lists(
        st.tuples(st.sampled_from(["BOS", "BOS", "LAX", "SEA"]), st.integers(-1, 10)),
        unique=True,
        min_size=4,
        max_size=9,
    ),
    ttl=st.sampled_from([None, 0, 1, 3]),
)
@example(arrivals=[("BOS", 1, 0), ("BOS", 0, 2)], asked=[("BOS", 2), ("BOS", 3)], ttl=1)
def test_the_online_winner_is_the_brute_force_one(world, arrivals, asked, ttl):
    rows: dict[tuple[str], list[Any]] = {}
    for key, event, lag in arrivals:
        rows.setdefault((key,), []).append((event + lag, event, (float(100 * event + lag),)))
    frontiers = []
    for key, versions in rows.items():
        kept: list[Any] = []
        for candidate in sorted(versions):
            if not kept or candidate[1] >= kept[-1][1]:
                if kept and kept[-1][0] == candidate[0]:
                    kept.pop()
                kept.append(candidate)
        frontiers.append((key, kept))
    world.load_group(DELAYS, frontiers)
    joins = (WEATHER, replace(DELAYS, ttl_us=ttl), PLANES)
    manifest = world.publish(int.from_bytes(np.random.default_rng().bytes(4)), view=replace(world.view(), joins=joins))
    predictor = world.load(build=manifest.reference)
    for dest, at in asked:
        when = datetime(1970, 1, 1) + timedelta(microseconds=at)
        visible = [(event, values) for observed, event, values in rows.get((dest,), []) if observed <= at]
        event, values = max(visible, default=(None, (None,)))
        if event is not None and ttl is not None and event < at - ttl:
            values = (None,)
        request = REQUEST | {"dest": dest}
        # One request, several and the features alone are read in two ways, by values and by columns.
        one, several = predictor.predict(request, at=when), predictor.predict([request, REQUEST], at=when)[0]
        assert one.features["dest_late_rate"] == several.features["dest_late_rate"] == values[0]
        assert predictor.features(request, at=when)["dest_late_rate"] == values[0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"origin": 5}, "'origin' is 5, an int, text is expected"),
        ({"origin": "\ud800"}, r"'origin' is '\ud800', a str, text is expected (it is not valid Unicode)"),
        ({"distance": "far"}, "'distance' is 'far', a str, a number is expected"),
        ({"distance": True}, "'distance' is True, a bool, a number is expected"),
        ({"distance": 10**400}, "an int, a number is expected"),
        ({"flight_id": 7.5}, "'flight_id' is 7.5, a float, a whole number of 64 bits is expected (it is not whole)"),
        ({"flight_id": True}, "'flight_id' is True, a bool, a whole number of 64 bits is expected"),
        ({"flight_id": 2**63}, "an int, a whole number of 64 bits is expected (it needs more than 64 bits)"),
        (
            {"flight_id": None},
            "'flight_id' is None, a NoneType, a whole number of 64 bits is expected (a key must have",
        ),
        ({"scheduled_at": "noon"}, "'scheduled_at' is 'noon', a str, a datetime or ISO text is expected"),
        ({"scheduled_at": 5}, "'scheduled_at' is 5, an int, a datetime or ISO text is expected"),
        (
            {"tail": 1},
            "'tail' is not a field: the fields are 'flight_id', 'origin', 'dest', 'distance', 'scheduled_at'",
        ),
        (
            {"predict_at": NOON},
            "'predict_at' is the prediction time: give it as predict(..., at=...), not in the request",
        ),
        ({7: 1}, "7 is not a field"),
    ],
)
def test_wrong_field_is_named_with_value_and_expectation(world, change, problem):
    with pytest.raises(RequestError) as caught:
        world.load().predict(REQUEST | change, at=NOON)
    assert str(caught.value).startswith("the request to model 'delay_net' is wrong: ")
    assert problem in str(caught.value)


def test_one_error_lists_everything_that_is_wrong(world):
    predictor = world.load()
    wrong = {"flight_id": None, "origin": "JFK", "dest": 3, "distance": 1.0, "colour": "red"}
    with pytest.raises(RequestError) as caught:
        predictor.predict(wrong, at=NOON)
    assert str(caught.value).count(";") == 3
    with pytest.raises(RequestError, match=r"request 1: 'dest' is 3.*; request 2: it is 'x', a str, where a mapping"):
        predictor.predict([REQUEST, REQUEST | {"dest": 3}, "x"], at=NOON)


@pytest.mark.parametrize("key", [float("nan"), float("inf"), None])
def test_a_key_that_is_no_number_is_refused(world, key):
    view = world.view()
    request = (Column("flight_id", "number"), *view.request[1:])
    planes = replace(PLANES, keys=PLANES.keys[:1])
    world.load_group(planes, [])
    manifest = world.publish(2, view=replace(view, request=request, joins=(WEATHER, DELAYS, planes)))
    predictor = world.load(build=manifest.reference)
    assert predictor.predict(REQUEST, at=NOON).missing == ("planes_v1",)
    with pytest.raises(RequestError, match="a number is expected \\(a key must have a value\\)"):
        predictor.predict(REQUEST | {"flight_id": key}, at=NOON)


def test_numpy_values_and_whole_numbers_are_taken(world):
    predictor = world.load()
    scalars = REQUEST | {"flight_id": np.int64(7), "origin": np.str_("JFK"), "distance": np.float32(187)}
    assert predictor.predict(scalars, at=NOON) == predictor.predict(REQUEST | {"distance": 187}, at=NOON)
    assert predictor.features(REQUEST | {"distance": float("nan")}, at=NOON)["distance"] is None


@pytest.mark.parametrize("request_", ["x", 5, None, {1, 2}])
def test_what_is_no_request_is_refused(world, request_):
    with pytest.raises(RequestError, match="a mapping of field to value, or a list of them, is expected"):
        world.load().predict(request_, at=NOON)


class Endless(Sequence):
    """A sequence without an end, which fails where somebody reads far into it."""

    def __len__(self):
        return sys.maxsize

    def __getitem__(self, index):
        assert index < 100, "read further than it had to be"
        return index


@pytest.mark.parametrize("requests", [Endless(), range(10**9), [5] * 100, (None,) * 100])
def test_no_requests_are_refused_at_the_first(world, requests):
    predictor = world.load()
    calls = [
        lambda: predictor.predict(requests, at=NOON),
        lambda: predictor.features(requests, at=NOON),
        lambda: asyncio.run(predictor.predict_async(requests, at=NOON)),
    ]
    for call in calls:
        with pytest.raises(
            RequestError, match="request 0 is (0, an int|5, an int|None).* a mapping of field to value, or a list"
        ):
            call()


@pytest.mark.parametrize("at", [5, "noon", {}])
def test_what_is_no_instant_is_refused(world, at):
    with pytest.raises(RequestError, match="where a datetime or ISO text is expected"):
        world.load().predict(REQUEST, at=at)


def test_a_date_is_its_midnight(world):
    predictor = world.load()
    midnight = NOON.replace(hour=0, minute=0, second=0, microsecond=0)
    assert predictor.features(REQUEST, at=NOON.date()) == predictor.features(REQUEST, at=midnight)


def test_unknown_keys_can_be_errors(world):
    predictor = world.load(unknown_keys="error")
    assert predictor.predict(REQUEST, at=NOON - 9 * HOUR).missing == ("weather_v1", "delays_v2")
    with pytest.raises(RequestError, match="weather_v1 has no row for origin='SFO'"):
        predictor.predict(REQUEST | {"origin": "SFO"}, at=NOON)
    with pytest.raises(
        RequestError, match=r"request 1: delays_v2 has no row .*; request 1: planes_v1 has no row for dest=None"
    ):
        predictor.predict([REQUEST, REQUEST | {"dest": None}], at=NOON)
    with pytest.raises(PredictionError, match="unknown_keys is 'ignore': 'missing' or 'error' is expected"):
        world.load(unknown_keys="ignore")


def test_an_instant_before_what_is_held_is_refused(world):
    predictor = world.load()
    world.load_group(DELAYS, [], answers_from=NOON)
    with pytest.raises(PredictionError, match="'delays_v2' answers from 2013-06-01T12:00:00 on and cannot say"):
        predictor.predict(REQUEST, at=NOON - HOUR)
    assert predictor.predict(REQUEST, at=NOON).missing == ("delays_v2",)


def test_a_champion_is_followed_live(world):
    predictor, pinned = world.load(), world.load(build="v1/20130601T000000Z-00000001")
    before = predictor.predict(REQUEST, at=NOON)
    world.promote(world.publish(2, shift=5))
    after = predictor.predict(REQUEST, at=NOON)
    assert (after.build, after.value) == ("v1/20130601T000000Z-00000002", before.value + 5)
    assert pinned.predict(REQUEST, at=NOON) == before
    world.models.roll_back("delay_net", to=before.build, reason="worse")
    assert predictor.predict(REQUEST, at=NOON) == before


def test_champion_of_another_process_is_followed(world, monkeypatch):
    predictor = world.load()
    now = time.monotonic()
    monkeypatch.setattr(served_model.time, "monotonic", lambda: now)
    first = predictor.predict(REQUEST, at=NOON).build
    aliases = world.models.aliases_file("delay_net")
    second = world.publish(2).reference
    aliases.write_text(aliases.read_text().replace(first, second))
    assert predictor.predict(REQUEST, at=NOON).build == first
    now += 0.0011
    assert predictor.predict(REQUEST, at=NOON).build == second
    world.models.roll_back("delay_net", to=first, reason="worse")
    assert predictor.predict(REQUEST, at=NOON).build == first


@pytest.mark.parametrize("distance", [187.25, 1e300, 2**62, 0.1, None, 1e-60])
def test_a_row_alone_is_cast_as_rows_together(world, distance):
    predictor = world.load()
    request = REQUEST | {"distance": distance}
    assert predictor.predict(request, at=NOON) == predictor.predict([request, REQUEST], at=NOON)[0]


def test_a_champion_is_followed_by_every_thread(world):
    predictor = world.load()
    answers: list[list[str]] = [[], [], [], []]
    done = threading.Event()

    def ask(found: list[str]) -> None:
        while not done.is_set():
            found.append(predictor.predict(REQUEST, at=NOON).build)

    threads = [threading.Thread(target=ask, args=(found,)) for found in answers]
    for thread in threads:
        thread.start()
    last = ""
    for token in range(2, 6):
        manifest = world.publish(token)
        world.promote(manifest)
        last = manifest.reference
    predictor.predict(REQUEST, at=NOON)
    done.set()
    for thread in threads:
        thread.join()
    assert predictor.predict(REQUEST, at=NOON).build == last
    assert all(found == sorted(found) for found in answers)


def test_new_champion_that_cannot_be_loaded_is_not_served(world, caplog, monkeypatch):
    predictor = world.load()
    second = world.publish(2)
    world.promote(second)
    file = world.models.root / "delay_net" / second.reference / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert predictor.predict(REQUEST, at=NOON).build == "v1/20130601T000000Z-00000001"
    assert len(caplog.records) == 1
    assert "cannot be loaded, v1/20130601T000000Z-00000001 keeps serving" in caplog.text
    assert "is damaged" in caplog.text
    file.write_bytes(whole)
    assert predictor.predict(REQUEST, at=NOON).build == "v1/20130601T000000Z-00000001"
    monkeypatch.setattr(served_model.time, "monotonic", lambda: 1e12)
    assert predictor.predict(REQUEST, at=NOON).build == second.reference


def test_a_lost_alias_file_does_not_stop_serving(world, caplog):
    predictor = world.load()
    world.models.aliases_file("delay_net").unlink()
    assert predictor.predict(REQUEST, at=NOON).build == "v1/20130601T000000Z-00000001"
    assert "no champion for model 'delay_net'" in caplog.text


def test_the_stores_are_those_of_the_home_by_default(world, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTI_HOME", str(world.models.root.parent))
    expected = world.load().predict(REQUEST, at=NOON)
    assert Predictor.load("delay_net").predict(REQUEST, at=NOON) == expected
    assert Predictor.load("delay_net", online=world.online.root).predict(REQUEST, at=NOON) == expected
    monkeypatch.delenv("FTI_HOME")  # ./.fti, where nothing is, although ./models and ./online are here
    with pytest.raises(NoChampionError, match=r"in \.fti/models/: there is no such folder\. .* set FTI_HOME"):
        Predictor.load("delay_net")
    (tmp_path / ".fti").symlink_to(world.models.root.parent, target_is_directory=True)
    assert Predictor.load("delay_net").predict(REQUEST, at=NOON) == expected


def test_loading_names_what_is_not_there(world):
    with pytest.raises(NoChampionError, match="no champion for model 'other'"):
        Predictor.load("other", models=world.models.root, online=world.online.root)
    with pytest.raises(NotMaterializedError, match="has no build 'v1/nothing'"):
        world.load(build="v1/nothing")
    (world.online.root / "planes_v1.sqlite").unlink()
    with pytest.raises(
        NotMaterializedError, match=r"no online namespace 'planes_v1' in .* it has 'delays_v2' or 'weather_v1'"
    ):
        world.load()


def test_a_damaged_graph_is_refused(world):
    file = world.models.root / "delay_net" / "v1" / "20130601T000000Z-00000001" / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedError, match=r"model\.onnx is damaged"):
        world.load()


def test_namespace_of_other_types_is_refused_at_load_and_while_serving(world):
    predictor = world.load()
    other = replace(DELAYS, columns=(JoinedColumn("dest_late_rate", "late_rate", "text"),))
    world.load_group(other, [(("BOS",), [version(NOON, NOON, "x")])])
    for refused in (world.load, lambda: predictor.predict(REQUEST, at=NOON)):
        with pytest.raises(PredictionError, match=r"'delays_v2' has keys .* columns of types \('text',\)"):
            refused()


def test_manifest_that_takes_feature_from_nowhere_is_refused(world):
    view = world.view()
    with pytest.raises(StoreError, match="takes 'wind' for the view from nowhere: .* nothing was published"):
        world.publish(2, view=replace(view, features=(*view.features, Column("wind", "number"))))


def test_another_meaning_of_an_on_demand_function_is_refused(world):
    world.source.write_text(ON_DEMAND.replace("temp * wait", "temp + wait"))
    with pytest.raises(
        PredictionError, match=r"on-demand function 'calendar' version 1, .* means something else .*Install the app"
    ):
        world.load()


def test_comments_and_layout_of_on_demand_module_change_nothing(world):
    world.source.write_text(
        "# why\n" + ON_DEMAND.replace("temp * wait", "(temp\n        # heat\n        * wait)") + "\nOTHER = 1\n"
    )
    assert world.load().predict(REQUEST, at=NOON).features["twice"] == 28.0


def test_a_source_that_changed_after_its_import_is_refused(world):
    """What the process would run is what it imported, whatever the file says by now."""
    world.load()
    world.source.write_text(ON_DEMAND.replace("hour_of_day * 2", "hour_of_day * 3"))
    manifest = world.publish(2)
    with pytest.raises(
        PredictionError, match=r"'doubled' version 1 was imported by this process before its source.*again"
    ):
        world.load(build=manifest.reference)


def test_manifest_of_earlier_release_is_compared_by_hash_of_module(world):
    view = world.view()
    calls = tuple(replace(call, meaning="") for call in view.on_demand)
    earlier = world.publish(2, view=replace(view, on_demand=calls))
    world.load(build=earlier.reference)
    world.source.write_text(ON_DEMAND + "\n# another\n")
    with pytest.raises(PredictionError, match="means something else"):
        world.load(build=earlier.reference)


@pytest.mark.parametrize(("module", "function"), [("os", "abort"), ("os.path", "join"), ("json", "loads")])
def test_only_declared_functions_are_run(world, module, function):
    """Whatever a manifest that was edited by hand names, and however right its hash is."""
    source = Path(importlib.import_module(module).__file__)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    view = world.view()
    edited = replace(view.on_demand[1], module=module, function=function, module_sha256=digest, meaning="")
    manifest = world.publish(2, view=replace(view, on_demand=(view.on_demand[0], edited)))
    with pytest.raises(PredictionError, match=f"{function!r} of module {module!r} is no function declared with"):
        world.load(build=manifest.reference)


def test_no_package_is_imported_before_the_source_is_compared(world, tmp_path):
    package = tmp_path / "od_trap"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "inner.py").write_text("def doubled(hour_of_day): ...")
    view = world.view()
    edited = replace(view.on_demand[1], module="od_trap.inner", module_sha256="0" * 64, meaning="0" * 64)
    manifest = world.publish(2, view=replace(view, on_demand=(view.on_demand[0], edited)))
    with pytest.raises(PredictionError, match="means something else"):
        world.load(build=manifest.reference)


def test_a_build_whose_functions_changed_is_not_promoted(world):
    champion = world.models.champion("delay_net").reference
    following = world.publish(2)
    world.source.write_text(ON_DEMAND.replace("temp * wait", "temp + wait"))
    with pytest.raises(StoreError, match="cannot be champion, nothing was changed: .*means something else"):
        world.promote(following)
    with pytest.raises(StoreError, match="cannot be champion, nothing was changed: .*means something else"):
        world.models.roll_back("delay_net", to=following.reference, reason="test")
    assert world.models.champion("delay_net").reference == champion
    world.source.unlink()
    world.promote(following)  # from a machine without the source, which cannot tell


def test_module_that_app_does_not_ship_is_refused(world):
    world.source.unlink()
    importlib.invalidate_caches()
    with pytest.raises(PredictionError, match=r"it is not there as a source file: the app must ship that module"):
        world.load()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda text: text.replace("def calendar", "def other"),
            "'calendar' of module .* is no function declared with",
        ),
        (lambda text: "import nothing_of_this_name\n" + text, r"it cannot be imported \(ModuleNotFoundError"),
    ],
)
def test_a_module_without_the_function_is_refused(world, change: Callable[[str], str], problem):
    world.source.write_text(change(ON_DEMAND))
    manifest = world.publish(2)
    with pytest.raises(PredictionError, match=problem):
        world.load(build=manifest.reference)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("return {'twice': hour_of_day[0]}", r"returned 'twice' of shape \(\): \(1,\) is expected"),
        ("return {'double': hour_of_day}", "returned 'double': a dict of 'twice' is expected"),
        ("return hour_of_day", "returned a ndarray: a dict of 'twice' is expected"),
        ("return {'twice': hour_of_day / nothing}", "failed: NameError: name 'nothing' is not defined"),
    ],
)
def test_wrong_outputs_of_an_on_demand_function_are_named(world, line, problem):
    world.source.write_text(ON_DEMAND.replace('return {"twice": hour_of_day * 2}', line))
    predictor = world.load(build=world.publish(2).reference)
    with pytest.raises(PredictionError, match=rf"on-demand function 'doubled' version 1 {problem}"):
        predictor.predict(REQUEST, at=NOON)


@pytest.mark.parametrize(
    "broken",
    [
        GraphInput(NUMBERS, "float32", ()),
        GraphInput(NUMBERS, "float32", (*NUMBER_FEATURES[:-1], "scheduled_at")),
        GraphInput(NUMBERS, "float32", (*NUMBER_FEATURES[:-1], "origin")),
    ],
    ids=["empty", "times", "text"],
)
def test_a_manifest_whose_inputs_cannot_be_filled_is_damage(world, broken):
    manifest = world.publish(2)
    path = world.models.root / "delay_net" / manifest.reference / "manifest.json"
    path.write_text(to_json(replace(manifest, inputs=(broken, *manifest.inputs[1:]))))
    with pytest.raises(DamagedError, match=r"manifest.json fills the graph's input 'numbers'"):
        world.load(build=manifest.reference)


def test_classes_that_do_not_fit_the_graph_are_damage(world):
    manifest = world.publish(2, task="multiclass")
    path = world.models.root / "delay_net" / manifest.reference / "manifest.json"
    path.write_text(to_json(replace(manifest, classes=("late", "on_time", "early"))))
    with pytest.raises(DamagedError, match=r"'probabilities' of shape \(1, 2\): its manifest says \(1, 3\)"):
        world.load(build=manifest.reference)


@contextmanager
def predicting(predictor: Predictor, threads: int, *, pause_s: float = 0.0) -> Iterator[None]:
    """Threads that predict again and again."""
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            predictor.predict(REQUEST, at=NOON)
            time.sleep(pause_s)

    workers = [threading.Thread(target=ask) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        done.set()
        for worker in workers:
            worker.join()


def in_a_child(work: Callable[[], bool]) -> None:
    """Fork, and fail if the child does not do its work within 20 seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.soak
def test_children_predict_that_are_forked_while_threads_predict(world):
    predictor = world.load()
    expected = predictor.predict(REQUEST, at=NOON).value
    with predicting(predictor, 2):
        for _ in range(repetitions(25)):
            in_a_child(lambda: all(predictor.predict(REQUEST, at=NOON).value == expected for _ in range(5)))


@pytest.mark.soak
def test_child_forked_while_threads_end_predicts(world):
    """What a thread has open is closed as it ends, after its prediction."""
    predictor = world.load()
    expected = predictor.predict(REQUEST, at=NOON).value
    for _ in range(repetitions(40)):
        brief = [threading.Thread(target=predictor.predict, args=(REQUEST,), kwargs={"at": NOON}) for _ in range(3)]
        for thread in brief:
            thread.start()
        in_a_child(lambda: predictor.predict(REQUEST, at=NOON).value == expected)
        for thread in brief:
            thread.join()


def test_child_forked_while_threads_look_rows_up_reads(world):
    reader = OnlineReader("weather_v1", online=world.online.root)
    expected = reader.read("JFK", at=NOON)
    done = threading.Event()

    def look_up() -> None:
        while not done.is_set():
            reader.read("JFK", at=NOON)

    workers = [threading.Thread(target=look_up) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(repetitions(10)):
            in_a_child(lambda: reader.read("JFK", at=NOON) == expected)
    finally:
        done.set()
        for worker in workers:
            worker.join()


def test_child_forked_during_switch_follows_next_champion(world, monkeypatch):
    predictor = world.load()
    following = [world.publish(2), world.publish(3)]
    load, loading = ModelReader.load, threading.Event()

    def slow(*arguments: Any) -> Any:
        loading.set()
        time.sleep(0.3)
        return load(*arguments)

    world.promote(following[0])
    monkeypatch.setattr(ModelReader, "load", slow)
    switching = threading.Thread(target=lambda: predictor.predict(REQUEST, at=NOON))
    switching.start()
    assert loading.wait(10)

    def follow() -> bool:
        world.promote(following[1])
        return predictor.predict(REQUEST, at=NOON).build == following[1].reference

    in_a_child(follow)
    switching.join()


def test_champions_that_come_and_go_leave_no_file_open(world):
    """Nor do the threads that read for them."""
    both = [world.publish(token) for token in (2, 3)]
    predictor = world.load()
    opened = []
    with predicting(predictor, 2, pause_s=0.005):
        for flip in range(30):
            world.promote(both[flip % 2])
            predictor.predict(REQUEST, at=NOON)
            if flip in (9, 29):
                opened.append(len(os.listdir("/proc/self/fd")))
    assert opened[1] <= opened[0] + 12


def test_answers_are_logged_with_an_id_that_the_app_has_too(world, tmp_path):
    with world.load(log=tmp_path / "log", redact=["origin"]) as predictor:
        one = predictor.predict(REQUEST, at=NOON)
        two = predictor.predict([REQUEST, REQUEST | {"flight_id": 8}], at=NOON)
        assert predictor.predict([], at=NOON) == []
    [file] = closed_files(tmp_path / "log" / one.model)
    logged = [result for result in map(json.loads, file.lines()) if "request_id" in result]
    assert [(result["request_id"], result["row"], result["value"]) for result in logged] == [
        (one.request_id, 0, one.value),
        (two[0].request_id, 0, two[0].value),
        (two[1].request_id, 1, two[1].value),
    ]
    assert one.request_id != two[0].request_id == two[1].request_id
    assert [result["request"]["flight_id"] for result in logged] == [7, 7, 8]
    assert (
        {result["request"]["origin"] for result in logged}
        == {result["features"]["origin"] for result in logged}
        == {None}
    )
    assert logged[0]["features"]["temp"] == one.features["temp"]
    assert logged[0]["ages"] == one.ages


def test_without_a_log_nothing_has_an_id(world):
    assert world.load().predict(REQUEST, at=NOON).request_id == ""
