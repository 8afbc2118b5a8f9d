"""A column may have any name: joins, windows, validation, datasets, the online load and messages do not rest on one of their own."""

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.errors import DataError, DeclarationError
from fti_assets.features.validation.table_validation import validate_table
from fti_assets.testing import materialize, stores_in
from tests.support.partitions import range_tags

NAMES = ["rowid", "row_number", "s", "j0", "old", "one", "many", "staged", "others", "filename", "file_row_number",
         "snapshot_id", "partition", "index", "level_0", "key", "keys", "rows", "row", "select", "value", "visible", "t"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("by", ["sql", "pandera"])
def test_the_failing_rows_are_the_failing_rows(name: str, by: str) -> None:
    connection = duckdb.connect()
    connection.execute(f'CREATE TEMP TABLE readings AS SELECT r AS id, 100 - r AS "{name}" FROM range(40) t(r)')
    check = pa.Check.ge(63) if by == "sql" else pa.Check(lambda values: values >= 63)
    unique = pa.DataFrameSchema({name: pa.Column(int, check), "id": pa.Column(int)})
    verdict = next(one for one in validate_table(connection, "readings", unique).verdicts if not one.passed)
    assert verdict.failures == 2
    assert [row["id"] for row in verdict.sample] == [38, 39]


DAYS = dg.DailyPartitionsDefinition("2023-12-31", end_date="2024-01-13")
ALL_DAYS = range_tags("2023-12-31", "2024-01-12")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("\ud800", r"things_v1 gave a column '\\ud800', whose name has half of a character"),
        (None, r"things_v1 gave a column whose name is missing \((None|nan)\), number 2 of 2: name it in the frame"),
        (float("nan"), "things_v1 gave a column whose name is missing"),
        (pd.NaT, "things_v1 gave a column whose name is missing"),
        (pd.NA, "things_v1 gave a column whose name is missing"),
    ],
)
def test_a_name_that_is_no_text_is_refused(tmp_path: Path, name: Any, message: str) -> None:
    @fti.feature_group(keys=["k"])
    def things() -> pd.DataFrame:
        frame = pd.DataFrame([[1, 2]])
        frame.columns = pd.Index(["k", name], dtype=object)
        return frame

    with pytest.raises(DataError, match=message):
        materialize(things, stores=stores_in(tmp_path))


VISITS = 24


def system_of(names: list[str]) -> tuple[list[Any], Any, Any]:
    """Groups with columns of some names: a spine, a group joined to it that is online, windows over that, a lookup; and their dataset."""
    times = pd.date_range("2024-01-01", periods=VISITS, freq="12h")
    numbers = range(VISITS)
    of_group = {
        "shop": pa.Column(int),
        "moment": pa.Column("datetime64[us]"),
        **{name: pa.Column(float, pa.Check.ge(0), nullable=True) for name in names},
    }

    @fti.feature_group(keys=["visit_id"], event_time="at")
    def visits() -> pd.DataFrame:
        values = {name: [n / (7 + place) for n in numbers] for place, name in enumerate(names)}
        return pd.DataFrame({"visit_id": numbers, "shop": [n % 4 for n in numbers], "at": times, **values})

    @fti.feature_group(
        keys=["shop"],
        event_time="moment",
        online=True,
        serving_delay="1h",
        schema=pa.DataFrameSchema(of_group),
        online_history="120d",
        ttl="90d",
        partitions_def=DAYS,
    )
    def prices() -> pd.DataFrame:
        values = {name: [float(n + place) for n in numbers] for place, name in enumerate(names)}
        return pd.DataFrame({"shop": [n % 4 for n in numbers], "moment": times - pd.Timedelta("5h"), **values})

    @fti.feature_group(keys=["shop"], event_time="moment", partitions_def=DAYS, lookback="3d")
    def rates(prices: fti.Table) -> fti.Table:
        aggregates: dict[str, Any] = {f"mean{place}": fti.Mean(name) for place, name in enumerate(names)}
        aggregates |= {f"most{place}": fti.Max(name) for place, name in enumerate(names)}
        return fti.window_aggregate(prices, keys=["shop"], every="12h", windows=["2d"], aggregates=aggregates)

    @fti.feature_group(keys=["shop"])
    def shops() -> pd.DataFrame:
        return pd.DataFrame({"shop": range(4), **{name: [0.5, 1.5, 2.5, 3.5 + n] for n, name in enumerate(names)}})

    @fti.feature_group(keys=["visit_id"], event_time="at")
    def outcomes() -> pd.DataFrame:
        return pd.DataFrame({"visit_id": numbers, "at": times, "bought": [n % 2 for n in numbers]})

    of_windows = [f"{what}{place}_2d" for what in ("mean", "most") for place in range(len(names))]
    features = [
        visits[tuple(names)],
        prices.prefix("p_")[tuple(names)],
        rates[tuple(of_windows)],
        shops.prefix("s_")[tuple(names)],
    ]
    view = fti.FeatureView(
        name="buying",
        spine=visits,
        prediction_time="at",
        label=fti.Label(outcomes["bought"], maturity="1h"),
        features=features,
    )
    dataset = fti.training_dataset(name="buying_dataset", view=view, split=fti.TimeSplit(validation="3d", test="3d"))
    return [visits, prices, rates, shops, outcomes, dataset], dataset, prices


def stored_by(folder: Path, names: list[str]) -> tuple[pd.DataFrame, tuple[Any, ...]]:
    stores, (assets, dataset, prices) = stores_in(folder), system_of(names)
    with clock.at("2024-03-01"):
        for asset in assets:
            tags = ALL_DAYS if asset.name in ("prices", "rates") else None
            assert dg.materialize([asset.assets_def], resources={"fti": stores}, tags=tags).success
    rows = fti.read(dataset, stores=stores)
    winner = stores.online_store().reader(prices.table_name, columns=names).get((3,), at_us=1_709_000_000_000_000)
    assert winner is not None
    plain = {f"{of}{name}": f"{of}plain{place}" for place, name in enumerate(names) for of in ("", "p_", "s_")}
    return rows.rename(columns=plain), winner.values


HOSTILE = ["rowid", "old", "snapshot_id"]


def test_system_gives_same_whatever_columns_are_called(tmp_path: Path) -> None:
    rows, winner = stored_by(tmp_path / "hostile", HOSTILE)
    expected, its_winner = stored_by(tmp_path / "plain", [f"plain{place}" for place in range(len(HOSTILE))])
    assert winner == its_winner
    assert list(rows.columns) == list(expected.columns)
    by_visit = [one.sort_values("visit_id", ignore_index=True) for one in (rows, expected)]
    pd.testing.assert_frame_equal(*by_visit)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["rowid", "old", "snapshot_id", "s", "row"])
def test_system_gives_same_whatever_column_is_called(tmp_path: Path, name: str) -> None:
    rows, winner = stored_by(tmp_path / "hostile", [name])
    expected, its_winner = stored_by(tmp_path / "plain", ["plain0"])
    assert winner == its_winner
    by_visit = [one.sort_values("visit_id", ignore_index=True) for one in (rows, expected)]
    pd.testing.assert_frame_equal(*by_visit)


@pytest.mark.parametrize("prefix", ["_fti_", "__fti_"])
def test_a_feature_called_as_plans_call_theirs_is_refused(prefix: str) -> None:
    @fti.feature_group(keys=["id"])
    def people() -> pd.DataFrame:
        return pd.DataFrame({"id": [1], "y": [True]})

    @fti.feature_group(keys=["id"])
    def notes() -> pd.DataFrame:
        return pd.DataFrame({"id": [1], "label": [1.0]})

    with pytest.raises(DeclarationError, match=f"has a feature '{prefix}label', a name that plans keep"):
        fti.FeatureView(name="v", spine=people, label=fti.Label(people["y"]), features=[notes.prefix(prefix)["label"]])


def test_column_elsewhere_called_as_plans_call_theirs_is_refused(tmp_path: Path) -> None:
    duckdb.sql("SELECT 1 AS id, 2.0 AS _fti_label").write_parquet(str(tmp_path / "notes.parquet"))
    notes = fti.external_group(name="notes", source=fti.ParquetFiles(path=tmp_path), keys=["id"])
    stores = stores_in(tmp_path / "stores")
    with pytest.raises(DataError, match=r"'_fti_label', a name that plans keep.*rename=\{'_fti_label': 'fti_label'\}"):
        fti.read(notes, stores=stores)
