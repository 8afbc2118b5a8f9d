"""Feature groups in SQL: the same rows as in Python, and what Dagster shows of them."""

import inspect
import logging
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.errors import DataError, DeclarationError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.sql_group import GroupTerms
from fti_assets.orchestration.options import AssetOptions
from fti_assets.testing import assert_no_leak, materialize, rows, stores_in

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-06")
HOURS: dict[str, Any] = {"keys": ["carrier"], "event_time": "hour", "partitions_def": DAYS, "lookback": "1d"}


@fti.feature_group(keys=["flight"], event_time="landed_at", partitions_def=DAYS)
def arrivals(context: dg.AssetExecutionContext) -> pd.DataFrame:
    start, end = (pd.Timestamp(moment).tz_localize(None) for moment in context.partition_time_window)
    landed_at = pd.date_range(start, end, freq="24min", inclusive="left")
    number = range(len(landed_at))
    return pd.DataFrame(
        {
            "flight": [f"{moment:%d%H%M}" for moment in landed_at],
            "carrier": [("UA", "AA", "B6")[i % 3] for i in number],
            "landed_at": landed_at,
            "is_late": [i % 4 == 0 for i in number],
        }
    )


@fti.feature_group(keys=["carrier"])
def carriers() -> pd.DataFrame:
    return pd.DataFrame({"carrier": ["UA", "AA"], "founded": [1926, 1930]})


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    stores = stores_in(tmp_path_factory.mktemp("sql"))
    materialize(arrivals, stores=stores, partition=("2013-01-01", "2013-01-05"))
    materialize(carriers, stores=stores)
    return stores


def in_sql(**options: Any) -> FeatureGroup:
    options = {"file": "late.sql", **HOURS, **options}
    return fti.sql_feature_group(**options)


def lineage(made: Any) -> dict[str, set[tuple[str, str]]]:
    """What the newest materialization tells of each column."""
    (run,) = made.runs.values()
    event = run.get_asset_materialization_events()[-1].step_materialization_data.materialization
    result = event.metadata.get("dagster/column_lineage")
    deps = {} if result is None else result.value.deps_by_column
    return {
        name: {(dep.asset_key.to_user_string(), dep.column_name) for dep in results} for name, results in deps.items()
    }


# The declaration


def test_terms_are_those_of_a_group() -> None:
    of_group = set(inspect.signature(fti.feature_group).parameters) - {"name", "keys", "ins", "options", "engine"}
    own = set(inspect.signature(fti.sql_feature_group).parameters) - {"name", "keys", "ins", "sql", "file", "terms"}
    assert not own
    assert of_group == set(GroupTerms.__annotations__) - set(AssetOptions.__annotations__)


def test_a_file_gives_name_body_and_description() -> None:
    group = in_sql(owners=["team:ml"], ttl="3h", serving_delay="5min", online=True)
    (spec,) = group.assets_def.specs
    assert (group.table_name, group.inputs) == ("late_v1", {"arrivals": arrivals})
    assert spec.description == "How late a carrier was in the hours before."
    assert spec.kinds == {"duckdb", "parquet", "sql"}
    assert "```sql\n-- How late" in spec.metadata["sql"].value
    assert [dep.asset_key for dep in spec.deps] == [arrivals.key]
    assert list(spec.owners) == ["team:ml"]
    assert group.online


def test_the_code_version_follows_the_sql() -> None:
    def code_version(sql: str) -> str | None:
        (spec,) = fti.sql_feature_group(name="x", keys=["carrier"], sql=sql, ins={"a": carriers}).assets_def.specs
        return spec.code_version

    assert code_version("SELECT carrier FROM a") == code_version("SELECT carrier FROM a")
    assert code_version("SELECT carrier FROM a") != code_version("SELECT carrier, 1 AS x FROM a")


def test_groups_are_found_by_name_here_or_in_ins() -> None:
    planes = carriers
    sql = "SELECT carrier FROM planes JOIN Arrivals USING (carrier) JOIN other USING (carrier)"
    group = fti.sql_feature_group(name="x", keys=["carrier"], sql=sql, ins={"other": carriers})
    assert group.inputs == {"planes": planes, "arrivals": arrivals, "other": carriers}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"file": None}, "either sql='SELECT ...' or file="),
        ({"sql": "SELECT 1"}, "either sql='SELECT ...' or file="),
        ({"file": None, "sql": "SELECT 1 AS carrier"}, "takes a name with sql="),
        ({"file": "nowhere.sql"}, r"tests/features/nowhere.sql cannot be read: No such file"),
        ({"file": None, "name": "x", "sql": "SELECT 1\nFROM flights"},
         "sql of 'x', line 2 reads 'flights', but no feature group has that name here; there is 'arrivals' or 'carriers'"),
        ({"file": None, "name": "x", "sql": "FROM '/etc/passwd.csv'"}, "reads '/etc/passwd.csv', but no feature group"),
        ({"file": None, "name": "x", "sql": "FROM pd"}, "reads 'pd', but no feature group"),
        ({"file": None, "name": "x", "sql": "FROM \"Odd Name\"", "ins": {"odd name": carriers}}, "'odd name' is not a name"),
        ({"ins": {"carriers": carriers}}, "ins gives 'carriers', which late.sql does not read: it reads 'arrivals'"),
        ({"partitions_def": None}, r"late.sql takes '\$end' or '\$start', but it has no partitions"),
        ({"partitions_def": dg.StaticPartitionsDefinition(["a"])}, r"but StaticPartitionsDefinition gives '\$partition'"),
        ({"file": None, "name": "x", "sql": "SELECT $partition AS carrier"}, r"takes '\$partition', but Daily\w+ gives '\$start' or"),
        ({"keys": []}, "has no keys"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem):
        in_sql(**options)


# Rows


def test_rows_are_those_of_the_same_group_in_python(stores: fti.Stores) -> None:
    @fti.feature_group(name="in_python", **HOURS)
    def in_python(arrivals: fti.Table) -> pd.DataFrame:
        frame = arrivals.df()
        assert arrivals.grid is not None
        frame["hour"] = frame["landed_at"].dt.floor("h") + pd.Timedelta("1h")
        frame = frame[(frame["hour"] >= arrivals.grid.start) & (frame["hour"] < arrivals.grid.end)]
        result = frame.groupby(["carrier", "hour"])["is_late"].agg(late_rate="mean", landed="count")
        return result.reset_index()

    group = in_sql()
    made = {
        one.name: materialize(one, stores=stores, partition=("2013-01-02", "2013-01-04")) for one in (group, in_python)
    }
    order = ["carrier", "hour"]
    in_lake, expected = (made[one.name].rows(one).sort_values(order, ignore_index=True) for one in (group, in_python))
    pd.testing.assert_frame_equal(in_lake, expected[in_lake.columns])
    assert len(in_lake) > 100
    alone = materialize(group, stores=stores, partition="2013-01-03").runs["late_v1"]
    (event,) = alone.get_asset_materialization_events()
    with stores.offline_store().connect() as lake:
        stored = lake.ledger(group.table)["2013-01-03"]
    assert event.step_materialization_data.materialization.tags["dagster/data_version"] == stored.data_version
    assert stored.committed_at != stored.run_at, "a rerun of one day gives the rows that the range gave"
    assert_no_leak(group, stores=stores, partition="2013-01-03")


def test_a_schema_is_checked_before_anything_is_stored(stores: fti.Stores) -> None:
    class Few(pa.DataFrameModel):
        carrier: str
        hour: pd.Timestamp
        late_rate: float
        landed: int = pa.Field(le=0)

    group = in_sql(name="few", schema=Few)
    made = materialize(group, stores=stores, partition="2013-01-02", raise_on_error=False)
    assert not made.success
    assert "few_v1/landed_less_than_or_equal_to" in made.failed_checks


def test_key_of_partition_that_is_no_window_is_parameter(stores: fti.Stores) -> None:
    group = fti.sql_feature_group(
        name="by_name",
        keys=["carrier"],
        sql="SELECT carrier, $partition AS name, founded FROM carriers WHERE carrier = $partition",
        partitions_def=dg.StaticPartitionsDefinition(["UA", "it's"]),
    )
    for partition in ("UA", "it's"):
        made = materialize(group, stores=stores, partition=partition)
    assert made.rows(group).to_dict("records") == [{"carrier": "UA", "name": "UA", "founded": 1926}]


def test_sql_over_no_group_makes_its_own_rows(stores: fti.Stores) -> None:
    calendar = fti.sql_feature_group(
        name="calendar",
        keys=["hour"],
        event_time="hour",
        partitions_def=DAYS,
        sql="SELECT range AS hour, hour(range) AS of_day FROM range($start, $end, INTERVAL 1 HOUR)",
    )
    made = materialize(calendar, stores=stores, partition="2013-01-02").rows(calendar)
    assert sorted(made["of_day"]) == list(range(24))
    assert made["hour"].min() == pd.Timestamp("2013-01-02")


def test_a_column_that_is_not_there_names_the_file(stores: fti.Stores) -> None:
    group = fti.sql_feature_group(name="x", keys=["carrier"], sql="SELECT carrier, nothing FROM carriers")
    with pytest.raises(DataError, match="sql of 'x': Binder Error: Referenced column \"nothing\" not found"):
        materialize(group, stores=stores)


def test_a_few_rows_can_be_tried(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"flight": ["1"], "carrier": ["UA"], "landed_at": [pd.Timestamp("2013-01-02 04:30")], "is_late": [True]}
    )
    group = in_sql()
    assert rows(group, partition="2013-01-02", arrivals=frame)["late_rate"].tolist() == [1.0]
    with duckdb.connect() as connection:
        grid = fti.Grid("hour", pd.Timestamp("2013-01-02"), pd.Timestamp("2013-01-03"))
        table = fti.Table(
            connection.from_df(frame), connection, "arrivals_v1", ("flight",), event_time="landed_at", grid=grid
        )
        assert group(arrivals=table).fetchall()[0][0] == "UA"
        with pytest.raises(DeclarationError, match="give it a context, or a table with a grid"):
            group(arrivals=fti.Table(connection.from_df(frame), connection, "arrivals_v1", ("flight",)))


# Lineage by column


def test_the_ui_shows_what_each_column_was_made_from(stores: fti.Stores) -> None:
    assert lineage(materialize(in_sql(), stores=stores, partition=("2013-01-02", "2013-01-03"))) == {
        "carrier": {("arrivals_v1", "carrier")},
        "hour": {("arrivals_v1", "landed_at")},
        "late_rate": {("arrivals_v1", "is_late")},
    }


def test_join_of_table_outside_and_stored_one_leads_to_both(stores: fti.Stores, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "dbt.duckdb")) as connection:
        connection.execute("CREATE TABLE alliances AS SELECT 'UA' AS carrier, 'Star' AS alliance")
    alliances = fti.external_group(
        name="alliances",
        source=fti.DuckDBTable(file=tmp_path / "dbt.duckdb", table="alliances"),
        keys=["carrier"],
        key_prefix="dbt",
    )
    sql = "SELECT c.carrier, a.alliance || c.founded AS both FROM carriers c JOIN alliances a USING (carrier)"
    group = fti.sql_feature_group(name="joined", keys=["carrier"], sql=sql, ins={"alliances": alliances})
    made = materialize(group, stores=stores)
    assert made.rows(group)["both"].tolist() == ["Star1926"]
    assert lineage(made) == {
        "carrier": {("carriers_v1", "carrier")},
        "both": {("dbt/alliances_v1", "alliance"), ("carriers_v1", "founded")},
    }


@pytest.mark.soak
def test_windows_and_relations_in_python_are_told_too(stores: fti.Stores) -> None:
    @fti.feature_group(**HOURS)
    def rates(arrivals: fti.Table) -> fti.Table:
        late = arrivals.with_relation(arrivals.relation.project("carrier, landed_at, is_late AS l"))
        return fti.window_aggregate(
            late, keys=["carrier"], every="1h", windows=["3h"], aggregates={"rate": fti.Mean("l")}
        )

    @fti.feature_group(keys=["carrier"])
    def newest(arrivals: fti.Table) -> Any:
        return arrivals.relation.filter("is_late").aggregate("carrier, max(landed_at) AS at_last")

    assert lineage(materialize(rates, stores=stores, partition="2013-01-02")) == {
        "carrier": {("arrivals_v1", "carrier")},
        "hour": {("arrivals_v1", "landed_at")},
        "rate_3h": {("arrivals_v1", "is_late")},
    }
    assert lineage(materialize(newest, stores=stores)) == {
        "carrier": {("arrivals_v1", "carrier")},
        "at_last": {("arrivals_v1", "landed_at")},
    }


def test_a_lineage_that_cannot_be_told_is_left_out(stores: fti.Stores, caplog: pytest.LogCaptureFixture) -> None:
    @fti.feature_group(keys=["carrier"])
    def fetched(carriers: fti.Table) -> Any:
        sql = "SELECT carrier FROM (VALUES ('UA')) v(carrier) WHERE carrier <> ?"
        return carriers.connection.sql(sql, params=["x"]).filter("carrier <> 'y'")

    @fti.feature_group(keys=["carrier"])
    def framed(carriers: fti.Table) -> pd.DataFrame:
        return carriers.df()

    with caplog.at_level(logging.DEBUG, logger="fti_assets.features.steps.page"):
        assert lineage(materialize(fetched, stores=stores)) == {}
    assert "fetched_v1 has no lineage by column: its rows were fetched" in caplog.text
    assert lineage(materialize(framed, stores=stores)) == {}


def test_what_the_user_says_of_lineage_wins(stores: fti.Stores) -> None:
    result = dg.TableColumnLineage({"carrier": [dg.TableColumnDep(asset_key=dg.AssetKey("mine"), column_name="c")]})
    group = fti.sql_feature_group(
        name="said", keys=["carrier"], sql="SELECT carrier FROM carriers", metadata={"dagster/column_lineage": result}
    )
    assert lineage(materialize(group, stores=stores)) == {"carrier": {("mine", "c")}}
