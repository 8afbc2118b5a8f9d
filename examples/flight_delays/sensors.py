"""What starts by itself: the landing folder is looked at, and each day that is new or has changed is run."""

from typing import Any

import fti_assets as fti
from examples.flight_delays.features import arrivals, departures, planes, schedule, weather
from examples.flight_delays.sources import LandingZone

SOURCES: dict[Any, str] = {
    schedule: "schedule",
    departures: "departures",
    arrivals: "arrivals",
    weather: "weather",
}


@fti.new_data_sensor(targets=[*SOURCES, planes], minimum_interval_seconds=30)
def new_landings(landing: LandingZone) -> dict[Any, Any]:
    """The landing folder: each source's files by day, and the planes."""
    days = {group: landing.versions(source) for group, source in SOURCES.items()}
    return {**days, planes: landing.versions("planes").get("planes")}
