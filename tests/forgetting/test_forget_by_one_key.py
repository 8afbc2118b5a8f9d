"""``fti forget`` where one column says which row of the spine it is: people without an event time."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets import testing
from fti_assets.core.names import TableName
from fti_assets.forget import forget

TABLES = (
    TableName("features", "people_v1"),
    TableName("features", "ratings_v1"),
    TableName("datasets", "liking_dataset_v1"),
)


def system(names: list[Any]) -> list[Any]:
    @fti.feature_group(keys=["id"])
    def people() -> pd.DataFrame:
        return pd.DataFrame(
            {"id": names, "age": range(len(names)), "y": [number % 2 == 0 for number in range(len(names))]}
        )

    @fti.feature_group(keys=["id"])
    def ratings() -> pd.DataFrame:
        return pd.DataFrame({"id": names, "stars": [number % 7 for number in range(len(names))]})

    view = fti.FeatureView(
        name="liking", spine=people, label=fti.Label(people["y"]), features=[people["age"], ratings["stars"]]
    )

    @fti.model(dataset=view, task="binary")
    def likes(data: fti.TrainingData) -> Any:
        return LogisticRegression().fit(data.train.X, data.train.y)

    return [people, ratings, likes.dataset, likes]


@pytest.mark.parametrize(
    "kind",
    [pytest.param("integer", marks=pytest.mark.soak), pytest.param("text", marks=pytest.mark.soak), "text with NUL"],
)
def test_a_person_is_gone_from_the_dataset_too(tmp_path: Path, kind: str) -> None:
    end = {"integer": "", "text": "", "text with NUL": "\0"}[kind]
    names: list[Any] = [*range(60)] if kind == "integer" else [f"p{number}{end}" for number in range(60)]
    *groups, dataset, _ = system(names)
    assert testing.materialize(*groups, dataset, stores=testing.stores_in(tmp_path / "people")).success
    shutil.copytree(tmp_path / "people", tmp_path / "ratings")
    for group in ("people", "ratings"):
        forget_one(group, names, dataset, testing.stores_in(tmp_path / group))


def forget_one(group: str, names: list[Any], dataset: Any, stores: fti.Stores) -> None:
    """Forget the seventh by one of the groups."""
    declared, key = fti.build_definitions([dataset]), {"id": str(names[7])}
    assert {
        report.occurrences.table for report in forget(declared, group, key, stores=stores, dry_run=True).tables
    } >= {TABLES[2]}
    forget(declared, group, key, stores=stores, expire=True)
    with stores.offline_store().connect() as lake:
        left = {
            table.name: {value for (value,) in lake.connection.execute(f"SELECT id FROM {table.sql}").fetchall()}
            for table in TABLES
        }
    expected = {"people_v1": {*names}, "ratings_v1": {*names}, "liking_dataset_v1": {*names}}
    expected[f"{group}_v1"] -= {names[7]}
    expected["liking_dataset_v1"] -= {names[7]}
    assert left == expected
    assert forget(declared, group, key, stores=stores, dry_run=True).tables == []
