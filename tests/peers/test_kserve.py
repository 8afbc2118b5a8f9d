"""KServe's inference clients, unchanged, over REST and gRPC, and its objects, made of the manifest that is exported.

They need an environment of their own, since they keep pandas below 3; ``make kserve`` makes it.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fti_assets.core import clock
from fti_assets.inference.export.folder import Cluster, export
from fti_assets.inference.server import serving_app
from fti_assets.stores.models.plain import publish_graph
from tests.inference.server.test_app import PLAIN, VALUE
from tests.inference.server.test_grpc import listening as listening_to_grpc
from tests.inference.test_predictor import NOON, world
from tests.support.serving import listening, sum_and_difference

__all__ = ["world"]

KSERVE = Path(".venv-kserve/bin/python").absolute()
CLIENT = Path("benchmarks/peers/kserve_client.py").absolute()
READER = Path("benchmarks/peers/kserve_manifest.py").absolute()

pytestmark = pytest.mark.skipif(not KSERVE.exists(), reason=f"there is no KServe at {KSERVE}: make kserve")


def test_clients_are_answered_over_both_protocols(world: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FTI_NOW", NOON.isoformat())
    assert clock.now() == NOON
    publish_graph(world.models, "simple", sum_and_difference())
    app = serving_app("delay_net", "simple", models=world.models.root, online=world.online.root)
    with listening(app) as http, listening_to_grpc(app) as grpc:
        run = subprocess.run(
            [KSERVE, CLIENT, http, grpc, json.dumps(PLAIN)], capture_output=True, text=True, check=False, timeout=120
        )
    assert run.returncode == 0, run.stderr[-2000:]
    answered = json.loads(run.stdout.splitlines()[-1])
    left, right = np.arange(16), np.full(16, 3)
    sums = {"OUTPUT0": (left + right).tolist(), "OUTPUT1": (left - right).tolist()}
    assert all(answered[name] for name in ("live", "ready", "model_ready", "grpc_live", "grpc_ready"))
    assert answered["json"] == answered["binary"] == answered["grpc"] == {"id": "mine"} | sums
    assert answered["fields"]["probability"] == [VALUE]
    assert answered["unknown"] == 404


@pytest.mark.parametrize("online", ["redis://cache:6379/0?prefix=flights", "redis://:s3cret@cache:6379/0"])
def test_kserves_objects_take_the_exported_manifest_whole(world: Any, tmp_path: Path, online: str):
    cluster = Cluster("s3://models/delay_net", "registry.example/delays:1", online)
    export(world.models, "delay_net", tmp_path / "out", to="kserve", cluster=cluster)
    file = tmp_path / "out/inference-service.yaml"
    run = subprocess.run([KSERVE, READER, file], capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    assert json.loads(run.stdout.splitlines()[-1]) == yaml.safe_load(file.read_text())
    file.write_text(file.read_text().replace("storageUri:", "storageURI:"))
    assert (
        "which V1beta1ModelSpec has not"
        in subprocess.run([KSERVE, READER, file], capture_output=True, text=True).stderr
    )
