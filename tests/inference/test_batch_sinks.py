"""Sinks of batch predictions: each partition as the lake has it, mended by a rerun."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.describe.facts import batch_inference
from fti_assets.errors import DeclarationError
from tests.support.visits import BUYER, DAYS, Bench, failure_of


def in_folder(folder: Path) -> pd.DataFrame:
    rows = pd.concat([pd.read_parquet(file, partitioning=None) for file in sorted(folder.glob("*/*.parquet"))])
    return rows.sort_values("visit_id").reset_index(drop=True)


def test_sinks_have_each_partition_and_a_rerun_mends_what_failed(bench: Bench, tmp_path: Path) -> None:
    taken: list[tuple[str, pd.DataFrame]] = []
    down = [True]

    def push(rows: Any, partition: str) -> None:
        if partition == "2013-01-06" and down:
            raise ConnectionError("nobody listens")
        taken.append((partition, rows.read_all().to_pandas()))

    folder = tmp_path / "exports"
    sinks = [fti.FunctionSink(push), fti.ParquetSink(folder)]
    scores = fti.batch_predictions(name="sunk", model=BUYER, partitions_def=DAYS, sinks=sinks)
    result = bench.predict(scores, span=("05", "06"), raise_on_error=False)
    assert not result.asset_materializations_for_node("sunk_v1")
    assert "sunk_v1 is in the lake, but 2013-01-06 is not in the function push: ConnectionError: nobody" in failure_of(
        result
    )
    before = bench.answers(scores).reset_index(drop=True)
    pd.testing.assert_frame_equal(in_folder(folder / "sunk_v1"), before)
    down.clear()
    taken.clear()
    events = bench.predict(scores, span=("05", "06"), now="2013-01-20T09:00:00").asset_materializations_for_node(
        "sunk_v1"
    )
    assert {event.metadata["sinks"].value for event in events if "sinks" in event.metadata} == {
        f"function push, Parquet folder {folder}"
    }
    assert [partition for partition, _ in taken] == ["2013-01-05", "2013-01-06"]
    inputs = pd.concat([rows for _, rows in taken]).sort_values("visit_id").reset_index(drop=True)
    for outcome in (inputs, in_folder(folder / "sunk_v1"), bench.answers(scores).reset_index(drop=True)):
        pd.testing.assert_frame_equal(outcome, before, check_dtype=False)
    facts = batch_inference(scores, next(iter(scores.assets_def.specs)), [])
    assert (
        facts["sink"] == f"the table predictions.sunk_v1 of the offline store, function push, Parquet folder {folder}"
    )


def test_what_is_no_sink_is_refused_when_declared() -> None:
    with pytest.raises(DeclarationError, match="in which 'exports' does not fit; it takes a list of Sink"):
        fti.batch_predictions(name="sunk", model=BUYER, partitions_def=DAYS, sinks=["exports"])
