import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from examples.flight_delays import sources

DAYS = pd.date_range("2013-01-01", "2014-01-02").strftime("%Y-%m-%d").tolist()


@pytest.fixture(scope="module")
def schedule(landing: sources.LandingZone) -> pd.DataFrame:
    return landing.read("schedule", DAYS)


@pytest.fixture(scope="module")
def departures(landing: sources.LandingZone) -> pd.DataFrame:
    return landing.read("departures", DAYS)


@pytest.fixture(scope="module")
def arrivals(landing: sources.LandingZone) -> pd.DataFrame:
    return landing.read("arrivals", DAYS)


@pytest.fixture(scope="module")
def weather(landing: sources.LandingZone) -> pd.DataFrame:
    return landing.read("weather", DAYS)


@pytest.fixture(scope="module")
def package() -> pd.DataFrame:
    """The flights as the package has them, under the same key."""
    flights = pd.read_csv(sources.package_data() / "flights.csv.zip")
    hour = flights["time_hour"].str.slice(0, 13).str.replace("-", "")
    flights["flight_id"] = hour + "-" + flights["carrier"] + "-" + flights["flight"].astype(str)
    return flights.set_index("flight_id")


@pytest.fixture
def zone(tmp_path: Path) -> sources.LandingZone:
    """A landing zone with two days of weather and nothing else."""
    (tmp_path / "weather").mkdir()
    for day in ["2013-01-01", "2013-01-02"]:
        rows = sources.SCHEMAS["weather"].empty_table()
        pq.write_table(rows, tmp_path / "weather" / f"{day}.parquet")
    return sources.LandingZone(folder=str(tmp_path))


def test_every_row_of_the_package_lands_and_is_counted(
    landing: sources.LandingZone, landed_rows: dict[str, int], request: pytest.FixtureRequest
) -> None:
    assert landed_rows == {
        "schedule": 336_776,
        "departures": 328_521,
        "arrivals": 327_346,
        "weather": 26_115,
        "planes": 3_322,
    }
    read = {source: len(request.getfixturevalue(source)) for source in sources.DAILY}
    assert read | {"planes": len(landing.read_whole("planes"))} == landed_rows


@pytest.mark.parametrize("source", sources.DAILY)
def test_every_day_has_a_file_and_every_ninth_has_its_own_rows_and_the_schema(
    landing_folder: Path, source: str
) -> None:
    files = sorted((landing_folder / source).iterdir())
    assert [file.name for file in files] == [f"{day}.parquet" for day in DAYS]
    for file in files[::9]:
        rows = pq.read_table(file)
        assert rows.schema.equals(sources.SCHEMAS[source], check_metadata=True)
        assert set(rows[sources.DAILY[source]].cast(pa.date32()).cast(pa.string()).to_pylist()) <= {file.stem}


@pytest.mark.soak
def test_a_flight_is_known_by_its_key(schedule: pd.DataFrame, arrivals: pd.DataFrame) -> None:
    assert schedule["flight_id"].is_unique
    assert arrivals["flight_id"].is_unique
    assert schedule["flight_id"].iloc[0] == "20130101T10-UA-1545"
    assert set(arrivals["flight_id"]) < set(schedule["flight_id"])


@pytest.mark.soak
def test_cancelled_and_diverted_flights_are_scheduled_and_never_arrive(
    schedule: pd.DataFrame, arrivals: pd.DataFrame, package: pd.DataFrame
) -> None:
    without_arrival = set(schedule["flight_id"]) - set(arrivals["flight_id"])
    cancelled = set(package.index[package["dep_time"].isna()])
    assert len(without_arrival) == 9_430
    assert len(cancelled) == 8_255
    assert cancelled < without_arrival


def test_flight_is_predicted_hour_before_its_scheduled_departure(schedule: pd.DataFrame, package: pd.DataFrame) -> None:
    assert ((schedule["scheduled_at"] - schedule["predict_at"]) == pd.Timedelta("1h")).all()
    local = schedule["scheduled_at"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    hhmm = local.dt.hour * 100 + local.dt.minute
    assert (hhmm.to_numpy() == package.loc[schedule["flight_id"], "sched_dep_time"].to_numpy()).all()
    assert schedule["predict_at"].min() == pd.Timestamp("2013-01-01 09:15")  # nothing lies before the first file
    assert schedule["predict_at"].max() == pd.Timestamp("2014-01-01 03:59")


def test_last_new_york_evening_belongs_to_next_utc_day(
    landing: sources.LandingZone, schedule: pd.DataFrame, arrivals: pd.DataFrame
) -> None:
    new_year = pd.Timestamp("2014-01-01")
    assert (schedule["scheduled_at"] >= new_year).sum() == 88
    assert len(landing.read("schedule", ["2014-01-01"])) == 54  # the others are predicted before midnight
    assert (arrivals["arrived_at"] >= new_year).sum() == len(landing.read("arrivals", ["2014-01-01"])) == 251
    assert arrivals["arrived_at"].max() == pd.Timestamp("2014-01-01 09:01")


@pytest.mark.soak
def test_flight_arrives_when_destinations_clocks_show_its_recorded_arrival(
    arrivals: pd.DataFrame, package: pd.DataFrame
) -> None:
    flights = package.loc[arrivals["flight_id"]]
    airports = pd.read_csv(sources.package_data() / "airports.csv").set_index("faa")["tzone"]
    zones = flights["dest"].map(airports).fillna("America/Puerto_Rico").to_numpy()
    assert set(flights["dest"]) - set(airports.index) == set(sources.UNLISTED_AIRPORTS)
    recorded = flights["arr_time"].astype(int).to_numpy()
    assert (recorded == 2400).sum() == 150
    differs = []
    for _, arrived in arrivals["arrived_at"].groupby(zones):
        local = arrived.dt.tz_localize("UTC").dt.tz_convert(zones[arrived.index[0]])
        hhmm = local.dt.hour * 100 + local.dt.minute
        differs += arrived.index[hhmm != recorded[arrived.index] % 2400].tolist()
    # The one that differs landed in the hour after the clocks went forward, and was recorded in the old time.
    assert arrivals.loc[differs, "flight_id"].tolist() == ["20130310T02-B6-35"]


@pytest.mark.soak
def test_time_on_ground_between_departure_and_arrival_is_plausible(
    schedule: pd.DataFrame, arrivals: pd.DataFrame, package: pd.DataFrame
) -> None:
    flights = package.loc[arrivals["flight_id"]]
    scheduled = schedule.set_index("flight_id").loc[arrivals["flight_id"], "scheduled_at"].to_numpy()
    departed = scheduled + flights["dep_delay"].to_numpy() * np.timedelta64(60_000_000, "us")
    taxi = (arrivals["arrived_at"].to_numpy() - departed) / np.timedelta64(1, "m") - flights["air_time"].to_numpy()
    assert (taxi.min(), taxi.max()) == (5.0, 235.0)


def test_flight_leaves_when_new_yorks_clocks_show_its_recorded_departure(
    departures: pd.DataFrame, package: pd.DataFrame
) -> None:
    flights = package.loc[departures["flight_id"]]
    assert len(departures) == package["dep_time"].notna().sum()
    local = departures["departed_at"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    differs = (local.dt.hour * 100 + local.dt.minute).to_numpy() != flights["dep_time"].to_numpy() % 2400
    assert differs.sum() == 0
    assert (departures["left_late"] == (departures["departure_delay"] >= 15)).all()


def test_a_flight_leaves_before_it_arrives(departures: pd.DataFrame, arrivals: pd.DataFrame) -> None:
    left = departures.set_index("flight_id").loc[arrivals["flight_id"], "departed_at"].to_numpy()
    assert (left < arrivals["arrived_at"].to_numpy()).all()


def test_a_label_is_known_hours_after_the_prediction(schedule: pd.DataFrame, arrivals: pd.DataFrame) -> None:
    scheduled = schedule.set_index("flight_id").loc[arrivals["flight_id"], "scheduled_at"].to_numpy()
    hours = (arrivals["arrived_at"] - scheduled) / pd.Timedelta("1h")
    assert hours.quantile([0, 0.5, 1]).round(1).tolist() == [0.3, 2.8, 32.7]
    assert (hours > -1).all()


def test_a_flight_is_late_from_fifteen_minutes_on(arrivals: pd.DataFrame, package: pd.DataFrame) -> None:
    assert (arrivals["is_late"] == (arrivals["arrival_delay"] >= 15)).all()
    assert arrivals.loc[arrivals["arrival_delay"] == 15, "is_late"].all()
    month = package.loc[arrivals["flight_id"], "month"].to_numpy()
    rates = arrivals["is_late"].groupby(month).mean().round(3)
    assert (rates[7], rates[9], rates[12]) == (0.322, 0.137, 0.335)


def test_one_flight_goes_to_new_york_itself(schedule: pd.DataFrame) -> None:
    assert schedule.loc[schedule["dest"].isin(["EWR", "JFK", "LGA"]), "flight_id"].tolist() == ["20130727T05-US-1632"]


def test_weather_has_one_row_an_hour_when_clocks_change(weather: pd.DataFrame) -> None:
    assert not weather.duplicated(["origin", "observed_at"]).any()
    night = weather[weather["observed_at"].between(pd.Timestamp("2013-11-03 05:00"), pd.Timestamp("2013-11-03 06:00"))]
    assert night["origin"].tolist() == ["EWR", "JFK", "LGA"] * 2
    assert ((weather["known_at"] - weather["observed_at"]) == pd.Timedelta("1h")).all()
    assert weather["observed_at"].min() == pd.Timestamp("2013-01-01 06:00")
    assert weather["observed_at"].max() == pd.Timestamp("2013-12-30 23:00")


def test_what_was_not_measured_is_null(weather: pd.DataFrame, schedule: pd.DataFrame) -> None:
    assert weather[["temp", "wind_speed", "wind_gust"]].isna().sum().tolist() == [1, 4, 20_778]
    assert schedule["tailnum"].isna().sum() == 2_512


def test_planes_are_one_file_with_row_a_tail_number(landing: sources.LandingZone) -> None:
    planes = landing.read_whole("planes")
    assert planes.columns.tolist() == ["tailnum", "year", "seats", "engines", "manufacturer", "engine"]
    assert planes["tailnum"].is_unique
    assert planes["year"].isna().sum() == 70


@pytest.mark.soak
def test_landing_again_writes_same_bytes_and_leaves_nothing_else(
    landing_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = shutil.copytree(landing_folder, tmp_path / "landing")
    (again / "weather" / "2013-01-01.parquet").unlink()
    (again / "weather" / "2013-01-02.parquet").write_bytes(b"damaged")
    sources.main([str(again)])
    assert _digests(again) == _digests(landing_folder)
    assert capsys.readouterr().out.splitlines() == [
        "schedule: 336,776 rows in 367 files",
        "departures: 328,521 rows in 367 files",
        "arrivals: 327,346 rows in 367 files",
        "weather: 26,115 rows in 367 files",
        "planes: 3,322 rows in 1 file",
    ]


@pytest.mark.soak
def test_file_that_cannot_be_written_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "schedule" / "2013-01-01.parquet").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        sources.land(tmp_path)
    assert [path.name for path in (tmp_path / "schedule").iterdir()] == ["2013-01-01.parquet"]


@pytest.mark.parametrize(
    ("departs", "hhmm", "zone", "arrives"),
    [
        ("2013-01-01 10:15", 819, "America/Chicago", "2013-01-01 14:19"),
        ("2013-03-10 02:45", 34, "America/New_York", "2013-03-10 05:34"),  # past midnight
        ("2013-06-01 01:00", 2400, "America/New_York", "2013-06-01 04:00"),
        ("2013-01-01 14:00", 1500, "Pacific/Honolulu", "2013-01-02 01:00"),
        ("2013-07-01 14:00", 1359, "America/Puerto_Rico", "2013-07-01 17:59"),
        ("2013-03-10 06:30", 300, "America/New_York", "2013-03-10 07:00"),  # over the hour that the clocks skip
        ("2013-03-10 05:30", 245, "America/New_York", "2013-03-10 07:00"),  # in it
        ("2013-11-03 03:30", 130, "America/New_York", "2013-11-03 05:30"),  # in the hour they show twice
        ("2013-11-03 03:30", 200, "America/New_York", "2013-11-03 07:00"),  # after it
    ],
)
def test_scheduled_arrival_is_first_such_time_after_departure(departs: str, hhmm: int, zone: str, arrives: str) -> None:
    result = sources.scheduled_arrivals(pd.Series([pd.Timestamp(departs)]), pd.Series([hhmm]), pd.Series([zone]))
    assert result.tolist() == [pd.Timestamp(arrives)]


def test_days_come_in_the_order_asked_for(landing: sources.LandingZone) -> None:
    rows = landing.read("weather", ["2013-01-03", "2013-01-02"])
    assert rows["observed_at"].dt.day.drop_duplicates().tolist() == [3, 2]
    assert rows["origin"].dtype == "str"
    assert rows["observed_at"].dtype == "datetime64[us]"


def test_no_days_and_empty_days_have_columns_of_others(landing: sources.LandingZone) -> None:
    full, last, none = (landing.read("arrivals", days) for days in (["2013-01-01"], ["2014-01-02"], []))
    assert (len(full) > 0, len(last), len(none)) == (True, 0, 0)
    assert full.dtypes.equals(last.dtypes)
    assert full.dtypes.equals(none.dtypes)


def test_a_missing_day_says_how_to_land_it(zone: sources.LandingZone) -> None:
    with pytest.raises(sources.NotLandedError) as error:
        zone.read("weather", ["2013-01-02", "2013-01-03", "2013-01-04"])
    assert str(error.value) == (
        f"{zone.folder}/weather/2013-01-03.parquet has not landed (nor have 1 more that were asked for): "
        "there are 2 days, 2013-01-01 to 2013-01-02; "
        f"run `python -m examples.flight_delays.sources {zone.folder}` to land all of 2013-01-01 to 2014-01-02"
    )
    assert isinstance(error.value, FileNotFoundError)


def test_one_day_as_text_is_error_that_asks_for_list(zone: sources.LandingZone) -> None:
    with pytest.raises(sources.LandingError, match=r"give a list of days, \['2013-01-01'\]"):
        zone.read("weather", "2013-01-01")


def test_an_empty_folder_says_that_nothing_has_landed(zone: sources.LandingZone) -> None:
    assert zone.days("schedule") == []
    with pytest.raises(sources.NotLandedError, match=r"schedule/2013-01-01.parquet has not landed: no day has; run"):
        zone.read("schedule", ["2013-01-01"])
    with pytest.raises(sources.NotLandedError, match=r"planes/planes.parquet has not landed"):
        zone.read_whole("planes")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop_columns(["temp"]), "column 'temp' is missing, it has origin, observed_at"),
        (lambda rows: rows.append_column("rain", pa.array([], pa.float64())), "column 'rain' is none of origin"),
        (
            lambda rows: rows.set_column(3, "temp", pa.array([], pa.string())),
            "column 'temp' is string, not double",
        ),
        (
            lambda rows: rows.set_column(1, "observed_at", pa.array([], pa.timestamp("ns"))),
            r"column 'observed_at' is timestamp\[ns\], not timestamp\[us\]",
        ),
    ],
)
def test_file_of_another_schema_is_error_that_names_column(
    zone: sources.LandingZone, change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    path = Path(zone.folder) / "weather" / "2013-01-02.parquet"
    pq.write_table(change(sources.SCHEMAS["weather"].empty_table()), path)
    with pytest.raises(sources.LandedFileError, match=f"2013-01-02.parquet is not a file of 'weather': {message}"):
        zone.read("weather", ["2013-01-01", "2013-01-02"])


def test_a_damaged_file_is_an_error_that_names_it(zone: sources.LandingZone) -> None:
    (Path(zone.folder) / "weather" / "2013-01-02.parquet").write_bytes(b"not parquet")
    with pytest.raises(sources.LandedFileError, match=r"2013-01-02.parquet cannot be read as Parquet"):
        zone.read("weather", ["2013-01-02"])


def test_only_days_count_as_landed(zone: sources.LandingZone) -> None:
    (Path(zone.folder) / "weather" / ".2013-01-03.parquet.0f").write_bytes(b"half")
    (Path(zone.folder) / "weather" / "notes.parquet").write_bytes(b"")
    assert zone.days("weather") == ["2013-01-01", "2013-01-02"]


def test_unknown_source_is_error_that_lists_known_ones(zone: sources.LandingZone) -> None:
    with pytest.raises(sources.LandingError, match="no source 'wether' among schedule, departures, arrivals, weather"):
        zone.read("wether", ["2013-01-01"])
    with pytest.raises(sources.LandingError, match="it is one file: use read_whole"):
        zone.read("planes", ["2013-01-01"])
    with pytest.raises(sources.LandingError, match="it is landed by day: use read"):
        zone.read_whole("weather")


def test_an_asset_reads_the_days_of_its_partition(landing: sources.LandingZone) -> None:
    @dg.asset(partitions_def=dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2014-01-03"))
    def weather(context: dg.AssetExecutionContext, landing: sources.LandingZone) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"rows": len(landing.read("weather", context.partition_keys))})

    result = dg.materialize([weather], partition_key="2013-01-02", resources={"landing": landing})
    [materialization] = result.asset_materializations_for_node("weather")
    assert materialization.metadata["rows"].value == 72


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
