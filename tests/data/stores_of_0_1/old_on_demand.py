"""The on-demand function of the old system: its manifests name this module and what the function means."""

import numpy as np
from old_prices import FREE_OVER

import fti_assets as fti


@fti.on_demand(outputs={"price_per_item": float, "hour_of_day": int, "is_free": bool})
def prices(amount: np.ndarray, items: np.ndarray, placed_at: np.ndarray) -> dict[str, np.ndarray]:
    """What an item costs, the hour of the order, and whether it is sent for nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(items > 0, amount / items, np.nan)
    return {
        "price_per_item": each,
        "hour_of_day": placed_at.astype("datetime64[h]").astype(np.int64) % 24,
        "is_free": amount > FREE_OVER,
    }
