"""Lineage by column, the columns before and after the first run, and the links to what uses an asset."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.features.groups.columns import group_columns
from fti_assets.inference.batch.predictions import columns_of as columns_of_predictions
from fti_assets.training.datasets.dataset import columns_of as columns_of_dataset
from tests.on_demand import has_shop, share_of_rent

DEPS = "dagster/column_lineage"
COLUMNS = "dagster/column_schema"


class VisitSchema(pa.DataFrameModel):
    visit_id: int = pa.Field(unique=True)
    shop: str
    spend: float = pa.Field(ge=0, nullable=True, description="Euros")


@fti.feature_group(keys=["visit_id"], schema=VisitSchema)
def visits() -> pd.DataFrame:
    number = np.arange(200)
    return pd.DataFrame({"visit_id": number, "shop": np.where(number % 3, "a", "b"), "spend": number % 7 * 1.5})


@fti.feature_group(
    keys=["place"],
    metadata={DEPS: dg.TableColumnLineage({"rent": [dg.TableColumnDep(asset_key="leases", column_name="rent")]})},
)
def shops() -> pd.DataFrame:
    return pd.DataFrame({"place": ["a", "b"], "rent": [10.0, 20.0]})


@fti.feature_group(keys=["visit_id"])
def outcomes(visits: fti.Table) -> pd.DataFrame:
    number = np.arange(200)
    return pd.DataFrame({"visit_id": number, "bought": number % 2 == 0})


buying = fti.FeatureView(
    name="buying",
    spine=visits,
    label=fti.Label(outcomes["bought"]),
    features=[visits["spend"], shops.on(shop="place").prefix("shop_")["rent"], share_of_rent, has_shop],
)
buying_dataset = fti.training_dataset(name="buying_dataset", view=buying)


@fti.model(dataset=buying_dataset, task="binary")
def buyer(data: fti.TrainingData) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(data.train.X, data.train.y)


answers = fti.batch_predictions(name="answers", model=buyer)


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each asset's materialization says, by the asset's name."""
    root: Path = tmp_path_factory.mktemp("lineage")
    stores = fti.Stores(**{name: str(root / name) for name in ("lake", "models", "online")})
    defs = fti.build_definitions([answers], resources={"fti": stores})
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
        made = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    return {
        event.asset_key.to_user_string(): {
            name: getattr(value, "value", value) for name, value in event.metadata.items()
        }
        for event in made
    }


def sources(lineage: dg.TableColumnLineage) -> dict[str, list[str]]:
    return {
        column: sorted(f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps)
        for column, deps in lineage.deps_by_column.items()
    }


def test_a_dataset_says_what_each_column_was_made_from(metadata: dict[str, dict[str, Any]]) -> None:
    assert sources(metadata["buying_dataset_v1"][DEPS]) == {
        "visit_id": ["visits_v1.visit_id"],
        "spend": ["visits_v1.spend"],
        "shop_rent": ["shops_v1.rent"],
        "share": ["shops_v1.rent", "visits_v1.spend"],
        "known": ["shops_v1.rent", "visits_v1.shop", "visits_v1.spend"],
        "bought": ["outcomes_v1.bought"],
    }


def test_an_answer_rests_on_every_feature_of_its_build(metadata: dict[str, dict[str, Any]]) -> None:
    result = sources(metadata["answers_v1"][DEPS])
    assert result["visit_id"] == ["visits_v1.visit_id"]
    assert result["probability"] == ["shops_v1.rent", "visits_v1.shop", "visits_v1.spend"]
    assert "build" not in result


def test_a_group_says_only_the_lineage_that_is_declared(metadata: dict[str, dict[str, Any]]) -> None:
    assert DEPS not in metadata["outcomes_v1"]
    assert sources(metadata["shops_v1"][DEPS]) == {"rent": ["leases.rent"]}


def test_a_group_shows_its_columns_before_the_first_run() -> None:
    columns = group_columns(visits)
    displayed = {name: (column.type, column.description) for name, column in columns.items()}
    assert displayed == {"visit_id": ("integer", "Key"), "shop": ("text", None), "spend": ("number", "Euros")}
    assert columns["visit_id"].constraints.unique
    assert not columns["visit_id"].constraints.nullable
    assert columns["spend"].constraints.other == ["greater_than_or_equal_to(0)"]


def test_a_dataset_shows_its_columns_before_the_first_run() -> None:
    columns = columns_of_dataset(buying_dataset)
    assert {name: (column.type, column.description) for name, column in columns.items()} == {
        "visit_id": ("integer", "Key, of visits_v1"),
        "spend": ("number", "spend of visits_v1"),
        "shop_rent": ("unknown", "rent of shops_v1"),
        "share": ("number", "Made by share_of_rent from spend, shop_rent"),
        "known": ("boolean", "Made by has_shop from shop, share"),
        "bought": ("unknown", "Label: bought of outcomes_v1"),
        "split": ("text", "train, validation or test"),
    }
    displayed = buying_dataset.assets_def.metadata_by_key[buying_dataset.key][COLUMNS]
    assert [column.name for column in displayed.columns] == list(columns)


def test_predictions_show_their_columns_before_the_first_run() -> None:
    columns = columns_of_predictions(answers)
    assert {name: column.type for name, column in columns.items()} == {
        "visit_id": "integer", "probability": "number", "build": "text", "predicted_at": "timestamp",
    }  # fmt: skip


def test_after_run_the_stored_types_are_shown_with_what_is_declared(metadata: dict[str, dict[str, Any]]) -> None:
    dataset = {column.name: column for column in metadata["buying_dataset_v1"][COLUMNS].columns}
    assert (dataset["shop_rent"].type, dataset["shop_rent"].description) == ("number", "rent of shops_v1")
    assert dataset["bought"].type == "boolean"
    assert [column.name for column in metadata["shops_v1"][COLUMNS].columns] == ["place", "rent"]
    assert COLUMNS not in metadata["visits_v1"]  # its schema has told them already


def test_assets_link_to_views_and_models_that_use_them() -> None:
    specs = {spec.key.to_user_string(): spec for spec in fti.build_definitions([answers]).resolve_all_asset_specs()}
    links = {
        name: {key: value.asset_key for key, value in spec.metadata.items() if key.startswith("used_by")}
        for name, spec in specs.items()
    }
    both = {"used_by_view/buying_v1": buying_dataset.key, "used_by_model/buyer_v1": buyer.key}
    assert links["visits_v1"] == links["shops_v1"] == links["outcomes_v1"] == both
    assert links["buying_dataset_v1"] == {"used_by_model/buyer_v1": buyer.key}
    assert links["buyer_v1"] == links["answers_v1"] == {}
    back = {k: v.asset_key for k, v in specs["buying_dataset_v1"].metadata.items() if k.startswith("rests_on")}
    assert back == {f"rests_on/{group.table_name}": group.key for group in (visits, outcomes, shops)}


def test_definitions_hold_the_declarations_own_assets() -> None:
    assert visits.assets_def in list(fti.build_definitions([answers]).assets or [])
