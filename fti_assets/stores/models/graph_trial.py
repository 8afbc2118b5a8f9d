"""A graph loaded and run in a process of its own, before it is published: whatever it does, it does it there."""

import json
import os
import subprocess
import sys

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import from_json, to_json
from fti_assets.errors import FtiError, StoreError

_START_SECONDS = 60.0
_MEMORY = 3 * 2**30
_IMPORT_BYTES = 4 * 2**30
"""The addresses that the modules take, where the system does not say."""
_PROGRAM = """
import json, sys
head = json.loads(sys.stdin.buffer.readline())
sys.path[:] = head["path"]
from fti_assets.stores.models.graph_trial import try_graph
try_graph(head["manifest"], sys.stdin.buffer.read(), head["samples"], head["seconds"])
"""


def check_graph(manifest: ModelManifest, graph: bytes, samples: bytes | None = None, *, seconds: float) -> None:
    """Load a graph with the inputs of its manifest, run it on a row without values, and compare its answers to its samples.

    Args:
        samples: the file of samples that is published with it.
        seconds: how long each of the three may take. The process may take 3 GiB of addresses and four times the graph's
            size, beside those of its modules.

    Raises:
        StoreError: the graph does not load or run or answers otherwise, takes too long or too much memory, or refers to other files.
    """
    what = f"the graph of {manifest.model}/{manifest.reference}"
    text = None if samples is None else samples.decode(errors="replace")
    head = {"path": sys.path, "manifest": to_json(manifest), "samples": text, "seconds": seconds}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            input=json.dumps(head).encode() + b"\n" + graph,
            capture_output=True,
            timeout=_START_SECONDS + 3 * seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StoreError(
            f"{what} does not end within {_START_SECONDS + 3 * seconds:g} s: nothing was published"
        ) from error
    if trial.returncode:
        words = trial.stderr.decode(errors="replace").strip().splitlines()
        ending = f"its trial ended with {_ending(trial.returncode)}"
        message = words[-1] if words else ending
        raise StoreError(f"{what} cannot be published: {message}"[:2000])


def try_graph(manifest: str, graph: bytes, samples: str | None, seconds: float) -> None:
    """The trial itself: ends the process with 0, or with 1 and one sentence on standard error."""
    import resource

    # Imported before the limit, which is for the graph alone.
    from fti_assets.stores.models.opened_graph import open_graph

    memory = _addresses() + _MEMORY + 4 * len(graph)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    code = 0
    try:
        record = from_json(ModelManifest, manifest, what="its manifest")
        content = None if samples is None else samples.encode()
        open_graph(record, graph, content, what="it", samples_file="its file of samples", seconds=seconds)
    except FtiError as error:
        print(str(error).replace("\n", " "), file=sys.stderr, flush=True)
        code = 1
    os._exit(code)  # a thread that loads without an end would keep the process


def _addresses() -> int:
    """The bytes of addresses that this process takes."""
    try:
        with open("/proc/self/statm") as pages:
            return int(pages.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # macOS has none
        return _IMPORT_BYTES


def _ending(code: int) -> str:
    return f"signal {-code}, as one does that takes too long or too much memory" if code < 0 else f"exit code {code}"
