"""Films of the week: candidates beside a search in plain Python, and lists of 1996 that are the same online, in an app too."""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from examples.recommendations import app, nearness, on_demand, outcome, system
from examples.recommendations.nearness import COARSE, FINE, GUEST, candidates_of
from examples.recommendations.ratings import DATA
from fti_assets import testing
from fti_assets.core import clock

FIRST, LEARNED, CUTOFF, WEEK = "1995-01-05", "1996-06-06", "1996-09-12", "1996-09-19"
NOW = datetime(1996, 9, 20, 12)

APP = """
import json
import sys
allowed = {"numpy", "onnxruntime", "fti_assets", "examples"} | set(sys.stdlib_module_names)
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if not name.startswith("_") and name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
from examples.recommendations.app import films_of_the_week
print(json.dumps([films_of_the_week(int(user)) for user in sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def ratings() -> pd.DataFrame:
    return pd.read_parquet(DATA / "ratings.parquet")


@pytest.fixture(scope="module")
def films() -> pd.DataFrame:
    return pd.read_parquet(DATA / "films.parquet")


def test_the_declarations_are_at_most_150_lines() -> None:
    files = [Path(str(module.__file__)) for module in (system, on_demand)]
    assert sum(bool(line.strip()) for file in files for line in file.read_text().splitlines()) <= 150


def test_the_files_have_each_rating_once(ratings: pd.DataFrame, films: pd.DataFrame) -> None:
    assert len(ratings) == 100_004
    assert not ratings.duplicated(["user_id", "movie_id"]).any()
    assert set(films["movie_id"]) == set(ratings["movie_id"])
    assert GUEST not in set(ratings["user_id"])


def some_ratings() -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(3)
    pairs = rng.permutation(12 * 30)[:160]
    start, minutes = pd.Timestamp("2016-01-01"), rng.integers(0, 500 * 1_440, 160)
    rows = pd.DataFrame(
        {"user_id": pairs // 30 + 1, "movie_id": pairs % 30, "rated_at": start + pd.to_timedelta(minutes, "min")}
    )
    kinds = ["Drama", "Comedy|Drama", "Action", "Action|Comedy"]
    return rows, pd.DataFrame({"movie_id": range(30), "genres": [kinds[film % 4] for film in range(30)]})


def near_by_search(rows: pd.DataFrame, week: pd.Timestamp) -> dict[tuple[int, int], float]:
    """For each user and film, what the users who are alike rated of late, pair by pair."""
    known = rows[rows["rated_at"] <= week]
    weight = {
        (user, film): round(COARSE * 0.5 ** ((week - at) / pd.Timedelta("182D")))
        for user, film, at in known[["user_id", "movie_id", "rated_at"]].itertuples(index=False)
    }
    common = (1 + np.sqrt(known.groupby("movie_id").size())).to_dict()
    near: dict[tuple[int, int], float] = {}
    for user in known["user_id"].unique():
        own = {film: value for (one, film), value in weight.items() if one == user}
        alike = {
            other: sum(round(FINE / COARSE * own[film] / common[film]) for film in own if (other, film) in weight)
            for other in known["user_id"].unique()
        }
        for film in common:
            total = sum(alike[other] * weight.get((other, film), 0) for other in alike if other != user)
            near[int(user), film] = total / common[film] / (FINE * COARSE)
    return near


def test_candidates_are_those_of_a_search_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearness, "NEAR", 6)
    monkeypatch.setattr(nearness, "POPULAR", 3)
    rows, films = some_ratings()
    week = pd.Timestamp("2017-03-02")
    results = candidates_of(rows, films, pd.DatetimeIndex([week]))
    near = near_by_search(rows, week)
    known = rows[rows["rated_at"] <= week]
    age = week - known["rated_at"]
    popular = known[age <= pd.Timedelta("365D")].groupby("movie_id").size()
    assert set(results["user_id"]) == {GUEST, *known.loc[age <= pd.Timedelta("91D"), "user_id"]}
    for user, own in results.groupby("user_id"):
        unseen = set(popular.index) - set(known.loc[known["user_id"] == user, "movie_id"])
        by_chart = sorted(unseen, key=lambda film: (-popular[film], film))
        by_near = sorted(unseen, key=lambda film: (-near.get((int(user), film), 0), film))
        wanted = set(by_chart[:3]) | {film for film in by_near[:6] if near.get((int(user), film), 0) > 0}
        assert set(own["movie_id"]) == wanted
        for row in own.itertuples():
            assert row.nearness == near.get((int(user), row.movie_id), 0)
            assert (row.near_place, row.chart_place) == (
                by_near.index(row.movie_id) + 1,
                by_chart.index(row.movie_id) + 1,
            )
    assert (results.loc[results["user_id"] == GUEST, "nearness"] == 0).all()


def test_candidates_of_a_week_are_the_same_whatever_range_they_are_made_in() -> None:
    rows, films = some_ratings()
    weeks = pd.date_range("2016-12-01", periods=8, freq="7D")
    together = candidates_of(rows, films, weeks)
    for week in weeks:
        alone = candidates_of(rows[rows["rated_at"] <= week], films, pd.DatetimeIndex([week]))
        pd.testing.assert_frame_equal(alone, together[together["week"] == week], check_exact=True)


def test_years_of_a_film() -> None:
    week = np.array(["2016-10-06", "2016-10-06"], dtype="datetime64[us]")
    made = on_demand.years(week=week, year=np.array([1994, np.nan]), year_91d=np.array([2001.5, 2000]))
    assert made["film_age"].tolist()[0] == 22
    assert made["older_than_usual"].tolist()[0] == 7.5
    assert np.isnan(made["film_age"][1])


thursdays = dg.WeeklyPartitionsDefinition(start_date=CUTOFF, day_offset=4, end_date="1996-10-10")
few_lists = fti.training_dataset(
    name="lists", view=system.choice, query=["user_id", "week"], split=fti.TimeSplit(validation="7d", test="21d"), partitions_def=thursdays
)  # fmt: skip
ranker = fti.model(name="ranker", dataset=few_lists, task="ranking", importance=False)(system.ranker.function)
picks = fti.batch_predictions(
    name="picks", model=ranker, partitions_def=system.weeks, top=fti.TopK(10, by="user_id"), online=True
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    """The stores on a Friday of 1996: lists of a summer have taught the ranker, and those of the week are made."""
    stores = testing.stores_in(tmp_path_factory.mktemp("recommendations"))
    windows = [system.charts, system.habits, system.candidates]
    testing.materialize(system.films, stores=stores, now=NOW)
    testing.materialize(system.ratings, stores=stores, partition=(FIRST, WEEK), now=NOW)
    testing.materialize(*windows, stores=stores, partition=(LEARNED, WEEK), now=NOW)
    testing.materialize(few_lists, ranker, stores=stores, partition=CUTOFF, now=NOW)
    testing.materialize(picks, stores=stores, partition=(CUTOFF, WEEK), now=NOW)
    return stores


def test_nothing_knows_the_future(stores: fti.Stores) -> None:
    testing.assert_no_leak(ranker, stores=stores, partition=WEEK, sample=4)


def test_the_ranker_learns_from_no_week_that_was_not_over(stores: fti.Stores) -> None:
    rows = fti.read(few_lists, stores=stores)
    assert rows["week"].max() + pd.Timedelta("7D") <= pd.Timestamp(CUTOFF)
    assert rows["stars"].max() > 0
    assert (rows["stars"] == 0).mean() > 0.9


def test_a_score_is_the_same_online(stores: fti.Stores) -> None:
    with clock.at(NOW):
        report = testing.assert_parity(ranker, stores=stores, partitions=[WEEK], sample=20)
    assert report.rows == 20


def test_no_list_has_a_film_that_its_user_had_rated(stores: fti.Stores, ratings: pd.DataFrame) -> None:
    made = fti.read(picks, stores=stores, partitions=[WEEK])
    assert GUEST in set(made["user_id"])
    assert len(made) > 5
    known = ratings[ratings["rated_at"] <= pd.Timestamp(WEEK)].groupby("user_id")["movie_id"].agg(set)
    for user, top in made[["user_id", "top"]].itertuples(index=False):
        listed = [item["movie_id"] for item in top]
        assert len(set(listed)) == 10
        assert not set(listed) & known.get(user, set())


def test_an_app_of_the_base_install_looks_the_lists_up(stores: fti.Stores, films: pd.DataFrame) -> None:
    made = fti.read(picks, stores=stores, partitions=[WEEK]).set_index("user_id")["top"]
    user, stranger = int(made.index.max()), 10**6
    home = Path(str(stores.lake)).parent
    root = str(Path(app.__file__).parents[2])
    environment = {
        "PYTHONPATH": root,
        "PATH": os.environ["PATH"],
        "FTI_HOME": str(home),
        "FTI_NOW": f"{NOW.isoformat()}Z",
    }
    done = subprocess.run(
        [sys.executable, "-c", APP, str(user), str(stranger)], env=environment, cwd=home, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    titles = films.set_index("movie_id")["title"]
    own, everyone = json.loads(done.stdout)
    for displayed, whose in ((own, user), (everyone, GUEST)):
        assert [film["title"] for film in displayed] == [titles[item["movie_id"]] for item in made[whose]]
        assert [film["score"] for film in displayed] == [item["score"] for item in made[whose]]


def test_whoever_was_away_gets_the_list_of_guests(stores: fti.Stores) -> None:
    this, before = (set(fti.read(picks, stores=stores, partitions=[week])["user_id"]) for week in (WEEK, CUTOFF))
    away = sorted(before - this)
    assert away
    guests = app.films_of_the_week(GUEST, at=NOW, online=str(stores.online))
    assert app.films_of_the_week(away[0], at=NOW, online=str(stores.online)) == guests


@pytest.mark.parametrize("year", [None, float("nan")])
def test_a_film_of_an_unknown_year_is_shown(monkeypatch: pytest.MonkeyPatch, year: float | None) -> None:
    made = {"week": WEEK, "top": [{"movie_id": 108548, "score": 0.5}]}
    kept = {"picks_v1": {GUEST: made}, "films_v1": {108548: {"title": "unknown", "year": year}}}

    class Reader:
        def __init__(self, table: str, online: str | None = None) -> None:
            self.rows = kept[table]

        def read(self, keys: list[int], at: object = None) -> list[dict[str, object] | None]:
            return [self.rows.get(key) for key in keys]

    monkeypatch.setattr(app.fti, "OnlineReader", Reader)
    assert app.films_of_the_week(5) == [{"title": "unknown", "year": None, "score": 0.5}]
    kept["picks_v1"] = {}
    with pytest.raises(LookupError, match="no list of guests"):
        app.films_of_the_week(5)


def test_the_account_counts_films_that_were_rated_in_the_week_of_their_list(
    stores: fti.Stores, ratings: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FTI_HOME", str(Path(str(stores.lake)).parent))
    rows = outcome.outcome()
    listed = {
        (row.user_id, row.week): {item["movie_id"] for item in row.top}
        for row in fti.read(picks, stores=stores).itertuples()
    }
    assert len(rows) >= 1
    for row in rows.itertuples():
        own = ratings[(ratings["user_id"] == row.user_id) & (ratings["rated_at"] > row.week)]
        of_week = set(own.loc[own["rated_at"] <= row.week + pd.Timedelta("7D"), "movie_id"])
        assert row.films == len(of_week)
        assert row.ranker == len(of_week & listed[row.user_id, row.week])
    outcome.draw(tmp_path / "lists.svg", rows)
    assert "</svg>" in (tmp_path / "lists.svg").read_text()


def test_the_interval_draws_users_with_all_their_lists() -> None:
    rows = pd.DataFrame({"user_id": [1, 1, 1, 1, 2, 3], "ranker": [1, 2, 1, 1, 0, 0], "popular": [0, 0, 0, 0, 0, 1]})
    assert outcome.interval(rows, "ranker") == (4 / 6, 0, 1)
    share, low, high = outcome.interval(rows, "difference")
    assert (share, low, high) == (0.5, -1, 1)
