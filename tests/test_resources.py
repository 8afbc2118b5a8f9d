"""The stores as a Dagster resource: the IO manager by which other assets take rows."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fti_assets as fti
from fti_assets.errors import DataError, NotMaterializedError, StoreError
from tests.stores.online_stores import redis_location

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-04")


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    at = pd.to_datetime(context.partition_keys)
    return pd.DataFrame({"id": at.day, "at": at, "spent": at.day / 2})


@fti.feature_group(keys=["shop"])
def shops() -> pd.DataFrame:
    return pd.DataFrame({"shop": ["corner", "market"], "area": [10.0, 250.0]})


ID = 2**53 + 1


@fti.feature_group(keys=["k"])
def orders() -> pa.Table:
    inputs = [Decimal(ID), None]
    return pa.table(
        {"k": [1, 2], "id": [ID, None], "code": pa.array(inputs, pa.decimal128(38, 0)), "price": [Decimal("0.5"), None]}
    )


@fti.feature_group(keys=["k"])
def doubled(orders: fti.Table) -> pd.DataFrame:
    return orders.df()


class Runs:
    """An instance and stores on which assets are run."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance, self.resources = instance, {"fti": fti.Stores(lake=str(folder / "lake"))}

    def run(self, asset: Any, partition: str | None = None, **options: Any) -> Any:
        assets = [visits.assets_def, shops.assets_def, asset]
        return dg.materialize(
            list(dict.fromkeys(assets)),
            selection=[asset],
            instance=self.instance,
            resources=self.resources,
            partition_key=partition,
            **options,
        )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Two days of visits and the shops; each test runs assets of its own over them."""
    with dg.DagsterInstance.ephemeral() as instance:
        runs = Runs(instance, tmp_path_factory.mktemp("stores"))
        for day in ("2024-01-01", "2024-01-02"):
            runs.run(visits.assets_def, day)
        runs.run(shops.assets_def)
        yield runs


def test_asset_takes_groups_partition_as_pandas_polars_and_arrow(runs: Runs) -> None:
    taken: dict[str, Any] = {}

    @dg.asset(partitions_def=DAYS)
    def report(visits_v1: pd.DataFrame) -> None:
        taken["pandas"] = visits_v1

    @dg.asset(partitions_def=DAYS, ins={"rows": dg.AssetIn(visits.key)})
    def polars_report(rows: pl.DataFrame) -> None:
        taken["polars"] = rows

    @dg.asset(partitions_def=DAYS)
    def arrow_report(visits_v1: pa.Table) -> None:
        taken["arrow"] = visits_v1

    for asset in (report, polars_report, arrow_report):
        runs.run(asset, "2024-01-02")
    expected = pd.DataFrame(
        {"id": pd.array([2], dtype="int32"), "at": pd.to_datetime(["2024-01-02"]).as_unit("us"), "spent": [1.0]}
    )
    pd.testing.assert_frame_equal(taken["pandas"], expected)
    assert isinstance(taken["polars"], pl.DataFrame)
    assert isinstance(taken["arrow"], pa.Table)
    assert (
        taken["arrow"].to_pylist()
        == taken["polars"].to_dicts()
        == [{"id": 2, "at": pd.Timestamp("2024-01-02").to_pydatetime(), "spent": 1.0}]
    )


def test_an_asset_without_annotation_takes_pandas(runs: Runs) -> None:
    @dg.asset
    def areas(shops_v1):  # type: ignore[no-untyped-def]
        return dg.MaterializeResult(metadata={"area": float(shops_v1["area"].sum())})

    assert runs.run(areas).asset_materializations_for_node("areas")[0].metadata["area"].value == 260.0


def test_a_partition_mapping_names_the_partitions_that_are_read(runs: Runs) -> None:
    @dg.asset(partitions_def=DAYS, ins={"visits_v1": dg.AssetIn(
        partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1)
    )})  # fmt: skip
    def two_days(visits_v1: pd.DataFrame) -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"ids": dg.MetadataValue.json(sorted(visits_v1["id"]))})

    result = runs.run(two_days, "2024-01-02")
    assert result.asset_materializations_for_node("two_days")[0].metadata["ids"].value == [1, 2]


def test_an_unpartitioned_asset_takes_all_that_is_there(runs: Runs) -> None:
    @dg.asset
    def total(visits_v1: pd.DataFrame) -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"rows": len(visits_v1)})

    assert runs.run(total).asset_materializations_for_node("total")[0].metadata["rows"].value == 2


def test_partition_that_is_not_there_is_named(runs: Runs) -> None:
    @dg.asset(partitions_def=DAYS)
    def report(visits_v1: pd.DataFrame) -> None: ...

    with pytest.raises(NotMaterializedError) as caught:
        runs.run(report, "2024-01-03")
    assert "an input takes visits_v1, of which '2024-01-03' is not materialized" in str(caught.value)


def test_annotation_of_another_kind_is_error_that_says_known_ones(runs: Runs) -> None:
    @dg.asset
    def areas(shops_v1: list) -> None: ...  # type: ignore[type-arg]

    with pytest.raises(StoreError) as caught:
        runs.run(areas)
    assert "pandas.DataFrame, polars.DataFrame or pyarrow.Table" in str(caught.value)


def test_the_stores_take_no_other_assets_output(runs: Runs) -> None:
    @dg.asset(io_manager_key="fti")
    def loose() -> int:
        return 1

    with pytest.raises(StoreError, match="declare it with fti.feature_group"):
        runs.run(loose)


def test_online_group_is_loaded_to_server_that_stores_name(tmp_path: Path) -> None:
    @fti.feature_group(keys=["shop"], online=True)
    def places() -> pd.DataFrame:
        return pd.DataFrame({"shop": ["corner", "market"], "area": [10.0, 250.0]})

    with redis_location() as location:
        stores = fti.Stores(lake=str(tmp_path / "lake"), online=location)
        assert dg.materialize([places.assets_def], resources={"fti": stores}).success
        winner = stores.online_store().reader("places_v1").get(("market",), 0)
        assert winner is not None
        assert winner.values == (250.0,)
        assert stores.online_store().location == location
    assert not (tmp_path / "online").exists()


def test_pandas_gets_whole_numbers_to_the_last_digit(runs: Runs) -> None:
    frames: list[pd.DataFrame] = []

    @dg.asset
    def report(orders_v1: pd.DataFrame) -> None:
        frames.append(orders_v1)

    assets = [orders.assets_def, doubled.assets_def, report]
    assert dg.materialize(assets, instance=runs.instance, resources=runs.resources).success
    stores = runs.resources["fti"]
    frames += [fti.read(orders, stores=stores), fti.read(doubled, stores=stores)]
    for frame in frames:
        rows = frame.sort_values("k")
        assert [str(rows[name].dtype) for name in ("id", "code", "price")] == ["Int64", "Int64", "float64"]
        assert (rows["id"].iloc[0], rows["code"].iloc[0], rows["price"].iloc[0]) == (ID, ID, 0.5)
        assert rows[["id", "code", "price"]].iloc[1].isna().all()


def test_whole_number_that_pandas_does_not_hold_is_named(runs: Runs) -> None:
    @fti.feature_group(keys=["k"])
    def wide() -> pa.Table:
        return pa.table({"k": [1], "code": pa.array([Decimal(2**63)], pa.decimal128(38, 0))})

    runs.run(wide.assets_def)
    stores = runs.resources["fti"]
    with pytest.raises(DataError, match=f"code is {2**63}, which is beyond the 64 bits .*: take Arrow or polars"):
        fti.read(wide, stores=stores)
    assert fti.read(wide, as_="arrow", stores=stores)["code"].to_pylist() == [Decimal(2**63)]
