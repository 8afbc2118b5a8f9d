"""A small system over a landing folder, which the daemon's test runs: visits as CSV a day, and daily counts of them."""

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-02-01")
LANDING = Path(os.environ.get("LANDING", "landing"))


class VisitSchema(pa.DataFrameModel):
    """A visit to a shop."""

    visit: int
    shop: str
    at: pd.Timestamp
    spent: float = pa.Field(ge=0)


@fti.feature_group(keys=["visit"], event_time="at", schema=VisitSchema, partitions_def=DAYS)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """The visits of a day."""
    files = [LANDING / f"{day}.csv" for day in context.partition_keys]
    return pd.concat([pd.read_csv(file, parse_dates=["at"]) for file in files], ignore_index=True)


@fti.feature_group(keys=["shop"], event_time="at", partitions_def=DAYS, lookback="1d")
def spending(visits: fti.Table) -> fti.Table:
    """What a shop took in the day before, each noon and midnight."""
    return fti.window_aggregate(
        visits, keys=["shop"], every="12h", windows=["1d"], aggregates={"spent": fti.Sum("spent")}
    )


@fti.new_data_sensor(targets=[visits], minimum_interval_seconds=1)
def landed() -> dict[Any, Any]:
    """The CSV files of the landing folder, by size and time of change."""
    stats = {file.stem: file.stat() for file in LANDING.glob("*.csv")}
    return {visits: {day: f"{stat.st_size}/{stat.st_mtime_ns}" for day, stat in stats.items()}}


defs = fti.build_definitions([spending], name="shops", sensors=[landed])
for sensor in defs.sensors or ():
    sensor._min_interval = 2  # where it is half a minute, two daemons and their servers wait most of the time
