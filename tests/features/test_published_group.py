"""A group that another code location owns: its contract as its owner states it, and as it is used elsewhere."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.core.names import FEATURES, TableName
from fti_assets.errors import DamagedError, DeclarationError, NotMaterializedError, SchemaChangedError, StoreError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.published.contract import contract_of
from fti_assets.features.published.reading import close_stores
from fti_assets.reset.plan import plan_reset
from fti_assets.stores.lake.tables.contracts import put_contract
from fti_assets.testing import assert_no_leak, stores_in
from tests.support.buckets import bucket_server
from tests.support.team_lakes import team_lake

DAYS = dg.DailyPartitionsDefinition(start_date="2025-03-01", end_date="2025-03-10")
SALES = TableName(FEATURES, "sales_v1")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Sales(pa.DataFrameModel):
    """What a shop sold."""

    shop: str = pa.Field(isin=["north", "south"], description="which shop")
    sold_at: pd.Timestamp
    amount: float = pa.Field(ge=0, nullable=True)
    odd: float = pa.Field(nullable=True)

    @pa.check("odd")
    def is_odd(self, values: Any) -> Any:
        return values % 2 == 1


def owned(**terms: Any) -> FeatureGroup:
    settings: dict[str, Any] = {
        "keys": ["shop"], "event_time": "sold_at", "serving_delay": "1h", "ttl": "2d", "schema": Sales, "partitions_def": DAYS,
        "online": True, "online_history": "3d", "owners": ["team:sales"], "tags": {"source": "till"},
    }  # fmt: skip

    @fti.feature_group(**{**settings, **terms})
    def sales(context: dg.AssetExecutionContext) -> pd.DataFrame:
        """What was sold."""
        return pd.DataFrame(
            {
                "shop": ["north", "south"],
                "sold_at": pd.Timestamp(context.partition_key),
                "amount": [1.0, 2.0],
                "odd": [1.0, 3.0],
            }
        )

    return sales


sales = owned()


@fti.feature_group(keys=["shop"], event_time="sold_at", serving_delay="1h", partitions_def=DAYS, lookback="1d")
def doubled(sales: fti.Table) -> Any:
    """Twice what was sold."""
    return sales.relation.filter("sold_at >= '2025-03-02'").project("shop, sold_at, 2 * amount AS twice")


spending = fti.request_windows(
    sales,
    name="spending",
    keys=["shop"],
    every="1h",
    windows=["6h", "2d"],
    aggregates={"spent": fti.Sum("amount")},
    online=True,
)


def run(declaration: Any, stores: fti.Stores, day: str | None = "2025-03-02", **options: Any) -> Any:
    return dg.materialize(
        [declaration.assets_def], partition_key=day, resources={"fti": stores}, run_config=QUIET, **options
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    """What the owner has made: two days of sales, and what is made of these."""
    made = stores_in(tmp_path_factory.mktemp("owner"))
    run(sales, made, "2025-03-01")
    for declaration in (sales, doubled):
        run(declaration, made)
    run(spending, made, "2025-03-01")
    return made


def elsewhere(name: str, stores: fti.Stores, **terms: Any) -> FeatureGroup:
    close_stores()
    return fti.group(name, stores=stores, **terms)


@pytest.mark.parametrize("declaration", [sales, doubled, spending], ids=lambda one: one.name)
def test_a_group_is_elsewhere_what_its_owner_declares(declaration: FeatureGroup, stores: fti.Stores) -> None:
    present = elsewhere(declaration.name, stores)
    for field in (
        "name", "version", "key", "table", "keys", "times", "event_time", "available_at", "serving_delay", "ttl", "tie_break",
        "partition_by",
        "partitions_def", "online", "online_history", "lookback", "windows", "identity", "is_stored", "depth",
    ):  # fmt: skip
        assert getattr(present, field) == getattr(declaration, field), field
    assert [one.table_name for one in present.upstream] == [one.table_name for one in declaration.upstream]
    assert not present.is_owned
    assert (
        present.assets_def.specs_by_key[present.key].owners
        == declaration.assets_def.specs_by_key[declaration.key].owners
    )


def test_its_columns_and_types_are_those_that_are_stored(stores: fti.Stores) -> None:
    assert elsewhere("sales", stores).columns == {
        "shop": "text",
        "sold_at": "timestamp",
        "amount": "number",
        "odd": "number",
    }
    assert elsewhere("doubled", stores).columns == {"shop": "text", "sold_at": "timestamp", "twice": "number"}
    assert elsewhere("spending", stores).columns == spending.columns


def test_a_request_is_held_against_the_rules_of_the_owners_schema(stores: fti.Stores) -> None:
    label = fti.Label(sales["amount"])
    view, other = (
        fti.FeatureView(name="v", spine=spine, label=label, features=[spine["odd"]])
        for spine in (sales, elsewhere("sales", stores))
    )
    records = [one.record(lambda group: group.columns or {}) for one in (view, other)]
    assert records[0].rules == records[1].rules != ()
    assert records[0].rules_left_out == records[1].rules_left_out != ()
    assert records[0] == records[1]


def test_whoever_names_a_group_gets_the_same_one(stores: fti.Stores) -> None:
    assert elsewhere("sales", stores) is elsewhere("sales", stores, version=1)
    [source] = elsewhere("doubled", stores).upstream
    assert source is elsewhere("sales", stores)


@pytest.mark.soak
def test_it_is_an_input_by_its_name_and_of_sql_and_of_windows(stores: fti.Stores) -> None:
    sales = elsewhere("sales", stores)

    @fti.feature_group(keys=["shop"], event_time="sold_at", serving_delay="1h", partitions_def=DAYS)
    def tripled(sales: fti.Table) -> Any:
        return sales.relation.project("shop, sold_at, 3 * amount AS thrice")

    halved = fti.sql_feature_group(
        name="halved", sql="SELECT shop, sold_at, amount / 2 AS half FROM sales", keys=["shop"], event_time="sold_at",
        serving_delay="1h", partitions_def=DAYS, ins={"sales": sales},
    )  # fmt: skip
    lately = fti.request_windows(
        sales, name="lately", keys=["shop"], every="1h", windows=["1d"], aggregates={"sold": fti.Count()}
    )
    for declaration, column, value in ((tripled, "thrice", 3.0), (halved, "half", 0.5)):
        assert run(declaration, stores).success
        assert fti.read(declaration, stores=stores)[column].min() == value
    assert run(lately, stores, "2025-03-01").success
    assert fti.read(lately, at="2025-03-02T12:00", stores=stores)["sold_1d"].tolist() == [1, 1]


def test_a_plain_asset_takes_its_rows(stores: fti.Stores) -> None:
    taken = {}

    @dg.asset(partitions_def=DAYS)
    def report(sales_v1: pd.DataFrame) -> None:
        taken["rows"] = sales_v1

    definitions = fti.build_definitions([elsewhere("sales", stores)], assets=[report], resources={"fti": stores})
    job = definitions.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(partition_key="2025-03-02", asset_selection=[report.key], run_config=QUIET)
    assert done.success
    assert taken["rows"]["amount"].tolist() == [1.0, 2.0]


def test_what_is_owned_here_counts_where_another_names_it(stores: fti.Stores) -> None:
    definitions = fti.build_definitions([sales, elsewhere("doubled", stores)], resources={"fti": stores})
    graph = definitions.resolve_asset_graph()
    assert graph.get(sales.key).is_materializable
    assert not graph.get(doubled.key).is_materializable


def test_it_is_not_run_from_elsewhere(stores: fti.Stores) -> None:
    with pytest.raises(
        DeclarationError, match="new_data_sensor has the target sales_v1, which another code location makes"
    ):
        fti.new_data_sensor(targets=[elsewhere("sales", stores)])(lambda: {})
    with pytest.raises(
        StoreError, match="'sales_v1' is owned by another code location, whose rows are not reset from here"
    ):
        plan_reset(
            fti.build_definitions([elsewhere("sales", stores)], resources={"fti": stores}), ["sales"], stores=stores
        )
    with pytest.raises(
        DeclarationError, match="doubled_v1 is made in another code location, which has its function: check it there"
    ):
        assert_no_leak(elsewhere("doubled", stores), stores=stores)
    with pytest.raises(
        DeclarationError, match="sales_v1 is made in another code location, which has its function: run it there"
    ):
        elsewhere("sales", stores)()


@pytest.mark.parametrize(
    ("use", "kind", "said"),
    [
        (lambda at: elsewhere("sales", at)["colour"], DeclarationError, "sales_v1 has no column 'colour': its owner stores 'shop'"),
        (lambda at: elsewhere("sales", at, version=2), NotMaterializedError, "has no features.sales_v2, .* it has 'sales_v1'. Material"),
        (lambda at: elsewhere("nobody", at), NotMaterializedError, "it has the feature groups .*'doubled_v1'"),
        (lambda at: elsewhere("sales", fti.Stores(lake="/nowhere/lake")), NotMaterializedError, "no offline store at /nowhere/lake"),
        (lambda at: elsewhere("sales", fti.Stores(lake=dg.EnvVar("TEAMS_UNSET"))), DeclarationError, "TEAMS_UNSET"),
        (lambda at: fti.group("Sales", stores=at), DeclarationError, "Sales"),
        (lambda at: fti.group("sales", version=0, stores=at), DeclarationError, "version is 0"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(use: Any, kind: type[Exception], said: str, stores: fti.Stores) -> None:
    with pytest.raises(kind, match=said):
        use(stores)


def test_a_contract_is_read_from_the_lake_of_a_team(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with bucket_server("team") as server, team_lake(server) as location:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        team = fti.Stores(lake=location, online=str(tmp_path / "online"))
        run(sales, team, "2025-03-01")
        present = elsewhere("sales", team)
        assert (present.ttl, present.partitions_def, present.columns) == (
            sales.ttl,
            DAYS,
            elsewhere("sales", team).columns,
        )
        with pytest.raises(NotMaterializedError, match="has no features.sales_v2"):
            elsewhere("sales", team, version=2)
        close_stores()
        run(owned(ttl="5d"), team, "2025-03-01")
        assert elsewhere("sales", team).ttl == timedelta(days=5)
        close_stores()


def test_a_store_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(StoreError, match="127.0.0.1:9"):
        elsewhere("sales", fti.Stores(lake="postgresql://postgres@127.0.0.1:9/lake?data=s3://team/lake"))


def test_stores_are_found_by_environment_variables(stores: fti.Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAMS_LAKE", str(stores.lake))
    assert elsewhere("sales", fti.Stores(lake=dg.EnvVar("TEAMS_LAKE"))).keys == ("shop",)


@pytest.fixture
def own_stores(tmp_path: Path) -> fti.Stores:
    """A day of sales, in a lake that a test may change."""
    made = stores_in(tmp_path)
    run(sales, made, "2025-03-01")
    return made


def restate(stores: fti.Stores, contract: str) -> None:
    """Put another contract into the lake, as another release of its owner would."""
    close_stores()
    with stores.offline_store().connect() as lake, lake.one_snapshot():
        put_contract(lake, SALES, contract)


def stated(stores: fti.Stores) -> dict[str, Any]:
    with stores.offline_store().connect() as lake:
        return dict(json.loads(lake.contract(SALES)))


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (
            {"sessions": "30min"},
            StoreError,
            "says sessions, which this release of fti-assets does not know: a later release wrote it. Upgrade",
        ),
        ({"partitions": {"kind": "time", "holidays": []}}, StoreError, "says partitions.holidays, which this release"),
        ({"format": 2}, StoreError, "was written in format 2, this release of fti-assets reads format 1"),
        ({"keys": "shop"}, DamagedError, "It is damaged: have the owner of sales_v1 materialize it once more"),
        ({"group": "buys"}, StoreError, "is that of 'buys' version 1"),
        (
            {"partitions": {"kind": "other", "name": "Moons"}},
            DeclarationError,
            "sales_v1 has Moons, which no other code location can make",
        ),
    ],
)
def test_a_contract_that_is_not_understood_is_refused(
    change: dict[str, Any], kind: type[Exception], said: str, own_stores: fti.Stores
) -> None:
    restate(own_stores, json.dumps({**stated(own_stores), **change}))
    with pytest.raises(kind, match=said) as caught:
        fti.group("sales", stores=own_stores)
    assert isinstance(caught.value, DamagedError) == (kind is DamagedError)


def test_a_later_release_that_says_nothing_new_is_read(own_stores: fti.Stores) -> None:
    restate(own_stores, json.dumps({**stated(own_stores), "release": "9.0"}))
    assert fti.group("sales", stores=own_stores).ttl == timedelta(days=2)


def test_fields_that_an_earlier_release_did_not_know_have_their_defaults(own_stores: fti.Stores) -> None:
    minimal = {name: stated(own_stores)[name] for name in ("group", "version", "asset_key", "keys")}
    restate(own_stores, json.dumps(minimal))
    present = fti.group("sales", stores=own_stores)
    assert (present.event_time, present.ttl, present.partitions_def, present.online) == (None, None, None, False)


def test_rows_of_an_earlier_release_promise_nothing_until_they_are_made_again(own_stores: fti.Stores) -> None:
    close_stores()
    with own_stores.offline_store().connect() as lake:
        lake.connection.execute(f"DROP TABLE {SALES.contract.sql}")
    with pytest.raises(
        NotMaterializedError,
        match="code of an earlier release made it, or its catalog was made again. Upgrade",
    ):
        fti.group("sales", stores=own_stores)
    close_stores()
    run(sales, own_stores, "2025-03-01")
    assert fti.group("sales", stores=own_stores).keys == ("shop",)


def test_a_run_refuses_what_has_changed_since_its_code_was_loaded(own_stores: fti.Stores) -> None:
    present = fti.group("sales", stores=own_stores)

    @fti.feature_group(keys=["shop"], event_time="sold_at", serving_delay="1h", partitions_def=DAYS)
    def tripled(sales: fti.Table) -> Any:
        return sales.relation.project("shop, sold_at, 3 * amount AS thrice")

    @fti.feature_group(keys=["shop"], event_time="sold_at", partitions_def=DAYS, ins={"sales": present})
    def other(sales: fti.Table) -> Any:
        return sales.relation.project("shop, sold_at, 3 * amount AS thrice")

    close_stores()
    run(owned(ttl="5d", description="Sold."), own_stores, "2025-03-01")
    with pytest.raises(
        SchemaChangedError,
        match="the owner of sales_v1 has changed what it promises .*: ttl_us was 172800000000 and is 4320",
    ):
        run(other, own_stores, "2025-03-01")
    with own_stores.offline_store().connect() as lake:
        assert not lake.has(other.table)
    assert fti.group("sales", stores=own_stores).ttl == timedelta(days=5)


def test_words_of_an_owner_may_change_at_any_time(own_stores: fti.Stores) -> None:
    present = fti.group("sales", stores=own_stores)

    @fti.feature_group(
        keys=["shop"], event_time="sold_at", serving_delay="1h", partitions_def=DAYS, ins={"sales": present}
    )
    def tripled(sales: fti.Table) -> Any:
        return sales.relation.project("shop, sold_at, 3 * amount AS thrice")

    close_stores()
    run(owned(description="Sold.", owners=["team:other"], online_history="9d"), own_stores, "2025-03-01")
    assert run(tripled, own_stores, "2025-03-01").success


@pytest.mark.soak
def test_a_contract_comes_with_the_commit_of_its_rows_and_is_written_once(own_stores: fti.Stores) -> None:
    def snapshots() -> list[int]:
        with own_stores.offline_store().connect() as lake:
            query = f"SELECT DISTINCT snapshot_id FROM (SELECT snapshot_id, rowid FROM {SALES.contract.sql})"
            newest = [lake.snapshot(), *(one for (one,) in lake.connection.execute(query).fetchall())]
            return [int(one) for one in newest]

    newest, of_contract = snapshots()
    run(sales, own_stores, "2025-03-02")
    assert snapshots() == [newest + 1, of_contract]
    run(owned(ttl="5d"), own_stores, "2025-03-02")
    assert snapshots() == [newest + 2, newest + 2]


def test_a_run_whose_rows_are_refused_leaves_the_contract_alone(own_stores: fti.Stores) -> None:
    before = stated(own_stores)

    @fti.feature_group(name="sales", keys=["shop"], event_time="sold_at", ttl="9d", schema=Sales, partitions_def=DAYS)
    def bad(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return pd.DataFrame(
            {"shop": ["west"], "sold_at": pd.Timestamp(context.partition_key), "amount": [1.0], "odd": [1.0]}
        )

    assert not run(bad, own_stores, "2025-03-02", raise_on_error=False).success
    assert stated(own_stores) == before


def test_a_contract_is_written_for_each_kind_of_group() -> None:
    external = fti.external_group(
        name="outside", source=fti.ParquetFiles(path="outside/"), keys=["shop"], event_time="sold_at"
    )

    @fti.feature_group(
        keys=["shop"], event_time="sold_at", partitions_def=DAYS, ins={"outside": external, "sales": sales}
    )
    def both(outside: fti.Table, sales: fti.Table) -> Any: ...

    assert contract_of(both).inputs == {"sales": 1}  # of a table that another system keeps the lake has no contract
    assert contract_of(spending).windows == spending.windows


def test_a_dropped_group_takes_its_contract_along(own_stores: fti.Stores) -> None:
    from fti_assets.stores.lake.upkeep.dropping import drop_tables

    with own_stores.offline_store().connect() as lake, lake.store.lock():
        drop_tables(lake, [SALES], message="gone")
    with own_stores.offline_store().connect() as lake:
        assert lake.contract(SALES) == ""
        with pytest.raises(duckdb.CatalogException):
            lake.connection.execute(f"FROM {SALES.contract.sql}")
