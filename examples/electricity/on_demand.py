"""What the clock and the calendar say of a half hour."""

import numpy as np

import fti_assets as fti


@fti.on_demand(outputs={"half_hour": int, "weekday": int, "day_of_year": int})
def calendar(target_at: np.ndarray) -> dict[str, np.ndarray]:
    """In Victoria's standard time: the half hour of the day, the day of the week from Monday on, and that of the year."""
    local = target_at + np.timedelta64(10, "h")
    day = local.astype("datetime64[D]")
    return {
        "half_hour": (local - day) // np.timedelta64(30, "m"),
        "weekday": (day.astype(np.int64) + 3) % 7,  # 1970 began on a Thursday
        "day_of_year": (day - local.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1,
    }
