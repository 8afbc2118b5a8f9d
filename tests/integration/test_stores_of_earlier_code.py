"""Stores that earlier code made are read, served and added to by the code of now, to the last bit.

The stores lie in ``tests/data`` beside the declarations that made them and what that code answered. Change neither: a failure here
means that the stores of everybody who upgrades are read wrongly, counted as changed, or not found.
"""

import hashlib
import importlib
import json
import math
import shutil
import sqlite3
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import dagster as dg
import jsonschema
import pytest

import fti_assets as fti
from fti_assets.cli.commands import main
from fti_assets.core import clock
from fti_assets.errors import DamagedError, PredictionError
from fti_assets.testing import stores_in
from tests.stores.online_stores import REDIS, why_no_redis

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "data" / "stores_of_0_1"
EXPECTED: dict[str, Any] = json.loads((OLD / "expected.json").read_text())
READ = ["tables", "ledgers", "history", "models", "features"]
NEW_DAY = "2025-03-12"
PREFIX = "stores-of-0-1"

A_COUNTER = "353a6e6f727468323b"
"""The key of counter 2 of the shop 'north', as an online store has it."""

APP = """
import json, sys
HEAVY = ("dagster", "duckdb", "onnx", "pandas", "pandera", "pyarrow", "sklearn", "torch")
for name in HEAVY:
    sys.modules[name] = None  # an import of it fails, as where it is not installed
from fti_assets import Predictor
models, online, model = sys.argv[1:]
predictor = Predictor.load(model, models=models, online=online)
answers = []
for request, at in json.load(sys.stdin):
    one = predictor.predict(request, at=at)
    answers.append({"value": one.value, "features": one.features, "missing": one.missing, "build": one.build})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def old() -> Iterator[Any]:
    """The old system's modules, on the import path as when it was run."""
    names = {file.stem for file in OLD.glob("old_*.py")}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(OLD)
        yield importlib.import_module("old_answers")
        for name in names:
            sys.modules.pop(name, None)


def unpacked(folder: Path) -> fti.Stores:
    with tarfile.open(OLD / "stores.tar.xz") as packed:
        packed.extractall(folder, filter="data")
    return stores_in(folder)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    """The old stores, which the tests only read."""
    return unpacked(tmp_path_factory.mktemp("old"))


@dataclass
class Later:
    """The old stores after the code of now has worked on them, and what came of it."""

    stores: fti.Stores
    reruns: dict[str, Any]
    ledgers_after_reruns: dict[str, Any] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def later(old: Any, tmp_path_factory: pytest.TempPathFactory) -> Later:
    """Stored rows are given again, a day is added, the feed goes on, and a new build is compared with the old champion."""
    stores = unpacked(tmp_path_factory.mktemp("later"))
    with clock.at(old.MADE_AT):
        after = Later(stores, old.reruns(stores))
    after.ledgers_after_reruns = old.ledgers(stores)
    next_day = old.MADE_AT + timedelta(days=1)
    for name, partition in [
        ("orders", NEW_DAY), ("deliveries", NEW_DAY), ("habits", NEW_DAY), ("customers", None), ("lateness_dataset", NEW_DAY),
        ("lateness_model", NEW_DAY), ("lateness_predictions", NEW_DAY),
    ]:  # fmt: skip
        after.said[name] = old.run(stores, name, partition, now=next_day)
    return after


@pytest.mark.parametrize("section", READ)
def test_what_is_stored_reads_as_code_that_stored_it_read_it(section: str, old: Any, stores: fti.Stores) -> None:
    with clock.at(old.MADE_AT):
        results = json.loads(json.dumps(old.SECTIONS[section](stores)))
    for name, wanted in EXPECTED[section].items():
        assert results[name] == wanted, name
    assert results == EXPECTED[section]


def test_dagster_finds_its_records_of_old_assets_under_same_names(old: Any) -> None:
    """Steps are named in users' run configs, checks have histories, and a changed code version shows every asset as out of date."""
    results = old.declared()
    assert results.keys() == EXPECTED["declared"].keys()
    for name, wanted in EXPECTED["declared"].items():
        assert set(results[name].pop("checks")) >= set(wanted["checks"]), name
        assert results[name] == {about: value for about, value in wanted.items() if about != "checks"}, name


def test_copied_stores_open_whatever_folder_the_catalog_notes(stores: fti.Stores) -> None:
    with closing(sqlite3.connect(stores.offline_store().catalog)) as catalog:
        [(noted,)] = catalog.execute("SELECT value FROM ducklake_metadata WHERE key = 'data_path'").fetchall()
    assert not Path(noted).exists()


def alike(found: Any, wanted: Any) -> bool:
    """Whether values of a graph are the same but for the order in which processors add float32."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(alike(found[name], one) for name, one in wanted.items())
    return math.isclose(float.fromhex(found), float.fromhex(wanted), rel_tol=2**-20)


def reported(answer: list[Any]) -> list[Any]:
    """Features, missing, unknown, beyond the schema and build, as now reported: whole numbers that the graph gets rounded are named."""
    _, features, missing, unknown, beyond, build = answer
    rounded = [name for name, value in features.items() if isinstance(value, int) and int(float(value)) != value]
    return [features, missing, unknown, [*beyond, *rounded], build]


@pytest.mark.parametrize("model", ["lateness_model", "verdict_model"])
def test_a_predictor_answers_from_old_stores_as_it_did(model: str, old: Any, stores: fti.Stores) -> None:
    results = json.loads(json.dumps(old.predictions(str(stores.models), str(stores.online), model)))
    wanted = EXPECTED["predictions"][model]
    assert [one[1:] for one in results] == [reported(one) for one in wanted]
    assert all(alike(one[0], other[0]) for one, other in zip(results, wanted, strict=True))


def test_base_install_answers_from_old_stores_unchanged(old: Any, stores: fti.Stores) -> None:
    done = subprocess.run(
        [sys.executable, "-c", APP, str(stores.models), str(stores.online), "lateness_model"],
        input=json.dumps(old.requests("lateness_model")),
        env={"PYTHONPATH": f"{ROOT}:{OLD}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for answer, (value, features, missing, _, _, build) in zip(
        json.loads(done.stdout), EXPECTED["predictions"]["lateness_model"], strict=True
    ):
        assert (old.plain(answer["features"]), answer["missing"], answer["build"]) == (features, missing, build)
        assert alike(answer["value"].hex(), value)


@contextmanager
def empty_database() -> Iterator[tuple[Any, str]]:
    """A database of the Redis server where nobody else has the prefix that the keys were written with, which is in them."""
    if why_no_redis() is not None:
        pytest.skip(str(why_no_redis()))
    import redis

    for number in range(1, 16):
        address = f"{REDIS.rpartition('/')[0]}/{number}"
        with redis.Redis.from_url(address) as client:
            if not client.set(f"{PREFIX}:taken", "", nx=True, ex=120):
                continue
            try:
                yield client, address
            finally:
                client.unlink(*client.scan_iter(f"{PREFIX}:*"))
            return
    pytest.skip(f"all databases of {REDIS} are in use by such tests")


def test_predictor_answers_from_keys_that_earlier_code_put_on_redis(old: Any, stores: fti.Stores) -> None:
    with empty_database() as (client, address):
        for key, content in EXPECTED["redis"].items():
            if isinstance(content, str):
                client.set(f"{PREFIX}:{key}", bytes.fromhex(content))
            else:
                fields = {bytes.fromhex(name): bytes.fromhex(value) for name, value in content.items()}
                client.hset(f"{PREFIX}:{key}", mapping=fields)
        location = f"{address}?prefix={PREFIX}"
        results = json.loads(json.dumps(old.predictions(str(stores.models), location, "lateness_model")))
    assert [one[1:] for one in results] == [reported(one) for one in EXPECTED["predictions"]["lateness_model"]]


def test_row_of_online_store_is_laid_out_as_is_written_here(stores: fti.Stores) -> None:
    """Every value of the layout is taken apart by hand: a changed one needs a new number of the format, and a way to read this one."""
    key, blob = bytes.fromhex(A_COUNTER), bytes.fromhex(EXPECTED["online"]["queues_v1"][A_COUNTER])
    assert key == b"5:north2;"
    assert crc32(blob[:-4], crc32(key)) == int.from_bytes(blob[-4:], "little")
    row = struct.Struct("<qqI1sqqqdI?q")  # visible, event, where the texts begin, nulls, then the columns of the group
    visible, event, texts, nulls, measured_at, known_at, queue, wait, mood, is_open, opened_at = row.unpack_from(blob)
    five_minutes = 5 * 60 * 1_000_000
    assert (event, known_at, visible) == (measured_at, visible, event + five_minutes)
    assert measured_at == 1_740_830_400_000_000  # noon of 1 March 2025
    assert (texts, nulls) == (row.size * ((len(blob) - 4) // row.size), b"\x04")
    assert (queue, wait, mood, is_open, opened_at) == (0, 39 % 29 / 7, 0, False, measured_at - 3 * 3_600_000_000 - 7)


@pytest.mark.parametrize("namespace", ["queues_v1", "habits_v1"])
def test_rows_that_are_loaded_again_are_the_same_bytes(
    namespace: str, old: Any, stores: fti.Stores, tmp_path: Path
) -> None:
    shutil.copytree(stores.offline_store().root, tmp_path / "lake")
    anew = stores_in(tmp_path)
    old.run(anew, namespace.removesuffix("_v1"), None if namespace == "queues_v1" else old.BUSY)
    with closing(sqlite3.connect(tmp_path / "online" / f"{namespace}.sqlite")) as file:
        rows = {key.hex(): blob.hex() for key, blob in file.execute("SELECT key, blob FROM rows")}
    assert rows == EXPECTED["online"][namespace]


def test_rows_that_are_given_again_are_no_change(later: Later) -> None:
    """Neither their data versions nor what Dagster's conditions and pages look for in the events of earlier runs has changed."""
    assert later.reruns.keys() == EXPECTED["reruns"].keys()
    for name, wanted in EXPECTED["reruns"].items():
        results = later.reruns[name]
        assert results["data_version"] == wanted["data_version"], name
        assert set(results["metadata"]) >= set(wanted["metadata"]), name
        assert set(results["tags"]) >= set(wanted["tags"]), name
    for table, partitions in EXPECTED["ledgers"].items():
        results = later.ledgers_after_reruns[table]
        assert {key: one[:3] for key, one in results.items()} == {key: one[:3] for key, one in partitions.items()}, (
            table
        )


def test_a_new_day_lies_beside_the_old_ones(old: Any, later: Later) -> None:
    ledgers = old.ledgers(later.stores)
    for table in ("features.orders_v1", "features.deliveries_v1", "features.habits_v1"):
        assert ledgers[table].keys() - {NEW_DAY} == EXPECTED["ledgers"][table].keys()
        assert ledgers[table][NEW_DAY][1] > 0
    folder = later.stores.offline_store().root / "data" / "features" / "orders_v1"
    assert {path.name for path in folder.iterdir()} == {f"_partition={key}" for key in ledgers["features.orders_v1"]}


def test_windows_go_on_from_the_old_tiles(old: Any, later: Later) -> None:
    [table] = [table for table in EXPECTED["ledgers"] if table.startswith("tiles.")]
    results = old.ledgers(later.stores)
    assert [name for name in results if name.startswith("tiles.")] == [table]
    for partition, wanted in EXPECTED["ledgers"][table].items():
        assert results[table][partition][:3] == wanted[:3]


def test_a_feed_goes_on_from_its_old_position(old: Any, later: Later) -> None:
    rows = fti.read("customers_v1", stores=later.stores, as_="dicts")
    assert {row["customer"]: row["age"] for row in rows} == {"bob": 48, "çem": None, "dée": 2**53 + 1, "eve": 20}


def test_serving_over_old_and_new_rows_gives_what_training_reads(old: Any, later: Later) -> None:
    system = importlib.import_module("old_system")
    orders = fti.read(system.orders, partitions=[old.BUSY, NEW_DAY], stores=later.stores, as_="arrow")
    predictor = fti.Predictor.load("lateness_model", models=later.stores.models, online=later.stores.online)
    wanted = system.lateness.features_for(orders, stores=later.stores, as_="dicts")
    names = [*old.requests("lateness_model")[0][0]]
    assert len(wanted) == 2 * system.A_DAY
    for row in wanted:
        inputs = predictor.predict({name: row[name] for name in names}, at=row["placed_at"]).features
        assert old.plain(inputs) == old.plain({name: row[name] for name in inputs})


def test_a_new_build_is_compared_with_the_old_champion(old: Any, later: Later) -> None:
    aliases = old.models(later.stores)["lateness_model/aliases.json"]
    before = EXPECTED["models"]["lateness_model/aliases.json"]
    # A change of then has no author and no evidence; all else stays as it was written.
    unknown = {"by": "", "evidence": None, "fresh": None}
    assert aliases["history"][:-1] == [change | unknown for change in before["history"]]
    assert aliases["history"][-1]["previous"] == before["champion"]
    assert aliases["champion"].startswith("v1/20250312T000000Z-")
    manifest = later.stores.model_store().manifest("lateness_model", aliases["champion"])
    [gate] = [gate for gate in manifest.gates if gate.gate == "not_worse_than_champion_roc_auc"]
    assert gate.passed
    assert before["champion"] in gate.reason
    answered = fti.read("lateness_predictions_v1", partitions=[NEW_DAY], stores=later.stores, as_="dicts")
    assert {row["build"] for row in answered} == {aliases["champion"]}


def test_old_manifests_and_new_ones_fit_the_schema(old: Any, later: Later) -> None:
    [schema] = (ROOT / "fti_assets").rglob("manifest.schema.json")
    manifests = {name: one for name, one in old.models(later.stores).items() if name.endswith("manifest.json")}
    assert len(manifests) == sum(name.endswith("manifest.json") for name in EXPECTED["models"]) + 1
    for manifest in manifests.values():
        jsonschema.validate(manifest, json.loads(schema.read_text()))
    [new] = manifests.keys() - EXPECTED["models"].keys()
    [old_one, *_] = manifests.keys() & EXPECTED["models"].keys()
    assert manifests[old_one].keys() <= manifests[new].keys()


def test_champions_go_back_to_old_builds_and_forth(
    old: Any, stores: fti.Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    copied = unpacked(tmp_path)
    champion = EXPECTED["models"]["lateness_model/aliases.json"]["champion"]
    first = EXPECTED["models"]["lateness_model/aliases.json"]["history"][0]["champion"]
    messages = ["--models", str(copied.models), "--reason", "a trial"]
    assert main(["rollback", "lateness_model", *messages]) == 0
    predictor = fti.Predictor.load("lateness_model", models=copied.models, online=copied.online)
    assert predictor.build == first
    assert main(["promote", "lateness_model", champion, *messages]) == 0
    request, at = old.requests("lateness_model")[0]
    assert predictor.predict(request, at=at).build == champion


@pytest.mark.parametrize("listed", [True, False], ids=["as the manifest has them", "other bytes"])
def test_an_old_build_is_compared_with_its_samples(old: Any, tmp_path: Path, listed: bool) -> None:
    """Were the file looked for under another name, no build of old would be compared, in silence."""
    copied = unpacked(tmp_path)
    champion = copied.model_store().champion("lateness_model")
    folder = copied.model_store().folder(champion)
    samples = json.loads((folder / "samples.json").read_text())
    samples["answers"][0] = 0.5 - samples["answers"][0]
    content = json.dumps(samples).encode()
    (folder / "samples.json").write_bytes(content)
    if listed:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"]["samples.json"] = hashlib.sha256(content).hexdigest()
        (folder / "manifest.json").write_text(json.dumps(manifest))
    result = "answers .* where it answered" if listed else "samples.json is damaged"
    with pytest.raises((DamagedError, PredictionError), match=result):  # by the runtime that made it, it is damage
        fti.Predictor.load("lateness_model", models=copied.models, online=copied.online)


def test_a_rejected_build_of_old_is_not_promoted(stores: fti.Stores, capsys: pytest.CaptureFixture[str]) -> None:
    [rejected] = [one for one in EXPECTED["models"].values() if one.get("status") == "rejected"]
    build = f"v1/{rejected['build']}"
    assert main(["promote", "lateness_model", build, "--models", str(stores.models), "--reason", "a trial"]) == 1
    assert "rejected" in capsys.readouterr().err


def test_old_stores_are_whole_and_are_kept_small(
    old: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    copied = unpacked(tmp_path)
    check = ["lake", "check", "-m", "old_system", "--lake", str(copied.lake)]
    assert main(check) == 0
    assert "0 more that no snapshot names" in capsys.readouterr().out
    job = fti.upkeep_job(keep="0s")
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(
            resources={"fti": copied},
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    assert done.success
    assert main(check) == 0
    assert json.loads(json.dumps(old.tables(copied))) == EXPECTED["tables"]
    learned = EXPECTED["models"][
        "lateness_model/v1/" + EXPECTED["models"]["lateness_model/aliases.json"]["champion"][3:] + "/manifest.json"
    ]
    assert len(fti.read("orders_v1", snapshot=learned["snapshot"], stores=copied, as_="dicts")) == len(
        EXPECTED["tables"]["features.orders_v1"]["rows"]
    )


def test_no_file_of_stores_names_module_of_library(stores: fti.Stores) -> None:
    """Modules move; files that named one would bind it to its place."""
    folder = stores.offline_store().root.parent
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 50
    assert [file for file in files if b"fti_assets." in file.read_bytes()] == []
