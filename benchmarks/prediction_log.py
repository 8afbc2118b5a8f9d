"""What logging costs a request: CPU time of a prediction that is logged over one that is not.

    python -m benchmarks.prediction_log

The predictor of ``benchmarks.predict``: three groups and 20 features, one key a request, and 100 keys. Blocks of requests with and without
a log take turns. ``ratio`` counts the thread that asks, which a request waits for; ``cpu_ratio`` the writing in the other thread, too.
"""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.predict import AT, WIDTHS, build_ours, key_of
from fti_assets.inference.serving.log.limits import LogLimits
from fti_assets.inference.serving.log.writer import LogWriter
from fti_assets.inference.serving.predictor import Predictor

BLOCKS = 60
CALLS, CALLS_OF_MANY, ROWS = 1_000, 20, 100


def request(i: int) -> dict[str, object]:
    """The i-th request."""
    keys = dict.fromkeys([f"{group}_key" for group in WIDTHS], key_of(i))
    return {"flight_id": i, "distance": 733.0, "seats": 150.0, **keys}


def block_us(predictor: Predictor, writer: LogWriter, first: int, calls: int, rows: int) -> tuple[float, float]:
    """CPU microseconds a call, of the thread that asks and of the whole process until all is written."""
    request_lists = [[request(i * rows + row) for row in range(rows)] for i in range(first, first + calls)]
    process, thread = time.process_time_ns(), time.thread_time_ns()
    for requests in request_lists:
        predictor.predict(requests[0] if rows == 1 else requests, at=AT)
    of_thread = time.thread_time_ns() - thread
    writer.flush()
    return of_thread / calls / 1000, (time.process_time_ns() - process) / calls / 1000


def main() -> None:
    """Measure in turn, and print the medians."""
    os.environ.pop("FTI_NOW", None)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bare = build_ours(root)
        logging = Predictor.load("delay_net", models=root / "models", online=root / "online")
        writer = LogWriter(root / "log", limits=LogLimits(waiting_rows=10**6, total_bytes=2**40))
        logging._log = writer
        for what, rows, calls in (("one key", 1, CALLS), (f"{ROWS} keys", ROWS, CALLS_OF_MANY)):
            times: dict[str, list[tuple[float, float]]] = {"logged": [], "bare": []}
            for block in range(BLOCKS):
                for name, predictor in (("logged", logging), ("bare", bare)):
                    times[name].append(block_us(predictor, writer, block * calls, calls, rows))
            (logged, logged_cpu), (unlogged, bare_cpu) = (
                [statistics.median(column) for column in zip(*of_name[BLOCKS // 10 :], strict=True)]
                for of_name in times.values()
            )
            result = {"benchmark": "prediction_log", "what": what, "ratio": round(logged / unlogged, 2), "goal": None}
            result |= {
                "cpu_ratio": round(logged_cpu / bare_cpu, 2),
                "logged_us": round(logged, 1),
                "bare_us": round(unlogged, 1),
            }
            print(json.dumps(result | {"logged_cpu_us": round(logged_cpu, 1), "bare_cpu_us": round(bare_cpu, 1)}))
        counts = writer.counts("delay_net")
        writer.close()
        size = sum(path.stat().st_size for path in (root / "log" / "delay_net").iterdir())
        assert counts == {"logged": BLOCKS * (CALLS + CALLS_OF_MANY * ROWS)}, counts
        print(json.dumps({"benchmark": "prediction_log", "what": "a row", "bytes": round(size / counts["logged"])}))


if __name__ == "__main__":
    main()
