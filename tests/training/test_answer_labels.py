"""The labels of answers that were given at times of their own."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core.sql import timestamp
from fti_assets.errors import DataError
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.training.datasets.labels import LABEL, answers_with_label

NOON = datetime(2026, 3, 1, 12)


@fti.feature_group(keys=["payment"], event_time="t")
def payments() -> pd.DataFrame: ...


@fti.feature_group(keys=["payment"], event_time="t", available_at="known_at")
def disputes() -> pd.DataFrame: ...


@fti.feature_group(keys=["card"], event_time="t", serving_delay="1h")
def clicks() -> pd.DataFrame: ...


def hours(number: float) -> datetime:
    return NOON + timedelta(hours=number)


def labels_of(
    answers: list[tuple[Any, float]], key: str, outcomes: list[dict[str, Any]], label: fti.Label, *, cutoff: float
) -> list[Any]:
    connection = duckdb.connect()
    requests = connection.from_df(
        pd.DataFrame([{"n": n, key: one, "asked_at": hours(at)} for n, (one, at) in enumerate(answers)])
    )
    rows = connection.from_df(pd.DataFrame(outcomes))
    labelled = answers_with_label(connection, requests, rows, label, payments, time="asked_at", cutoff=hours(cutoff))
    assert set(labelled.columns) == {"n", key, "asked_at", LABEL}
    return [value for (value,) in labelled.order("n").project(LABEL).fetchall()]


def test_latest_correction_that_is_known_is_the_label_whenever_it_was_asked():
    outcomes = [
        {"payment": 1, "t": hours(0), "known_at": hours(2), "late": 1},
        {"payment": 1, "t": hours(0), "known_at": hours(4), "late": 0},
        {"payment": 2, "t": hours(0), "known_at": hours(9), "late": 1},
    ]
    requests = [(1, -1.0), (1, 3.0), (2, 0.0), (3, 0.0)]
    label = fti.Label(disputes["late"])
    assert labels_of(requests, "payment", outcomes, label, cutoff=3) == [1, 1, None, None]
    assert labels_of(requests, "payment", outcomes, label, cutoff=9) == [0, 0, 1, None]


def test_first_outcome_after_an_answer_counts_within_the_horizon():
    outcomes = [{"card": "a", "t": hours(at), "bought": value} for at, value in ((0, 1), (1, 2), (5, 3), (30, 4))]
    label = fti.Label(clicks["bought"], within="3h")
    requests = [("a", -0.5), ("a", 0.0), ("a", 2.0), ("a", 1.0), ("a", 6.0), ("b", 0.0)]
    assert labels_of(requests, "card", outcomes, label, cutoff=40) == [1, 2, 3, None, None, None]
    assert labels_of(requests, "card", outcomes, label, cutoff=1.5)[:2] == [
        1,
        None,
    ]  # the second is visible an hour later


def test_spine_of_its_own_label_must_say_which_row_an_answer_is_about():
    label = fti.Label(payments["disputed"])
    once = [{"payment": 1, "t": hours(0), "disputed": 1}, {"payment": 2, "t": hours(0), "disputed": 0}]
    assert labels_of([(1, 0.1), (2, 0.1)], "payment", once, label, cutoff=5) == [1, 0]
    twice = [*once, {"payment": 2, "t": hours(1), "disputed": 1}]
    with pytest.raises(
        DataError, match="several rows of one payment, such as 2, so the label 'disputed' of a logged answer"
    ):
        labels_of([(1, 0.1)], "payment", twice, label, cutoff=5)


@fti.feature_group(keys=["name"])
def names() -> pd.DataFrame: ...


@pytest.mark.parametrize(
    "label",
    [fti.Label(names["outcome"]), fti.Label(clicks["outcome"]), fti.Label(clicks["outcome"], within="3h")],
    ids=["once a key", "the latest of a key", "the first within a horizon"],
)
def test_a_lone_key_with_nul_finds_its_outcome_in_the_lake(tmp_path: Path, label: fti.Label) -> None:
    key, lone, noon = label.group.keys[0], "a\0b", timestamp(NOON)
    with OfflineStore(tmp_path / "lake").connect() as lake:
        execute = lake.connection.execute
        execute(
            f"CREATE TABLE lake.outcomes AS SELECT i::VARCHAR AS {key}, {noon} AS t, 0 AS outcome FROM range(50000) r(i)"
        )
        execute(f"INSERT INTO lake.outcomes VALUES (?, {noon}, 1)", [lone])
        execute(f"CREATE TEMP TABLE answers AS SELECT ? AS {key}, {noon} - INTERVAL 1 HOUR AS asked_at", [lone])
        outcomes, requests = lake.connection.sql("FROM lake.outcomes"), lake.connection.table("answers")
        answers = answers_with_label(
            lake.connection, requests, outcomes, label, payments, time="asked_at", cutoff=hours(9)
        )
        assert answers.project(LABEL).fetchall() == [(1,)]
