"""What all declarations share: a walk over what they rest on, their asset, and who uses them."""

import dagster as dg
import pandas as pd

import fti_assets as fti
from fti_assets.orchestration.declaration import Declaration, TableDeclaration, declaration_of, walk


@fti.feature_group(keys=["shop"])
def shops() -> pd.DataFrame: ...


@fti.feature_group(keys=["shop"])
def near(shops: fti.Table) -> pd.DataFrame: ...


@fti.feature_group(keys=["shop"])
def far(near: fti.Table, shops: fti.Table) -> pd.DataFrame: ...


prices = fti.external_group(name="prices", source=fti.ParquetFiles(path="prices/*.parquet"), keys=["shop"])
view = fti.FeatureView(name="sales", spine=far, label=fti.Label(near["sold"]), features=[far["size"], prices["price"]])
dataset = fti.training_dataset(name="sales_rows", view=view)


@fti.model(dataset=dataset, task="binary")
def seller(data: fti.TrainingData) -> object: ...


answers = fti.batch_predictions(name="answers", model=seller)
EVERY: list[Declaration] = [shops, near, far, prices, dataset, seller, answers]


def test_walk_gives_each_declaration_once_after_what_it_rests_on() -> None:
    assert walk([answers]) == walk([answers, far, dataset]) == EVERY
    assert walk([prices, near]) == [prices, shops, near]
    assert walk([]) == []


def test_a_view_rests_on_groups_near_and_far() -> None:
    assert view.groups == [far, near, prices]
    assert view.upstream == [far, near, prices, shops]


def test_an_asset_leads_to_its_declaration() -> None:
    assert [declaration_of(one.assets_def) for one in EVERY] == EVERY

    @dg.asset
    def plain() -> None: ...

    assert declaration_of(plain) is None


def test_a_declaration_with_rows_names_its_table() -> None:
    tables = [one.table.full_name for one in EVERY if isinstance(one, TableDeclaration)]
    assert tables == [
        "features.shops_v1", "features.near_v1", "features.far_v1", "features.prices_v1", "datasets.sales_rows_v1",
        "predictions.answers_v1",
    ]  # fmt: skip
    assert seller.key == dg.AssetKey("seller_v1")


def test_asset_is_made_once_and_leads_to_users_in_any_definitions() -> None:
    assert shops.assets_def is shops.assets_def
    (spec,) = dg.Definitions(assets=[shops.assets_def], resources={"fti": fti.Stores()}).resolve_all_asset_specs()
    used = {name: value.asset_key for name, value in spec.metadata.items() if name.startswith("used_by")}
    assert used == {"used_by_model/seller_v1": seller.key}
