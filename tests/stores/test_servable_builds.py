"""What a manifest may say, what a build must do before it serves, and what one damaged build does to the others."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from fti_assets.cli import main
from fti_assets.core.manifest import Column, GraphInput, JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.rollouts.rollout import Arm, Rollout
from fti_assets.core.types.vectors import vectors
from fti_assets.errors import DamagedError, FtiError, NoChampionError, PredictionError, StoreError
from fti_assets.stores.models import opened_graph
from fti_assets.stores.models.builds import servable
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.rollouts import start_rollout
from fti_assets.stores.models.samples import SAMPLES, Samples
from fti_assets.stores.models.store import ModelStore
from tests.graphs import endless_graph
from tests.support.records import model_manifest, view_record

FIRST, SECOND = "v1/20130501T000000Z-00000001", "v1/20130601T000000Z-00000002"
NUMBERS = (Column("age", "number"), Column("price", "number"))
PLANS = JoinedGroup("plans", 1, (JoinedKey("id", "id", "integer"),), (JoinedColumn("price", "price", "number"),))
VIEW = view_record(request=(Column("id", "integer"), NUMBERS[0]), joins=(PLANS,), features=NUMBERS)


def graph() -> bytes:
    """``probability`` [n] of ``numbers`` [n, 2]: the first and twice the second."""
    nodes = [helper.make_node("MatMul", ["numbers", "weights"], ["probability"])]
    numbers = helper.make_tensor_value_info("numbers", onnx.TensorProto.FLOAT, ["n", 2])
    output = helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, ["n"])
    weights = helper.make_tensor("weights", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
    made = helper.make_graph(nodes, "two", [numbers], [output], [weights])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = ModelStore(tmp_path_factory.mktemp("published") / "models")
    samples = Samples({"age": np.array([1.0, 5.0]), "price": np.array([2.0, 0.0])}, np.array([5.0, 5.0])).to_json()
    for reference, cutoff in ((FIRST, "2013-05-01T00:00:00"), (SECOND, "2013-06-01T00:00:00")):
        manifest = model_manifest(
            graph(),
            build=reference.removeprefix("v1/"),
            cutoff=cutoff,
            view=VIEW,
            inputs=(GraphInput("numbers", "float32", ("age", "price")),),
            files={SAMPLES: sha256(samples)},
            packages={"onnxruntime": onnxruntime.__version__},
        )
        store.publish(manifest, graph(), "", {SAMPLES: samples})
    store.promote("delay_net", SECOND, expected=None, reason="first")
    store.promote("delay_net", FIRST, expected=SECOND, reason="then")
    return store.root


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def store(published: Path, tmp_path: Path) -> ModelStore:
    shutil.copytree(published, tmp_path / "models")
    return ModelStore(tmp_path / "models")


def file_of(store: ModelStore, name: str, reference: str = SECOND) -> Path:
    return store.root / "delay_net" / reference / name


def changed(store: ModelStore, change: Callable[[dict[str, Any]], None], reference: str = SECOND) -> None:
    path = file_of(store, "manifest.json", reference)
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(manifest: Any) -> None:
        for step in path[:-1]:
            manifest = manifest[step]
        manifest[path[-1]] = value

    return change


JOIN = ("view", "joins", 0)
IMPOSSIBLE = {
    "no outputs": (put("outputs", value=[]), "has the outputs none: 'probability' is that of"),
    "another output": (put("outputs", 0, "name", value="zz"), "has the outputs 'zz'"),
    "another task": (put("task", value="regression"), "'value' is that of the task 'regression'"),
    "no classes": (
        lambda one: one.update(task="multiclass", outputs=[{"name": "probabilities", "type": "float32"}]),
        "a multiclass model has some",
    ),
    "no inputs": (put("inputs", value=[]), "names no input"),
    "no features": (put("inputs", 0, "features", value=[]), "fills the graph's input 'numbers', .*, with nothing"),
    "times in": (put("view", "request", 1, "type", value="timestamp"), "fills the graph's input 'numbers'"),
    "unknown feature": (put("inputs", 0, "features", 0, value="zz"), "takes 'zz' for the graph's input 'numbers' from nowhere"),
    "unknown column": (put("view", "features", 0, "name", value="zz"), "takes 'zz' for the view from nowhere"),
    "unknown key": (put(*JOIN, "keys", 0, "spine", value="zz"), "takes 'zz' for a group's key from nowhere"),
    "no keys": (put(*JOIN, "keys", value=[]), "joins the group 'plans' by no key"),
    "a path": (put(*JOIN, "group", value="../../etc"), r"names the group '\.\./\.\./etc'"),
    "a version": (put(*JOIN, "version", value=0), "names version 0 of the group 'plans'"),
    "negative ttl": (put(*JOIN, "ttl_us", value=-1), "has -1 microseconds as the ttl of the group 'plans'"),
    "huge delay": (put(*JOIN, "serving_delay_us", value=10**30), "microseconds as the serving delay of the group 'plans'"),
    "a file elsewhere": (put("files", value={"../x": "0"}), r"names '\.\./x' as a file"),
    "categories": (put("encoders", value={"age": {"categories": [[1]]}}), r"an encoder of 'age' with the categories \[\[1\]\]"),
    "plain graph": (put("kind", value="graph"), "and yet names inputs, outputs or features"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "problem"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_manifest_is_damage_that_names_file(store, change, problem):
    changed(store, change)
    with pytest.raises(DamagedError, match=rf"manifest\.json .*{problem}.*Restore the file from a copy"):
        load_build(store, "delay_net", SECOND)
    before = store.aliases("delay_net")
    with pytest.raises(DamagedError, match=problem):
        store.promote("delay_net", SECOND, expected=FIRST, reason="x")
    assert store.aliases("delay_net") == before


def endless(store: ModelStore) -> None:
    file_of(store, "model.onnx").write_bytes(endless_graph())
    changed(store, put("sha256", value=sha256(endless_graph())))


def empty(store: ModelStore) -> None:
    file_of(store, SAMPLES).write_bytes(b"")


def folder(store: ModelStore) -> None:
    file_of(store, SAMPLES).unlink()
    file_of(store, SAMPLES).mkdir()


REFUSED = {
    "swapped features": lambda store: changed(store, put("inputs", 0, "features", value=["price", "age"])),
    "a feature twice": lambda store: changed(store, put("inputs", 0, "features", value=["age", "age"])),
    "another task": lambda store: changed(
        store, lambda one: one.update(task="regression", outputs=[{"name": "value", "type": "float32"}])
    ),
    "samples gone": lambda store: file_of(store, SAMPLES).unlink(),
    "samples empty": empty,
    "samples a folder": folder,
    "endless": endless,
}


@pytest.mark.parametrize("spoil", REFUSED.values(), ids=REFUSED)
def test_what_a_load_refuses_never_becomes_champion_or_arm(store, spoil):
    spoil(store)
    before = store.aliases("delay_net")
    with pytest.raises(FtiError):
        load_build(store, "delay_net", SECOND)
    rollout = Rollout("canary", (Arm("new", SECOND, 0.1),), ("id",), "salt", "2013-07-01T00:00:00", "try")
    for switch in (
        lambda: store.promote("delay_net", SECOND, expected=FIRST, reason="x"),
        lambda: store.roll_back("delay_net", reason="x"),
        lambda: store.roll_back("delay_net", to=SECOND, reason="x"),
        lambda: start_rollout(store, "delay_net", rollout),
    ):
        with pytest.raises(StoreError):
            switch()
    assert store.aliases("delay_net") == before
    assert main(["promote", "delay_net", SECOND, "--reason", "x", "--models", str(store.root)]) == 1
    assert main(["rollback", "delay_net", "--reason", "x", "--models", str(store.root)]) == 1
    assert store.aliases("delay_net") == before


def test_a_whole_build_still_becomes_champion(store):
    assert store.roll_back("delay_net", reason="x").champion == SECOND
    assert store.promote("delay_net", FIRST, expected=SECOND, reason="x").champion == FIRST


def test_a_published_graph_is_not_run_again_by_its_promotion(store, monkeypatch):
    runs = []
    opened = opened_graph.open_graph
    for module in (opened_graph, servable):
        monkeypatch.setattr(module, "open_graph", lambda *given, **more: runs.append(1) or opened(*given, **more))
    manifest, onnx_bytes = store.load("delay_net", SECOND)
    samples = file_of(store, SAMPLES).read_bytes()
    shutil.rmtree(file_of(store, ""))
    store.publish(manifest, onnx_bytes, "", {SAMPLES: samples})
    store.promote("delay_net", SECOND, expected=FIRST, reason="by its gates")
    assert not runs
    store.promote("delay_net", FIRST, expected=SECOND, reason="back")
    assert len(runs) == 1
    file_of(store, SAMPLES).write_bytes(b"")
    with pytest.raises(DamagedError, match=r"samples\.json is damaged"):
        store.promote("delay_net", SECOND, expected=FIRST, reason="again")


def test_the_right_runtime_is_not_blamed_for_other_answers(store):
    REFUSED["swapped features"](store)
    with pytest.raises(
        DamagedError, match=r"with the same onnxruntime .*: its manifest, graph or samples were changed"
    ):
        load_build(store, "delay_net", SECOND)
    changed(store, put("packages", "onnxruntime", value="1.2.3"))
    with pytest.raises(PredictionError, match=r"does not compute what it was judged by\. Install 1\.2\.3, or train"):
        load_build(store, "delay_net", SECOND)


def test_a_damaged_manifest_is_left_out_with_a_warning(store, caplog):
    file_of(store, "manifest.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert store.newest_accepted("delay_net", before="2014-01-01").reference == FIRST
    assert f"the build delay_net/{SECOND} is left out: " in caplog.text
    with pytest.raises(DamagedError, match="manifest.json"):
        store.builds("delay_net")


def test_damaged_builds_are_listed_among_the_others(store, capsys):
    file_of(store, "manifest.json", FIRST).write_text("{")
    assert main(["models", "delay_net", "--models", str(store.root)]) == 1
    printed = capsys.readouterr()
    assert f"{SECOND}  accepted" in printed.out
    assert f"{FIRST}  (damaged: " in printed.out
    assert f"'{FIRST}' cannot be read" in printed.err


def test_damaged_aliases_hide_no_model_and_no_build(store, capsys):
    (store.root / "aaa").mkdir()
    for model in ("aaa", "delay_net"):
        (store.root / model / "aliases.json").write_text("{")
    shutil.copytree(store.root / "delay_net", store.root / "zzz")
    (store.root / "zzz" / "aliases.json").unlink()
    assert main(["models", "--models", str(store.root)]) == 1
    printed = capsys.readouterr().out
    for line in ("aaa  (damaged: ", "delay_net  (damaged: ", "zzz  champion none"):
        assert line in printed
    assert main(["models", "delay_net", "--models", str(store.root)]) == 1
    printed = capsys.readouterr().out
    for line in ("champion  (damaged: ", f"{FIRST}  accepted", f"{SECOND}  accepted"):
        assert line in printed


def test_without_champion_damaged_builds_are_told_too(store):
    (store.root / "delay_net" / "aliases.json").unlink()
    file_of(store, "manifest.json").write_text("{")
    with pytest.raises(NoChampionError, match=rf"{FIRST} \(accepted\), {SECOND} \(damaged\)"):
        store.champion("delay_net")


def test_samples_keep_infinite_numbers() -> None:
    inf = float("inf")
    columns = {"x": np.array([inf, -inf, np.nan, 0.1]), "inf": np.array(["inf", "", "-inf", "a"], dtype=object)}
    columns["v"] = vectors([[inf, None], [1.5, -inf], None, [1e300, 0.0]])
    text = Samples(columns, np.arange(4.0)).to_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    read = Samples.from_json(text, texts=["inf"], of_vectors=["v"], what="samples")
    np.testing.assert_array_equal(read.columns["x"], columns["x"])
    assert read.columns["inf"].tolist() == columns["inf"].tolist()
    for one, other in zip(read.columns["v"], columns["v"], strict=True):
        np.testing.assert_array_equal(one, other)
