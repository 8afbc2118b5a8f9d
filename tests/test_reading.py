"""Rows for a notebook."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.errors import NotMaterializedError, StoreError

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-05")


@fti.feature_group(keys=["id"], event_time="t", partitions_def=DAYS)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    starts = [datetime.replace(tzinfo=None) for datetime in (context.partition_time_window.start,)]
    return pd.DataFrame({"id": [starts[0].day], "t": starts, "spend": [starts[0].day / 2]})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    with dg.DagsterInstance.ephemeral() as instance:
        for day in ("2013-01-01", "2013-01-02"):
            resources = {"fti": fti.Stores(lake=str(home / "lake"))}
            dg.materialize([visits.assets_def], instance=instance, resources=resources, partition_key=day)
    return home


@pytest.fixture
def stores(home: Path) -> fti.Stores:
    return fti.Stores(lake=str(home / "lake"))


def test_all_rows_are_read(stores: fti.Stores) -> None:
    rows = fti.read(visits, stores=stores).sort_values("id", ignore_index=True)
    times = pd.to_datetime(["2013-01-01", "2013-01-02"]).astype("datetime64[us]")
    expected = pd.DataFrame({"id": [1, 2], "t": times, "spend": [0.5, 1.0]})
    pd.testing.assert_frame_equal(rows, expected)


def test_some_columns_of_some_partitions_are_read(stores: fti.Stores) -> None:
    rows = fti.read(visits, columns=["spend", "id"], partitions=["2013-01-02"], stores=stores)
    assert rows.to_dict("list") == {"spend": [1.0], "id": [2]}


def test_a_snapshot_is_read_as_it_was(stores: fti.Stores) -> None:
    with stores.offline_store().connect() as lake:
        newest = lake.snapshot()
    assert len(fti.read(visits, snapshot=newest, stores=stores)) == 2
    assert len(fti.read(visits, snapshot=newest - 1, stores=stores)) == 1


def test_the_stores_are_those_of_the_home_by_default(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTI_HOME", str(home))
    assert len(fti.read(visits)) == 2


def test_what_was_never_materialized_is_named_with_what_there_is(stores: fti.Stores) -> None:
    @fti.feature_group(keys=["id"])
    def others() -> pd.DataFrame: ...

    with pytest.raises(NotMaterializedError, match=r"features.others_v1 is not in .*which has 'features.visits_v1'"):
        fti.read(others, stores=stores)


def test_a_partition_that_was_never_materialized_is_named_with_what_there_is(stores: fti.Stores) -> None:
    with pytest.raises(NotMaterializedError, match="features.visits_v1 has no partition '2013-01-03'.*'2013-01-02'"):
        fti.read(visits, partitions=["2013-01-01", "2013-01-03"], stores=stores)


def test_an_unknown_column_is_named_with_what_there_is(stores: fti.Stores) -> None:
    with pytest.raises(StoreError, match="features.visits_v1 has no column 'spent': it has 'id', 't' and 'spend'"):
        fti.read(visits, columns=["spent"], stores=stores)


def test_reading_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(NotMaterializedError, match="there is no offline store"):
        fti.read(visits, stores=fti.Stores(lake=str(tmp_path / "lake")))
    assert not (tmp_path / "lake").exists()
