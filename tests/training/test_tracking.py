"""Builds and trials mirrored to MLflow, read back by its own client from a real database."""

import json
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import from_json
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.orchestration.addresses import whole_address
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.models.model import Model
from fti_assets.training.tracking import mlflow_runs
from fti_assets.training.tracking.mirrored import mirrored_build
from fti_assets.training.tracking.mlflow_runs import Tracker, mirror_build, mirrored_or_why_not
from fti_assets.training.tuning.study import STUDY, Study
from tests.training.test_model_run import BUYING, Bench, made, materialized, run

__all__ = ["made"]


class Settings(dg.Config):  # type: ignore[misc]
    tolerance: float = 0.001


def buyer(**options: Any) -> Model:
    space = {"C": fti.LogUniform(1e-4, 1.0)}

    @fti.model(name="buyer", dataset=BUYING, task="binary", tune=fti.Tuning(space=space, trials=2), **options)
    def train(data: fti.TrainingData, trial: fti.Trial, config: Settings) -> Any:
        trial.report(1, 0.5)
        data.log(epoch=3, **{"val_loss": 0.25, "off%": 1})
        return LogisticRegression(tol=config.tolerance, **trial).fit(data.train.X, data.train.y)

    return train


class Tracked(Bench):
    """A bench whose stores mirror to a database of MLflow."""

    def __init__(self, made: Path, folder: Path, instance: dg.DagsterInstance) -> None:
        super().__init__(made, folder / "models", instance)
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.stores = fti.Stores(
            lake=str(made / "lake"), models=str(folder / "models"), tracking=fti.MlflowTracking(tracking_uri=self.uri)
        )
        self.event: dg.AssetMaterialization | None = None

    def runs(self, where: str = "") -> list[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client = self.client()
            experiments = [one.experiment_id for one in client.search_experiments()]
            return list(client.search_runs(experiments, where))

    def client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)


@pytest.fixture(scope="module")
def tracked(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracked]:
    """One build that was mirrored."""
    with dg.DagsterInstance.ephemeral() as instance:
        bench, model = Tracked(made, tmp_path_factory.mktemp("tracked"), instance), buyer()
        config = {"ops": {"buyer_v1": {"config": {"tolerance": 0.01}}}}
        result = run(model, stores=bench.stores, instance=instance, partition_key="2013-01-08", run_config=config)
        bench.event = materialized(result, model)["2013-01-08"]
        yield bench


def parents(bench: Tracked) -> list[Any]:
    return [one for one in bench.runs() if "mlflow.parentRunId" not in one.data.tags]


def test_build_is_a_run_with_all_that_it_is(tracked: Tracked) -> None:
    (manifest,) = tracked.builds()
    (parent,) = parents(tracked)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == f"buyer {manifest.reference}"
    assert {name: parent.data.metrics[name] for name in manifest.metrics} == manifest.metrics
    assert parent.data.metrics["baseline/log_loss"] == manifest.baseline["log_loss"]
    assert manifest.tuning is not None
    assert parent.data.metrics["validation/roc_auc"] == manifest.tuning.value
    (epoch,) = tracked.client().get_metric_history(parent.info.run_id, "epoch/val_loss")
    assert (epoch.step, epoch.value) == (3, 0.25)
    assert "epoch/off_" in parent.data.metrics
    params = parent.data.params
    assert (params["C"], params["tolerance"]) == (str(manifest.tuning.parameters["C"]), "0.01")
    assert (params["partition"], params["rows.train"]) == ("2013-01-08", str(manifest.dataset.rows["train"]))
    assert params["encoder.spend"].startswith("standardize: mean")
    tags = parent.data.tags
    assert tags["fti.build"] == f"buyer/{manifest.reference}"
    assert tags["fti.dagster_run"] == manifest.run_id
    assert tags["mlflow.note.content"].startswith("# buyer v1")
    assert tracked.event is not None
    assert f"run {parent.info.run_id} of the experiment 'buyer'" in str(tracked.event.metadata["tracking"].value)


def test_files_and_graph_are_those_of_the_build(tracked: Tracked, tmp_path: Path) -> None:
    (manifest,) = tracked.builds()
    (parent,) = parents(tracked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place = Path(tracked.client().download_artifacts(parent.info.run_id, "", str(tmp_path)))
        from mlflow.onnx import load_model

        model = load_model(str(place / "model"))
    folder = tracked.store.folder(manifest)
    assert json.loads((place / "build" / "manifest.json").read_text())["sha256"] == manifest.sha256
    for name in ("card.md", "pictures.html", STUDY):
        assert (place / "build" / name).read_bytes() == (folder / name).read_bytes()
    assert model.SerializeToString(deterministic=True)
    assert [one.name for one in model.graph.output] == ["probability"]
    # The files lie beside the database, wherever the process was started.
    assert list(Path(tracked.uri.removeprefix("sqlite:///")).parent.glob("mlruns/buyer/*"))


def test_each_trial_is_a_run_within_its_build(tracked: Tracked) -> None:
    (manifest,) = tracked.builds()
    (parent,) = parents(tracked)
    study = from_json(Study, tracked.store.file(manifest, STUDY), what="study")
    children = {one.data.tags["fti.trial"]: one for one in tracked.runs() if one.info.run_id != parent.info.run_id}
    assert set(children) == {"1", "2"}
    for trial in study.trials:
        child = children[str(trial.number)]
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.params == {"C": str(trial.parameters["C"])}
        assert child.data.metrics == {"validation/roc_auc": trial.value, "reported": 0.5}
        assert child.info.status == "FINISHED"


def test_build_that_is_there_is_not_doubled(tracked: Tracked, capsys: pytest.CaptureFixture[str]) -> None:
    (manifest,) = tracked.builds()
    before = {one.info.run_id for one in tracked.runs()}
    again = mirror_build(Tracker(tracked.uri), tracked.store, manifest)
    assert not again.is_new
    assert main(["models", "track", "buyer", "--to", tracked.uri, "--models", str(tracked.store.root)]) == 0
    assert f"{manifest.reference}  is there already, run {again.run_id}" in capsys.readouterr().out
    assert {one.info.run_id for one in tracked.runs()} == before


def test_run_that_was_cut_off_is_made_anew(tracked: Tracked) -> None:
    (manifest,) = tracked.builds()
    (parent,) = parents(tracked)
    tracked.client().delete_tag(parent.info.run_id, "fti.complete")
    again = mirror_build(Tracker(tracked.uri), tracked.store, manifest)
    assert again.is_new
    assert [one.info.run_id for one in parents(tracked)] == [again.run_id]
    assert len(tracked.runs()) == 3


def test_training_goes_on_without_mlflow(tracked: Tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (manifest,) = tracked.builds()
    messages: list[str] = []
    removed = Tracker("http://ann:secret@127.0.0.1:9")
    text = mirrored_or_why_not(removed, tracked.store, manifest, {}, warn=messages.append)
    assert text.startswith("not mirrored: MLflow at http://ann:***@127.0.0.1:9 did not take buyer/v1/")
    assert "fti models track buyer v1/" in text
    assert "secret" not in text + "".join(messages)
    assert len(messages) == 1
    monkeypatch.setattr(mlflow_runs, "_Mirror", fails)
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    model = buyer(gates=[fti.BeatsBaseline("log_loss")])
    result = run(model, stores=tracked.stores, instance=tracked.instance, partition_key="2013-01-07")
    displayed = materialized(result, model)["2013-01-07"].metadata["tracking"].value
    assert "not mirrored: MLflow at sqlite:" in str(displayed)
    assert "OSError: the network is gone" in str(displayed)
    assert tracked.store.champion("buyer").reference in {one.reference for one in tracked.builds()}


def test_database_that_is_down_is_not_tried_again(tracked: Tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    manifest, address = tracked.builds()[0], "postgresql+psycopg://ann:secret@127.0.0.1"
    with pytest.raises(StoreError, match="did not take buyer/.*Connection refused"):
        mirror_build(Tracker(f"{address}:9/m"), tracked.store, manifest)
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=hang_up, args=(server, is_over))
        thread.start()
        try:
            with pytest.raises(StoreError, match="did not take buyer/.*OperationalError"):
                mirror_build(Tracker(f"{address}:{server.getsockname()[1]}/m"), tracked.store, manifest)
        finally:
            is_over.set()
            thread.join()
    assert not slept


def test_database_that_stays_silent_is_given_up(tracked: Tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_runs, "_CONNECT_SECONDS", 2)  # the least that libpq takes
    manifest = tracked.builds()[0]
    with socket.create_server(("127.0.0.1", 0)) as server:
        tracker = Tracker(f"postgresql+psycopg://ann:secret@127.0.0.1:{server.getsockname()[1]}/m")
        with pytest.raises(StoreError, match="did not take .*timeout"):
            mirror_build(tracker, tracked.store, manifest)


def hang_up(server: socket.socket, is_over: threading.Event) -> None:
    server.settimeout(0.1)
    while not is_over.is_set():
        with suppress(TimeoutError):
            server.accept()[0].close()


def test_fields_of_a_config_keep_names_of_their_own(tracked: Tracked) -> None:
    (manifest,) = tracked.builds()[:1]
    fields = {"task": "mine", "cutoff": 5, "C": 7.0, "plain": 1}
    parameters = mirrored_build(manifest, fields, card="").parameters
    assert parameters["task"] == "binary"
    assert parameters["cutoff"] == manifest.cutoff
    assert manifest.tuning is not None
    assert parameters["C"] == str(manifest.tuning.parameters["C"])
    own = {name: parameters[name] for name in ("config.task", "config.cutoff", "config.C", "plain")}
    assert own == {"config.task": "mine", "config.cutoff": "5", "config.C": "7.0", "plain": "1"}
    tuned = replace(manifest, tuning=replace(manifest.tuning, parameters={"task": 0.5}))
    both = mirrored_build(tuned, {"task": "mine"}, card="").parameters
    assert (both["task"], both["tuned.task"], both["config.task"]) == ("binary", "0.5", "mine")


def fails(tracker: Tracker, store: ModelStore) -> Any:
    raise OSError("the network is gone")


def test_long_parameters_are_cut_and_empty_ones_left_out(tracked: Tracked) -> None:
    manifest: ModelManifest = tracked.builds()[0]
    content = mirrored_build(manifest, {"words": "w" * 2000, "nothing": ""}, card="")
    assert len(content.parameters["words"]) == 500
    assert "nothing" not in content.parameters
    assert "mlflow.note.content" not in content.tags
    rejected = mirrored_build(replace(manifest, status="rejected", tuning=None), {}, card="c")
    assert rejected.tags["fti.status"] == "rejected"
    assert not any(name.startswith("validation/") for name in rejected.metrics)


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "file:///srv/mlruns", "/srv/mlruns"])
def test_folder_of_mlflow_is_refused_at_load(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(DeclarationError, match="a folder, which MLflow 3 no longer writes"):
        fti.MlflowTracking(tracking_uri=uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert fti.MlflowTracking(tracking_uri=uri).tracking_uri == uri


def test_password_of_a_tracker_is_not_shown() -> None:
    tracking = fti.MlflowTracking(tracking_uri="postgresql://ann:secret@db/mlflow")
    assert "secret" not in repr(fti.Stores(tracking=tracking))
    assert tracking.address == whole_address(tracking.tracking_uri) == "postgresql://ann:secret@db/mlflow"
    assert fti.MlflowTracking(tracking_uri=dg.EnvVar("MLFLOW_TRACKING_URI")).experiment is None
