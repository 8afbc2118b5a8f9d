"""The films of the week for a user, looked up: what an app does that has the base install alone.

    FTI_HOME=.fti/recommendations python -m examples.recommendations.app 564

Lists and titles lie in the online store. No model runs here, and neither pandas nor Dagster is imported.
"""

import sys
from datetime import datetime
from typing import Any

import fti_assets as fti

GUEST = 0
"""Whose list is for everybody of whom nothing is known, or nothing of late."""


def films_of_the_week(
    user: int, *, at: datetime | str | None = None, online: str | None = None
) -> list[dict[str, Any]]:
    """Title, year (None where it is unknown) and score of the ten films for a user, the best one first.

    Args:
        user: the user's number. Whoever has no list of this week gets that of guests.
        at: when; now by default.
        online: the online store; that under ``FTI_HOME`` by default.

    Raises:
        LookupError: there is no list of guests that is valid then.
    """
    own, everyone = fti.OnlineReader("picks_v1", online=online).read([user, GUEST], at=at)
    if everyone is None:
        raise LookupError(
            "the online store has no list of guests that is valid at this time: materialize picks_v1 for the week"
        )
    chosen = own if own is not None and own["week"] == everyone["week"] else everyone
    items = chosen["top"]
    films = fti.OnlineReader("films_v1", online=online).read([item["movie_id"] for item in items], at=at)
    years = [None if film["year"] is None or film["year"] != film["year"] else int(film["year"]) for film in films]
    return [
        {"title": film["title"], "year": year, "score": item["score"]}
        for item, film, year in zip(items, films, years, strict=True)
    ]


if __name__ == "__main__":
    for place, film in enumerate(films_of_the_week(int(sys.argv[1])), start=1):
        print(f"{place:2}  {film['title']} ({film['year'] or 'year unknown'})")
