"""A graph loaded and run once in a process of its own, before it is published: whatever it does, it does it there."""

import json
import os
import subprocess
import sys

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import from_json, to_json
from fti_assets.errors import StoreError

_START_SECONDS = 60.0
_MEMORY = 8 * 2**30
_PROGRAM = """
import json, sys
head = json.loads(sys.stdin.buffer.readline())
sys.path[:] = head["path"]
from fti_assets.stores.models.graph_trial import try_graph
try_graph(head["manifest"], sys.stdin.buffer.read(), head["seconds"])
"""


def check_graph(manifest: ModelManifest, graph: bytes, *, seconds: float) -> None:
    """Load a graph with the inputs of its manifest, and run it once.

    Args:
        seconds: how long each of the two may take. The process may take 8 GiB of addresses and four times the graph's size.

    Raises:
        StoreError: the graph does not load or run, takes too long or too much memory, or refers to other files.
    """
    what = f"the graph of {manifest.model}/{manifest.reference}"
    head = json.dumps({"path": sys.path, "manifest": to_json(manifest), "seconds": seconds}).encode() + b"\n"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            input=head + graph,
            capture_output=True,
            timeout=_START_SECONDS + 2 * seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StoreError(
            f"{what} does not end within {_START_SECONDS + 2 * seconds:g} s: nothing was published"
        ) from error
    if trial.returncode:
        words = trial.stderr.decode(errors="replace").strip().splitlines()
        ending = f"its trial ended with {_ending(trial.returncode)}"
        message = words[-1] if words else ending
        raise StoreError(f"{what} cannot be published: {message}"[:2000])


def try_graph(manifest: str, graph: bytes, seconds: float) -> None:
    """The trial itself: ends the process with 0, or with 1 and one sentence on standard error."""
    import resource

    memory = _MEMORY + 4 * len(graph)
    # Before onnxruntime is imported, so that nothing it allocates escapes the limit.
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    from fti_assets.stores.models.graph import Graph

    code = 0
    try:
        record = from_json(ModelManifest, manifest, what="its manifest")
        if record.kind == "graph":
            Graph.plain(graph, what="it", seconds=seconds)
        else:
            Graph.from_bytes(graph, record.inputs, what="it", seconds=seconds)
    except StoreError as error:
        print(str(error).replace("\n", " "), file=sys.stderr, flush=True)
        code = 1
    os._exit(code)  # a thread that loads without an end would keep the process


def _ending(code: int) -> str:
    return f"signal {-code}, as one does that takes too long or too much memory" if code < 0 else f"exit code {code}"
