"""CPU time of a commit with the checksums of its files, over one without them.

``python -m benchmarks.checksums`` replaces a partition of 20 rows, and one of 50,000, on two lakes that take turns, so that both meet
the same load; on one of them nothing is recorded or compared.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from benchmarks.lake import TABLE, stage
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore

RUNS = {20: 81, 50_000: 25}
GOAL = 1.05
PARTITION = "p0"


def commit(lake: Lake, rows: int, seed: int) -> float:
    stage(lake.connection, [PARTITION], rows, seed)
    before = time.process_time()
    lake.replace(TABLE, "staged", [PARTITION], asset="rows_v1")
    return time.process_time() - before


def commit_without(lake: Lake, rows: int, seed: int) -> float:
    with (
        patch("fti_assets.stores.lake.lake.record_checksums", lambda lake, *, after: None),
        patch.object(Lake, "has_checksums", lambda self: False),
    ):
        return commit(lake, rows, seed)


def main() -> None:
    ratios = {}
    for rows, runs in RUNS.items():
        with (
            tempfile.TemporaryDirectory() as folder,
            OfflineStore(Path(folder) / "with").connect() as one,
            OfflineStore(Path(folder) / "without").connect() as other,
        ):
            pairs = []
            for run in range(runs + 3):
                if run % 2:
                    pairs.append((commit(one, rows, run), commit_without(other, rows, run)))
                else:
                    without = commit_without(other, rows, run)
                    pairs.append((commit(one, rows, run), without))
        warm = pairs[3:]
        ratios[rows] = statistics.median(mine / without for mine, without in warm)
        cpu, cpu_without = (1000 * statistics.median(side) for side in zip(*warm, strict=True))
        print(
            f"{rows} rows: {cpu:.1f} ms of CPU, without {cpu_without:.1f} ms, ratio of the middle pair {ratios[rows]:.3f}"
        )
    print(json.dumps({"benchmark": "checksums", "ratio": round(max(ratios.values()), 3), "goal": GOAL}))


if __name__ == "__main__":
    main()
