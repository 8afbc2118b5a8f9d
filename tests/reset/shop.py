"""A shop of visits a day, habits over windows of them, and a lookup; what a visit says can be changed."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-02-01")
FIRST, LAST = "2025-01-01", "2025-01-12"


def frame(context: Any) -> pd.DataFrame:
    times = [pd.Timestamp(f"{day}T{hour:02}:30") for day in context.partition_keys for hour in range(0, 24, 3)]
    return pd.DataFrame({"person": ["ann", "bob"] * (len(times) // 2), "t": times, "spent": 1.5})


class Spent(pa.DataFrameModel):
    person: str
    t: pd.Timestamp
    spent: float = pa.Field(ge=0)


def visits_of(**change: Any) -> fti.FeatureGroup:
    """The group of visits; ``spent_as`` is the type of its column, ``bad`` rows break the schema."""
    kind, bad = change.pop("spent_as", "float"), change.pop("bad", False)

    @fti.feature_group(
        name="visits",
        keys=["person"],
        event_time="t",
        serving_delay="1min",
        online=True,
        online_history="400d",
        schema=None if kind != "float" else Spent,
        partitions_def=DAYS,
        **change,
    )
    def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
        rows = frame(context)
        return rows.assign(spent=-1.0 if bad else rows["spent"].astype(kind))

    return visits


def habits_of(visits: fti.FeatureGroup) -> fti.FeatureGroup:
    """Windows of so long that tiles are kept of the visits."""

    @fti.feature_group(
        name="habits", keys=["person"], event_time="hour", partitions_def=DAYS, lookback="12d", ins={"visits": visits}
    )
    def habits(visits: fti.Table) -> fti.Table:
        return fti.window_aggregate(
            visits, keys=["person"], every="6h", windows=["10d"], aggregates={"visits": fti.Count()}
        )

    return habits


@fti.feature_group(keys=["person"])
def people() -> pd.DataFrame:
    return pd.DataFrame({"person": ["ann", "bob"], "age": [31, 47]})


visits = visits_of()
habits = habits_of(visits)
defs = fti.build_definitions([habits, people])
