"""F: what is known of flights, weather, airports, carriers and planes, and when it was known."""

from collections.abc import Sequence

import dagster as dg
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti
from examples.flight_delays.sources import LandingZone

daily = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2014-01-03")  # UTC days


class ScheduleSchema(pa.DataFrameModel):
    """What will fly, an hour before its scheduled departure."""

    flight_id: str = pa.Field(unique=True)
    carrier: str
    flight_number: str = pa.Field(description="such as UA1545: the same flight on other days")
    origin: str = pa.Field(isin=["EWR", "JFK", "LGA"])
    dest: str
    tailnum: str = pa.Field(nullable=True)
    distance: float = pa.Field(gt=0, description="miles")
    departure_hour: int = pa.Field(ge=0, le=23, description="of the scheduled departure, in New York")
    scheduled_at: pd.Timestamp
    predict_at: pd.Timestamp


@fti.feature_group(
    keys=["flight_id"],
    event_time="predict_at",
    schema=ScheduleSchema,
    partitions_def=daily,
    owners=["team:flights"],
    tags={"source": "bts"},
)
def schedule(context: dg.AssetExecutionContext, landing: LandingZone) -> pd.DataFrame:
    """Each scheduled flight out of New York: the spine, one prediction a row."""
    return landing.read("schedule", context.partition_keys)


class DepartureSchema(pa.DataFrameModel):
    """How late a flight left, known when it does."""

    flight_id: str = pa.Field(unique=True)
    carrier: str
    origin: str
    dest: str
    tailnum: str = pa.Field(nullable=True)
    departure_hour: int = pa.Field(ge=0, le=23, description="of the scheduled departure, in New York")
    departed_at: pd.Timestamp
    departure_delay: float = pa.Field(ge=-120, description="minutes; negative is early")
    left_late: bool = pa.Field(description="15 minutes late or more")


@fti.feature_group(
    keys=["flight_id"],
    event_time="departed_at",
    schema=DepartureSchema,
    partitions_def=daily,
    owners=["team:flights"],
    tags={"source": "bts"},
)
def departures(context: dg.AssetExecutionContext, landing: LandingZone) -> pd.DataFrame:
    """Each flight that left, hours before anyone knows how late it will land."""
    return landing.read("departures", context.partition_keys)


class ArrivalSchema(pa.DataFrameModel):
    """How late a flight was, known when it lands."""

    flight_id: str = pa.Field(unique=True)
    carrier: str
    flight_number: str
    origin: str
    dest: str
    tailnum: str = pa.Field(nullable=True)
    departure_hour: int = pa.Field(ge=0, le=23, description="of the scheduled departure, in New York")
    arrived_at: pd.Timestamp
    arrival_delay: float = pa.Field(ge=-120, description="minutes; negative is early")
    is_late: bool = pa.Field(description="15 minutes late or more")


@fti.feature_group(
    keys=["flight_id"],
    event_time="arrived_at",
    schema=ArrivalSchema,
    partitions_def=daily,
    owners=["team:flights"],
    tags={"source": "bts"},
)
def arrivals(context: dg.AssetExecutionContext, landing: LandingZone) -> pd.DataFrame:
    """Each flight that landed. Cancelled flights never do."""
    return landing.read("arrivals", context.partition_keys)


class WeatherSchema(pa.DataFrameModel):
    """What an airport's station saw in an hour, known an hour later."""

    origin: str = pa.Field(isin=["EWR", "JFK", "LGA"])
    observed_at: pd.Timestamp
    known_at: pd.Timestamp
    temp: float = pa.Field(nullable=True, in_range={"min_value": -30, "max_value": 120}, description="Fahrenheit")
    humid: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 100}, description="percent")
    wind_speed: float = pa.Field(nullable=True, ge=0, le=150, raise_warning=True, description="miles an hour")
    precip: float = pa.Field(nullable=True, ge=0, description="inches")
    pressure: float = pa.Field(nullable=True, in_range={"min_value": 900, "max_value": 1100}, description="millibars")
    visib: float = pa.Field(nullable=True, ge=0, description="miles")

    class Config:
        """Columns that are not declared are an error."""

        strict = True


@fti.feature_group(
    keys=["origin"],
    event_time="observed_at",
    available_at="known_at",
    ttl="6h",
    schema=WeatherSchema,
    partitions_def=daily,
    online=True,
    online_history="7d",
    owners=["team:flights"],
    tags={"source": "noaa"},
)
def weather(context: dg.AssetExecutionContext, landing: LandingZone) -> pd.DataFrame:
    """The hourly weather at the three airports of New York."""
    observed = landing.read("weather", context.partition_keys)
    return observed.drop(columns=["dewp", "wind_dir", "wind_gust"])


LONG_WINDOWS = ["24h", "7d", "30d"]
WINDOWS = ["1h", "3h", *LONG_WINDOWS]


class LongDelaySchema(pa.DataFrameModel):
    """How late flights landed and left in the days and month before, each hour."""

    hour: pd.Timestamp
    late_rate_24h: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    late_rate_7d: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    late_rate_30d: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    delay_24h: float = pa.Field(nullable=True, ge=-120)
    delay_7d: float = pa.Field(nullable=True, ge=-120)
    delay_30d: float = pa.Field(nullable=True, ge=-120)
    arrivals_24h: int = pa.Field(ge=0)
    arrivals_7d: int = pa.Field(ge=0)
    arrivals_30d: int = pa.Field(ge=1)
    left_late_rate_24h: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    left_late_rate_7d: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    left_late_rate_30d: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    left_delay_24h: float = pa.Field(nullable=True, ge=-120)
    left_delay_7d: float = pa.Field(nullable=True, ge=-120)
    left_delay_30d: float = pa.Field(nullable=True, ge=-120)


class DelaySchema(LongDelaySchema):
    """The same, and in the hours before."""

    late_rate_1h: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    late_rate_3h: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    delay_1h: float = pa.Field(nullable=True, ge=-120)
    delay_3h: float = pa.Field(nullable=True, ge=-120)
    arrivals_1h: int = pa.Field(ge=0)
    arrivals_3h: int = pa.Field(ge=0)
    left_late_rate_1h: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    left_late_rate_3h: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    left_delay_1h: float = pa.Field(nullable=True, ge=-120)
    left_delay_3h: float = pa.Field(nullable=True, ge=-120)


class CarrierDelaySchema(DelaySchema):
    """How late a carrier's flights were."""

    carrier: str


class AirportDelaySchema(DelaySchema):
    """How late the flights from or to an airport were."""

    airport: str


class RouteDelaySchema(DelaySchema):
    """How late the flights from one airport to another were."""

    origin: str
    dest: str


class HourDelaySchema(LongDelaySchema):
    """How late the flights were that should leave in an hour of New York's day."""

    departure_hour: int


def delays(landed: fti.Table, left: fti.Table, keys: list[str], windows: Sequence[str] = WINDOWS) -> fti.Table:
    """Each hour's late rates and mean delays by the keys that a flight landed for in the last 30 days."""
    arrived = fti.window_aggregate(
        landed,
        keys=keys,
        every="1h",
        windows=windows,
        aggregates={"late_rate": fti.Mean("is_late"), "delay": fti.Mean("arrival_delay"), "arrivals": fti.Count()},
    )
    departed = fti.window_aggregate(
        left,
        keys=keys,
        every="1h",
        windows=windows,
        aggregates={"left_late_rate": fti.Mean("left_late"), "left_delay": fti.Mean("departure_delay")},
    )
    return arrived.with_relation(arrived.relation.join(departed.relation, ", ".join([*keys, "hour"]), how="left"))


@fti.feature_group(
    keys=["carrier"],
    event_time="hour",
    serving_delay="15min",
    ttl="6h",
    lookback="30d",
    schema=CarrierDelaySchema,
    partitions_def=daily,
    online=True,
    online_history="7d",
    owners=["team:flights"],
)
def carrier_delays(arrivals: fti.Table, departures: fti.Table) -> fti.Table:
    """How late each carrier's flights left and arrived in the hours, days and month before."""
    return delays(arrivals, departures, ["carrier"])


@fti.feature_group(
    keys=["airport"],
    event_time="hour",
    serving_delay="15min",
    ttl="6h",
    lookback="30d",
    schema=AirportDelaySchema,
    partitions_def=daily,
    online=True,
    online_history="7d",
    owners=["team:flights"],
)
def airport_delays(arrivals: fti.Table, departures: fti.Table) -> fti.Table:
    """How late the flights from or to each airport left and arrived in the hours, days and month before."""
    return delays(by_airport(arrivals), by_airport(departures), ["airport"])


def by_airport(flights: fti.Table) -> fti.Table:
    """Each flight twice: once for its origin and once for its destination."""
    from_, to = (flights.relation.project(f"*, {column} AS airport") for column in ("origin", "dest"))
    return flights.with_relation(from_.union(to))


@fti.feature_group(
    keys=["origin", "dest"],
    event_time="hour",
    serving_delay="15min",
    ttl="6h",
    lookback="30d",
    schema=RouteDelaySchema,
    partitions_def=daily,
    online=True,
    online_history="7d",
    owners=["team:flights"],
)
def route_delays(arrivals: fti.Table, departures: fti.Table) -> fti.Table:
    """How late the flights of each route left and arrived in the hours, days and month before."""
    return delays(arrivals, departures, ["origin", "dest"])


@fti.feature_group(
    keys=["departure_hour"],
    event_time="hour",
    serving_delay="15min",
    ttl="6h",
    lookback="30d",
    schema=HourDelaySchema,
    partitions_def=daily,
    online=True,
    online_history="7d",
    owners=["team:flights"],
)
def hour_delays(arrivals: fti.Table, departures: fti.Table) -> fti.Table:
    """How late the flights of each hour of New York's day left and arrived in the days and month before.

    An hour before its departure hardly a flight of the same hour has left, so shorter windows would be empty.
    """
    return delays(arrivals, departures, ["departure_hour"], LONG_WINDOWS)


class FlightNumberDelaySchema(pa.DataFrameModel):
    """How late a flight of the same number was in the week and month before, each midnight."""

    flight_number: str
    midnight: pd.Timestamp
    late_rate_7d: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    late_rate_30d: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    delay_7d: float = pa.Field(nullable=True, ge=-120)
    delay_30d: float = pa.Field(nullable=True, ge=-120)


@fti.feature_group(
    keys=["flight_number"],
    event_time="midnight",
    serving_delay="15min",
    ttl="2d",
    lookback="30d",
    schema=FlightNumberDelaySchema,
    partitions_def=daily,
    online=True,
    online_history="7d",
    owners=["team:flights"],
)
def flight_number_delays(arrivals: fti.Table) -> fti.Table:
    """How late the flights of each number arrived in the week and month before: most of them fly once a day."""
    return fti.window_aggregate(
        arrivals,
        keys=["flight_number"],
        every="24h",
        windows=["7d", "30d"],
        aggregates={"late_rate": fti.Mean("is_late"), "delay": fti.Mean("arrival_delay")},
    )


class AirportNowSchema(pa.DataFrameModel):
    """How an airport of New York does in the last hours, each quarter of an hour."""

    origin: str = pa.Field(isin=["EWR", "JFK", "LGA"])
    quarter: pd.Timestamp
    left_late_rate_30min: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    left_late_rate_1h: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    left_late_rate_2h: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    left_delay_30min: float = pa.Field(nullable=True, ge=-120)
    left_delay_1h: float = pa.Field(nullable=True, ge=-120)
    left_delay_2h: float = pa.Field(nullable=True, ge=-120)
    waiting_1h: int = pa.Field(description="flights that should have left in the last hour less those that left")
    waiting_2h: int
    waiting_4h: int


@fti.feature_group(
    keys=["origin"],
    event_time="quarter",
    serving_delay="5min",
    ttl="2h",
    lookback="1d",
    schema=AirportNowSchema,
    partitions_def=daily,
    online=True,
    online_history="7d",
    owners=["team:flights"],
)
def airport_now(schedule: fti.Table, departures: fti.Table) -> fti.Table:
    """How late flights leave an airport right now, and how many that should have left are still waiting, or cancelled."""
    # A row of the schedule is of an hour before the departure, so what was due in the last w hours is of w + 1 to 1 hours ago.
    due = fti.window_aggregate(
        schedule,
        keys=["origin"],
        every="15min",
        windows=["1h", "2h", "3h", "5h"],
        aggregates={"due": fti.Count()},
    )
    left = fti.window_aggregate(
        departures,
        keys=["origin"],
        every="15min",
        windows=["30min", "1h", "2h", "4h"],
        aggregates={
            "left_late_rate": fti.Mean("left_late"),
            "left_delay": fti.Mean("departure_delay"),
            "gone": fti.Count(),
        },
    )
    waiting = ", ".join(
        f"due_{hours + 1}h - due_1h - coalesce(gone_{hours}h, 0) AS waiting_{hours}h" for hours in (1, 2, 4)
    )
    rates = ", ".join(
        f"{name}_{window}" for name in ("left_late_rate", "left_delay") for window in ("30min", "1h", "2h")
    )
    both = due.relation.join(left.relation, "origin, quarter", how="left")
    return due.with_relation(both.project(f"origin, quarter, {rates}, {waiting}"))


class PlaneLegSchema(pa.DataFrameModel):
    """What a plane did last: it left or it landed, and how late."""

    tailnum: str
    at: pd.Timestamp
    flight_id: str
    last_leg: str = pa.Field(isin=["departed", "landed"])
    last_leg_delay: float = pa.Field(ge=-120, description="minutes late when it did; negative is early")
    last_leg_minute: int = pa.Field(ge=0, lt=7 * 24 * 60, description="when it did: the minute of the week, UTC")


@fti.feature_group(
    keys=["tailnum"],
    event_time="at",
    serving_delay="15min",
    ttl="24h",
    tie_break="flight_id",
    schema=PlaneLegSchema,
    partitions_def=daily,
    online=True,
    online_history="7d",
    owners=["team:flights"],
)
def plane_legs(arrivals: fti.Table, departures: fti.Table) -> fti.Table:
    """The earlier legs of each plane as they become known: when it left, and when it landed."""
    has_plane = "tailnum IS NOT NULL"
    departed = departures.relation.filter(has_plane).project(
        "tailnum, departed_at AS at, flight_id, 'departed' AS last_leg, departure_delay AS last_leg_delay"
    )
    landed = arrivals.relation.filter(has_plane).project(
        "tailnum, arrived_at AS at, flight_id, 'landed' AS last_leg, arrival_delay AS last_leg_delay"
    )
    legs = departed.union(landed)
    minute = """datediff('minute', date_trunc('week', "at"), "at") AS last_leg_minute"""
    return arrivals.with_relation(legs.project(f"*, {minute}"))


class PlaneSchema(pa.DataFrameModel):
    """What a plane is."""

    tailnum: str = pa.Field(unique=True)
    year: float = pa.Field(nullable=True, in_range={"min_value": 1940, "max_value": 2014}, description="manufactured")
    seats: int = pa.Field(gt=0)
    engines: int = pa.Field(in_range={"min_value": 1, "max_value": 4})
    manufacturer: str
    engine: str


@fti.feature_group(keys=["tailnum"], schema=PlaneSchema, online=True, owners=["team:flights"], tags={"source": "faa"})
def planes(landing: LandingZone) -> pd.DataFrame:
    """The planes by tail number: a lookup, since a plane never changes."""
    return landing.read_whole("planes")
