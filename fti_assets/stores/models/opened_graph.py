"""A build's graph, opened from its bytes: it runs, gives what the manifest says, and answers as when it was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fti_assets.core.manifest import OUTPUT_NAMES, ModelManifest
from fti_assets.errors import DamagedError, one_of
from fti_assets.stores.models.graphs.execution import CPU
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.samples import Samples


class OpenedGraph(NamedTuple):
    """A graph, and the samples that it was compared with, if there are any."""

    graph: Graph
    samples: Samples | None


def open_graph(
    manifest: ModelManifest,
    graph: bytes,
    samples: bytes | None,
    *,
    what: str,
    samples_file: str,
    seconds: float = 60.0,
    providers: Sequence[str] = CPU,
) -> OpenedGraph:
    """Load a graph as its manifest says, run it on a row without values, and compare its answers to its samples.

    Args:
        manifest: as ``check_manifest`` lets it pass.
        graph: the serialized ONNX model.
        samples: the build's file of samples, None without one.
        what: what the graph is, for errors.
        samples_file: where the samples are from, for errors.
        seconds: how long each of the three may take.
        providers: what the graph runs on, as ``execution_providers`` gives them.

    Raises:
        DamagedError: the graph does not run, may never end, or is not what its manifest or samples say.
        PredictionError: it answers otherwise under this onnxruntime, or a provider cannot be used here.
    """
    if manifest.kind == "graph":
        return OpenedGraph(Graph.plain(graph, what=what, seconds=seconds, providers=providers), None)
    loaded_graph = Graph.from_bytes(graph, manifest.inputs, what=what, seconds=seconds, providers=providers)
    output = OUTPUT_NAMES[manifest.task]
    if output not in loaded_graph.outputs:
        raise DamagedError(
            f"{what} has the outputs {one_of(loaded_graph.outputs)}: its manifest says {output!r}. Restore the build's folder from a copy, "
            "or make another build champion"
        )
    width = manifest.graph_width
    shape = (1,) if width is None else (1, width)
    if np.shape(loaded_graph.trial[output]) != shape:
        raise DamagedError(
            f"{what} answers one row with {output!r} of shape {np.shape(loaded_graph.trial[output])}: its manifest says {shape}. "
            "Make another build champion"
        )
    if samples is None:
        return OpenedGraph(loaded_graph, None)
    kept_samples = Samples.of_build(manifest, samples, what=samples_file)
    kept_samples.check(loaded_graph, output, what=what, seconds=seconds, made_with=manifest.packages.get("onnxruntime"))
    return OpenedGraph(loaded_graph, kept_samples)
