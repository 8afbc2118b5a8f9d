"""What years say of a film and of a user."""

import numpy as np

import fti_assets as fti


@fti.on_demand(outputs={"film_age": float, "older_than_usual": float})
def years(week: np.ndarray, year: np.ndarray, year_91d: np.ndarray) -> dict[str, np.ndarray]:
    """How old a film is, and how much older than those that the user rated of late."""
    now = week.astype("datetime64[Y]").astype(np.float64) + 1970
    return {"film_age": now - year, "older_than_usual": year_91d - year}
