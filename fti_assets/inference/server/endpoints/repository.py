"""The models of a server: which are there, which are loaded, and what each was asked."""

import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fti_assets.core.manifest import ModelManifest
from fti_assets.errors import DamagedError, FtiError, NoChampionError, NotMaterializedError, list_some, one_of
from fti_assets.inference.server.endpoints.endpoint import GRAPH, Endpoint
from fti_assets.inference.server.endpoints.served_graph import GraphBuild, ServedGraph
from fti_assets.inference.server.endpoints.served_predictor import ServedPredictor
from fti_assets.inference.server.refusals import RefusedError
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.stores.models.graphs.execution import CPU
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.store import ModelStore

_log = logging.getLogger(__name__)


@dataclass
class Statistics:
    """What one model was asked since it was loaded, as the protocol counts it; times in nanoseconds."""

    inferences: int = 0
    executions: int = 0
    last_ms: int = 0
    success: list[int] = field(default_factory=lambda: [0, 0])
    fail: list[int] = field(default_factory=lambda: [0, 0])
    compute_input: list[int] = field(default_factory=lambda: [0, 0])
    compute_infer: list[int] = field(default_factory=lambda: [0, 0])
    compute_output: list[int] = field(default_factory=lambda: [0, 0])

    def as_json(self, name: str, version: str) -> dict[str, Any]:
        def duration(pair: Sequence[int]) -> dict[str, int]:
            return {"count": pair[0], "ns": pair[1]}

        return {
            "name": name,
            "version": version,
            "last_inference": self.last_ms,
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": {
                "success": duration(self.success),
                "fail": duration(self.fail),
                "queue": {"count": self.success[0], "ns": 0},
                "compute_input": duration(self.compute_input),
                "compute_infer": duration(self.compute_infer),
                "compute_output": duration(self.compute_output),
                "cache_hit": {"count": 0, "ns": 0},
                "cache_miss": {"count": 0, "ns": 0},
            },
            "batch_stats": [],
        }


class Repository:
    """The loaded models of a server, which follow their champions.

    Args:
        models: the model store.
        load: how a predictor of one model is loaded.
        names: the models to load at once.
        poll_seconds: how often to look for new champions.
        providers: what graphs without features run on, as ``execution_providers`` gives them.

    Raises:
        NoChampionError, NotMaterializedError, DamagedError, PredictionError: one of the names cannot be served.
    """

    def __init__(
        self,
        models: ModelStore,
        load: Callable[[str], Predictor],
        names: Sequence[str],
        *,
        poll_seconds: float = 0.5,
        providers: Sequence[str] = CPU,
    ) -> None:
        self._models = models
        self._providers = providers
        self._load_predictor = load
        self._changing = threading.Lock()
        self._endpoints: dict[str, Endpoint] = {}
        self._problems: dict[str, str] = {}
        self.statistics: dict[str, Statistics] = {}
        self.required_names = tuple(names)
        for name in names:
            self.load(name)
        self._over = threading.Event()
        threading.Thread(
            target=_follow, args=(weakref.ref(self), self._over, poll_seconds), daemon=True, name="fti-champions"
        ).start()

    def get(self, name: str, version: str | None = None) -> Endpoint:
        """What is served under a name.

        Raises:
            RefusedError: nothing is, or its version is another.
        """
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            models = f"there are {list_some(sorted(self._endpoints), 20)}" if self._endpoints else "none is loaded"
            # The example clients of the protocol look for the first four words.
            raise RefusedError(404, f"Request for unknown model: {name!r:.100} is not served here, {models}")
        if version and version != endpoint.version:
            raise RefusedError(404, f"model {name!r} is served in version {endpoint.version!r}, not {version!r:.100}")
        return endpoint

    def is_ready(self, name: str | None = None) -> bool:
        """Whether one model can answer, or all that the server was started with."""
        return all(one in self._endpoints for one in self.required_names) if name is None else name in self._endpoints

    def load(self, name: str) -> None:
        """Load a model, or its champion of now if it is loaded already.

        Raises:
            FtiError: it cannot be loaded; one that was loaded before serves on.
        """
        with self._changing:
            base = name.removesuffix(GRAPH)
            try:
                endpoint = self._endpoints.get(base)
                if isinstance(endpoint, ServedPredictor):
                    endpoint.predictor.follow()
                    return
                manifest = self._models.champion(base)
                models: dict[str, Endpoint]
                if manifest.kind == "graph":
                    models = {base: self._plain(base, manifest)}
                else:
                    predictor = self._load_predictor(base)
                    models = {
                        base: ServedPredictor(base, predictor),
                        base + GRAPH: ServedGraph.of(base + GRAPH, predictor),
                    }
            except FtiError as error:
                self._problems[base] = str(error)
                raise
            self._problems.pop(base, None)
            for key in models:
                self.statistics[key] = Statistics()
            self._endpoints = self._endpoints | models

    def _plain(self, name: str, manifest: ModelManifest) -> ServedGraph:
        _, onnx_bytes = self._models.load(name, manifest.reference)
        what = f"model {name!r} ({manifest.reference})"
        graph = Graph.plain(onnx_bytes, what=what, providers=self._providers)
        build = GraphBuild(graph, str(manifest.version), manifest.reference, manifest.latency_goal)
        return ServedGraph(name, lambda: build)

    def unload(self, name: str) -> None:
        """Serve a model no longer; requests under way are answered.

        Raises:
            RefusedError: it is not loaded.
        """
        base = name.removesuffix(GRAPH)
        with self._changing:
            if base not in self._endpoints:
                raise RefusedError(
                    400, f"model {base!r:.100} is not loaded: there are {one_of(sorted(self._endpoints))}"
                )
            self._endpoints = {
                key: endpoint for key, endpoint in self._endpoints.items() if key not in (base, base + GRAPH)
            }
            self._problems[base] = "unloaded"

    def index(self, *, ready: bool = False) -> list[dict[str, str]]:
        """Every model of the store with its state, or only those that are ready."""
        endpoints = dict(self._endpoints)
        entries = [
            {"name": name, "version": one.version, "state": "READY", "reason": ""} for name, one in endpoints.items()
        ]
        if not ready:
            for name in self._models.models():
                if name not in endpoints:
                    reason = self._problems.get(name, "not loaded")
                    entries.append({"name": name, "version": "", "state": "UNAVAILABLE", "reason": reason})
        return sorted(entries, key=lambda entry: entry["name"])

    def follow(self) -> None:
        """Let each model switch to its champion of now."""
        for name, endpoint in dict(self._endpoints).items():
            if isinstance(endpoint, ServedPredictor):
                endpoint.predictor.follow()
            elif isinstance(endpoint, ServedGraph) and not name.endswith(GRAPH):
                self._follow_graph(name, endpoint)

    def _follow_graph(self, name: str, endpoint: ServedGraph) -> None:
        try:
            manifest = self._models.champion(name)
            if manifest.reference == endpoint.build:
                return
            successor = self._plain(name, manifest)
        except (DamagedError, NoChampionError, NotMaterializedError) as error:
            _log.warning("model %r cannot follow its champion, %s keeps serving: %s", name, endpoint.build, error)
            return
        with self._changing:
            if name in self._endpoints:
                self._endpoints = self._endpoints | {name: successor}

    def close(self) -> None:
        """Follow champions no longer."""
        self._over.set()


def _follow(reference: "weakref.ref[Repository]", over: threading.Event, seconds: float) -> None:
    """Follow champions until the repository is closed, or nobody has it any more."""
    while not over.wait(seconds):
        repository = reference()
        if repository is None:
            return
        try:
            repository.follow()
        except Exception:  # a thread that ends would leave the server with its models of now for ever
            _log.exception("champions could not be followed")
        del repository
