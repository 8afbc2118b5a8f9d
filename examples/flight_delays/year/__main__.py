"""Replay 2013, hold what was served against an offline evaluation, and write the page.

make year
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
import warnings
from datetime import date
from pathlib import Path

import dagster as dg

from examples.flight_delays import sources
from examples.flight_delays.year.evaluation import differences, landed_labels, offline
from examples.flight_delays.year.page import account, write_page
from examples.flight_delays.year.picture import picture
from examples.flight_delays.year.replay import replay
from examples.flight_delays.year.story import FIRST, LAST, flagship
from examples.flight_delays.year.system import LEFT_OUT, predictions

DOCS = Path("docs")


def main() -> int:
    """Run it; the exit code is 1 if what was served is not what an offline evaluation says, or an event did not come about."""
    parser = argparse.ArgumentParser(prog="python -m examples.flight_delays.year", description=main.__doc__)
    parser.add_argument("--first", type=date.fromisoformat, default=FIRST, help="the first day that is replayed")
    parser.add_argument("--last", type=date.fromisoformat, default=LAST, help="the last one")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where year.md and its picture are written")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    started, cpu = time.perf_counter(), time.process_time()
    print(f"Left out of the flagship, so that a year takes minutes: {', '.join(LEFT_OUT)}.", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        whole, home = Path(folder) / "whole", Path(folder) / "home"
        sources.land(whole)
        story = flagship(whole, home, first=options.first, last=options.last)
        (Path(folder) / "dagster").mkdir()
        shutil.copy("dagster.yaml", Path(folder) / "dagster")
        with dg.DagsterInstance.from_config(str(Path(folder) / "dagster")) as instance:
            timeline = replay(story, instance, say=lambda line: print(line, flush=True))
        labels = landed_labels(whole, "flight_id", "is_late")
        evaluated = [offline(predictions, story.stores, labels, "predict_at", one.start) for one in timeline.weeks]
    timeline.cpu_s["all"] = time.process_time() - cpu
    differing = differences(timeline.weeks, evaluated)
    print("\n".join(account(timeline)))
    for line in differing:
        print(f"DIFFERS {line}")
    absent = [
        what
        for what, present in {"rejected build": timeline.rejected, "rollback": timeline.rollbacks}.items()
        if not present
    ]
    for what in absent:
        print(f"ABSENT: no {what}")
    if not differing and not absent:
        (options.docs / "images").mkdir(parents=True, exist_ok=True)
        (options.docs / "images" / "year.svg").write_text(picture(timeline))
        (options.docs / "year.md").write_text(write_page(timeline, story))
    print(f"{timeline.cpu_s['all']:.0f} CPU s in {time.perf_counter() - started:.0f} s")
    return 1 if differing or absent else 0


if __name__ == "__main__":
    sys.exit(main())
