"""What was forecast beside what came, and beside last week."""

import pandas as pd

import fti_assets as fti
from examples.electricity.system import demand, forecasts

STANDARD_TIME = pd.Timedelta("10h")


def outcome() -> pd.DataFrame:
    """A row for each stored forecast, by target: ``low``, ``forecast`` and ``high``, and ``demand`` and ``last_week`` (NaN where unknown),
    in gigawatts; ``local`` is the target in Victoria's standard time."""
    used = fti.read(demand)[["region", "at", "demand"]]
    rows = fti.read(forecasts)
    levels = pd.DataFrame([dict(value) for value in rows["demand_range_quantiles"]], index=rows.index)
    rows = rows.assign(low=levels["0.1"], high=levels["0.9"], local=rows["target_at"] + STANDARD_TIME)
    rows = rows.rename(columns={"demand_forecast_value": "forecast"})
    for name, later in (("demand", "0D"), ("last_week", "7D")):
        column = used.assign(target_at=used["at"] + pd.Timedelta(later), **{name: used["demand"]})
        rows = rows.merge(column[["region", "target_at", name]].copy(), on=["region", "target_at"], how="left")
    displayed = ["region", "predict_at", "target_at", "local", "low", "forecast", "high", "demand", "last_week"]
    return rows[displayed].sort_values("target_at", ignore_index=True)


def errors_by_week(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean absolute error of the forecast and of last week's demand, and the share within the range, by week and in all."""
    known = rows[rows["demand"].notna()]
    each = pd.DataFrame(
        {
            "half hours": 1,
            "forecast": (known["forecast"] - known["demand"]).abs(),
            "last week": (known["last_week"] - known["demand"]).abs(),
            "in range": known["demand"].between(known["low"], known["high"]).astype(float),
        }
    )
    week = known["local"].dt.to_period("W").dt.start_time.dt.strftime("%Y-%m-%d")
    functions = {"half hours": "sum", "forecast": "mean", "last week": "mean", "in range": "mean"}
    return pd.concat([each.groupby(week.rename("week")).agg(functions), each.agg(functions).to_frame("all").T])
