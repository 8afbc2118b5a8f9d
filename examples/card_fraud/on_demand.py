"""What a payment says beside its card, its terminal and what was paid before."""

import numpy as np

import fti_assets as fti


@fti.on_demand(outputs={"hour": int, "kilometres_from_home": float, "times_the_usual": float, "new_terminals": float})
def payment(
    at: np.ndarray,
    amount: np.ndarray,
    home_x: np.ndarray,
    home_y: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    card_mean_30d: np.ndarray,
    card_terminals_1h: np.ndarray,
    card_paid_1h: np.ndarray,
) -> dict[str, np.ndarray]:
    """The hour, kilometres from the home of the card, the amount in usual ones, and terminals a payment of the last hour."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "hour": (at - at.astype("datetime64[D]")) // np.timedelta64(1, "h"),
            "kilometres_from_home": np.sqrt((home_x - x) ** 2 + (home_y - y) ** 2),
            "times_the_usual": np.where(card_mean_30d > 0, amount / card_mean_30d, np.nan),
            "new_terminals": np.where(card_paid_1h > 0, card_terminals_1h / card_paid_1h, np.nan),
        }
