"""What a step of a small group costs beside a bare Dagster asset that writes the same rows to one Parquet file.

100 rows a day, in this process, on one instance in memory, in turn. The group validates its rows, replaces its partition in the lake with a
new snapshot and records its checks and statistics; the bare asset does none of that, and stands for the floor of Dagster and the file
alone. CPU time; the medians and their ratio are printed.

    python -m benchmarks.step
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti
from fti_assets.testing import stores_in

warnings.simplefilter("ignore")

ROWS = 100
DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-03-01")


class WeatherSchema(pa.DataFrameModel):
    station: str
    observed_at: pd.Timestamp
    temp: float = pa.Field(ge=-60, le=60)
    wind: float = pa.Field(ge=0)


def observed(day: str) -> pd.DataFrame:
    random = np.random.default_rng(7)
    return pd.DataFrame({
        "station": [f"S{number}" for number in range(ROWS)],
        "observed_at": pd.Timestamp(day),
        "temp": random.normal(10, 5, ROWS),
        "wind": random.exponential(4, ROWS),
    })  # fmt: skip


@fti.feature_group(keys=["station"], event_time="observed_at", schema=WeatherSchema, partitions_def=DAYS)
def weather(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return observed(context.partition_key)


def bare(folder: Path) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=DAYS)
    def bare(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        rows = observed(context.partition_key)
        with duckdb.connect() as connection:
            connection.from_df(rows).write_parquet(str(folder / f"{context.partition_key}.parquet"))
        return dg.MaterializeResult(metadata={"dagster/partition_row_count": len(rows)})

    return bare


def cpu_s(asset: dg.AssetsDefinition, day: str, folder: Path, instance: dg.DagsterInstance) -> float:
    started = time.process_time()
    result = dg.materialize(
        [asset],
        instance=instance,
        partition_key=day,
        resources={"fti": stores_in(folder)},
        run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
    )
    assert result.success
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=31)
    days = DAYS.get_partition_keys()[: parser.parse_args().days]
    logging.disable(logging.WARNING)
    times: dict[str, list[float]] = {"group": [], "bare": []}
    with tempfile.TemporaryDirectory() as name, dg.DagsterInstance.ephemeral() as instance:
        folder = Path(name)
        assets = {"group": weather.assets_def, "bare": bare(folder)}
        for number, day in enumerate(days):
            for who, asset in assets.items():
                seconds = cpu_s(asset, day, folder, instance)
                if number:  # the first imports and makes the lake
                    times[who].append(seconds)
        file = str(folder / f"{days[-1]}.parquet")
        with stores_in(folder).offline_store().connect() as lake:
            columns = "station, observed_at, temp, wind"
            stored = f"SELECT {columns} FROM lake.features.weather_v1 WHERE _partition = '{days[-1]}'"
            same = lake.connection.execute(f"SELECT count(*) FROM ({stored} INTERSECT FROM '{file}')").fetchone()
        assert same == (ROWS,), "the lake and the file hold different rows"
    group_s, bare_s = (statistics.median(times[who]) for who in ("group", "bare"))
    print(f"a step of {ROWS} rows: {group_s * 1000:.0f} ms of CPU, of the bare asset {bare_s * 1000:.0f} ms")
    print(json.dumps({"benchmark": "step", "ratio": round(group_s / bare_s, 2), "group_s": group_s, "bare_s": bare_s}))


if __name__ == "__main__":
    main()
