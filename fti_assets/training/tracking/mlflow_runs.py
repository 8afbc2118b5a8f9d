"""Mirroring a build of the model store to MLflow: one run a build, one within it for each trial, each only once."""

from __future__ import annotations

import os
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

from fti_assets.core.addresses import scrub, secrets_of, show_address
from fti_assets.core.extras import require
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.manifest.learning import EpochRecord, LearningRecord
from fti_assets.core.records import from_json
from fti_assets.core.times import instant
from fti_assets.errors import FtiError, MissingExtraError, StoreError
from fti_assets.stores.files import read_file
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.judging.pictures.learning import LEARNING_FILE
from fti_assets.training.tracking.mirrored import BUILD, COMPLETE, Mirrored, build_name, mirrored_build, mirrored_trial
from fti_assets.training.tuning.study import STUDY, Study

_SETTINGS = {
    # Without these a run would wait for minutes for a server that is gone.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # Nobody but the tracker is told of a build.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""What MLflow is told in its environment, unless the user's says otherwise."""

_CONNECT_SECONDS = 20
_PORTS = {"postgresql": 5432, "mysql": 3306}
_OTHER_PLACES = {"host", "hostaddr", "port", "service", "unix_socket"}
_MOST_PARAMETERS, _MOST_METRICS = 100, 1000
_SQLITE = "sqlite:///"
_ENDS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True)
class Tracker:
    """Where to mirror to.

    Attributes:
        uri: of MLflow's server or database.
        experiment: the experiment's name; None for the model's.
        artifacts: where a new experiment keeps its files; None for what MLflow decides.
    """

    uri: str
    experiment: str | None = None
    artifacts: str | None = None

    @property
    def shown(self) -> str:
        """Its address without a password."""
        return show_address(self.uri)


@dataclass(frozen=True)
class TrackedRun:
    """A run of MLflow: its experiment's name and its id, its address if there is a server, and whether it was there before."""

    experiment: str
    run_id: str
    url: str | None
    is_new: bool


def mirror_build(
    tracker: Tracker, store: ModelStore, manifest: ModelManifest, config: Mapping[str, Any] | None = None
) -> TrackedRun:
    """Mirror a build and its trials; one that is there as a whole is left as it is, and one that was cut off is made again.

    Args:
        tracker: where to.
        store: where the build lies.
        manifest: the build.
        config: the fields of the configs that its function got.

    Raises:
        StoreError: the tracker did not take it; the build is what it was.
        MissingExtraError: MLflow is not installed.
    """
    try:
        with _settings(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow's own code
            return _Mirror(tracker, store).build(manifest, config or {})
    except (MissingExtraError, KeyboardInterrupt):
        raise
    except FtiError:
        raise
    except Exception as error:  # of a database, a network or MLflow itself
        reason = scrub(f"{type(error).__name__}: {error}", secrets_of(tracker.uri)).strip()[:500]
        raise StoreError(
            f"MLflow at {tracker.shown} did not take {build_name(manifest)}: {reason}. The build is in the model store; mirror it "
            f"later with fti models track {manifest.model} {manifest.reference} --to <address>"
        ) from error


class _Mirror:
    def __init__(self, tracker: Tracker, store: ModelStore) -> None:
        self._entities = require("mlflow.entities")
        self._tracker, self._store = tracker, store
        _refuse_unreachable(tracker.uri)
        self._client = require("mlflow.tracking").MlflowClient(tracking_uri=tracker.uri, registry_uri=tracker.uri)

    def build(self, manifest: ModelManifest, config: Mapping[str, Any]) -> TrackedRun:
        name = self._tracker.experiment or manifest.model
        experiment = self._experiment(name)
        for run in self._runs(experiment, f"tags.`{BUILD}` = '{build_name(manifest)}'"):
            if run.data.tags.get(COMPLETE):
                return TrackedRun(name, run.info.run_id, self._url(experiment, run.info.run_id), is_new=False)
            for child in self._runs(experiment, f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"):
                self._client.delete_run(child.info.run_id)
            self._client.delete_run(run.info.run_id)
        folder = self._store.folder(manifest)
        history: tuple[EpochRecord, ...] = ()
        if LEARNING_FILE in manifest.files:
            what = f"{LEARNING_FILE} of {manifest.reference}"
            history = from_json(LearningRecord, self._store.file(manifest, LEARNING_FILE), what=what).epochs
        content = mirrored_build(
            manifest, config, (read_file(folder / "card.md") or b"").decode(errors="replace"), history
        )
        at = _milliseconds(manifest.created_at)
        run_id = self._write(experiment, content, at)
        if STUDY in manifest.files:
            study = from_json(Study, self._store.file(manifest, STUDY), what=f"{STUDY} of {manifest.reference}")
            for trial in study.trials:
                child = self._write(experiment, mirrored_trial(study, trial), at, parent=run_id)
                self._client.set_terminated(child, _ENDS[trial.state], end_time=at + round(trial.seconds * 1000))
        self._files(run_id, manifest)
        self._client.set_tag(run_id, COMPLETE, "true")
        self._client.set_terminated(run_id, "FINISHED", end_time=at)
        return TrackedRun(name, run_id, self._url(experiment, run_id), is_new=True)

    def _experiment(self, name: str) -> str:
        existing = self._client.get_experiment_by_name(name)
        if existing is not None:
            return str(existing.experiment_id)
        uri, place = self._tracker.uri, self._tracker.artifacts
        if place is None and uri.startswith(_SQLITE):  # beside the file, and not wherever this process was started
            place = (Path(uri.removeprefix(_SQLITE).partition("?")[0]).absolute().parent / "mlruns" / name).as_uri()
        return str(self._client.create_experiment(name, artifact_location=place))

    def _runs(self, experiment: str, where: str) -> list[Any]:
        runs: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs([experiment], where, max_results=1000, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    def _write(self, experiment: str, content: Mirrored, at: int, *, parent: str | None = None) -> str:
        tags = content.tags if parent is None else {**content.tags, "mlflow.parentRunId": parent}
        run = self._client.create_run(experiment, start_time=at, tags=tags, run_name=content.name)
        entities, run_id = self._entities, str(run.info.run_id)
        parameters = [entities.Param(name, value) for name, value in content.parameters.items()]
        metrics = [entities.Metric(name, value, at, 0) for name, value in content.metrics.items()]
        metrics += [
            entities.Metric(name, value, at, step) for name, steps in content.steps.items() for step, value in steps.items()
        ]  # fmt: skip
        for few in _some(parameters, _MOST_PARAMETERS):
            self._client.log_batch(run_id, params=few)
        for few in _some(metrics, _MOST_METRICS):
            self._client.log_batch(run_id, metrics=few)
        return run_id

    def _files(self, run_id: str, manifest: ModelManifest) -> None:
        """The build's files, and its graph as a model that ``mlflow.onnx.load_model`` loads."""
        folder = self._store.folder(manifest)
        _, graph = self._store.load(manifest.model, manifest.reference)
        needed = [
            f"{name}=={manifest.packages[name]}" for name in ("onnxruntime", "numpy") if name in manifest.packages
        ]
        with tempfile.TemporaryDirectory(prefix="fti_mlflow_") as place:
            model = require("onnx").load_from_string(graph)
            require("mlflow.onnx").save_model(model, f"{place}/model", pip_requirements=needed or ["onnxruntime"])
            self._client.log_artifacts(run_id, f"{place}/model", "model")
            for name in ("manifest.json", "card.md", *manifest.files):
                own = Path(place, name)
                own.write_bytes(read_file(folder / name) or b"")
                self._client.log_artifact(run_id, str(own), "build")

    def _url(self, experiment: str, run_id: str) -> str | None:
        uri = show_address(self._tracker.uri)
        return f"{uri.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}" if uri.startswith("http") else None


def _refuse_unreachable(uri: str) -> None:
    """Fail at once where a database lets nobody in: MLflow itself would try again for two minutes.

    Raises:
        OSError: nobody answers at its address.
        sqlalchemy.exc.SQLAlchemyError: it answers, and does not let this process in.
    """
    if not uri.startswith(tuple(_PORTS)):
        return
    sqlalchemy = require("sqlalchemy")
    try:
        url = sqlalchemy.make_url(uri)
    except ValueError:  # several hosts
        return
    if url.host and not _OTHER_PLACES & set(
        url.query
    ):  # a port that drops what it gets would hold a driver up for minutes
        address = url.host, url.port or _PORTS[url.get_backend_name()]
        with socket.create_connection(address, timeout=_CONNECT_SECONDS):
            pass
    # A server that takes the connection and stays silent would hold up a driver for ever; MLflow's own engine has no time either.
    engine = sqlalchemy.create_engine(uri, connect_args={"connect_timeout": _CONNECT_SECONDS})
    try:
        with engine.connect():
            pass
    finally:
        engine.dispose()


def _some(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]


def _milliseconds(time: str) -> int:
    return round(instant(time).replace(tzinfo=UTC).timestamp() * 1000)


@contextmanager
def _settings() -> Iterator[None]:
    own = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


def mirrored_or_why_not(
    tracker: Tracker,
    store: ModelStore,
    manifest: ModelManifest,
    config: Mapping[str, Any],
    *,
    warn: Callable[[str], object],
) -> str:
    """Mirror a build, whatever comes of it: where it is now, or why it is not there, which is warned of, too."""
    try:
        run = mirror_build(tracker, store, manifest, config)
    except (StoreError, MissingExtraError) as error:
        warn(str(error))
        return f"not mirrored: {error}"
    return run.url or f"run {run.run_id} of the experiment {run.experiment!r} at {tracker.shown}"
