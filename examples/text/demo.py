"""A year and a quarter of reports: sentences as vectors, a model of them, the same encoder tuned, and which of the two serves.

    make text

Everything is materialized in the stores under ``FTI_HOME``. The clock stands at the first of February 1998, when what became of the
last report is known.
"""

import os
import time
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

import fti_assets as fti
from examples.text.outcome import counted_words, draw, figures, found_by
from examples.text.system import (
    effects,
    reader_frozen,
    reader_tuned,
    rows_as_read,
    rows_looked_up,
    sentences,
    strikes,
)
from fti_assets.core import clock

FIRST, LAST, CUTOFF, NOW = "1996-10-01", "1998-01-01", "1998-02-01", "1998-02-01T06:00:00"


def main() -> None:
    """Run everything and say what came out."""
    with clock.at(NOW), dg.DagsterInstance.get() as instance:
        for group in (strikes, effects, sentences):
            _materialize(instance, group, FIRST, LAST)
        learned: list[Any] = [rows_looked_up, reader_frozen, rows_as_read, reader_tuned]
        for declaration in learned:
            _materialize(instance, declaration, CUTOFF, CUTOFF)
        _account()
        _serve()


def _materialize(instance: dg.DagsterInstance, declaration: Any, first: str, last: str) -> None:
    """One run of an asset over a range of partitions. A model that is turned down by its gates says so, and the demo goes on."""
    started, waited = time.process_time(), time.perf_counter()
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assets, resources = [declaration.assets_def], {"fti": fti.Stores()}
    done = dg.materialize(
        assets, instance=instance, resources=resources, run_config=quiet, tags=tags, raise_on_error=False
    )
    if not done.success and not isinstance(declaration, type(reader_frozen)):
        raise SystemExit(f"{declaration.key.to_user_string()} failed: see the run in the UI")
    print(
        f"{declaration.key.to_user_string():20} {time.process_time() - started:6.1f} s of CPU, {time.perf_counter() - waited:6.1f} s",
        flush=True,
    )


def _account() -> None:
    """The builds with their gates, and both beside the words counted, on the rows that were held out."""
    for build in fti.Stores().model_store().builds("reader"):
        print(f"\n{build.reference}: {build.status}")
        for verdict in build.gates:
            print(f"  {'passed' if verdict.passed else 'failed'} {verdict.gate}: {verdict.reason}")
    parts = held_out()
    affected = parts["test"]["affected"].to_numpy()
    curves = {}
    print(
        f"\n{len(parts['train']):,} reports to learn from, {len(parts['test']):,} held out, {affected.mean():.1%} of affected flights"
    )
    for name, answers in answers_of(parts).items():
        curves[name] = found_by(affected, answers)
        print(
            f"  {name:16} " + ", ".join(f"{figure} {value:.4f}" for figure, value in figures(affected, answers).items())
        )
    picture = Path(os.environ["FTI_HOME"], "found.svg")
    draw(picture, curves)
    print(f"{picture} has the picture.")


def held_out() -> dict[str, pd.DataFrame]:
    """The rows of each part with their text, as the newest dataset divides them."""
    rows = fti.read(rows_as_read, partitions=[CUTOFF]).merge(
        fti.read(strikes)[["report_id", "remarks"]], on="report_id"
    )
    return {str(part): of_part.sort_values("report_id") for part, of_part in rows.groupby("split")}


def answers_of(parts: dict[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    """What each would have said to the reports that were held out; models by the graph that serves, through the predictor."""
    test, answers = parts["test"], {"words counted": counted_words(parts["train"], parts["test"])}
    for name, version, fields in (("frozen encoder", 1, ["report_id"]), ("tuned encoder", 2, ["report_id", "remarks"])):
        with fti.Predictor.load("reader", build=_newest(version)) as predictor:
            columns = {field: test[field].to_numpy() for field in fields}
            answers[name] = np.asarray(predictor.predict_columns(columns, at=NOW).values, dtype=float)
    return answers


def _newest(version: int) -> str:
    """The newest build of a version."""
    return [one.reference for one in fti.Stores().model_store().builds("reader") if one.version == version][-1]


def _serve() -> None:
    """Reports that nobody has seen, asked of the version that reads, whether its gates let it serve or not, and what an answer costs."""
    reports = [
        "BIRD STRUCK #1 ENG ON T/O. VIBRATION. RETD TO LAND.",
        "SML BIRD HIT WINDSHIELD. NO DAMAGE. CONTD TO DEST.",
    ]
    with fti.Predictor.load("reader", build=_newest(2)) as predictor:
        for place, remarks in enumerate(reports):
            answer = predictor.predict({"report_id": -1 - place, "remarks": remarks}, at=NOW)
            print(f"\n{answer.value:.1%} by {answer.build}: {remarks}")
        started = time.process_time()
        for _ in range(50):
            predictor.predict({"report_id": -1, "remarks": reports[0]}, at=NOW)
        print(f"{(time.process_time() - started) / 50 * 1e3:.0f} ms of CPU an answer")


if __name__ == "__main__":
    main()
