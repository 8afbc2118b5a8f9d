"""A model in one file: the same answers as from the stores, until the age that it states."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.core.manifest import JoinedKey
from fti_assets.errors import (
    DamagedError,
    DataError,
    DeclarationError,
    NotMaterializedError,
    PredictionError,
    StoreError,
)
from fti_assets.inference.serving.bundle.keys import ChosenKeys, read_keys
from fti_assets.inference.serving.bundle.writing import write_bundle
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.stores.models.plain import publish_graph
from fti_assets.stores.models.reader import ModelReader
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.redis.store import RedisOnlineStore
from fti_assets.stores.online.store import SqliteOnlineStore
from tests.inference.test_predictor import (
    DELAYS,
    HOUR,
    NOON,
    ON_DEMAND,
    PLANES,
    REQUEST,
    WEATHER,
    World,
    version,
    world,
)
from tests.stores.online_stores import redis_location
from tests.support.examples import examples
from tests.support.serving import sum_and_difference

__all__ = ["world"]

WEEK = timedelta(days=7)
OPENED: list[Predictor] = []
AIRPORTS = ["JFK", "BOS", "LGA", "é", ""]


def filled(world: Any) -> Any:
    """A world with more rows: late ones, some that are not visible yet, several keys of each group."""
    world.load_group(
        WEATHER,
        [
            (
                (place,),
                [version(NOON - n * HOUR, NOON - n * HOUR - HOUR, 50.0 + n + number, None) for n in (9, 5, 1, -3)],
            )
            for number, place in enumerate(sorted(AIRPORTS))
        ],
        answers_from=NOON - 8 * HOUR,
    )
    world.load_group(DELAYS, [((place,), [version(NOON, NOON - HOUR, 0.25)]) for place in ("BOS", "JFK")])
    flights = sorted(
        [("BOS", 7), ("BOS", 8), ("JFK", 7), ("JFK", -1)], key=lambda key: f"{len(key[0])}:{key[0]}{key[1]};"
    )
    world.load_group(PLANES, [(key, [(None, None, (150 + abs(key[1]), None))]) for key in flights])
    return world


@pytest.fixture
def full(world: Any) -> Any:
    """A filled world to change."""
    return filled(world)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A filled world that nobody changes."""
    folder = tmp_path_factory.mktemp("shared")
    source = folder / "shared_on_demand.py"
    source.write_text(ON_DEMAND)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        made = World(ModelStore(folder / "models"), SqliteOnlineStore(folder / "online"), source.stem, source)
        filled(made).promote(made.publish())
        yield made
    sys.modules.pop(source.stem, None)


def bundled(world: Any, path: Path, **options: Any) -> Path:
    """The world's champion in a file, as of noon, for a week."""
    given_options = {"models": world.models, "online": world.online, "answers_for": WEEK} | options
    with clock.at(NOON):
        write_bundle(path, "delay_net", **given_options)
    return path


def key_file(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


asked = st.fixed_dictionaries(
    {
        "flight_id": st.sampled_from([7, 8, -1, 99]),
        "origin": st.none() | st.sampled_from([*AIRPORTS, "SFO"]),
        "dest": st.none() | st.sampled_from(["BOS", "JFK", "é", "SFO"]),
        "distance": st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
        "scheduled_at": st.none() | st.just(NOON + 2 * HOUR),
    }
)


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(asked, min_size=1, max_size=4), minutes=st.integers(-8 * 60, 7 * 24 * 60))
def test_bundle_answers_bit_for_bit_as_the_stores(shared, tmp_path, requests, minutes):
    path = tmp_path / "delay_net.zip"
    if not path.exists():
        bundled(shared, path)
        OPENED[:] = Predictor.open_bundle(path), shared.load()
    from_bundle, from_stores = OPENED
    at = NOON + timedelta(minutes=minutes)
    assert from_bundle.predict(requests, at=at) == from_stores.predict(requests, at=at)
    assert repr(from_bundle.predict(requests[0], at=at)) == repr(from_stores.predict(requests[0], at=at))
    columns = {name: [one[name] for one in requests] for name in requests[0]}
    in_columns = [predictor.predict_columns(columns, at=at) for predictor in OPENED]
    assert in_columns[0].values.tobytes() == in_columns[1].values.tobytes()
    assert list(in_columns[0]) == list(in_columns[1])
    overrides = {"temp": 1.5}
    assert from_bundle.features(requests, at=at, overrides=overrides) == from_stores.features(
        requests, at=at, overrides=overrides
    )


def test_instant_before_what_the_store_held_is_refused(shared, tmp_path):
    predictor = Predictor.open_bundle(bundled(shared, tmp_path / "a.zip"))
    with pytest.raises(PredictionError, match="answers from 2013-06-01T04:00:00"):
        predictor.predict(REQUEST, at=NOON - 9 * HOUR)


@pytest.mark.parametrize("ask", ["predict", "features", "predict_columns"])
def test_bundle_refuses_to_answer_past_its_age(shared, tmp_path, ask):
    predictor = Predictor.open_bundle(bundled(shared, tmp_path / "a.zip"))
    question = {name: [value] for name, value in REQUEST.items()} if ask == "predict_columns" else REQUEST
    getattr(predictor, ask)(question, at=NOON + WEEK)
    with pytest.raises(PredictionError, match=r"a.zip answers until 2013-06-08T12:00:00, .* replace it"):
        getattr(predictor, ask)(question, at=NOON + WEEK + timedelta(microseconds=1))
    with clock.at(NOON + WEEK + HOUR):
        with pytest.raises(PredictionError, match="is asked for 2013-06-08T13:00:00"):
            getattr(predictor, ask)(question)
        getattr(predictor, ask)(question, at=NOON)  # a replay, of what was known then


def test_the_same_stores_give_the_same_bytes(full, tmp_path):
    first = bundled(full, tmp_path / "a.zip").read_bytes()
    full.online.drop(DELAYS.table_name)  # loaded again, in another order and generation
    full.load_group(DELAYS, [((place,), [version(NOON, NOON - HOUR, 0.25)]) for place in ("JFK", "BOS")])
    assert bundled(full, tmp_path / "b.zip").read_bytes() == first


def test_redis_and_sqlite_give_the_same_bytes(shared, tmp_path):
    with redis_location() as location:
        on_redis = filled(replace(shared, online=RedisOnlineStore(location)))
        first, second = bundled(on_redis, tmp_path / "a.zip"), bundled(shared, tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()


def test_a_bundle_opens_with_numpy_and_onnxruntime_alone(shared, tmp_path):
    folder = tmp_path / "device"
    folder.mkdir()
    bundled(shared, folder / "delay_net.zip")
    expected = shared.load().predict(REQUEST, at=NOON)
    asked_for = REQUEST | {"scheduled_at": REQUEST["scheduled_at"].isoformat()}
    code = f"""
import sys
allowed = {{"numpy", "onnxruntime", "fti_assets"}} | set(sys.stdlib_module_names)
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if not name.startswith("_") and name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
before = set(sys.modules)
sys.meta_path.insert(0, Refuse())
from fti_assets import Predictor
predictor = Predictor.open_bundle("delay_net.zip")
print(repr(predictor.predict({asked_for!r}, at="2013-06-01T12:00:00").value))
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print([name for name in loaded - allowed if not name.startswith("_")])
"""
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": os.environ["PATH"]}
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    value, further = run.stdout.splitlines()
    assert value == repr(expected.value)
    assert further == "[]"
    assert os.listdir(folder) == ["delay_net.zip"]


def test_a_bundle_reads_its_file_once_and_writes_nothing(shared, tmp_path):
    folder = tmp_path / "device"
    folder.mkdir()
    predictor = Predictor.open_bundle(bundled(shared, folder / "a.zip"))
    (folder / "a.zip").unlink()
    assert predictor.predict(REQUEST, at=NOON) == shared.load().predict(REQUEST, at=NOON)
    assert not list(folder.iterdir())
    with pytest.raises(StoreError, match="is never written"):
        predictor._served._online.drop("weather_v1")


def test_other_on_demand_code_of_the_process_is_left_alone(full, tmp_path):
    path = bundled(full, tmp_path / "a.zip")
    expected = full.load().predict(REQUEST, at=NOON)
    sys.modules.pop(full.module)
    full.source.write_text(ON_DEMAND.replace("temp * wait", "temp * wait * 3"))
    with pytest.raises(PredictionError, match="means something else"):
        full.load()
    assert full.module not in sys.modules
    assert Predictor.open_bundle(path).predict(REQUEST, at=NOON) == expected
    assert full.module not in sys.modules


def test_two_bundles_with_other_code_answer_side_by_side(full, tmp_path):
    first = bundled(full, tmp_path / "a.zip")
    full.source.write_text(ON_DEMAND.replace("hour_of_day * 2", "hour_of_day * 4"))
    sys.modules.pop(full.module, None)
    full.promote(full.publish(2))
    second = bundled(full, tmp_path / "b.zip")
    features = [Predictor.open_bundle(path).features(REQUEST, at=NOON)["twice"] for path in (first, second, first)]
    assert features == [28.0, 56.0, 28.0]


def test_a_slice_answers_for_its_keys_and_refuses_others(shared, tmp_path):
    keys = key_file(tmp_path / "keys.jsonl", [{"origin": "JFK", "dest": "BOS"}, {"origin": "SFO", "dest": "BOS"}])
    path = bundled(shared, tmp_path / "a.zip", keys=keys)
    assert path.stat().st_size < bundled(shared, tmp_path / "all.zip").stat().st_size
    sliced, stores = Predictor.open_bundle(path), shared.load()
    for origin in ("JFK", "SFO", None):
        for flight in (7, 8, 99):
            request = REQUEST | {"origin": origin, "flight_id": flight}
            assert sliced.predict(request, at=NOON) == stores.predict(request, at=NOON)
            assert sliced.predict([request, request], at=NOON) == stores.predict([request, request], at=NOON)
    for other in ({"origin": "LGA"}, {"dest": "JFK"}):
        with pytest.raises(PredictionError, match=r"was made with other keys than .* make the bundle again"):
            sliced.predict(REQUEST | other, at=NOON)
        with pytest.raises(PredictionError, match="was made with other keys than"):
            sliced.predict([REQUEST, REQUEST | other], at=NOON)


def test_a_group_that_no_key_is_named_of_is_whole(shared, tmp_path):
    (tmp_path / "keys.csv").write_text("flight_id\n7\n")
    sliced = Predictor.open_bundle(bundled(shared, tmp_path / "a.zip", keys=tmp_path / "keys.csv"))
    for origin in AIRPORTS:
        asked_of = REQUEST | {"origin": origin}
        assert sliced.predict(asked_of, at=NOON) == shared.load().predict(asked_of, at=NOON)
    with pytest.raises(PredictionError, match="planes_v1 was made with other keys than"):
        sliced.predict(REQUEST | {"flight_id": 8}, at=NOON)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("k.csv", "origin,runway\nJFK,1\n", "names 'runway', by which no group"),
        ("k.csv", "flight_id\nseven\n", "has 'seven' for 'flight_id': a value of the type integer"),
        ("k.csv", "flight_id,origin\n7\n", "more or fewer values than the header"),
        ("k.csv", "", "has no row"),
        ("k.jsonl", '{"flight_id": 7.5}\n', "a value of the type integer"),
        ("k.jsonl", '{"flight_id": true}\n', "a value of the type integer"),
        ("k.jsonl", '{"origin": null}\n', "a value of the type text"),
        ("k.jsonl", '{"origin": "JFK"}\n{"dest": "BOS"}\n', "line 2 of .* names 'dest': the lines before"),
        ("k.jsonl", "[1]\n", "no object with a field"),
        ("k.jsonl", "{\n", "cannot be read as keys"),
        ("k.jsonl", "[" * 100_000, "cannot be read as keys"),
        ("k.jsonl", b"\xff", "cannot be read as keys"),
    ],
)
def test_a_wrong_file_of_keys_is_an_error_that_says_where(tmp_path, name, text, problem):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=problem):
        read_keys(tmp_path / name, (WEATHER, DELAYS, PLANES))


def test_keys_are_not_chosen_by_a_time(tmp_path):
    (tmp_path / "k.csv").write_text("origin,hour\nJFK,2013-06-01T08:00\n")
    hourly = replace(WEATHER, keys=(*WEATHER.keys, JoinedKey("hour", "hour", "timestamp")))
    with pytest.raises(DataError, match="names 'hour', which is a time"):
        read_keys(tmp_path / "k.csv", (hourly,))


def test_a_file_that_is_there_is_kept_unless_it_is_replaced(shared, tmp_path):
    (tmp_path / "a.zip").write_text("mine")
    with pytest.raises(StoreError, match="a.zip already exists: .*--replace"):
        bundled(shared, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_text() == "mine"
    assert Predictor.open_bundle(bundled(shared, tmp_path / "a.zip", overwrite=True)).build == shared.load().build


def test_what_cannot_be_served_is_not_bundled(full, tmp_path):
    publish_graph(full.models, "simple", sum_and_difference())
    options = {"models": full.models, "online": full.online, "answers_for": WEEK}
    with pytest.raises(PredictionError, match="published as it is"):
        write_bundle(tmp_path / "a.zip", "simple", **options)
    full.online.drop("weather_v1")
    with pytest.raises(NotMaterializedError, match="no online namespace 'weather_v1'"):
        write_bundle(tmp_path / "a.zip", "delay_net", **options)
    full.source.write_text(ON_DEMAND.replace("temp * wait", "temp + wait"))
    with pytest.raises((PredictionError, NotMaterializedError)):
        write_bundle(tmp_path / "a.zip", "delay_net", **options)
    assert not (tmp_path / "a.zip").exists()


def test_a_damaged_row_of_the_store_is_not_bundled(full, tmp_path):
    import sqlite3

    with sqlite3.connect(full.online.root / "delays_v2.sqlite") as connection:
        [(blob,)] = connection.execute("SELECT blob FROM rows WHERE key = ?", (b"BOS",))
        connection.execute("UPDATE rows SET blob = ? WHERE key = ?", (blob[:-1] + bytes([blob[-1] ^ 1]), b"BOS"))
    connection.close()
    with pytest.raises(DamagedError, match="delays_v2.* key 'BOS'"):
        bundled(full, tmp_path / "a.zip")


def test_sha256_of_the_file_tells_another_file(shared, tmp_path):
    path = bundled(shared, tmp_path / "a.zip")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    Predictor.open_bundle(path, sha256=sha256.upper())
    with pytest.raises(DamagedError, match=f"has sha256 {sha256}, where 'aaaa"):
        Predictor.open_bundle(path, sha256="a" * 64)


def test_a_command_writes_a_bundle_and_says_what_it_holds(shared, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTI_NOW", NOON.isoformat())
    stores = ["--models", str(shared.models.root), "--online", str(shared.online.root)]
    key_file(tmp_path / "keys.jsonl", [{"origin": "JFK"}])
    assert main(["bundle", "delay_net", "--answers-for", "36h", "--keys", "keys.jsonl", *stores]) == 0
    output = capsys.readouterr().out
    sha256 = hashlib.sha256(Path("delay_net.zip").read_bytes()).hexdigest()
    assert f"holds delay_net {shared.load().build}" in output
    assert "answers until 2013-06-03T00:00:00, from features as of 2013-06-01T12:00:00" in output
    assert "weather_v1: 1 of 5 keys" in output
    assert sha256 in output
    assert Predictor.open_bundle("delay_net.zip", sha256=sha256).predict(REQUEST, at=NOON).build == shared.load().build
    assert main(["bundle", "delay_net", "--answers-for", "soon", *stores]) == 1
    assert "--answers-for 'soon' is not a duration" in capsys.readouterr().err


def test_a_bundle_for_longer_than_time_is_refused(shared, tmp_path):
    with pytest.raises(DeclarationError, match="answers beyond the year 9999"):
        bundled(shared, tmp_path / "a.zip", answers_for=timedelta.max)
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize("row", ['["JFK", 7]', "[[1]]", "[{}]", "[null]", "[1.5]", "[]"])
def test_rows_of_keys_that_are_none_are_damage(row):
    text = f'{{"columns": ["origin"], "rows": [{row}]}}'.encode()
    with pytest.raises(DamagedError, match=r"a.zip/keys.json has the row"):
        ChosenKeys.from_json(text, what="a.zip/keys.json")


def test_one_build_is_bundled_when_it_is_named(full, tmp_path):
    other = full.publish(2, shift=5.0)
    predictor = Predictor.open_bundle(bundled(full, tmp_path / "a.zip", build=other.reference))
    assert predictor.build == other.reference
    assert predictor.predict(REQUEST, at=NOON).value == full.load().predict(REQUEST, at=NOON).value + 5.0


def test_many_keys_are_found_among_many(full, tmp_path):
    names = sorted(f"A{number:04d}" for number in range(3000))
    full.load_group(WEATHER, [((name,), [version(NOON, NOON, float(n), None)]) for n, name in enumerate(names)])
    predictor = Predictor.open_bundle(bundled(full, tmp_path / "a.zip"))
    asked_of = [*names[::37], "A", "A0000x", "B", names[-1]]
    features = predictor.features([REQUEST | {"origin": name} for name in asked_of], at=NOON)
    places = {name: float(place) for place, name in enumerate(names)}
    assert [one["temp"] for one in features] == [places.get(name) for name in asked_of]
    assert np.isfinite(predictor.predict(REQUEST | {"origin": names[7]}, at=NOON).value)


def test_the_bundle_is_a_model_store_of_one_build(shared, tmp_path):
    path = bundled(shared, tmp_path / "a.zip")
    predictor = Predictor.open_bundle(path)
    store = predictor._served._models
    assert isinstance(store, ModelReader)
    assert store.models() == ("delay_net",)
    assert store.champion("delay_net") == shared.models.champion("delay_net")
    with pytest.raises(NotMaterializedError, match="a.zip holds delay_net/v1/"):
        store.manifest("delay_net", "v1/20130601T000000Z-000000ff")
