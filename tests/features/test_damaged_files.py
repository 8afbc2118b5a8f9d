"""A run of a feature group beside and over a damaged file of its own table."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.errors import DamagedError
from fti_assets.testing import materialize, stores_in
from tests.stores.test_damage import DAMAGES
from tests.support.worlds import made_once

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05")


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS, online=True, serving_delay="1h")
def by_time(context: dg.AssetExecutionContext) -> pd.DataFrame:
    days = [pd.Timestamp(day) for day in context.partition_keys]
    return pd.DataFrame({"id": 1, "at": days, "number": 1.0})


@fti.feature_group(keys=["id"], event_time="at", partition_by="landed", partitions_def=DAYS)
def by_arrival(context: dg.AssetExecutionContext) -> pd.DataFrame:
    days = [pd.Timestamp(day) for day in context.partition_keys]
    return pd.DataFrame({"id": 1, "at": [day - pd.Timedelta("3h") for day in days], "landed": days, "number": 1.0})


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def resting(by_time: fti.Table) -> fti.Table:
    return by_time


def cases() -> Iterator[Any]:
    """Each damage once, each group with each clock; make soak runs every group at both clocks over every damage."""
    for number, damage in enumerate(DAMAGES):
        for at, group in enumerate((by_time, by_arrival)):
            for now, name in (("2024-01-03T12:00", "recent"), ("2026-01-01", "backfill")):
                crossed = number % 4 == 2 * at + (name == "recent")
                marks = () if crossed else pytest.mark.soak
                yield pytest.param(group, damage, now, id=f"{name}-{damage.__name__}-{group.name}", marks=marks)


@pytest.mark.parametrize(("group", "damage", "now"), list(cases()))
def test_its_own_day_and_another_can_be_run(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, group: fti.FeatureGroup, damage: Any, now: str
) -> None:
    def three_days(folder: Path) -> None:
        materialize(group, stores=stores_in(folder), partition=("2024-01-01", "2024-01-03"), now=now)

    whole = made_once(tmp_path_factory, f"three_days_{group.name}_{now[:4]}", three_days)
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    stores = stores_in(tmp_path)

    def run(day: str) -> bool:
        return materialize(group, stores=stores, partition=day, now=now, raise_on_error=False).success

    before = fti.read(group, stores=stores)
    for file in (tmp_path / "lake" / "data").rglob("*.parquet"):
        if file.parent.name == "_partition=2024-01-02":
            damage(file)
    if not group.online:  # else its values are computed of all days
        assert run("2024-01-03")
    assert run("2024-01-02")
    assert run("2024-01-03")
    after = fti.read(group, stores=stores).sort_values("at", ignore_index=True)
    pd.testing.assert_frame_equal(after, before.sort_values("at", ignore_index=True))


def test_a_group_that_reads_it_names_the_file(tmp_path: Path) -> None:
    stores = stores_in(tmp_path)
    dg.materialize([by_time.assets_def], resources={"fti": stores}, partition_key="2024-01-02")
    (file,) = (tmp_path / "lake" / "data").rglob("*.parquet")
    file.write_bytes(b"")
    with pytest.raises(DamagedError, match=r"of partition '2024-01-02' of features.by_time_v1, is damaged") as raised:
        dg.materialize([resting.assets_def], resources={"fti": stores}, partition_key="2024-01-02")
    assert str(file) in str(raised.value)
