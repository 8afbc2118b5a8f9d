"""What the library costs in Dagster's own commands: ``definitions validate`` and one materialization, over plain Dagster.

    python -m benchmarks.dagster_overhead

The plain code location has the same asset as one would write it by hand on the same stack: a partitioned ``@dg.asset`` that makes
the same 10,000 rows, validates them with the same Pandera model, replaces the partition in a DuckLake in one transaction and
reports its row count and a check. Both are run as a user runs them, each in a process of its own, in turn; the CPU time of
the process and its children is compared, and the medians are printed.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

GOAL = 1.15
ROUNDS = 7
DAY = "2024-01-03"

COMMON = """
import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-02-01")


class WeatherSchema(pa.DataFrameModel):
    station: str
    observed_at: pd.Timestamp
    temp: float = pa.Field(nullable=True, in_range={"min_value": -60, "max_value": 60})
    wind: float = pa.Field(nullable=True, ge=0)
    humid: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 100})


def observed(day: str) -> pd.DataFrame:
    numbers = np.arange(10_000)
    random = np.random.default_rng(7)
    return pd.DataFrame({
        "station": [f"S{number % 400}" for number in numbers],
        "observed_at": pd.Timestamp(day) + pd.to_timedelta(numbers // 400 * 50, unit="min"),
        "temp": random.normal(10, 5, len(numbers)),
        "wind": random.exponential(4, len(numbers)),
        "humid": random.uniform(0, 100, len(numbers)),
    })
"""

OURS = (
    COMMON
    + """
import fti_assets as fti


@fti.feature_group(keys=["station"], event_time="observed_at", schema=WeatherSchema, partitions_def=DAYS, name="weather")
def weather(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return observed(context.partition_key)


defs = fti.build_definitions([weather])
"""
)

PLAIN = (
    COMMON
    + """
import os
from pathlib import Path

import duckdb
import duckdb_extension_ducklake
import duckdb_extension_sqlite_scanner

HOME = Path(os.environ["FTI_HOME"])


@dg.asset(
    name="weather_v1",
    partitions_def=DAYS,
    group_name="features",
    check_specs=[dg.AssetCheckSpec("schema", asset="weather_v1", blocking=True)],
)
def weather_v1(context: dg.AssetExecutionContext):
    rows = WeatherSchema.validate(observed(context.partition_key), lazy=True)
    yield dg.AssetCheckResult(passed=True, check_name="schema")
    HOME.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("SET autoinstall_known_extensions = false")
        for package in (duckdb_extension_sqlite_scanner, duckdb_extension_ducklake):
            [file] = Path(package.__file__).parent.glob(f"extensions/v{duckdb.__version__}/*.duckdb_extension")
            connection.execute(f"LOAD '{file}'")
        connection.execute(f"ATTACH 'ducklake:sqlite:{HOME / 'catalog.sqlite'}' AS lake (DATA_PATH '{HOME / 'data'}')")
        connection.register("rows", rows)
        columns = "station VARCHAR, observed_at TIMESTAMP, temp DOUBLE, wind DOUBLE, humid DOUBLE, _partition VARCHAR"
        connection.execute("BEGIN")
        connection.execute(f"CREATE TABLE IF NOT EXISTS lake.weather_v1 ({columns})")
        connection.execute("DELETE FROM lake.weather_v1 WHERE _partition = ?", [context.partition_key])
        connection.execute("INSERT INTO lake.weather_v1 SELECT *, ? FROM rows", [context.partition_key])
        connection.execute("COMMIT")
    yield dg.MaterializeResult(metadata={"dagster/partition_row_count": len(rows)})


defs = dg.Definitions([weather_v1])
"""
)


def cpu_s(command: list[str], environment: dict[str, str]) -> float:
    """The CPU seconds of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure in turn and print the medians."""
    dagster = str(Path(sys.executable).with_name("dagster"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        times: dict[tuple[str, str], list[float]] = {}
        sources = {"ours": OURS, "plain": PLAIN}
        for who, source in sources.items():
            (folder / who / "dagster").mkdir(parents=True)
            (folder / who / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
            (folder / who / "location.py").write_text(source)
        for turn in range(ROUNDS + 1):  # the first one compiles modules and makes tables
            for who in sources:
                file = str(folder / who / "location.py")
                environment = {
                    **os.environ, "FTI_HOME": str(folder / who / "home"), "DAGSTER_HOME": str(folder / who / "dagster"),
                }  # fmt: skip
                commands = {
                    "validate": [dagster, "definitions", "validate", "-f", file],
                    "materialize": [
                        dagster, "asset", "materialize", "-f", file, "--select", "weather_v1", "--partition", DAY,
                    ],
                }  # fmt: skip
                for what, command in commands.items():
                    taken = cpu_s(command, environment)
                    if turn:
                        times.setdefault((what, who), []).append(taken)
    medians = {f"{what}_{who}_s": round(statistics.median(taken), 2) for (what, who), taken in times.items()}
    ratios = {what: medians[f"{what}_ours_s"] / medians[f"{what}_plain_s"] for what in ("validate", "materialize")}
    result = {"benchmark": "dagster_overhead", "ratio": round(max(ratios.values()), 3), "goal": GOAL}
    print(json.dumps(result | {f"{what}_ratio": round(ratio, 3) for what, ratio in ratios.items()} | medians))


if __name__ == "__main__":
    main()
