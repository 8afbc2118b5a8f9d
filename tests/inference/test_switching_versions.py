"""While the champion moves to another version of a feature group, each request is answered from one version."""

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fti_assets.core.manifest import (
    NUMBERS,
    Column,
    GraphInput,
    GraphOutput,
    JoinedColumn,
    JoinedGroup,
    JoinedKey,
)
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.stores.models.store import ModelStore, build_id
from fti_assets.stores.online.store import OnlineStore
from tests.stores.online_stores import KINDS, online_store_of
from tests.support.records import model_manifest, view_record

NOON = datetime(2013, 6, 1, 12)
KEYS = [f"A{i}" for i in range(5)]
REQUESTS = [{"origin": key} for key in KEYS]


@pytest.fixture(params=KINDS)
def online(request: pytest.FixtureRequest) -> Iterator[OnlineStore]:
    with online_store_of(request.param) as made:
        yield made


def graph(version: int) -> bytes:
    """1,000 times the version, and the sum of the features."""
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "last"),
        numpy_helper.from_array(np.array([1000 * version], np.float32), "shift"),
    ]
    nodes = [
        helper.make_node("ReduceSum", [NUMBERS, "last"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "shift"], ["value"]),
    ]
    features = helper.make_tensor_value_info(NUMBERS, TensorProto.FLOAT, ["n", 2])
    value = helper.make_tensor_value_info("value", TensorProto.FLOAT, ["n"])
    made = helper.make_graph(nodes, "sum", [features], [value], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def publish(models: ModelStore, version: int) -> str:
    """A build on ``weather_v<version>`` and ``delays_v<version>``; version 2 of the groups has another column."""
    names = ("temp", "rate")
    joins = tuple(
        JoinedGroup(group, version, (JoinedKey("origin", "origin", "text"),),
                    (JoinedColumn(name, f"{name}_{version}", "number"),), event_time="t")
        for group, name in zip(("weather", "delays"), names, strict=True)
    )  # fmt: skip
    features = tuple(Column(name, "number") for name in names)
    view = view_record(
        version=version,
        spine="flights",
        keys=("origin",),
        prediction_time="at",
        request=(Column("origin", "text"),),
        joins=joins,
        features=features,
    )
    made = graph(version)
    manifest = model_manifest(
        made,
        version=version,
        build=build_id(datetime(2013, 5, 1), f"{version:08x}"),
        task="regression",
        view=view,
        inputs=(GraphInput(NUMBERS, "float32", names),),
        outputs=(GraphOutput("value", "float32"),),
    )
    models.publish(manifest, made, "")
    return manifest.reference


def load_groups(online: OnlineStore, version: int, snapshot: int = 1) -> None:
    for group, name in (("weather", "temp"), ("delays", "rate")):
        online.load(
            f"{group}_v{version}",
            key_types=("text",),
            columns=(Column(f"{name}_{version}", "number"),),
            rows=[((key,), [(0, 0, (float(version),))]) for key in KEYS],
            answers_from=None,
            snapshot=snapshot,
            event_time=True,
        )


def test_every_answer_is_of_one_version_while_champions_switch(online, tmp_path: Path):
    models = ModelStore(tmp_path / "models")
    builds = {version: publish(models, version) for version in (1, 2)}
    for version in (1, 2):
        load_groups(online, version)
    models.promote("delay_net", builds[1], expected=None, reason="test")
    predictor = Predictor.load("delay_net", models=models.root, online=online.location)
    problems: list[object] = []
    observed: set[str] = set()
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                several = predictor.predict(REQUESTS, at=NOON)
                for answers in (several, [predictor.predict(REQUESTS[0], at=NOON)]):
                    builds_seen = {answer.build for answer in answers}
                    version = 1 if builds_seen == {builds[1]} else 2
                    observed.update(builds_seen)
                    right = 1000.0 * version + 2 * version
                    for answer in answers:
                        if answer.build != builds[version] or answer.missing or answer.value != right:
                            problems.append(answer)
            except Exception as error:
                problems.append(error)
                raise

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    champion = 1
    for turn in range(8):
        before, champion = champion, 3 - champion
        models.promote("delay_net", builds[champion], expected=builds[before], reason="test")
        load_groups(online, before, snapshot=2 + turn)  # also while they are loaded
        until = time.monotonic() + 20
        while predictor.build != builds[champion] and time.monotonic() < until:
            time.sleep(0.01)
        assert predictor.build == builds[champion]
    done.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert observed == set(builds.values())
