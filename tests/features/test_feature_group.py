"""Feature groups: what a declaration may say, and what Dagster sees when it is run."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa
import polars as pl
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.times import duration, microseconds
from fti_assets.describe import facts
from fti_assets.errors import DeclarationError, LookbackError, NotMaterializedError, SchemaChangedError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.steps import run as run_module
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import SqliteOnlineStore
from tests.support.partitions import range_tags

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-10")
HOURS = (1, 5, 22)


class ArrivalsSchema(pa.DataFrameModel):
    carrier: str = pa.Field(description="two letters")
    landed_at: pd.Timestamp
    late: bool
    delay: float = pa.Field(ge=0, nullable=True)
    distance: float = pa.Field(le=100, raise_warning=True)


class LateSchema(pa.DataFrameModel):
    carrier: str
    landed_at: str


# The declaration


def declared(function: Callable[..., Any] | None = None, **options: Any) -> FeatureGroup:
    def weather() -> pd.DataFrame:
        return pd.DataFrame({"carrier": ["UA"]})

    return fti.feature_group(**{"keys": ["carrier"], **options})(function or weather)


def test_a_declaration_is_what_was_written() -> None:
    group = declared(
        event_time="landed_at",
        serving_delay="15min",
        ttl=timedelta(hours=6),
        schema=ArrivalsSchema,
        online=True,
        version=2,
    )
    assert (group.table_name, group.table.full_name, group.key) == (
        "weather_v2",
        "features.weather_v2",
        dg.AssetKey("weather_v2"),
    )
    assert (group.keys, group.time_columns, group.identity) == (("carrier",), ("landed_at",), ("carrier", "landed_at"))
    assert (group.serving_delay, group.ttl, group.lookback) == (
        timedelta(minutes=15),
        timedelta(hours=6),
        timedelta(0),
    )
    assert group.partition_by == "landed_at"
    assert group.online_history == timedelta(hours=6, minutes=15)
    assert group.columns == {
        "carrier": "text",
        "landed_at": "timestamp",
        "late": "boolean",
        "delay": "number",
        "distance": "number",
    }
    assert group.assets_def is group.assets_def


@pytest.mark.parametrize(
    ("options", "history"),
    [({}, "7d"), ({"ttl": "3h"}, "3h"), ({"ttl": "3h", "serving_delay": "1h"}, "4h"), ({"online_history": "2d"}, "2d")],
)
def test_online_history_is_ttl_plus_delay_unless_it_is_stated(options: dict[str, Any], history: str) -> None:
    group = declared(event_time="landed_at", **options)
    assert group.online_history == duration(history)


def test_identity_holds_the_times_and_the_tie_break() -> None:
    group = declared(keys="carrier", event_time="e", available_at="a", tie_break="n")
    assert group.identity == ("carrier", "e", "a", "n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keys": []}, r"weather_v1 has no keys: name the columns.*keys=\['customer_id'\]"),
        ({"keys": ["Carrier"]}, "key of 'weather' 'Carrier' is not a name"),
        ({"name": "Weather"}, "feature group 'Weather' is not a name"),
        ({"version": 0}, "version is 0; versions are 1, 2, 3"),
        ({"version": "1"}, "version is '1'; versions are"),
        ({"ttl": "3h"}, "weather_v1 states 'ttl' but no event_time"),
        (
            {"ttl": "3h", "available_at": "a", "serving_delay": "1h"},
            "'available_at', 'serving_delay' or 'ttl' but no event",
        ),
        ({"event_time": "e", "ttl": "soon"}, "ttl of 'weather' 'soon' is not a duration"),
        ({"event_time": "e", "lookback": "1 year"}, "lookback of 'weather' '1 year' is not a duration"),
        ({"event_time": "e", "serving_delay": timedelta(-1)}, "serving_delay of 'weather' .* is negative"),
        ({"event_time": "e", "online_history": "x"}, "online_history of 'weather' 'x' is not a duration"),
        (
            {"event_time": "e", "available_at": "a", "serving_delay": "1h"},
            "states both available_at='a' and a serving_delay",
        ),
        (
            {"event_time": "e", "online": True},
            "is online but does not say when its rows can be used: name the available_at",
        ),
        ({"event_time": "Landed At"}, "column of feature group weather_v1 'Landed At' is not a name"),
        ({"schema": dict}, "schema of 'weather' is <class 'dict'>, not a pandera"),
        (
            {"event_time": "at", "schema": ArrivalsSchema},
            "weather_v1 has no column 'at': its schema has 'carrier', 'landed",
        ),
        ({"keys": ["origin"], "schema": ArrivalsSchema}, "has no column 'origin'"),
        ({"event_time": "landed_at", "tie_break": "n", "schema": ArrivalsSchema}, "has no column 'n'"),
        ({"event_time": "landed_at", "schema": LateSchema}, "'landed_at' says when, but its schema declares text"),
        ({"partitions_def": DAYS}, "has time partitions but neither event_time nor partition_by"),
        (
            {"partitions_def": dg.MultiPartitionsDefinition({"d": DAYS, "c": dg.StaticPartitionsDefinition(["UA"])})},
            "has multi-dimensional partitions, which have no one span of time",
        ),
        ({"schema": pa.DataFrameSchema({"carrier": pa.Column(str), "Bad": pa.Column(str)})}, "'Bad' is not a name"),
    ],
)
def test_an_impossible_declaration_is_refused_when_it_is_written(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declared(**options)


def test_calling_the_handle_calls_the_function() -> None:
    @fti.feature_group(keys=["carrier"])
    def doubled(carrier: str, times: int = 2) -> str:
        return carrier * times

    assert doubled("UA") == "UAUA"
    assert doubled(carrier="UA", times=3) == "UAUAUA"


def test_groups_are_found_among_callers_names_or_given_in_ins() -> None:
    arrivals = declared(event_time="landed_at", name="arrivals")

    @fti.feature_group(keys=["carrier"], event_time="hour")
    def by_name(arrivals: fti.Table) -> fti.Table:
        return arrivals

    @fti.feature_group(keys=["carrier"], event_time="hour", ins={"rows": arrivals})
    def by_ins(rows: "fti.Table") -> fti.Table:
        return rows

    assert dict(by_name.inputs) == {"arrivals": arrivals}
    assert dict(by_ins.inputs) == {"rows": arrivals}
    assert [dep.asset_key for spec in by_ins.assets_def.specs for dep in spec.deps] == [arrivals.key]


def test_a_table_that_names_no_group_is_refused() -> None:
    arrivals = declared(event_time="landed_at", name="arrivals")
    with pytest.raises(
        DeclarationError, match="'arrival' of 'rates' is an fti.Table, but no .*there is 'arrivals'.*ins="
    ):

        @fti.feature_group(keys=["carrier"])
        def rates(arrival: fti.Table) -> fti.Table:
            return arrival

    with pytest.raises(DeclarationError, match="gives a feature group for 'other', which is not a parameter annotated"):

        @fti.feature_group(keys=["carrier"], ins={"other": arrivals})
        def more(arrivals: fti.Table) -> fti.Table:
            return arrivals


def test_an_annotation_that_is_not_known_is_refused() -> None:
    with pytest.raises(DeclarationError, match="'unknown' is annotated with a name that is not known here: .*Nowhere"):

        @fti.feature_group(keys=["carrier"])
        def unknown(rows: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
            pass


def test_an_input_of_other_partitions_is_refused() -> None:
    monthly = dg.MonthlyPartitionsDefinition(start_date="2013-01-01")
    arrivals = declared(event_time="landed_at", name="arrivals", partitions_def=monthly)
    assert arrivals.partitions_def == monthly
    with pytest.raises(
        DeclarationError, match=r"rates_v1 and its input 'arrivals' \(arrivals_v1\) are partitioned diff"
    ):

        @fti.feature_group(keys=["carrier"], event_time="hour", partitions_def=DAYS)
        def rates(arrivals: fti.Table) -> fti.Table:
            return arrivals


@pytest.mark.parametrize("parameter", ["*rows", "**rows", "fti"])
def test_a_parameter_that_cannot_be_filled_is_refused(parameter: str) -> None:
    names: dict[str, Any] = {}
    exec(f"def weather({parameter}): ...", names)
    with pytest.raises(DeclarationError, match=f"weather_v1: .*{parameter.strip('*')}"):
        _ = declared(names["weather"]).assets_def


# Selections


def test_columns_are_selected_renamed_and_joined_on_other_keys() -> None:
    airports = declared(schema=ArrivalsSchema)
    selection = airports.on(dest="carrier").prefix("dest_")["delay", "late"]
    assert selection == airports["delay", "late"].prefix("dest_").on(dest="carrier")
    assert (selection.columns, dict(selection.spine_keys), selection.feature_prefix) == (
        ("delay", "late"),
        {"carrier": "dest"},
        "dest_",
    )
    assert airports["delay"].columns == ("delay",)


def test_a_selection_of_what_is_not_there_is_refused() -> None:
    airports = declared(schema=ArrivalsSchema)
    with pytest.raises(
        DeclarationError, match="weather_v1 has no column 'temp': its schema has 'carrier', 'landed_at'"
    ):
        airports["temp"]
    with pytest.raises(DeclarationError, match="has no key 'airport' to join on: its keys are 'carrier'; write .on"):
        airports.on(dest="airport")
    with pytest.raises(DeclarationError, match="prefix of weather 'Dest ' is not a name"):
        airports.prefix("Dest ")
    assert declared()["anything"].columns == ("anything",)  # without a schema nothing can be said yet


# Runs


class World:
    """Two groups, one made of the other, their stores and a Dagster instance."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.folders = {name: str(root / name) for name in ("lake", "models", "online")}
        self.lake = OfflineStore(self.folders["lake"])
        self.delay = 2.0
        self.distance = 50.0
        self.calls = 0

        @fti.feature_group(
            keys=["carrier"],
            event_time="landed_at",
            serving_delay="15min",
            online=True,
            schema=ArrivalsSchema,
            partitions_def=DAYS,
        )
        def arrivals(context: dg.AssetExecutionContext) -> pd.DataFrame:
            self.calls += 1
            landed = [pd.Timestamp(day) + pd.Timedelta(hours=h) for day in context.partition_keys for h in HOURS]
            return pd.DataFrame({"carrier": "UA", "landed_at": landed}).assign(
                late=lambda rows: rows["landed_at"].dt.hour > 3,
                delay=lambda rows: self.delay * (rows["landed_at"].dt.hour - 2).clip(lower=1),
                distance=self.distance,
            )

        @fti.feature_group(
            keys=["carrier"], event_time="hour", partitions_def=DAYS, lookback="3d", serving_delay="15min", online=True
        )
        def rates(arrivals: fti.Table) -> fti.Table:
            return fti.window_aggregate(
                arrivals,
                keys=["carrier"],
                every="1h",
                windows=["3h", "2d"],
                aggregates={"late": fti.Mean("late"), "n": fti.Count(), "delay": fti.Mean("delay")},
            )

        self.arrivals, self.rates = arrivals, rates

    def run(self, *groups: FeatureGroup | dg.AssetsDefinition, **options: Any) -> dg.ExecuteInProcessResult:
        assets = [group.assets_def if isinstance(group, FeatureGroup) else group for group in groups]
        resources = {"fti": fti.Stores(**self.folders), **options.pop("resources", {})}
        return dg.materialize(assets, instance=self.instance, resources=resources, raise_on_error=False, **options)

    def run_range(self, first: str, last: str, *groups: FeatureGroup) -> dg.ExecuteInProcessResult:
        return self.run(*groups, tags=range_tags(first, last))

    def event(self, group: FeatureGroup, partition: str) -> dg.AssetMaterialization:
        wanted = dg.AssetRecordsFilter(asset_key=group.key, asset_partitions=[partition])
        event = self.instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
        assert event is not None
        return event

    def version(self, group: FeatureGroup, partition: str) -> str:
        return str((self.event(group, partition).tags or {})["dagster/data_version"])

    def rows(self, group: FeatureGroup) -> pd.DataFrame:
        with self.lake.connect() as lake:
            rows = lake.rows(group.table)
            return rows.order(", ".join(rows.columns)).df()

    def raised_by(self, result: dg.ExecuteInProcessResult) -> list[str]:
        """The names and messages of a failed run's errors, causes included."""
        results = []
        for event in result.all_events:
            error = event.step_failure_data.error if event.is_step_failure else None
            while error is not None:
                results.append(f"{error.cls_name}: {error.message}")
                error = error.cause
        return results


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.DagsterInstance.ephemeral() as instance, clock.at("2013-02-01"):
        yield World(tmp_path, instance)


def metadata_of(event: dg.AssetMaterialization) -> Mapping[str, Any]:
    return {name: value.value for name, value in event.metadata.items()}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return {f"{check.asset_key.path[-1]}.{check.check_name}": check for check in result.get_asset_check_evaluations()}


def test_range_and_its_days_singly_give_same_rows_and_versions(world: World, tmp_path: Path) -> None:
    days = ["2013-01-01", "2013-01-02"]
    assert world.run_range(days[0], days[-1], world.arrivals, world.rates).success
    assert world.calls == 1
    with dg.DagsterInstance.ephemeral() as instance:
        other = World(tmp_path / "other", instance)
        for day in days:
            assert other.run(other.arrivals, other.rates, partition_key=day).success
        for group, same in ((world.arrivals, other.arrivals), (world.rates, other.rates)):
            versions = [world.version(group, day) for day in days]
            assert versions == [other.version(same, day) for day in days]
            assert len(set(versions)) == len(days)
            pd.testing.assert_frame_equal(world.rows(group), other.rows(same))
            with world.lake.connect() as lake:
                assert [record.data_version for record in lake.ledger(group.table).values()] == versions
    counts = [metadata_of(world.event(world.arrivals, day))["dagster/partition_row_count"] for day in days]
    assert counts == [3, 3]


@pytest.mark.soak
def test_rows_are_not_stored_beside_those_of_other_partitions(world: World) -> None:
    def declared(partitions_def: dg.PartitionsDefinition[str] | None) -> FeatureGroup:
        @fti.feature_group(name="visits", keys=["k"], event_time="t", partitions_def=partitions_def)
        def visits() -> pd.DataFrame:
            return pd.DataFrame({"k": ["a"], "t": pd.to_datetime(["2013-01-01 07:00"])})

        return visits

    def is_refused(group: FeatureGroup) -> None:
        result = world.run(group, partition_key=None if group.partitions_def is None else "2013-01-01")
        assert not result.success
        refusals = [message for message in world.raised_by(result) if "is stored in other partitions, " in message]
        assert any("start over: fti reset visits_v1" in message for message in refusals), group.partitions_def
        assert len(world.rows(group)) == 1

    daily = declared(DAYS)
    others = [
        declared(None),
        declared(dg.MonthlyPartitionsDefinition(start_date="2013-01-01")),
        declared(dg.DailyPartitionsDefinition(start_date="2013-01-01", timezone="America/New_York")),
        declared(dg.StaticPartitionsDefinition(["2013-01-01"])),
    ]
    assert world.run(daily, partition_key="2013-01-01").success
    for other in others:
        is_refused(other)
    for other in others:
        with world.lake.connect() as lake:
            lake.connection.execute(f"DROP TABLE {daily.table.sql}; DROP TABLE {daily.table.ledger_sql}")
        assert world.run(other, partition_key=None if other.partitions_def is None else "2013-01-01").success
        is_refused(daily)


def test_partitions_may_begin_at_another_day_and_end(world: World) -> None:
    def declared(first: str, last: str | None) -> FeatureGroup:
        @fti.feature_group(
            name="visits",
            keys=["k"],
            event_time="t",
            partitions_def=dg.DailyPartitionsDefinition(start_date=first, end_date=last),
        )
        def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
            return pd.DataFrame({"k": ["a"], "t": pd.to_datetime([context.partition_key])})

        return visits

    assert world.run(declared("2013-01-01", None), partition_key="2013-01-01").success
    assert world.run(declared("2013-01-02", "2013-02-01"), partition_key="2013-01-02").success
    assert len(world.rows(declared("2013-01-01", None))) == 2


@pytest.mark.soak
def test_range_has_one_event_a_day_with_provenance(world: World) -> None:
    days = ["2013-01-01", "2013-01-02", "2013-01-03"]
    assert world.run_range(days[0], days[-1], world.arrivals, world.rates).success
    for group in (world.arrivals, world.rates):
        results = world.instance.fetch_materializations(group.key, limit=100).records
        assert sorted(str(record.partition_key) for record in results) == days
    assert world.run(world.rates, partition_key=days[0]).success
    names = [
        sorted(event.tags or {}) for event in (world.event(world.rates, days[0]), world.event(world.rates, days[1]))
    ]
    assert names[0] == names[1]
    assert any(name.startswith("dagster/input_data_version/") for name in names[1])


@pytest.mark.soak
def test_rerun_keeps_version_and_changed_rows_change_it(world: World) -> None:
    world.run_range("2013-01-01", "2013-01-02", world.arrivals)
    first = world.version(world.arrivals, "2013-01-02")
    assert world.run(world.arrivals, partition_key="2013-01-02").success
    assert world.version(world.arrivals, "2013-01-02") == first
    world.delay = 3.0
    assert world.run(world.arrivals, partition_key="2013-01-02").success
    assert world.version(world.arrivals, "2013-01-02") != first
    event = metadata_of(world.event(world.arrivals, "2013-01-02"))
    assert event["dagster/partition_row_count"] == 3
    assert len(world.rows(world.arrivals)) == 6


def test_a_range_of_one_day_is_that_day(world: World) -> None:
    assert world.run_range("2013-01-02", "2013-01-02", world.arrivals).success
    one = world.version(world.arrivals, "2013-01-02")
    assert metadata_of(world.event(world.arrivals, "2013-01-02"))["dagster/partition_row_count"] == 3
    assert world.run(world.arrivals, partition_key="2013-01-02").success
    assert world.version(world.arrivals, "2013-01-02") == one


def test_rows_that_break_the_schema_are_withheld(world: World) -> None:
    assert world.run(world.arrivals, partition_key="2013-01-01").success
    before = world.rows(world.arrivals)
    world.delay = -1.0
    result = world.run(world.arrivals, world.rates, partition_key="2013-01-01")
    assert not result.success
    assert not result.asset_materializations_for_node("arrivals_v1")
    assert "rates_v1" not in {event.step_key for event in result.all_events if event.is_step_start}
    failed = {name: check for name, check in checks(result).items() if not check.passed}
    (check,) = failed.values()
    assert list(failed) == ["arrivals_v1.delay_greater_than_or_equal_to"]
    assert (check.blocking, check.severity) == (True, dg.AssetCheckSeverity.ERROR)
    assert check.metadata["failures"].value == 3
    assert check.description == "delay: greater_than_or_equal_to(0): 3 of 3 rows break it, such as -1.0"
    assert len(check.metadata["sample"].records) == 3
    kept = [json.loads(line) for line in rejected(world).read_text().splitlines()]
    assert [row["delay"] for row in kept] == [-1.0, -3.0, -20.0]
    assert rejected(world).name == f"{result.run_id}.jsonl"
    pd.testing.assert_frame_equal(world.rows(world.arrivals), before)


def rejected(world: World) -> Path:
    (file,) = (Path(world.folders["lake"]) / "rejected" / "arrivals_v1").iterdir()
    return file


def test_one_bad_day_withholds_the_whole_range(world: World) -> None:
    world.delay = -1.0
    assert not world.run_range("2013-01-01", "2013-01-03", world.arrivals).success
    with world.lake.connect() as lake:
        assert lake.tables() == []


@pytest.mark.soak
@pytest.mark.parametrize("library", ["pandas", "polars", "changes"])
def test_it_is_said_once_that_naive_times_are_taken_as_utc(world: World, library: str) -> None:
    @fti.feature_group(name=f"naive_{library}", keys=["k"], event_time="t")
    def naive() -> Any:
        frame = pd.DataFrame({"k": ["a"], "t": pd.to_datetime(["2013-01-01"])})
        return {"pandas": frame, "polars": pl.from_pandas(frame), "changes": fti.Changes(upserts=frame)}[library]

    messages = []
    for _ in range(2):
        logged = world.instance.all_logs(world.run(naive).run_id)
        messages.append([entry.user_message for entry in logged if "taken as UTC" in entry.user_message])
    assert messages == [[f"naive_{library}_v1: times without a zone are taken as UTC: 't'"], []]


def test_a_warning_is_told_and_the_rows_are_stored(world: World) -> None:
    world.distance = 500.0
    result = world.run(world.arrivals, partition_key="2013-01-01")
    assert result.success
    check = checks(result)["arrivals_v1.distance_less_than_or_equal_to"]
    assert (check.passed, check.blocking, check.severity) == (False, False, dg.AssetCheckSeverity.WARN)
    assert len(world.rows(world.arrivals)) == 3


def test_every_rule_reports_whenever_the_group_is_run(world: World) -> None:
    result = world.run(world.arrivals, partition_key="2013-01-01")
    assert {name.split(".")[1] for name in checks(result)} == {
        check.name for check in world.arrivals.assets_def.check_specs
    }
    assert all(check.passed for check in checks(result).values())


def test_the_columns_and_times_are_in_the_catalog(world: World) -> None:
    metadata = world.arrivals.assets_def.metadata_by_key[world.arrivals.key]
    assert (metadata["keys"], metadata["event_time"], metadata["serving_delay"]) == ("carrier", "landed_at", "0:15:00")
    columns = {column.name: column for column in metadata["dagster/column_schema"].columns}
    assert (columns["carrier"].type, columns["carrier"].description) == ("text", "two letters")
    assert columns["delay"].constraints.nullable
    assert columns["delay"].constraints.other == ["greater_than_or_equal_to(0)"]


def test_missing_partition_within_lookback_is_named(world: World) -> None:
    world.run_range("2013-01-01", "2013-01-02", world.arrivals)
    world.run(world.arrivals, partition_key="2013-01-04")
    result = world.run(world.rates, partition_key="2013-01-04")
    assert not result.success
    (error,) = (error for error in world.raised_by(result) if LookbackError.__name__ in error)
    assert "rates_v1 needs arrivals_v1 from 2013-01-01 00:00:00 to 2013-01-05 00:00:00" in error
    assert "1 of its partitions are not materialized: '2013-01-03'" in error


@pytest.mark.soak
def test_lifetime_group_reads_from_the_first_partition_on_and_misses_none(world: World) -> None:
    @fti.feature_group(
        keys=["carrier"], event_time="hour", partitions_def=DAYS, lookback="lifetime", ins={"arrivals": world.arrivals}
    )
    def totals(arrivals: fti.Table) -> fti.Table:
        aggregates = {"landed": fti.Count(), "first": fti.First("landed_at"), "delays": fti.Last("delay", n=2)}
        return fti.window_aggregate(arrivals, keys=["carrier"], every="1d", windows=["lifetime"], aggregates=aggregates)

    world.run_range("2013-01-02", "2013-01-04", world.arrivals)
    result = world.run(totals, partition_key="2013-01-04")
    (error,) = (error for error in world.raised_by(result) if LookbackError.__name__ in error)
    assert "totals_v1 needs arrivals_v1 from its first partition to 2013-01-05 00:00:00" in error
    assert "not materialized: '2013-01-01'" in error
    world.run(world.arrivals, partition_key="2013-01-01")
    assert world.run_range("2013-01-02", "2013-01-04", totals).success
    together = [world.version(totals, f"2013-01-0{day}") for day in (2, 3, 4)]
    assert world.rows(totals)["landed_lifetime"].tolist() == [len(HOURS) * day for day in (1, 2, 3)]
    for day in (4, 3, 2):
        assert world.run(totals, partition_key=f"2013-01-0{day}").success
    assert [world.version(totals, f"2013-01-0{day}") for day in (2, 3, 4)] == together
    assert facts.runs(totals.partitions_def, totals.lookback).endswith(", reading all that came before")


def test_lookback_that_reaches_before_first_partition_is_no_error(world: World) -> None:
    assert world.run(world.arrivals, world.rates, partition_key="2013-01-01").success


def test_a_row_outside_its_partition_withholds_it(world: World) -> None:
    @fti.feature_group(keys=["k"], event_time="t", partitions_def=DAYS)
    def stray() -> pd.DataFrame:
        return pd.DataFrame({"k": ["a"], "t": pd.to_datetime(["2013-01-05"])})

    result = world.run(stray, partition_key="2013-01-02")
    assert not result.success
    assert not checks(result)["stray_v1.rows_in_partition"].passed
    assert world.run(stray, partition_key="2013-01-05").success


def test_day_without_rows_is_materialized_and_next_one_keeps_its_types(world: World) -> None:
    @fti.feature_group(keys=["k"], event_time="t", partitions_def=DAYS)
    def quiet(context: dg.AssetExecutionContext) -> pd.DataFrame:
        rows = {"2013-01-01": [("a", datetime(2013, 1, 1), "x")], "2013-01-03": [("a", datetime(2013, 1, 3), None)]}
        return pd.DataFrame(rows.get(context.partition_key, []), columns=["k", "t", "text"])

    for day in ("2013-01-01", "2013-01-02", "2013-01-03"):
        result = world.run(quiet, partition_key=day)
        assert result.success, world.raised_by(result)
    assert metadata_of(world.event(quiet, "2013-01-02"))["dagster/partition_row_count"] == 0
    assert world.rows(quiet)["text"].isna().tolist() == [False, True]


def test_a_changed_schema_needs_a_new_version(world: World) -> None:
    def weather(**columns: Any) -> Callable[[], pd.DataFrame]:
        def weather() -> pd.DataFrame:
            return pd.DataFrame({"k": ["a"], "t": [datetime(2013, 1, 1)], "x": [1.0], **columns})

        return weather

    options: dict[str, Any] = {"keys": ["k"], "event_time": "t", "serving_delay": "1h"}
    assert world.run(fti.feature_group(**options)(weather())).success
    renamed = {**options, "event_time": "u"}
    for changed in (
        fti.feature_group(**options)(weather(x=["one"])),
        fti.feature_group(**renamed)(weather(u=[datetime(2013, 1, 1)])),
    ):
        result = world.run(changed)
        assert not result.success
        assert any(SchemaChangedError.__name__ in error for error in world.raised_by(result)), world.raised_by(result)
    assert world.run(fti.feature_group(**options, version=2)(weather(y=[1.0]))).success


@pytest.mark.soak
def test_a_lookup_has_no_partitions_and_no_time(world: World) -> None:
    observed: list[list[str]] = []

    @fti.feature_group(keys=["carrier"], online=True)
    def carriers() -> pd.DataFrame:
        return pd.DataFrame({"carrier": ["UA", "AA"], "name": ["United", "American"]})

    arrivals = world.arrivals
    assert world.run(carriers).success
    named = fti.feature_group(
        keys=["carrier"], event_time="landed_at", partitions_def=DAYS, ins={"arrivals": arrivals, "carriers": carriers}
    )(named_rows(observed))
    assert world.run(arrivals, partition_key="2013-01-01").success
    assert world.run(named, partition_key="2013-01-01").success
    assert observed == [["American", "United"]]
    winner = SqliteOnlineStore(world.folders["online"]).reader("carriers_v1").get(("UA",), 0)
    assert winner is not None
    assert winner.values == ("United",)


def named_rows(seen: list[list[str]]) -> Callable[..., pd.DataFrame]:
    def named(arrivals: fti.Table, carriers: fti.Table) -> pd.DataFrame:
        seen.append(sorted(carriers.df()["name"]))
        return arrivals.df()[["carrier", "landed_at"]].head(1)

    return named


def test_two_rows_of_one_key_are_withheld_from_lookup(world: World) -> None:
    @fti.feature_group(keys=["carrier"])
    def carriers() -> pd.DataFrame:
        return pd.DataFrame({"carrier": ["UA", "UA"]})

    result = world.run(carriers)
    assert not result.success
    assert not checks(result)["carriers_v1.rows_unique"].passed
    with world.lake.connect() as lake, pytest.raises(NotMaterializedError):
        lake.rows(carriers.table)


class Limit(dg.Config):
    rows: int = 3


class Landing(dg.ConfigurableResource):  # type: ignore[type-arg]
    carrier: str


def test_function_gets_its_context_config_resources_and_plain_assets(world: World) -> None:
    @dg.asset
    def source() -> list[int]:
        return [1]

    @dg.asset
    def landed() -> list[int]:
        return [2, 3, 4]

    @fti.feature_group(keys=["carrier"])
    def many(
        context: dg.AssetExecutionContext, config: Limit, landing: Landing, source: list[int], raw: list[int]
    ) -> pd.DataFrame:
        assert context.asset_key == dg.AssetKey("many_v1")
        rows = [*source, *raw][: config.rows]
        return pd.DataFrame({"carrier": [f"{landing.carrier}{number}" for number in rows]})

    inputs = fti.feature_group(keys=["carrier"], ins={"raw": dg.AssetIn(key="landed")})(many.function)
    result = world.run(
        source,
        landed,
        inputs,
        resources={"landing": Landing(carrier="UA")},
        run_config=dg.RunConfig(ops={"many_v1": Limit(rows=2)}),
    )
    assert result.success, world.raised_by(result)
    assert world.rows(inputs)["carrier"].tolist() == ["UA1", "UA2"]


def test_the_online_store_is_loaded_after_the_run(world: World) -> None:
    with clock.at("2013-01-03"):
        assert world.run_range("2013-01-01", "2013-01-02", world.arrivals, world.rates).success
    online = SqliteOnlineStore(world.folders["online"])
    assert online.namespaces() == ("arrivals_v1", "rates_v1")
    reader = online.reader("arrivals_v1", columns=["late", "delay"])
    assert reader.answers_from == datetime(2012, 12, 27)

    def at(moment: datetime) -> tuple[Any, ...] | None:
        winner = reader.get(("UA",), microseconds(moment))
        return None if winner is None else winner.values

    assert at(datetime(2013, 1, 2, 1, 14, 59)) == (True, 40.0)  # the last of the day before: the delay is not over
    assert at(datetime(2013, 1, 2, 1, 15)) == (False, 2.0)
    assert at(datetime(2013, 1, 2, 5, 15)) == (True, 6.0)
    assert at(datetime(2013, 1, 1, 1)) is None
    assert reader.get(("AA",), microseconds(datetime(2013, 1, 2))) is None
    assert metadata_of(world.event(world.rates, "2013-01-01"))["dagster/partition_row_count"] == 22


def test_a_rerun_loads_the_online_store_again(world: World) -> None:
    with clock.at("2013-01-02"):
        world.run(world.arrivals, partition_key="2013-01-01")
        file = Path(world.folders["online"]) / "arrivals_v1.sqlite"
        file.unlink()
        for left in file.parent.glob("arrivals_v1.sqlite-*"):
            left.unlink()
        assert world.run(world.arrivals, partition_key="2013-01-01").success
    assert SqliteOnlineStore(world.folders["online"]).namespaces() == ("arrivals_v1",)


def in_time(world: World, now: str, **options: Any) -> Any:
    with clock.at(now):
        result = world.run(world.arrivals, **{"partition_key": "2013-01-02", **options})
        assert result.success, world.raised_by(result)
    return checks(result)["arrivals_v1.rows_in_time"]


def test_rows_stored_after_their_availability_are_counted(world: World) -> None:
    late = in_time(world, "2013-01-02T06:00")  # 01:00 and 05:00 with a delay of 15 minutes; 22:00 is yet to come
    assert (late.passed, late.blocking, late.severity) == (False, False, dg.AssetCheckSeverity.WARN)
    assert late.metadata["failures"].value == 2
    assert in_time(world, "2013-01-02T23:00").passed  # stored before


def test_rows_in_time_are_no_breach(world: World) -> None:
    assert in_time(world, "2013-01-02T01:15").passed
    assert in_time(world, "2013-01-05T00:00").passed


def test_a_backfill_is_no_breach(world: World) -> None:
    assert in_time(world, "2013-01-09T00:00").passed


def test_new_rows_of_a_day_that_was_run_in_its_time_are_late(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "HOURS", HOURS[:-1])
        in_time(world, "2013-01-02T23:30")
    late = in_time(world, "2013-01-09T00:00")
    assert (late.passed, late.metadata["failures"].value) == (False, 1)
    assert "'2013-01-02' ended long before this run, and was run in its time" in late.metadata["problem"].value
    assert in_time(world, "2013-01-09T01:00").passed, "it is no news"


REGIONS = dg.StaticPartitionsDefinition(["eu", "us"])


def test_same_key_and_time_in_two_static_partitions_is_refused(world: World) -> None:
    @fti.feature_group(keys=["k"], event_time="t", partitions_def=REGIONS)
    def measures(context: dg.AssetExecutionContext) -> pd.DataFrame:
        x = 1.0 if context.partition_key == "eu" else 2.0
        return pd.DataFrame({"k": ["a"], "t": [datetime(2013, 1, 1)], "x": [x]})

    assert world.run(measures, partition_key="eu").success
    result = world.run(measures, partition_key="us")
    assert not result.success
    assert not checks(result)["measures_v1.rows_unique"].passed
    assert world.rows(measures)["x"].tolist() == [1.0]
    assert world.run(measures, partition_key="eu").success  # its own row is no clash


def test_two_runs_of_lookup_together_cannot_both_store_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    @fti.feature_group(keys=["k"], partitions_def=REGIONS)
    def places() -> pd.DataFrame:
        return pd.DataFrame({"k": ["a"], "x": [1.0]})

    judge = run_module.with_duplicates_in_table

    def while_another_stores(*given: Any) -> Any:
        judged = judge(*given)
        with world.lake.connect() as other:
            other.connection.execute("CREATE TEMP TABLE s AS SELECT 'a' AS k, 2.0::DOUBLE AS x, 'us' AS _partition")
            other.replace(places.table, "s", ["us"], asset="places_v1")
        return judged

    monkeypatch.setattr(run_module, "with_duplicates_in_table", while_another_stores)
    result = world.run(places, partition_key="eu")
    assert not result.success
    assert any("places_v1 with the same k were stored by another run meanwhile" in e for e in world.raised_by(result))
    assert world.rows(places)["x"].tolist() == [2.0]
    with world.lake.connect() as lake:
        assert list(lake.ledger(places.table)) == ["us"]


def events_by_arrival() -> fti.FeatureGroup:
    """A group of an event a day, of three hours before the day in which it arrives."""

    @fti.feature_group(
        keys=["k", "id"], event_time="t", serving_delay="0min", partition_by="ingested", partitions_def=DAYS
    )
    def events(context: dg.AssetExecutionContext) -> pd.DataFrame:
        days = pd.to_datetime(list(context.partition_keys))
        hour = pd.Timedelta(hours=1)
        return pd.DataFrame({"k": "a", "id": context.partition_keys, "t": days - 3 * hour, "ingested": days + hour})

    return events


@pytest.mark.soak
def test_range_equals_its_days_when_source_is_partitioned_by_arrival(world: World) -> None:
    events = events_by_arrival()

    @fti.feature_group(keys=["k"], event_time="hour", partitions_def=DAYS, lookback="2d")
    def counts(events: fti.Table) -> fti.Table:
        return fti.window_aggregate(events, keys=["k"], every="1h", windows=["6h"], aggregates={"n": fti.Count()})

    assert world.run_range("2013-01-01", "2013-01-05", events).success
    assert world.run_range("2013-01-03", "2013-01-04", counts).success
    together, versions = world.rows(counts), [world.version(counts, day) for day in ("2013-01-03", "2013-01-04")]
    for day in ("2013-01-03", "2013-01-04"):
        assert world.run(counts, partition_key=day).success
    pd.testing.assert_frame_equal(world.rows(counts), together)
    assert [world.version(counts, day) for day in ("2013-01-03", "2013-01-04")] == versions


def test_run_does_not_see_what_arrives_in_later_partition(world: World) -> None:
    events = events_by_arrival()

    @fti.feature_group(keys=["k"], event_time="hour", partitions_def=DAYS, lookback="2d")
    def counts(events: fti.Table) -> fti.Table:
        return fti.window_aggregate(events, keys=["k"], every="1h", windows=["1d"], aggregates={"n": fti.Count()})

    @fti.feature_group(keys=["k", "id"], event_time="t", partition_by="ingested", partitions_def=DAYS, lookback="2d")
    def earlier(events: fti.Table) -> fti.Table:
        return fti.window_aggregate(events, keys=["k"], windows=["2d"], aggregates={"n": fti.Count()})

    assert world.run_range("2013-01-01", "2013-01-03", events).success
    assert world.run(counts, partition_key="2013-01-03").success
    assert world.run(earlier, partition_key="2013-01-03").success
    before = [world.version(group, "2013-01-03") for group in (counts, earlier)]
    assert world.run(events, partition_key="2013-01-04").success  # one row of it is of the 3rd
    assert world.run(counts, partition_key="2013-01-03").success
    assert world.run(earlier, partition_key="2013-01-03").success
    assert [world.version(group, "2013-01-03") for group in (counts, earlier)] == before


def test_missing_static_partition_of_input_is_named(world: World) -> None:
    @fti.feature_group(keys=["k"], partitions_def=REGIONS)
    def places(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return pd.DataFrame({"k": [context.partition_key], "x": [1.0]})

    @fti.feature_group(keys=["k"], partitions_def=REGIONS)
    def doubled(places: fti.Table) -> Any:
        return places.relation.project("k, 2 * x AS y")

    assert world.run(places, partition_key="eu").success
    result = world.run(doubled, partition_key="us")
    assert not result.success
    (error,) = (error for error in world.raised_by(result) if LookbackError.__name__ in error)
    assert "doubled_v1 needs places_v1 'us', which is not materialized" in error
    assert world.run(doubled, partition_key="eu").success


def test_online_group_with_key_that_cannot_be_joined_on_stores_nothing(world: World) -> None:
    @fti.feature_group(keys=["k"], online=True)
    def measured() -> pd.DataFrame:
        return pd.DataFrame({"k": [1.5], "x": [1.0]})

    result = world.run(measured)
    assert not result.success
    assert any(
        "key 'k' of measured_v1 is number: make it text, a whole number or a time" in e for e in world.raised_by(result)
    )
    with world.lake.connect() as lake:
        assert lake.tables() == []


@pytest.mark.soak
def test_days_with_a_long_lookback_equal_a_range(world: World) -> None:
    inputs = {"arrivals": world.arrivals}

    @fti.feature_group(keys=["carrier"], event_time="hour", partitions_def=DAYS, lookback="6d", ins=inputs)
    def busy(arrivals: fti.Table) -> fti.Table:
        aggregates = {"delay": fti.Sum("delay"), "most": fti.Max("delay"), "spread": fti.Std("delay")}
        return fti.window_aggregate(arrivals, keys=["carrier"], every="1h", windows=["5h", "5d"], aggregates=aggregates)

    assert world.run_range("2013-01-01", "2013-01-08", world.arrivals).success
    assert world.run_range("2013-01-07", "2013-01-08", busy).success
    together = world.rows(busy)
    for day in ("2013-01-08", "2013-01-07"):
        assert world.run(busy, partition_key=day).success
    pd.testing.assert_frame_equal(world.rows(busy), together)
    world.delay = 0.1
    assert world.run(world.arrivals, partition_key="2013-01-05").success
    for day in ("2013-01-07", "2013-01-08"):
        assert world.run(busy, partition_key=day).success
    changed = world.rows(busy)
    assert not changed.equals(together)
    assert world.run_range("2013-01-07", "2013-01-08", busy).success
    pd.testing.assert_frame_equal(world.rows(busy), changed)
