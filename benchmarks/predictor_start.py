"""What an app waits for at its start: importing and loading the predictor, over importing onnxruntime and building the bare session.

    python -m benchmarks.predictor_start

Each is a process of its own, in turn; the medians of their CPU time are printed, and of a process that imports numpy alone.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.predict import FEATURES, build_ours, graph

GOAL, ROUNDS = 1.1, 9

BARE = """
import sys
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
onnxruntime.InferenceSession(open(sys.argv[1] + "/bare.onnx", "rb").read(), options, providers=["CPUExecutionProvider"])
"""
OURS = """
import sys
from fti_assets import Predictor
Predictor.load("delay_net", models=sys.argv[1] + "/models", online=sys.argv[1] + "/online")
"""


def cpu_seconds(program: str, folder: str) -> float:
    """CPU time of a process that runs a program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program, folder], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure in turn, and print the medians."""
    with tempfile.TemporaryDirectory() as folder:
        build_ours(Path(folder))
        Path(folder, "bare.onnx").write_bytes(graph(len(FEATURES), encoder=True))
        times: dict[str, list[float]] = {"ours": [], "bare": [], "numpy": []}
        for _ in range(ROUNDS + 1):  # the first may compile modules
            for name, program in (("ours", OURS), ("bare", BARE), ("numpy", "import numpy")):
                times[name].append(cpu_seconds(program, folder))
    medians = {name: statistics.median(of_name[1:]) for name, of_name in times.items()}
    result = {"benchmark": "predictor_start", "ratio": round(medians["ours"] / medians["bare"], 2), "goal": GOAL}
    print(json.dumps(result | {f"{name}_s": round(seconds, 3) for name, seconds in medians.items()}))


if __name__ == "__main__":
    main()
