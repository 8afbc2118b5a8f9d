"""Drift of columns with more categories in a partition than a count names, against categories counted by hand."""

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from fti_assets.core.manifest import Column
from fti_assets.core.times import Partition
from fti_assets.monitoring.drift.counts import MOST_CATEGORIES, CountedColumn
from fti_assets.monitors.answers.answered import BUILD, MATURE, PARTITION
from fti_assets.monitors.drift import measuring
from fti_assets.monitors.drift.columns import WatchedColumn, feature_columns
from fti_assets.monitors.drift.measuring import drift_of
from fti_assets.training.datasets.profiling import profile_of
from tests.support.visits import DAYS

MANY = MOST_CATEGORIES + 200


def figures(
    monkeypatch: Any, connection: Any, column: WatchedColumn, before: list[str], day: list[str], weeks: int = 1
) -> dict[tuple[str, str], float | None]:
    """The figures of a day by reference and statistic, of answers of one build."""
    keys = ["2013-01-05"] * len(before) + ["2013-01-06"] * len(day)
    rows = pa.table({PARTITION: keys, BUILD: ["b1"] * len(keys), MATURE: [True] * len(keys), "t": before + day})
    connection.register("given", rows)
    connection.execute("CREATE OR REPLACE TABLE answered AS FROM given")
    monkeypatch.setattr(measuring, "_rows_of", lambda *_: ([column], "answered"))
    monkeypatch.setattr(measuring, "volume_of", lambda *_: [])
    counts = {"2013-01-05": {"b1": len(before)}, "2013-01-06": {"b1": len(day)}}
    answers: Any = SimpleNamespace(
        column="answer",
        lake=SimpleNamespace(connection=connection),
        counts=lambda _: counts,
        totals=lambda *_: {},
    )
    partition = Partition("2013-01-06", datetime(2013, 1, 6), datetime(2013, 1, 7))
    store: Any = None
    drifts = drift_of(answers, store, [partition], calendar=DAYS, weeks=weeks, rules=[])
    assert not drifts.problems
    return {(one.reference, one.statistic): one.value for one in drifts.measurements}


def test_a_category_rarer_than_a_thousand_is_not_gone(monkeypatch: Any) -> None:
    old = [f"old{i}" for i in range(10)]
    new = [f"new{i}" for i in range(MANY)]
    column = WatchedColumn("feature", "t", CountedColumn("t", "text"), None)
    with duckdb.connect() as connection:
        kept = figures(monkeypatch, connection, column, old * 30, old + new * 2)
        # Three have really gone.
        gone = figures(monkeypatch, connection, column, old * 30, old[3:] + new * 2)
    assert kept["weeks_before", "category_churn"] == 0
    assert kept["weeks_before", "unknown_rate"] == pytest.approx(2 * MANY / (2 * MANY + 10))
    assert gone["weeks_before", "category_churn"] == pytest.approx(0.3)


def test_a_learned_category_among_thousands_is_known(monkeypatch: Any) -> None:
    learned = [f"v{i:04}" for i in range(MANY)]
    answers: Any = SimpleNamespace(redacted=(), prefix="")
    feature = Column("t", "text")
    manifest: Any = SimpleNamespace(view=SimpleNamespace(features=[feature]), encoders={"t": {"categories": learned}})
    with duckdb.connect() as connection:
        connection.register("train", pa.table({"t": learned * 2, "y": [0.0] * 2 * MANY}))
        profile = profile_of(connection, "train", [feature], Column("y", "number"), "y")
        (column,) = feature_columns(answers, manifest, profile)
        results = figures(monkeypatch, connection, column, [], [*learned, "x", "y"], weeks=0)
    assert results["training", "unknown_rate"] == pytest.approx(2 / (MANY + 2))
