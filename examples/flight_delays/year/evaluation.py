"""What was served, as the monitor's table says it, and what an offline evaluation of the same rows says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import fti_assets as fti
from fti_assets.training.judging.measurement import measure
from fti_assets.training.judging.metrics.answers import Answers

METRICS = ("roc_auc", "log_loss")


@dataclass(frozen=True)
class Week:
    """What was served in a week.

    Args:
        start: its Monday.
        rows: the flights that were answered and have landed.
        values: each metric.
        low, high: where the first one lies, by the monitor's bootstrap.
        builds: those that answered, with how many of these flights each.
    """

    start: pd.Timestamp
    rows: int
    values: Mapping[str, float]
    low: float | None
    high: float | None
    builds: Mapping[str, int]


def served(monitor: Any, stores: fti.Stores, until: datetime) -> list[Week]:
    """The quality by week, from the monitor's table: over all rows and not the estimates.

    Args:
        monitor: by weeks.
        stores: where its table is.
        until: weeks that end later are left out, since not all of their labels were mature yet.
    """
    table = fti.read(monitor, stores=stores)
    table = table[table["partition_start"] + pd.Timedelta("7D") <= pd.Timestamp(until)]
    table = table[(table["subject"] == "quality") & ~table["estimated"] & (table["slice"] == "")]
    weeks = []
    for start, rows in table[table["statistic"].isin(METRICS)].groupby("partition_start"):
        every = rows[rows["build"] == ""].set_index("statistic")
        own = rows[(rows["build"] != "") & (rows["statistic"] == METRICS[0])]
        if set(METRICS) <= set(every.index):
            first = every.loc[METRICS[0]]
            weeks.append(
                Week(
                    start=pd.Timestamp(start),  # type: ignore[arg-type]
                    rows=int(first["rows"]),
                    values={name: float(every.loc[name, "value"]) for name in METRICS},  # type: ignore[arg-type]
                    low=None if pd.isna(first["low"]) else float(first["low"]),
                    high=None if pd.isna(first["high"]) else float(first["high"]),
                    builds={str(build): int(n) for build, n in zip(own["build"], own["rows"], strict=True)},
                )
            )
    return weeks


def offline(predictions: Any, stores: fti.Stores, labels: pd.DataFrame, time: str, start: pd.Timestamp) -> Week:
    """The quality of a week's answers beside labels that no part of the system has touched.

    Args:
        predictions: whose stored answers are read.
        stores: where they lie.
        labels: the keys of the answers and ``label``, 0 or 1.
        time: the answers' prediction time.
        start: of the week.
    """
    days = [f"{day:%Y-%m-%d}" for day in pd.date_range(start, periods=7)]
    with stores.offline_store().connect() as lake:
        present = [day for day in days if day in lake.ledger(predictions.table)]
    answers = fti.read(predictions, stores=stores, partitions=present)
    keys = [name for name in labels.columns if name != "label"]
    rows = answers.merge(labels, on=keys, validate="one_to_one").sort_values([time, *keys], ignore_index=True)
    judged = Answers(rows["label"].to_numpy(dtype=np.float64), rows["probability"].to_numpy(dtype=np.float64))
    values = measure(fti.Evaluation(metrics=list(METRICS), confidence=None), judged, {}).metrics
    counts = rows["build"].value_counts()
    builds = {str(build): int(n) for build, n in counts.items()}
    return Week(start, len(rows), values, None, None, builds)


def landed_labels(whole: Path, key: str, label: str, source: str = "arrivals") -> pd.DataFrame:
    """The labels by key, from the files as they should be."""
    frame = pd.concat(
        [pd.read_parquet(path, columns=[key, label]) for path in sorted((whole / source).glob("*.parquet"))]
    )
    return frame.rename(columns={label: "label"}).astype({"label": np.int64})


def differences(weeks: list[Week], others: list[Week]) -> list[str]:
    """Where two accounts of the same weeks differ, to the last digit; empty where they do not."""
    messages = []
    for one, other in zip(weeks, others, strict=True):
        for what, left, right in [
            ("rows", one.rows, other.rows),
            ("builds", dict(sorted(one.builds.items())), dict(sorted(other.builds.items()))),
            *((name, one.values[name], other.values[name]) for name in METRICS),
        ]:
            if left != right:
                messages.append(f"{one.start:%Y-%m-%d}: {what} {left!r} as it was monitored, {right!r} offline")
    return messages
