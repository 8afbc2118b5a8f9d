"""Groups whose partitions go on, which the freshness test lets grow stale."""

import dagster as dg
import pandas as pd

import fti_assets as fti

HOURS = dg.HourlyPartitionsDefinition(start_date="2024-01-01-00:00")
DAYS_THAT_ENDED = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-05")


@fti.feature_group(keys=["meter"], event_time="at", partitions_def=HOURS, serving_delay="10min", ttl="6h")
def meters(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """What meters tell, hour by hour: stale after 2 h 10 min, and no value answers after 6 h."""
    return pd.DataFrame({"meter": ["a"], "at": pd.to_datetime([context.partition_time_window.start]).tz_localize(None)})


@fti.feature_group(keys=["meter"], event_time="at", partitions_def=HOURS)
def readers(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """Nobody has run it."""
    raise NotImplementedError


@fti.feature_group(keys=["meter"], event_time="at", partitions_def=DAYS_THAT_ENDED)
def ended(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """Of a time that is over: it has no policy."""
    raise NotImplementedError


defs = fti.build_definitions([meters, readers, ended], name="metering")
