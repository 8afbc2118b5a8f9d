"""A build as other servers load it: files, Triton's repository, KServe's manifest with our look-ups before the graph."""

import hashlib
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2

from fti_assets.cli import main
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import from_json
from fti_assets.errors import DeclarationError, ModelError, StoreError
from fti_assets.inference.export.folder import Cluster, export
from fti_assets.inference.export.kserve import Service, as_yaml
from fti_assets.inference.export.triton import repository_files
from fti_assets.inference.server import serving_app
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.plain import publish_graph
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import SqliteOnlineStore
from tests.inference.server.test_app import AT, PLAIN
from tests.inference.server.test_service import asked
from tests.inference.test_predictor import NOON, ON_DEMAND, REQUEST, World, world
from tests.support.serving import ask, listening, sum_and_difference

__all__ = ["world"]

CLUSTER = Cluster("s3://models/delay_net", "registry.example/delays:1", "redis://cache:6379/0?prefix=flights")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world that nobody changes."""
    folder = tmp_path_factory.mktemp("shared")
    source = folder / "exported_on_demand.py"
    source.write_text(ON_DEMAND)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        made = World(ModelStore(folder / "models"), SqliteOnlineStore(folder / "online"), source.stem, source)
        made.fill()
        made.promote(made.publish())
        publish_graph(made.models, "simple", sum_and_difference())
        yield made
    sys.modules.pop(source.stem, None)


def files_in(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def config_in(folder: Path) -> Any:
    """A configuration as Triton's own proto reads it."""
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def test_onnx_is_graph_manifest_and_card(shared, tmp_path):
    made = export(shared.models, "delay_net", tmp_path / "out", to="onnx")
    assert files_in(tmp_path / "out") == {"model.onnx", "manifest.json", "card.md", "export.json"}
    assert from_json(ModelManifest, (tmp_path / "out/manifest.json").read_text(), what="it") == made
    content = (tmp_path / "out/model.onnx").read_bytes()
    assert hashlib.sha256(content).hexdigest() == made.sha256
    onnx.checker.check_model(onnx.load_model_from_string(content))
    record = json.loads((tmp_path / "out/export.json").read_text())
    assert record["files"]["model.onnx"] == made.sha256
    assert (record["model"], record["build"], record["to"]) == ("delay_net", made.reference, "onnx")


def test_tritons_proto_reads_the_configuration_of_each_graph(shared, tmp_path):
    export(shared.models, "delay_net", tmp_path / "a", to="triton")
    export(shared.models, "simple", tmp_path / "b", to="triton")
    types = model_config_pb2.DataType
    config = config_in(tmp_path / "a/repository/delay_net.graph")
    assert (config.name, config.platform, config.max_batch_size) == ("delay_net.graph", "onnxruntime_onnx", 0)
    assert [(one.name, types.Name(one.data_type), list(one.dims)) for one in config.input] == [
        ("numbers", "TYPE_FP32", [-1, 6]),
        ("text.origin", "TYPE_STRING", [-1, 1]),
        ("integer.tail", "TYPE_INT64", [-1, 1]),
    ]
    assert [(one.name, types.Name(one.data_type), list(one.dims)) for one in config.output] == [
        ("probability", "TYPE_FP32", [-1])
    ]
    assert list(config.version_policy.specific.versions) == [1]
    assert config.parameters["fti_build"].string_value == shared.models.champion("delay_net").reference
    simple = config_in(tmp_path / "b/repository/simple")
    assert [(one.name, list(one.dims)) for one in simple.input] == [("INPUT0", [1, 16]), ("INPUT1", [1, 16])]
    assert files_in(tmp_path / "b") == {
        "export.json",
        "repository/simple/config.pbtxt",
        "repository/simple/1/model.onnx",
    }


def test_the_repositorys_graph_runs_where_onnxruntime_is(shared, tmp_path):
    export(shared.models, "simple", tmp_path / "b", to="triton")
    session = onnxruntime.InferenceSession(str(tmp_path / "b/repository/simple/1/model.onnx"))
    ones = np.ones((1, 16), np.int32)
    assert session.run(["OUTPUT0"], {"INPUT0": ones, "INPUT1": ones})[0].tolist() == [[2] * 16]


def test_a_type_that_triton_has_not_is_named():
    kind = TensorProto.COMPLEX64
    made = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "c",
        [helper.make_tensor_value_info("x", kind, ["n"])], [helper.make_tensor_value_info("y", kind, ["n"])],
    )  # fmt: skip
    content = bytes(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )

    class Complex:
        takes = [type("T", (), {"name": "x", "type": "tensor(complex64)", "shape": ("n",)})]
        gives: list[Any] = []

    with pytest.raises(ModelError, match=r"input 'x' of 'c' is tensor\(complex64\), which Triton has not"):
        repository_files("c", 1, Complex, content, "v1/x")  # type: ignore[arg-type]


def test_names_of_any_text_stay_one_field(tmp_path):
    class Odd:
        takes = [type("T", (), {"name": 'a" }\n input { \\ é', "type": "tensor(float)", "shape": (None, "n", 0, 3)})]
        gives: list[Any] = []

    files = repository_files("odd", 3, Odd, b"", 'v3/"x"')  # type: ignore[arg-type]
    (tmp_path / "config.pbtxt").write_bytes(files["odd/config.pbtxt"])
    [one] = config_in(tmp_path).input
    assert (one.name, list(one.dims)) == ('a" }\n input { \\ é', [-1, -1, -1, 3])
    assert config_in(tmp_path).parameters["fti_build"].string_value == 'v3/"x"'


def test_exported_transformer_looks_up_before_an_exported_graph(shared, tmp_path, monkeypatch):
    """The graph is served as Triton would, and the look-ups start from nothing but the exported folder and the online store."""
    export(shared.models, "delay_net", tmp_path / "out", to="triton")
    expected = shared.load().predict(REQUEST, at=NOON)
    graphs = serving_app("delay_net", models=shared.models.root, online=shared.online.root)
    exported = tmp_path / "out/repository/delay_net.graph/1/model.onnx"
    assert exported.read_bytes() == shared.models.load("delay_net", expected.build)[1]
    sys.modules.pop(shared.module, None)
    monkeypatch.setattr(
        sys,
        "path",
        [str(tmp_path / "out/transformer/code"), *(one for one in sys.path if one != str(shared.source.parent))],
    )
    with listening(graphs) as address:
        transformer = serving_app(
            "delay_net",
            models=tmp_path / "out/transformer/models",
            online=shared.online.root,
            graph_server=f"http://{address}",
        )
        assert sys.modules[shared.module].__file__ == str(tmp_path / f"out/transformer/code/{shared.module}.py")
        result = ask(transformer, "POST", f"/predict/delay_net?at={AT}", PLAIN).json
        assert (result["value"], result["build"], result["features"]) == (
            expected.value,
            expected.build,
            expected.features,
        )
        transformer.repository.close()
    graphs.repository.close()
    sys.modules.pop(shared.module, None)
    again = Predictor.load("delay_net", models=tmp_path / "out/transformer/models", online=shared.online.root)
    assert again.predict(REQUEST, at=NOON) == expected
    sys.modules.pop(shared.module, None)


def test_kserves_manifest_starts_graph_and_look_ups(shared, tmp_path):
    export(shared.models, "delay_net", tmp_path / "out", to="kserve", cluster=CLUSTER)
    result = yaml.safe_load((tmp_path / "out/inference-service.yaml").read_text())
    assert (result["apiVersion"], result["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert result["metadata"]["name"] == "delay-net"
    assert result["spec"]["predictor"]["model"] == {
        "modelFormat": {"name": "triton"},
        "protocolVersion": "v2",
        "storageUri": "s3://models/delay_net/repository",
    }
    [container] = result["spec"]["transformer"]["containers"]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    assert variables["STORAGE_URI"] == "s3://models/delay_net/transformer"
    assert variables["FTI_ONLINE_STORE"] == "redis://cache:6379/0?prefix=flights"
    assert container["command"] == ["sh", "-c"]
    words = shlex.split(container["args"][0])
    assert words[:4] == ["exec", "fti", "serve", "delay_net"]
    assert words[-1] == "http://delay-net-predictor.$NAMESPACE.svc.cluster.local"
    repository = {name for name in files_in(tmp_path / "out") if name.startswith("repository/")}
    assert repository == {"repository/delay_net.graph/config.pbtxt", "repository/delay_net.graph/1/model.onnx"}


@pytest.mark.soak
def test_manifests_command_answers_before_a_server_that_has_the_graph(shared, tmp_path):
    """The container's own command, with KServe's arguments behind it, in a process that has nothing but the exported folder."""
    export(shared.models, "delay_net", tmp_path / "mnt", to="kserve", cluster=CLUSTER)
    manifest = yaml.safe_load((tmp_path / "mnt/inference-service.yaml").read_text())
    [container] = manifest["spec"]["transformer"]["containers"]
    expected = shared.load().predict(REQUEST, at=NOON)
    graphs = serving_app("delay_net", models=shared.models.root, online=shared.online.root)
    with listening(graphs) as address, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        here = f"127.0.0.1:{free.getsockname()[1]}"
        script = container["args"][0]
        for cluster, own in (
            ("/mnt/models", f"{tmp_path}/mnt/transformer"),
            ("0.0.0.0 --port 8080", here.replace(":", " --port ")),
            ("delay-net-predictor.$NAMESPACE.svc.cluster.local", address),
        ):
            assert cluster in script
            script = script.replace(cluster, own)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{tmp_path}/mnt/transformer/code:{Path(__file__).parents[3]}",
            "FTI_ONLINE_STORE": str(shared.online.root),
        }
        command = [
            *container["command"],
            script,
            "--model_name",
            "delay-net",
            "--predictor_host",
            "delay-net-predictor",
        ]
        free.close()
        with (tmp_path / "log").open("w") as log:
            transformer = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=log)
        try:
            until = time.monotonic() + 120
            while asked(f"http://{here}/v2/health/ready")[0] != 200:
                assert transformer.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < until
                time.sleep(0.1)
            status, body = asked(f"http://{here}/predict/delay_net?at={AT}", PLAIN)
        finally:
            transformer.terminate()
            transformer.wait(timeout=60)
    graphs.repository.close()
    assert status == 200, body
    assert (json.loads(body)["value"], json.loads(body)["features"]) == (expected.value, expected.features)


def test_password_of_the_online_store_stays_out_of_the_manifest(shared, tmp_path):
    secret = Cluster("s3://m", "image", "redis://:s3cret@cache:6379/0")
    export(shared.models, "delay_net", tmp_path / "out", to="kserve", cluster=secret)
    for file in files_in(tmp_path / "out"):
        assert b"s3cret" not in (tmp_path / "out" / file).read_bytes()
    messages = yaml.safe_load((tmp_path / "out/inference-service.yaml").read_text())
    env = {one["name"]: one for one in messages["spec"]["transformer"]["containers"][0]["env"]}
    assert env["FTI_ONLINE_STORE"]["valueFrom"] == {"secretKeyRef": {"name": "delay-net-online", "key": "address"}}


def test_a_plain_graph_needs_no_look_ups_on_kserve(shared, tmp_path):
    export(shared.models, "simple", tmp_path / "out", to="kserve", cluster=Cluster("s3://m"))
    result = yaml.safe_load((tmp_path / "out/inference-service.yaml").read_text())
    assert set(result["spec"]) == {"predictor"}
    assert not [name for name in files_in(tmp_path / "out") if name.startswith("transformer")]


@pytest.mark.parametrize(
    ("cluster", "problem"),
    [
        (None, "name it with --storage-uri"),
        (Cluster("", "image", "redis://h"), "name it with --storage-uri"),
        (Cluster("s3://m", "image"), "name the online store as the cluster reaches it, with --online"),
        (Cluster("s3://m", "", "redis://h"), "name it with --image"),
    ],
)
def test_what_kserve_needs_is_asked_for(shared, tmp_path, cluster, problem):
    with pytest.raises(DeclarationError, match=problem):
        export(shared.models, "delay_net", tmp_path / "out", to="kserve", cluster=cluster)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["_", "a" * 60])
def test_a_name_that_no_service_can_have_is_refused(model):
    with pytest.raises(DeclarationError, match="cannot be a service's name"):
        Service(model, "v1/x", "s3://m", "image").manifest()


def test_a_folder_that_is_there_is_replaced_only_if_an_export_wrote_it(shared, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="out already exists: .*--replace"):
        export(shared.models, "delay_net", out, to="onnx")
    with pytest.raises(StoreError, match="has no export.json, so that no export wrote it, and is not replaced"):
        export(shared.models, "delay_net", out, to="onnx", overwrite=True)
    assert files_in(out) == {"mine.txt"}
    export(shared.models, "delay_net", tmp_path / "other", to="triton")
    export(shared.models, "delay_net", tmp_path / "other", to="onnx", overwrite=True)
    assert files_in(tmp_path / "other") == {"model.onnx", "manifest.json", "card.md", "export.json"}
    assert sorted(one.name for one in tmp_path.iterdir()) == ["other", "out"]


@pytest.mark.parametrize("there", [False, True])
def test_an_export_that_fails_half_way_changes_nothing(shared, tmp_path, monkeypatch, there):
    if there:
        export(shared.models, "delay_net", tmp_path / "out", to="onnx")
    before = files_in(tmp_path)
    rename, calls = os.rename, []

    def failing(self: Path, target: Any) -> Path:
        calls.append(target)
        if len(calls) == 1 + there:
            raise OSError(28, "No space left on device")
        rename(self, target)
        return Path(target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StoreError, match="No space left on device"):
        export(shared.models, "delay_net", tmp_path / "out", to="triton", overwrite=there)
    assert files_in(tmp_path) == before


def test_one_build_is_exported_when_it_is_named(world, tmp_path):
    other = world.publish(2, shift=5.0)
    export(world.models, "delay_net", tmp_path / "out", to="triton", build=other.reference)
    content = (tmp_path / "out/repository/delay_net.graph/1/model.onnx").read_bytes()
    assert hashlib.sha256(content).hexdigest() == other.sha256
    assert ModelStore(tmp_path / "out/transformer/models").champion("delay_net").reference == other.reference
    assert Graph.from_bytes(content, other.inputs, what="it").outputs == ("probability",)


def test_a_command_exports_and_says_what_comes_next(shared, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = ["--models", str(shared.models.root)]
    assert main(["models", "export", "delay_net", "--to", "triton", "--out", "t", *models]) == 0
    output = capsys.readouterr().out
    assert "tritonserver --model-repository t/repository" in output
    assert "fti serve delay_net --models t/transformer/models" in output
    kserve = ["--storage-uri", "s3://m", "--image", "i", "--online", "redis://:pw@h:1"]
    assert main(["models", "export", "delay_net", "--to", "kserve", "--out", "k", *kserve, *models]) == 0
    output = capsys.readouterr().out
    assert "kubectl apply -f k/inference-service.yaml" in output
    assert "the secret delay-net-online" in output
    assert main(["models", "export", "delay_net", "--to", "onnx", "--out", "o", "--image", "i", *models]) == 2
    assert "--image is for --to kserve" in capsys.readouterr().err
    assert main(["models", "export", "delay_net", "--to", "tflite", "--out", "o", *models]) == 2
    assert main(["models", "list", "delay_net", *models]) == 0
    assert main(["models", *models]) == 0
    assert "delay_net  champion v1/" in capsys.readouterr().out


def test_yaml_is_what_was_said():
    value = {"a": [{"b": ["x: y", "# no", "true", "1", "é\n"], "c": {}}, {"d": {"e": [], "f": 1}}], "g": ""}
    assert yaml.safe_load(as_yaml(value)) == value
