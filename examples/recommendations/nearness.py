"""Which films a user may want next: those that people who liked the same rated of late, and those that all the world did.

A film is near to a user by co-visitation. Somebody is alike who rated what the user rated of late; rare films say more of that than
those that everybody knows. Near is what those who are alike rated of late. Of everything, half counts after ``HALF`` days.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

HALF, RECENT, YEAR = (np.timedelta64(days, "D") for days in (182, 91, 365))
NEAR, POPULAR, GUEST = 40, 20, 0
"""How many near films are candidates, how many popular ones, and who stands for everybody of whom nothing is known."""
FINE, COARSE = 2.0**20, 2.0**10


def candidates_of(ratings: pd.DataFrame, films: pd.DataFrame, weeks: pd.DatetimeIndex) -> pd.DataFrame:
    """For each week a row for each pair of a user and a film that the user has not rated: users of the quarter before, and the guest.

    Args:
        ratings: ``user_id``, ``movie_id``, ``rated_at``; what is later than a week says nothing of it.
        films: ``movie_id``, ``genres``.
        weeks: when.
    """
    return pd.concat(_of_weeks(ratings.sort_values("rated_at"), films.sort_values("movie_id"), weeks))


def _of_weeks(ratings: pd.DataFrame, films: pd.DataFrame, weeks: pd.DatetimeIndex) -> Iterator[pd.DataFrame]:
    users, who = np.unique(np.append(GUEST, ratings["user_id"]), return_inverse=True)
    ids, who = films["movie_id"].to_numpy(), who[1:]
    which = np.searchsorted(ids, ratings["movie_id"])
    times = ratings["rated_at"].to_numpy()
    genres = films["genres"].str.get_dummies("|").to_numpy(dtype=float)
    observed, counted = np.zeros((len(users), len(ids))), 0
    for week in weeks.to_numpy():
        known = np.searchsorted(times, week, side="right")
        observed[who[counted:known], which[counted:known]], counted = 1, known
        age = week - times[:known]
        weight = np.rint(COARSE * np.exp2(-(age / HALF)))
        popular = np.bincount(which[:known][age <= YEAR], minlength=len(ids))
        current = np.flatnonzero(popular)
        active = np.union1d(0, who[:known][age <= RECENT])
        lately = np.zeros((len(users), len(current)))
        of_now = popular[which[:known]] > 0
        lately[who[:known][of_now], np.searchsorted(current, which[:known][of_now])] = weight[of_now]
        own = np.zeros((len(active), len(ids)))
        is_active = np.isin(who[:known], active)
        own[np.searchsorted(active, who[:known][is_active]), which[:known][is_active]] = weight[is_active]
        # Whole numbers below 2**53, so that sums are exact in whatever order they are added, whoever else is in the matrix.
        common = 1 + np.sqrt(np.bincount(which[:known], minlength=len(ids)))
        alike = np.rint(FINE / COARSE * own / common) @ observed.T
        alike[np.arange(len(active)), active] = 0
        near = alike @ lately / common[current] / (FINE * COARSE)
        tastes, kinds = observed[active] @ genres, genres[current]
        taste = tastes @ kinds.T / _norm(tastes) / _norm(kinds).T
        unseen = observed[np.ix_(active, current)] == 0
        places = [_places(np.where(unseen, one, -1)) for one in (near, np.broadcast_to(popular[current], near.shape))]
        row, film = np.nonzero(unseen & (((places[0] <= NEAR) & (near > 0)) | (places[1] <= POPULAR)))
        columns = {"nearness": near, "near_place": places[0], "chart_place": places[1], "taste": taste}
        keys = {"user_id": users[active][row], "movie_id": ids[current][film], "week": week}
        yield pd.DataFrame(keys | {name: values[row, film] for name, values in columns.items()})


def _norm(rows: np.ndarray) -> np.ndarray:
    length: np.ndarray = np.maximum(np.sqrt((rows**2).sum(1, keepdims=True)), 1)
    return length


def _places(scores: np.ndarray) -> np.ndarray:
    """1 for the highest of a row, equal ones in the order of the columns."""
    places = np.empty(scores.shape, dtype=np.int64)
    np.put_along_axis(
        places, np.argsort(-scores, axis=1, kind="stable"), np.arange(1, scores.shape[1] + 1)[None], axis=1
    )
    return places
