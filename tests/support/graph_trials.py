"""Trials of graphs: publishing a build starts a process that runs its graph, which takes longer than most tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fti_assets.core.manifest import ModelManifest
from fti_assets.errors import FtiError
from fti_assets.stores.models import graph_trial
from fti_assets.stores.models.opened_graph import open_graph

IN_A_PROCESS = ("not_published", "tests/examples/")
"""The tests in which a graph is tried in a process of its own: those of graphs that are refused, and whole systems."""


@contextmanager
def graphs_tried_here() -> Iterator[None]:
    """Within it, a graph that is published is run in this process, and in one of its own if that refuses it."""
    check = graph_trial.check_graph

    def check_graph(manifest: ModelManifest, graph: bytes, samples: bytes | None = None, *, seconds: float) -> None:
        if not any(name in os.environ.get("PYTEST_CURRENT_TEST", "") for name in IN_A_PROCESS):
            try:
                open_graph(manifest, graph, samples, what="it", samples_file="its samples", seconds=seconds)
                return
            except FtiError:
                pass  # the process says in its words what is wrong
        check(manifest, graph, samples, seconds=seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_trial, "check_graph", check_graph)
        yield
