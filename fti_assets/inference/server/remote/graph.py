"""A graph that another server runs, in place of the one of the build that is loaded here."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fti_assets.core.types import INPUTS
from fti_assets.errors import PredictionError
from fti_assets.inference.server.endpoints.endpoint import GRAPH
from fti_assets.inference.server.remote.connection import GraphServer
from fti_assets.inference.serving.refusals import Strictness
from fti_assets.inference.serving.served_build import Serve, ServedBuild
from fti_assets.stores.models.graphs.graph import Graph, Tensor
from fti_assets.stores.models.loaded_build import LoadedBuild
from fti_assets.stores.models.samples import Samples
from fti_assets.stores.online.store import OnlineStore

_TOLERANCE = 1e-4
_ROWS = 64


class RemoteSession:
    """What a ``Graph`` asks of a session of onnxruntime, answered by a server that has the graph as ``<model>.graph``."""

    def __init__(self, server: GraphServer, model: str, graph: Graph) -> None:
        self._server = server
        self._model = model
        self._takes, self._gives = graph.takes, graph.gives

    @property
    def _sess(self) -> "RemoteSession":
        return self

    def get_inputs(self) -> tuple[Tensor, ...]:
        return self._takes

    def get_outputs(self) -> tuple[Tensor, ...]:
        return self._gives

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, np.ndarray], options: Any = None) -> list[Any]:
        names = [one.name for one in self._gives] if outputs is None else outputs
        return self._server.infer(self._model, feeds, names)


def serving_on(server: GraphServer) -> Serve:
    """How a build is served whose graph runs on a server: takes what ``ServedBuild`` does.

    The server must answer as the build's own graph does, on rows that the build keeps and on one without values, so that it has this
    build and no other.

    Raises:
        StoreError: the server does not answer.
        PredictionError: it answers otherwise.
    """

    def serve(build: LoadedBuild, online: OnlineStore, strictness: Strictness) -> ServedBuild:
        manifest, graph, samples = build
        name = manifest.model + GRAPH
        remote = Graph(
            RemoteSession(server, name, graph), manifest.inputs, f"{name} on {server}", list(graph.trial.values())
        )
        for feeds in _trials(graph, samples):
            for output, own in graph.run_feeds(feeds).items():
                other = remote.answer(feeds, output)
                if np.shape(other) != np.shape(own) or not np.allclose(
                    other, own, _TOLERANCE, _TOLERANCE, equal_nan=True
                ):
                    raise PredictionError(
                        f"{name!r} on the graph server {server} does not answer as {manifest.model}/{manifest.reference} does: it has "
                        "another build. Give it the graph of this one (fti models export), or look features up for the one that it has"
                    )
        return ServedBuild(build._replace(graph=remote), online, strictness)

    return serve


def _trials(graph: Graph, samples: Samples | None) -> list[dict[str, np.ndarray]]:
    """Inputs that both are asked with."""
    blank = {
        one.name: np.full((1, one.width), INPUTS[one.type].blank, dtype=INPUTS[one.type].array) for one in graph.inputs
    }
    background = None if samples is None else samples.background
    if background is None:
        return [blank]
    return [blank, graph.feeds({name: values[:_ROWS] for name, values in background.items()})]
