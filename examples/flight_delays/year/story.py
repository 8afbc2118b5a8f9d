"""What happens to the flagship in 2013: the files that do not land as they should, and what people deploy."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from examples.flight_delays.year.landing import Fault, Landings
from examples.flight_delays.year.replay import Deployment, Story
from examples.flight_delays.year.system import challenger, deployed, stores_of, ungated, watch

HISTORY, FIRST, LAST = date(2013, 1, 1), date(2013, 3, 1), date(2013, 12, 31)


def punctual(table: pa.Table) -> pa.Table:
    """Every flight of United as if it had been on time."""
    wrong = pc.equal(table["carrier"], "UA")
    delay = pc.if_else(wrong, 0.0, table["arrival_delay"])
    late = pc.if_else(wrong, False, table["is_late"])
    names = table.column_names
    table = table.set_column(names.index("arrival_delay"), "arrival_delay", delay)
    return table.set_column(names.index("is_late"), "is_late", late)


def per_mille(table: pa.Table) -> pa.Table:
    """Humidity in per mille, where the schema says percent."""
    place = table.column_names.index("humid")
    return table.set_column(place, "humid", pc.multiply(table["humid"], 10.0))


FAULTS = (
    Fault("weather", date(2013, 4, 23), 1, "weather of 2013-04-23 does not land"),
    Fault("arrivals", date(2013, 5, 14), 2, "arrivals of 2013-05-14 do not land"),
    Fault("arrivals", date(2013, 6, 20), 4, "arrivals of 2013-06-20 land with every flight of UA on time", punctual),
    Fault("weather", date(2013, 7, 10), 1, "weather of 2013-07-10 lands with its humidity in per mille", per_mille),
)


def flagship(whole: Path, home: Path, *, first: date = FIRST, last: date = LAST) -> Story:
    """The year of the flagship.

    Args:
        whole: the landing folder with all of 2013.
        home: where the system stores, and where its files land.
        first, last: the days that are replayed.
    """
    return Story(
        first=first,
        last=last,
        history=HISTORY,
        landings=Landings(whole, home / "landing", FAULTS),
        start=deployed(home),
        deployments={
            date(2013, 8, 5): Deployment(
                "version 2 is deployed: three trees of two leaves", deployed(home, challenger)
            ),
            date(2013, 8, 19): Deployment("version 3 is deployed: version 2 without gates", deployed(home, ungated)),
        },
        model="year_delay",
        monitor=watch,
        stores=stores_of(home),
    )
