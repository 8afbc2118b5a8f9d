"""A source's names become the group's: in frames of each library, changes, SQL, external tables, YAML and on the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import narwhals as nw
import pandas as pd
import pandera.pandas as pa
import polars as pl
import pyarrow as arrow
import pyarrow.parquet as arrow_parquet
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.describe import as_text, describe
from fti_assets.errors import DataError, DeclarationError, StoreError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.rename import suggested_names
from tests.stores.test_external import postgres

RENAME = {"Order ID": "order_id", "Total (€)": "total"}
ROWS = {"Order ID": [1, 2], "Total (€)": [9.5, None], "shop": ["a", "b"]}
STORED = [{"order_id": 1, "total": 9.5, "shop": "a"}, {"order_id": 2, "total": None, "shop": "b"}]
LIBRARIES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame(ROWS),
    "pandas objects": lambda: pd.DataFrame(ROWS, dtype=object),
    "polars": lambda: pl.DataFrame(ROWS),
    "polars lazy": lambda: pl.LazyFrame(ROWS),
    "arrow": lambda: arrow.table(ROWS),
    "arrow batches": lambda: arrow.table(ROWS).to_reader(),
    "narwhals": lambda: nw.from_native(pl.DataFrame(ROWS)),
}


class OrderSchema(pa.DataFrameModel):
    order_id: int = pa.Field(unique=True)
    total: float = pa.Field(nullable=True, ge=0, description="With tax")
    shop: str


def orders(result: Any, **terms: Any) -> FeatureGroup:
    terms = {"name": "orders", "keys": ["order_id"], "rename": RENAME, **terms}

    @fti.feature_group(**terms)
    def declared() -> Any:
        return result() if callable(result) else result

    return declared


@pytest.fixture
def stores(tmp_path: Path) -> fti.Stores:
    return testing.stores_in(tmp_path / "home")


def stored(group: FeatureGroup, stores: fti.Stores) -> Any:
    return sorted(fti.read(group, stores=stores, as_="dicts"), key=lambda row: row["order_id"])


@pytest.mark.parametrize("library", LIBRARIES)
def test_frames_of_every_library_are_renamed(library: str, stores: fti.Stores) -> None:
    group = orders(LIBRARIES[library], schema=OrderSchema)
    testing.materialize(group, stores=stores)
    assert stored(group, stores) == STORED


def test_a_relation_is_renamed_and_keeps_its_lineage(stores: fti.Stores) -> None:
    source = orders(lambda: pd.DataFrame(ROWS))

    @fti.feature_group(keys=["order"], ins={"orders": source}, rename={"Order": "order", "Twice as Much": "twice"})
    def doubled(orders: fti.Table) -> Any:
        return orders.relation.project('order_id AS "Order", 2 * total AS "Twice as Much"')

    made = testing.materialize(source, doubled, stores=stores)
    assert sorted(fti.read(doubled, stores=stores, as_="dicts"), key=lambda row: row["order"]) == [
        {"order": 1, "twice": 19.0},
        {"order": 2, "twice": None},
    ]
    (event,) = made.runs["doubled_v1"].asset_materializations_for_node("doubled_v1")
    deps = event.metadata["dagster/column_lineage"].value.deps_by_column
    assert {name: [(one.asset_key.path[-1], one.column_name) for one in of] for name, of in deps.items()} == {
        "order": [("orders_v1", "order_id")],
        "twice": [("orders_v1", "total")],
    }


def test_sql_is_renamed(stores: fti.Stores) -> None:
    source = orders(lambda: pd.DataFrame(ROWS))
    group = fti.sql_feature_group(
        name="shops",
        keys=["shop"],
        sql='SELECT shop, total AS "In All" FROM orders',
        ins={"orders": source},
        rename={"In All": "in_all"},
    )
    testing.materialize(source, group, stores=stores)
    assert set(fti.read(group, stores=stores).columns) == {"shop", "in_all"}


def test_names_may_be_swapped(stores: fti.Stores) -> None:
    frame = pd.DataFrame({"order_id": [5], "total": [1]})
    group = orders(frame, rename={"order_id": "total", "total": "order_id"})
    testing.materialize(group, stores=stores)
    assert stored(group, stores) == [{"order_id": 1, "total": 5}]


def test_duplicates_and_times_go_by_the_groups_names(stores: fti.Stores) -> None:
    day = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-01-03")
    frame = pd.DataFrame({"Order ID": [1, 1], "Placed At": ["2025-01-01T08"] * 2, "Loaded": [1, 2], "x": [10, 20]})
    frame["Placed At"] = pd.to_datetime(frame["Placed At"])
    group = orders(
        frame,
        rename={"Order ID": "order_id", "Placed At": "placed_at", "Loaded": "loaded"},
        event_time="placed_at",
        duplicates=fti.KeepLast("loaded"),
        partitions_def=day,
    )
    testing.materialize(group, stores=stores, partition="2025-01-01")
    assert [row["x"] for row in stored(group, stores)] == [20]


@pytest.mark.soak
def test_changes_and_their_deletes_are_renamed(stores: fti.Stores) -> None:
    batches = [
        fti.Changes(upserts=pd.DataFrame(ROWS)),
        fti.Changes(appends=pl.DataFrame({"Order ID": [3], "Total (€)": [1.0], "shop": ["c"]})),
        fti.Changes(deletes=pd.DataFrame({"Order ID": [1]})),
        fti.Changes(upserts=arrow.table({"Order ID": [2], "Total (€)": [2.0], "shop": ["b"]})),
    ]
    group = orders(lambda: batches.pop(0))
    for _ in range(4):
        testing.materialize(group, stores=stores)
    assert stored(group, stores) == [
        {"order_id": 2, "total": 2.0, "shop": "b"},
        {"order_id": 3, "total": 1.0, "shop": "c"},
    ]


@pytest.mark.soak
@pytest.mark.parametrize("order", ["LSN", "lsn"])
def test_a_change_feed_is_renamed(order: str, stores: fti.Stores) -> None:
    rows = pd.DataFrame({**ROWS, "Op": ["c", "c"], "LSN": [1, 2]})
    removed = pd.DataFrame({"Order ID": [1], "Total (€)": [None], "shop": [None], "Op": ["d"], "LSN": [3]})
    batches = [fti.ChangeFeed(frame, operation="Op", order=order) for frame in (rows, removed)]
    group = orders(lambda: batches.pop(0), rename={**RENAME, "LSN": "lsn"})
    testing.materialize(group, stores=stores)
    testing.materialize(group, stores=stores)
    assert stored(group, stores) == STORED[1:]


def test_a_function_on_a_few_rows_is_renamed() -> None:
    assert testing.rows(orders(lambda: pd.DataFrame(ROWS)))["order_id"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        ({"rename": ["Order ID"]}, r"rename of 'orders' is \['Order ID'\]: write .* rename={'Order ID': 'order_id'}"),
        ({"rename": {"Order ID": 3}}, "write the source's names and the group's"),
        (
            {"rename": {"Order ID": "Order-ID"}},
            "calls 'Order ID' 'Order-ID', which is not a name: .* as in rename={'Order ID': 'order_id'}",
        ),
        ({"rename": {"P": "_partition"}}, "calls 'P' '_partition', a name that the store keeps for itself"),
        (
            {"rename": {"Order ID": "order_id", "ID": "order_id"}},
            "calls 'Order ID' and 'ID' both 'order_id': give each column a name of its own",
        ),
        ({"keys": ["Order ID"]}, "key of 'orders' 'Order ID' is called 'order_id' by rename: write 'order_id' here"),
        (
            {"keys": ["Order ID"], "rename": None},
            "key of 'orders' 'Order ID' is not a name: .* give rename={'Order ID': 'order_id'} and write 'order_id' here",
        ),
        (
            {"event_time": "Placed At"},
            "column of feature group orders_v1 'Placed At' is not a name: .* give rename={'Placed At': 'placed_at'}",
        ),
        (
            {"schema": pa.DataFrameSchema({"order_id": pa.Column(int), "Total (€)": pa.Column(float)})},
            r"column of feature group orders_v1 'Total \(€\)' is called 'total' by rename: write 'total' here",
        ),
    ],
)
def test_a_rename_that_cannot_be_is_refused(terms: dict[str, Any], problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem):
        orders(None, **terms)


def test_view_that_names_sources_column_is_told_groups() -> None:
    with pytest.raises(DeclarationError, match="column of orders_v1 'Order ID' is called 'order_id' by rename"):
        orders(None)["Order ID"]
    with pytest.raises(DeclarationError, match="give rename={'Grand Total': 'grand_total'}"):
        orders(None)["Grand Total"]


FEW_LIBRARIES = ("pandas", "polars lazy", "arrow batches")
"""A frame, a plan and a stream; ``make soak`` takes them all."""


@pytest.mark.soak
@pytest.mark.parametrize(
    "library", [pytest.param(one, marks=() if one in FEW_LIBRARIES else pytest.mark.soak) for one in LIBRARIES]
)
def test_column_that_cannot_be_stored_names_line_to_type(library: str, stores: fti.Stores) -> None:
    group = orders(LIBRARIES[library], keys=["shop"], rename=None)
    line = r"rename={'Order ID': 'order_id', 'Total \(€\)': 'total'}"
    with pytest.raises(DeclarationError, match=f"column of orders_v1 'Order ID' is not a name: .*: {line}"):
        testing.materialize(group, stores=stores)
    fixed = orders(LIBRARIES[library], rename=eval(line.replace("\\", "").partition("=")[2]))  # what the error says
    testing.materialize(fixed, stores=stores)
    assert stored(fixed, stores) == STORED


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (
            pd.DataFrame({"order id": [1], "Total (€)": [1.0]}),
            "rename of orders_v1 names 'Order ID', but the result of orders_v1 has 'order id' or 'Total .*; "
            "write 'order id' for 'Order ID' in rename",
        ),
        (
            pd.DataFrame({"Order ID": [1], "Total (€)": [1.0], "total": [2.0]}),
            r"calls 'Total \(€\)' 'total', but there is a column 'total' already: leave one of them out",
        ),
    ],
)
def test_rows_that_do_not_fit_the_rename_are_refused(frame: pd.DataFrame, problem: str, stores: fti.Stores) -> None:
    with pytest.raises(DataError, match=problem):
        testing.materialize(orders(frame), stores=stores)


def test_suggested_names_are_names_and_none_comes_twice() -> None:
    assert suggested_names(["Temp C", "temp-c", "%", "", "2nd", "camelCaseName"], others=["temp_c"]) == {
        "Temp C": "temp_c_2",
        "temp-c": "temp_c_3",
        "%": "column",
        "": "column_2",
        "2nd": "_2nd",
        "camelCaseName": "camel_case_name",
    }


def test_page_and_description_say_what_source_calls_it() -> None:
    group = orders(lambda: pd.DataFrame(ROWS), schema=OrderSchema)
    metadata = group.assets_def.metadata_by_key[group.key]
    columns = {column.name: column.description for column in metadata["dagster/column_schema"].columns}
    assert columns["total"] == 'With tax. The source calls it "Total (€)"'
    assert columns["order_id"] == 'Key. The source calls it "Order ID"'
    assert metadata["renamed"] == "'Order ID' to 'order_id', 'Total (€)' to 'total'"
    assert "renamed      'Order ID' to 'order_id', 'Total (€)' to 'total'" in as_text(
        describe(fti.build_definitions([group]))
    )


def test_code_version_follows_a_rename_only() -> None:
    def code_version(**terms: Any) -> Any:
        group = orders(None, keys=["shop"], **terms)
        return group.assets_def.code_versions_by_key[group.key]

    assert code_version(rename=None) == code_version(rename={})
    assert code_version(rename=None) != code_version() != code_version(rename={"Order ID": "order_id"})


# External tables


@pytest.fixture
def warehouse(tmp_path: Path) -> fti.DuckDBTable:
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.register("rows", arrow.table({**ROWS, "Placed At": [1, 2]}))
        connection.execute(
            'CREATE TABLE orders AS SELECT * REPLACE (TIMESTAMP \'2025-01-01\' + to_hours("Placed At") AS "Placed At") FROM rows'
        )
    return fti.DuckDBTable(file=tmp_path / "w.duckdb", table="orders")


def external(source: Any, **terms: Any) -> FeatureGroup:
    rename = {**RENAME, "Placed At": "placed_at"}
    terms = {"keys": ["order_id"], "event_time": "placed_at", "rename": rename, **terms}
    return fti.external_group(name=terms.pop("name", "orders"), source=source, **terms)


def observation(group: FeatureGroup) -> Any:
    with dg.DagsterInstance.ephemeral() as instance:
        job = fti.build_definitions([group]).resolve_implicit_global_asset_job_def()
        (event,) = job.execute_in_process(instance=instance).get_asset_observation_events()
    return event.asset_observation_data.asset_observation.metadata


@pytest.mark.parametrize("kind", ["duckdb", "parquet"])
@pytest.mark.parametrize("schema", [None, OrderSchema])
def test_an_external_table_is_read_under_the_groups_names(
    kind: str, schema: Any, warehouse: fti.DuckDBTable, tmp_path: Path
) -> None:
    source: Any = warehouse
    if kind == "parquet":
        with duckdb.connect(str(warehouse.file)) as connection:
            connection.execute(f"COPY orders TO '{tmp_path}/orders.parquet'")
        source = fti.ParquetFiles(path=tmp_path / "orders.parquet")
    terms = {} if schema is None else {"event_time": None, "rename": RENAME}
    group = external(source, schema=schema, validate=True, **terms)
    rows = fti.read(group, columns=["order_id", "total", "shop"], as_="dicts")
    assert sorted(rows, key=lambda row: row["order_id"]) == STORED
    if schema is None:
        observed = observation(group)
        assert observed["newest_event_time"].value == "2025-01-01 02:00:00"
        assert "left_out" not in observed
        described = {column.name: column.description for column in observed["dagster/column_schema"].value.columns}
        assert described["total"] == 'The source calls it "Total (€)"'


def test_an_external_table_says_which_columns_it_leaves_out(
    warehouse: fti.DuckDBTable, caplog: pytest.LogCaptureFixture
) -> None:
    group = external(warehouse, keys=["shop"], event_time=None, rename={"Order ID": "order_id"}, name="left")
    line = "rename={'Total (€)': 'total', 'Placed At': 'placed_at'}"
    assert sorted(fti.read(group).columns) == ["order_id", "shop"]
    assert (
        f"left_v1 leaves out columns whose names have capitals, spaces or other signs; to have them, write {line}"
        in caplog.text
    )
    assert observation(group)["left_out"].value == line


def test_renamed_external_column_is_hinted(warehouse: fti.DuckDBTable) -> None:
    group = external(warehouse, event_time=None, rename=None)
    with pytest.raises(DataError, match="if that is 'Order ID' there, write rename={'Order ID': 'order_id'}"):
        fti.read(group)


@pytest.mark.parametrize(
    ("terms", "error", "problem"),
    [
        ({"rename": {"Order Id": "order_id"}, "event_time": None}, DataError, "write 'Order ID' for 'Order Id' in rename"),
        ({"rename": {"Order ID": "shop"}, "event_time": None, "keys": ["shop"]}, DataError, "there is a column 'shop' already"),
        ({"rename": {"a": "Bad"}}, DeclarationError, "which is not a name"),
        ({"schema": OrderSchema, "event_time": None}, DeclarationError, "orders_v1 has no column 'placed_at'"),
    ],
)  # fmt: skip
def test_an_external_rename_that_does_not_fit_is_refused(
    terms: dict[str, Any], error: type[Exception], problem: str, warehouse: fti.DuckDBTable
) -> None:
    with pytest.raises(error, match=problem):
        fti.read(external(warehouse, **terms))


@pytest.mark.soak
def test_group_over_renamed_external_table_has_its_lineage(warehouse: fti.DuckDBTable, stores: fti.Stores) -> None:
    source = external(warehouse)
    group = fti.sql_feature_group(
        name="totals", keys=["order_id"], sql="SELECT order_id, total FROM orders", ins={"orders": source}
    )
    made = testing.materialize(group, stores=stores)
    (event,) = made.runs["totals_v1"].asset_materializations_for_node("totals_v1")
    deps = event.metadata["dagster/column_lineage"].value.deps_by_column
    assert [(one.asset_key.path[-1], one.column_name) for one in deps["total"]] == [("orders_v1", "total")]
    assert stored(group, stores) == [{"order_id": 1, "total": 9.5}, {"order_id": 2, "total": None}]


# Names that differ in capitals alone

ALIKE = {"k": [1], "A": [2], "a": [3], "a_1": [4]}


@pytest.mark.parametrize("rename", [None, {"A": "b"}, {"A": "b", "a": "c"}])
@pytest.mark.parametrize("nested", [False, True])
def test_columns_of_a_file_that_differ_in_capitals_are_refused(
    rename: dict[str, str] | None, nested: bool, tmp_path: Path
) -> None:
    columns = {"k": [1], "s": [[{"A": 2, "a": 3}]]} if nested else ALIKE
    arrow_parquet.write_table(arrow.table({"k": [0], "A": [0]}), tmp_path / "one.parquet")
    arrow_parquet.write_table(arrow.table(columns), tmp_path / "two.parquet")
    for path in (tmp_path, tmp_path / "two.parquet"):
        group = external(fti.ParquetFiles(path=path), keys=["k"], event_time=None, rename=rename)
        with pytest.raises(StoreError, match=r"/two\.parquet has columns 'A' and 'a', which SQL takes for one"):
            fti.read(group)
    if not nested:
        with pytest.raises(DataError, match=r"two\.parquet of .* has columns 'A' and 'a'"):
            fti.read_files(dg.build_asset_context(), f"{tmp_path}/two.parquet")


@pytest.mark.parametrize("names", [("foo", "Foo"), ("Foo", "foo")])
@pytest.mark.parametrize("rename", [None, {"Foo": "foo"}])
def test_files_that_spell_a_column_with_other_capitals_are_refused(
    names: tuple[str, str], rename: dict[str, str] | None, tmp_path: Path
) -> None:
    for file, name in zip("ab", names, strict=True):
        arrow_parquet.write_table(arrow.table({"k": [1], name: [2]}), tmp_path / f"{file}.parquet")
    group = external(fti.ParquetFiles(path=tmp_path), keys=["k"], event_time=None, rename=rename)
    with pytest.raises(StoreError, match=rf"/a\.parquet has a column '{names[0]}' and .*/b\.parquet has '{names[1]}'"):
        fti.read(group)


def test_columns_that_are_called_like_made_up_names_are_read(tmp_path: Path) -> None:
    arrow_parquet.write_table(arrow.table({"k": [1], "a_1": [2], "a": [3], "s": [{"b_1": 4}]}), tmp_path / "x.parquet")
    group = external(fti.ParquetFiles(path=tmp_path), keys=["k"], event_time=None, rename=None)
    assert fti.read(group, as_="dicts") == [{"k": 1, "a_1": 2, "a": 3, "s": {"b_1": 4}}]


def test_columns_of_a_postgres_table_that_differ_in_capitals_are_refused(tmp_path: Path) -> None:
    for table in postgres(tmp_path):
        schema = table.source.table.removesuffix(".t")
        statement = f'CREATE TABLE {schema}."Mixed Case" (k int, "A" int, a int)'
        table.change(f"CALL postgres_execute('pg', '{statement}')")
        source = fti.PostgresTable(dsn=table.source.dsn, table=f"{schema}.Mixed Case")
        with pytest.raises(StoreError, match=r"Postgres table .*Mixed Case .* has columns 'A' and 'a'"):
            fti.read(external(source, keys=["k"], event_time=None, rename={"A": "b"}))


@pytest.mark.parametrize("rename", [None, {"A": "b"}, {"A": "b", "a": "c"}])
@pytest.mark.parametrize("library", ["pandas", "objects", "polars", "lazy", "arrow", "relation"])
def test_columns_of_a_frame_that_differ_in_capitals_are_refused(
    library: str, rename: dict[str, str] | None, stores: fti.Stores
) -> None:
    frames: dict[str, Callable[[], Any]] = {
        "pandas": lambda: pd.DataFrame(ALIKE),
        "objects": lambda: pd.DataFrame(ALIKE, dtype=object),
        "polars": lambda: pl.DataFrame(ALIKE),
        "lazy": lambda: pl.LazyFrame(ALIKE),
        "arrow": lambda: arrow.table(ALIKE),
        "relation": lambda: duckdb.sql('SELECT 1 AS k, 2 AS "A", 3 AS a'),
    }
    group = orders(frames[library], keys=["k"], event_time=None, rename=rename)
    with pytest.raises(DataError, match="orders_v1 gave columns 'A' and 'a', which SQL takes for one: rename one"):
        testing.materialize(group, stores=stores)


@pytest.mark.parametrize("library", ["pandas", "arrow", "file"])
def test_fields_of_a_struct_that_differ_in_capitals_are_refused(
    library: str, stores: fti.Stores, tmp_path: Path
) -> None:
    rows = {"k": [1], "s": [[{"A": 1, "a": 2}]]}

    @fti.feature_group(keys=["k"])
    def nested(context: dg.AssetExecutionContext) -> Any:
        if library == "file":
            arrow_parquet.write_table(arrow.table(rows), tmp_path / "x.parquet")
            return fti.read_files(context, f"{tmp_path}/x.parquet")
        return pd.DataFrame(rows) if library == "pandas" else arrow.table(rows)

    with pytest.raises(DataError, match="nested_v1 gave 's' with fields 'A' and 'a', which SQL takes for one: rename"):
        testing.materialize(nested, stores=stores)
