"""Files of a prediction log as servers write them, and a model whose answers they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti
from fti_assets.inference.serving.answers.prediction import Prediction
from fti_assets.inference.serving.log.files import STAMP
from fti_assets.inference.serving.log.lines import Redaction, answer_line, drops_line, footer, header

DAYS = dg.DailyPartitionsDefinition(start_date="2013-06-01", end_date="2013-06-05")
BEGUN = datetime(2013, 6, 4, 12)


class VisitSchema(pa.DataFrameModel):
    visit_id: int
    t: pd.Timestamp
    shop: str
    x: float


class OutcomeSchema(pa.DataFrameModel):
    visit_id: int
    t: pd.Timestamp
    bought: int


@fti.feature_group(keys=["visit_id"], event_time="t", schema=VisitSchema, partitions_def=DAYS)
def visits() -> pd.DataFrame:
    raise NotImplementedError


@fti.feature_group(keys=["visit_id"], event_time="t", schema=OutcomeSchema, partitions_def=DAYS)
def outcomes() -> pd.DataFrame:
    raise NotImplementedError


view = fti.FeatureView(
    name="buying", spine=visits, label=fti.Label(outcomes["bought"]), features=[visits["x"]],
)  # fmt: skip


def buyer_model(task: str = "binary", **options: Any) -> Any:
    dataset = fti.training_dataset(
        name="buying", view=view, split=fti.TimeSplit(validation="1d", test="1d"), partitions_def=DAYS
    )

    @fti.model(name="buyer", dataset=dataset, task=task, **options)
    def train(data: fti.TrainingData) -> Any:
        raise NotImplementedError

    return train


BUYER = buyer_model()


def answer(number: int, at: datetime, *, value: Any = 0.25, arm: str = "champion", **features: Any) -> Prediction:
    return Prediction(
        value, {"x": 0.5, **features}, (), at, "buyer", "v1/b", ages={"shops_v1": 60.0}, arm=arm, unknown=("shop",)
    )


def line_of(
    number: int, at: datetime, *, redaction: Redaction | None = None, row: int = 0, latency: float | None = None,
    **request: Any,
) -> bytes:  # fmt: skip
    """A line as a server writes it; the request's id is its number."""
    fields = {"visit_id": number, "shop": "a", "x": 0.5, **request}
    now = at + timedelta(seconds=1)
    return answer_line(answer(number, at), fields, f"r{number}", row, now, latency, redaction or Redaction())


def file_in(
    folder: Path,
    lines: Sequence[bytes],
    *,
    number: int = 0,
    left: bool = False,
    redacted: Sequence[str] = (),
    begun: datetime = BEGUN,
) -> Path:
    """Write a file of lines as a writer closes it, or as a crash leaves it, half a line at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{(begun + timedelta(seconds=number)).strftime(STAMP)}-1-{number:08x}"
    first = header("buyer", Redaction(frozenset(redacted)))
    path = folder / f"{name}.jsonl{'.open' if left else ''}"
    hours = {line[7:20].decode() for line in lines if line.startswith(b'{"at":"')}
    end = b'{"at":"2013-' if left else footer(len(lines), hours)
    path.write_bytes(b"".join([first, *lines, end]))
    return path


def dropped(at: datetime, count: int, reason: str = "queue") -> bytes:
    """The line of answers that were not logged."""
    return drops_line(at, reason, count)
