"""Damaged files and lost links of tables of other systems: the very file is named, whoever reads it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from dagster._core.definitions.observe import observe as observed_of

import fti_assets as fti
from fti_assets.errors import DamagedError, StoreError
from fti_assets.stores.sources.parquet_files import ParquetFiles
from fti_assets.testing import materialize, stores_in
from tests.features.test_external_group import DAYS, STORES, WEATHER, dataset_of, visits
from tests.stores.test_external import read_all, version, written
from tests.support.odd_files import ODD_FILES


def weather(folder: Path, files: int = 3) -> fti.FeatureGroup:
    folder.mkdir()
    for number in range(files):
        rows = duckdb.sql(f"FROM ({WEATHER}) WHERE i % {files} = {number}".replace("AS temp", "AS temp, i"))
        rows.write_parquet(str(folder / f"part-{number}.parquet"), compression="zstd")
    return external(ParquetFiles(path=folder))


def external(source: Any) -> fti.FeatureGroup:
    return fti.external_group(
        name="weather", source=source, keys=["shop"], event_time="seen_at", available_at="known_at", ttl="6h"
    )


def tear_page(file: Path, column: str = "seen_at") -> None:
    group = pq.ParquetFile(file).metadata.row_group(0)
    [place] = [one for one in map(group.column, range(group.num_columns)) if one.path_in_schema == column]
    offsets = [one for one in (place.dictionary_page_offset, place.data_page_offset) if one]
    content = bytearray(file.read_bytes())
    content[min(offsets) : min(offsets) + 30] = bytes(30)
    file.write_bytes(content)


def cut_footer(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-200:-100] = bytes(100)
    file.write_bytes(content)


def read(group: fti.FeatureGroup, stores: fti.Stores) -> Any:
    return fti.read(group)


def observe(group: fti.FeatureGroup, stores: fti.Stores) -> Any:
    with dg.DagsterInstance.ephemeral() as instance:
        return observed_of([group.assets_def], instance=instance, resources=STORES)


def train(group: fti.FeatureGroup, stores: fti.Stores) -> Any:
    return materialize(dataset_of(visits(), group), stores=stores, partition="2013-01-18")


def window(weather: fti.FeatureGroup, stores: fti.Stores) -> Any:
    @fti.feature_group(keys=["shop"], event_time="hour", partitions_def=DAYS, lookback="30h", ins={"rows": weather})
    def warmth(rows: fti.Table) -> fti.Table:
        return fti.window_aggregate(
            rows, keys=["shop"], every="1h", windows=["24h"], aggregates={"temp": fti.Mean("temp")}
        )

    return materialize(warmth, stores=stores, partition="2013-01-10")


def ad_hoc(group: fti.FeatureGroup, stores: fti.Stores) -> Any:
    times = pd.date_range("2013-01-02", "2013-01-19", freq="37min")
    spine = pd.DataFrame(
        {"visit_id": range(len(times)), "t": times, "shop": ["a", "b"] * (len(times) // 2) + ["a"] * (len(times) % 2)}
    )
    return dataset_of(visits(), group).view.features_for(spine, stores=stores)


USES: list[Callable[[fti.FeatureGroup, fti.Stores], Any]] = [read, observe, train, window, ad_hoc]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    stores = stores_in(tmp_path_factory.mktemp("stores"))
    materialize(visits(), stores=stores)
    return stores


@pytest.mark.parametrize("damage", [tear_page, cut_footer])
@pytest.mark.parametrize("use", USES)
def test_a_damaged_parquet_file_is_named(tmp_path: Path, stores: fti.Stores, use: Any, damage: Any) -> None:
    group = weather(tmp_path / "weather")
    file = tmp_path / "weather" / "part-1.parquet"
    damage(file)
    result = f"{file} of Parquet files {tmp_path}/weather/**/*.parquet cannot be read: "
    with pytest.raises(DamagedError, match=rf"{re.escape(result)}.*Put it back from a copy, or have it written again"):
        use(group, stores)


def test_a_column_that_nobody_reads_may_be_damaged(tmp_path: Path, stores: fti.Stores) -> None:
    group = weather(tmp_path / "weather")
    whole = fti.read(group, columns=["temp"])
    tear_page(tmp_path / "weather" / "part-1.parquet", "i")
    pd.testing.assert_frame_equal(fti.read(group, columns=["temp"]), whole)


@pytest.mark.parametrize("use", [read, train, window])
def test_a_damaged_duckdb_file_is_named(tmp_path: Path, stores: fti.Stores, use: Any) -> None:
    file = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"CREATE TABLE weather AS FROM ({WEATHER}), range(200) WHERE random() < 2")
    content = bytearray(file.read_bytes())
    for start in range(len(content) // 3, len(content) * 2 // 3, 1000):
        content[start] ^= 1
    file.write_bytes(content)
    with pytest.raises(StoreError, match=rf"{file} cannot be read: |{file} of table weather .* cannot be read: "):
        use(external(fti.DuckDBTable(file=file, table="weather")), stores)


LOST = [
    ("", "part-9.parquet"),
    ("", "part-9.PARQUET"),
    ("", "day=1"),
    ("", "2024"),
    ("", "day=0/part-9.parquet"),
    ("/*.parquet", "part-9.parquet"),
    ("/*/*.parquet", "day=1"),
    ("/*/*.parquet", "day=0/part-9.parquet"),
    ("/day=*/x/*.parquet", "day=1"),
    ("/**/*.parquet", "day=0/part-9.parquet"),
]


@pytest.mark.parametrize("kind", ["a link that leads nowhere", "a link that leads in a circle"])
@pytest.mark.parametrize(("pattern", "name"), LOST)
def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path, pattern: str, name: str, kind: str) -> None:
    for file in ("a.parquet", "day=0/b.parquet", "day=0/x/c.parquet"):
        written(tmp_path, file, 1)
    source = ParquetFiles(path=f"{tmp_path}{pattern}")
    rows = read_all(source)
    link = tmp_path / name
    ODD_FILES[kind](link)
    for use in (read_all, version):
        with pytest.raises(DamagedError, match=f"^{link} is {kind}, so rows would be missed: put back .*or remove"):
            use(source)
    link.unlink()
    assert read_all(source) == rows


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("", "README.md"), ("", ".part.parquet"), ("", "_temporary"), ("/*.parquet", "day=1"), ("/day=0/*.parquet", "x.parquet")],
)  # fmt: skip
def test_a_link_that_is_no_row_may_lead_nowhere(tmp_path: Path, pattern: str, name: str) -> None:
    for file in ("a.parquet", "day=0/b.parquet"):
        written(tmp_path, file, 1)
    source = ParquetFiles(path=f"{tmp_path}{pattern}")
    rows = read_all(source)
    (tmp_path / name).symlink_to("nowhere")
    assert read_all(source) == rows


@pytest.mark.parametrize("pattern", ["", "/**/*.parquet"])
def test_a_linked_folder_that_is_not_read_is_refused(tmp_path: Path, pattern: str) -> None:
    written(tmp_path, "here/day=1/a.parquet", 1)
    written(tmp_path, "there/day=2/b.parquet", 2)
    link = tmp_path / "here" / "day=2"
    link.symlink_to(tmp_path / "there" / "day=2")
    source = ParquetFiles(path=f"{tmp_path}/here{pattern}")
    with pytest.raises(
        StoreError, match=rf"{link} is a link to the folder .*day=2, .* not read, as b.parquet there: move"
    ):
        read_all(source)
    assert read_all(ParquetFiles(path=f"{tmp_path}/here/*/*.parquet")) == [1, 2]
    assert read_all(ParquetFiles(path=link)) == [2]
    link.unlink()
    (tmp_path / "here" / "latest").symlink_to("day=1")  # its files are read where they are
    assert read_all(source) == [1]


def test_a_link_to_a_file_that_is_read_too_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    written(folder, "day=1/l.parquet", 1)
    written(tmp_path, "there.parquet", 2)
    (folder / "there.parquet").symlink_to(tmp_path / "there.parquet")
    (folder / "day=1" / "hard.parquet").hardlink_to(folder / "day=1" / "l.parquet")  # a file like any other
    source, linked_folder = ParquetFiles(path=folder), ParquetFiles(path=f"{folder}/*/*.parquet")
    assert read_all(source) == [1, 1, 2]
    for link, target, file in (("a.parquet", "day=1/l.parquet", "l"), ("z.parquet", "../there.parquet", "there")):
        (folder / link).symlink_to(target)
        with pytest.raises(
            StoreError, match=rf"/{link} is a link to a file that is read as {folder}/.*{file}\.parquet too"
        ):
            read_all(source)
        with pytest.raises(StoreError, match="would come twice"):
            version(source)
        (folder / link).unlink()
    (folder / "latest").symlink_to("day=1")
    with pytest.raises(StoreError, match=r"/latest/\w+\.parquet is there by the link .*/latest to a file .*/day=1/"):
        read_all(linked_folder)
