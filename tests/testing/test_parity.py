"""Online against offline."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.core import clock
from fti_assets.errors import NoChampionError, NotMaterializedError, PredictionError
from tests.testing.shop import LAST, buyer, habits, outcomes


@pytest.fixture
def stores(shop_made_once: Path, tmp_path: Path) -> fti.Stores:
    shutil.copytree(shop_made_once, tmp_path / "shop")
    return testing.stores_in(tmp_path / "shop")


def test_past_rows_are_answered_as_offline(stores: fti.Stores) -> None:
    report = testing.assert_parity(buyer, stores=stores, partitions=[LAST], sample=48)
    assert (report.rows, report.build) == (48, stores.model_store().champion("buyer").reference)
    assert report.features == ("spend", "bought_6h", "visits_6h", "double_spend")
    assert report.largest_difference < 1e-5
    assert testing.assert_parity("buyer", stores=stores).rows == 50
    assert testing.assert_parity("buyer", stores=stores, sample=1).rows == 1


def test_online_store_loaded_from_other_rows_is_found(stores: fti.Stores) -> None:
    """The lake is written again without the online store: the outcomes of a day are gone."""
    offline_only = fti.Stores(lake=stores.lake, models=stores.models, online=f"{stores.online}-elsewhere")

    @fti.feature_group(
        name="outcomes", keys=["visit_id"], event_time="t", available_at="known", schema=outcomes.schema,
        partitions_def=outcomes.partitions_def,
    )  # fmt: skip
    def turned(context: Any) -> Any:
        return outcomes(context).assign(bought=lambda rows: 1 - rows["bought"])

    testing.materialize(turned, habits, stores=offline_only, partition=LAST)
    with pytest.raises(
        testing.ParityBroken, match=r"online and offline differ for model 'buyer' v1/\S+: of 48 rows, .*bought_6h"
    ) as result:
        testing.assert_parity(buyer, stores=stores, partitions=[LAST], sample=48)
    differences = result.value.rows
    assert set(differences["feature"]) == {"bought_6h", "value"}
    assert {"visit_id", "at", "online", "offline"} <= set(differences.columns)


def test_predictor_of_app_is_one_that_is_asked(stores: fti.Stores) -> None:
    build = stores.model_store().champion("buyer").reference
    pinned = fti.Predictor.load("buyer", models=stores.models, online=stores.online, build=build)
    assert testing.assert_parity(buyer, stores=stores, predictor=pinned).build == build


@pytest.mark.soak
def test_rows_from_before_online_history_are_left_out_or_refused(stores: fti.Stores) -> None:
    with clock.at("2025-01-13T12:00:00Z"):
        testing.materialize(habits, stores=stores, partition=LAST, now="2025-01-13T12:00:00Z")
    assert (
        testing.assert_parity(buyer, stores=stores, sample=500).rows == 72
    )  # from noon of the sixth to the end of the seventh
    with pytest.raises(PredictionError, match="answers from 2025-01-06T12:00:00"):
        testing.assert_parity(buyer, stores=stores, partitions=["2025-01-05"])


def test_without_champion_or_row_there_is_nothing_to_compare(stores: fti.Stores, tmp_path: Path) -> None:
    with pytest.raises(NoChampionError):
        testing.assert_parity("seller", stores=stores)
    with pytest.raises(NotMaterializedError, match="features.visits_v1 has no row to replay"):
        testing.assert_parity(buyer, stores=stores, partitions=["2025-01-10"])
