"""The year 2014 from readings to forecasts, and an account of how good they are beside last week's demand.

    make electricity

Everything is materialized in the stores under ``FTI_HOME``. The clock stands at the last midnight of the year.
"""

import time
from datetime import datetime
from typing import Any

import dagster as dg
import pandas as pd

import fti_assets as fti
from examples.electricity.outcome import STANDARD_TIME, errors_by_week, outcome
from examples.electricity.system import (
    demand,
    demand_forecast,
    demand_range,
    forecasts,
    half_hours,
    recently,
    rows_ahead,
    weather,
    workdays,
)

YEAR = ("2014-01-01", "2014-12-31")
CUTOFFS = ("2014-12-08", "2014-12-29")  # four Mondays
PREDICTED = ("2014-12-08", "2014-12-31")
EVENING = pd.Timestamp("2014-12-31 18:00") - STANDARD_TIME


def main() -> None:
    """Run everything and say what came out."""
    with dg.DagsterInstance.get() as instance:
        for group in (workdays, demand, weather, half_hours, recently):
            _materialize(instance, group, None if group is workdays else YEAR)
        for declaration in (rows_ahead, demand_forecast, demand_range):
            _materialize(instance, declaration, CUTOFFS)
        _materialize(instance, forecasts, PREDICTED)
    _account_of_builds()
    _account_of_answers()
    _account_online()


def _materialize(instance: dg.DagsterInstance, declaration: Any, partitions: tuple[str, str] | None) -> None:
    """One run of an asset, over a range if it is partitioned."""
    started, tags = time.process_time(), {}
    if partitions is not None:
        tags = dict(zip(("start", "end"), partitions, strict=True))
        tags = {f"dagster/asset_partition_range_{one}": key for one, key in tags.items()}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    resources = {"fti": fti.Stores()}
    dg.materialize([declaration.assets_def], instance=instance, resources=resources, run_config=quiet, tags=tags)
    span = " to ".join(partitions or ("all",))
    print(f"{declaration.key.to_user_string():20} {span:26} {time.process_time() - started:5.1f} s of CPU", flush=True)


def _account_of_builds() -> None:
    store = fti.Stores().model_store()
    for model in (demand_forecast, demand_range):
        print(f"\n{model.name} on the 28 days before each cutoff, in gigawatts, beside last week's demand")
        for build in store.builds(model.name):
            monday = datetime.fromisoformat(build.cutoff).replace(tzinfo=None) + STANDARD_TIME
            print(f"  {monday:%Y-%m-%d}  {build.status}")
            for verdict in build.gates:
                print(f"      {'passed' if verdict.passed else 'failed'} {verdict.gate}: {verdict.reason}")


def _account_of_answers() -> None:
    print(
        "\nWhat was served, beside last week's demand: mean error in gigawatts, and the share within the range of eight of ten"
    )
    print(errors_by_week(outcome()).round(3).to_string())


def _account_online() -> None:
    stored = fti.OnlineReader("forecasts_v1").read(("VIC", EVENING.to_pydatetime()))
    print(f"\nThe forecast for 18:00 of the last day, looked up: {stored}")


if __name__ == "__main__":
    main()
