"""A build of a model store, ready to be asked: its manifest, and its graph, which answers as it did when it was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fti_assets.core.manifest import ModelManifest
from fti_assets.errors import PredictionError
from fti_assets.stores.models.graphs.execution import CPU
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.opened_graph import open_graph
from fti_assets.stores.models.reader import ModelReader
from fti_assets.stores.models.samples import SAMPLES, Samples


class LoadedBuild(NamedTuple):
    """A build's manifest and graph, and the samples that were kept with it, if they were."""

    manifest: ModelManifest
    graph: Graph
    samples: Samples | None


def load_build(
    store: ModelReader, model: str, reference: str, *, providers: Sequence[str] = CPU
) -> tuple[ModelManifest, Graph]:
    """``load_whole_build`` without the samples."""
    manifest, graph, _ = load_whole_build(store, model, reference, providers=providers)
    return manifest, graph


def load_whole_build(store: ModelReader, model: str, reference: str, *, providers: Sequence[str] = CPU) -> LoadedBuild:
    """Load a build's graph and compare its answers to the samples that were kept with it, if they were.

    Args:
        providers: what its graph runs on, as ``execution_providers`` gives them.

    Raises:
        NotMaterializedError: there is no such build.
        DamagedError: a file is missing, is not what was written, or is no graph that runs.
        PredictionError: the graph answers otherwise than when it was made, was published without features, or a provider cannot be
            used here.
    """
    manifest, graph_bytes = store.load(model, reference)
    what = f"model {model!r} ({reference})"
    if manifest.kind == "graph":
        raise PredictionError(
            f"{what} is a graph that was published as it is: it has no features to look up. Ask it through a server, fti serve {model}"
        )
    samples = store.file(manifest, SAMPLES) if SAMPLES in manifest.files else None
    samples_file = str(store.folder(manifest) / SAMPLES)
    parts = open_graph(manifest, graph_bytes, samples, what=what, samples_file=samples_file, providers=providers)
    return LoadedBuild(manifest, *parts)
