"""What was recommended beside what was rated, and beside the films that all the world rated."""

from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

import fti_assets as fti
from examples.recommendations.nearness import GUEST
from examples.recommendations.system import candidates, picks, ratings

WEEK = pd.Timedelta("7D")
COLORS = {"ranker": "#2471a3", "popular": "#999999"}
NAMES = {"ranker": "The ten films of the list", "popular": "The ten most rated of the year before"}


def outcome() -> pd.DataFrame:
    """A row for each stored list whose user rated a film in its week: how many films, and how many of them were among the ten of the
    list (``ranker``) and among the ten that were rated most in the year before and that the user had not rated (``popular``)."""
    made = fti.read(picks)
    listed = made[["user_id", "week", "top"]].explode("top")
    listed = listed.assign(movie_id=[item["movie_id"] for item in listed["top"]])
    requests = fti.read(candidates, partitions=sorted({f"{week:%Y-%m-%d}" for week in made["week"]}))
    chart = requests[requests["chart_place"] <= 10]
    rated = fti.read(ratings)[["user_id", "movie_id", "rated_at"]]
    rows = made.loc[made["user_id"] != GUEST, ["user_id", "week"]].merge(rated, on="user_id")
    rows = rows[(rows["rated_at"] > rows["week"]) & (rows["rated_at"] <= rows["week"] + WEEK)].assign(films=1)
    keys = ["user_id", "week", "movie_id"]
    for name, films in (("ranker", listed), ("popular", chart)):
        rows = rows.merge(films[keys].assign(**{name: 1}), on=keys, how="left").fillna({name: 0})
    return (
        rows.groupby(["week", "user_id"], as_index=False)[["films", "ranker", "popular"]]
        .sum()
        .astype({"ranker": int, "popular": int})
    )


def interval(rows: pd.DataFrame, figure: str, *, draws: int = 2_000) -> tuple[float, float, float]:
    """The share of lists in which something was rated, by ``figure``, and between what 95 of 100 draws of users have it; for
    ``"difference"`` the ranker's less that of popularity."""
    hits = pd.DataFrame({name: rows[name] > 0 for name in COLORS}).astype(int)
    hits["difference"] = hits["ranker"] - hits["popular"]
    users = hits.assign(lists=1).groupby(rows["user_id"]).sum()
    drawn = np.random.default_rng(0).integers(0, len(users), (draws, len(users)))
    shares = users[figure].to_numpy()[drawn].sum(1) / users["lists"].to_numpy()[drawn].sum(1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(hits[figure].mean()), float(low), float(high)


def draw(file: Path, rows: pd.DataFrame) -> None:
    """Write an SVG of how many of the recommended films had been rated by each week of the year."""
    total = rows.groupby("week")[list(COLORS)].sum().cumsum()
    weeks, most = total.index, float(total.to_numpy().max())
    x = 60 + 600 * ((weeks - weeks[0]) / (weeks[-1] - weeks[0])).to_numpy()
    lines = [
        '<text x="60" y="24" font-size="15">Films that users rated within a week of finding them on their list</text>'
    ]
    for place, (name, color) in enumerate(COLORS.items()):
        y = 300 - 240 * total[name].to_numpy() / most
        points = " ".join(f"{one:.0f},{other:.0f}" for one, other in zip(x, y, strict=True))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        lines.append(f'<text x="{x[-1] + 8:.0f}" y="{y[-1] + 4:.0f}" fill="{color}">{total[name].iloc[-1]}</text>')
        lines.append(f'<text x="70" y="{60 + 20 * place}" fill="{color}">{escape(NAMES[name])}</text>')
    lines.append('<line x1="60" y1="300" x2="660" y2="300" stroke="#444444"/>')
    lines += [
        f'<text x="{place:.0f}" y="320" text-anchor="middle" fill="#444444">{week:%Y-%m}</text>'
        for place, week in list(zip(x, weeks, strict=True))[::13]
    ]
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 340" font-family="sans-serif" font-size="13">'
    file.write_text("\n".join([head, '<rect width="720" height="340" fill="white"/>', *lines, "</svg>"]) + "\n")
