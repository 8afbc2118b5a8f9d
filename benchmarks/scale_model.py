"""What many entities and events a day take, by lines through measured points: what breaks first, machines, and what they cost.

``python -m benchmarks.scale_model --entities 1e8 --events 1e9`` reads ``benchmarks/scale_constants.json``, which holds each point with its
command and its day. A quantity's line goes through its fitted points: through zero and one of them, or through two. First it predicts the
points that are held out, which no line was fitted to, and prints the errors. Then it says what a day's work takes of one machine, the
scarcest first, how far that lies beyond the largest measured point, and how many machines do it all. With ``--core-hour`` and
``--gb-month``, prices of your own, it says what they cost a month. It exits with 1 if a held-out point is missed by more than 30 %.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CONSTANTS = Path(__file__).with_name("scale_constants.json")
GOAL = 0.3
MILLION, GB, HOUR_S, DAYS_A_MONTH = 1e6, 1e9, 3600, 30
COMMITS_A_DAY, GROUPS_READ = 24, 3
BUSY, FULL = 0.5, 0.7
"""How busy the cores of servers may be on average, and how full the memory of Redis."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Error:
    """How far a prediction is from what was measured."""

    size: float
    measured: float
    predicted: float

    @property
    def relative(self) -> float:
        return self.predicted / self.measured - 1


@dataclass(frozen=True)
class Quantity:
    """A measured quantity by its size, and the line through the points that it is fitted to."""

    unit: str
    by: str
    command: str
    measured_on: str
    fitted: tuple[Point, ...]
    held_out: tuple[Point, ...]

    @property
    def slope(self) -> float:
        (size, value), *rest = self.fitted
        return (rest[0][1] - value) / (rest[0][0] - size) if rest else value / size

    @property
    def base(self) -> float:
        size, value = self.fitted[0]
        return value - self.slope * size

    @property
    def largest(self) -> float:
        return max(size for size, _ in (*self.fitted, *self.held_out))

    def at(self, size: float) -> float:
        return self.base + self.slope * size

    def errors(self) -> list[Error]:
        return [Error(size, measured, self.at(size)) for size, measured in self.held_out]


def quantities(path: Path = CONSTANTS) -> dict[str, Quantity]:
    """The measured quantities by name."""
    return {
        name: Quantity(
            record["unit"],
            record["by"],
            record["command"],
            record["measured_on"],
            tuple((size, value) for size, value in record["fitted"]),
            tuple((size, value) for size, value in record["held_out"]),
        )
        for name, record in json.loads(path.read_text()).items()
    }


@dataclass(frozen=True)
class Demand:
    """What is asked for, and of which machines."""

    entities: float
    events: float
    groups: float
    window_days: float
    training_rows: float
    ttl_days: float
    requests: float
    kept_days: float
    cores: float
    memory_gb: float
    hours: float


@dataclass(frozen=True)
class Need:
    """What one part of a day takes.

    Args:
        what: the part.
        amount: how much, in words.
        share: of what one machine has.
        beyond: how many times the largest measured point that is.
        next: what replaces one machine.
        cpu_s: CPU seconds a day of it, 0 for what is not work of batches.
    """

    what: str
    amount: str
    share: float
    beyond: float
    next: str
    cpu_s: float = 0.0


def needs(known: Mapping[str, Quantity], demand: Demand) -> list[Need]:
    """What a day takes of one machine, the scarcest first."""
    millions = demand.entities / MILLION
    events = demand.events / MILLION
    machine_s = demand.cores * demand.hours * HOUR_S

    commit = known["commit_cpu_s"]
    commit_s = COMMITS_A_DAY * commit.at(events / COMMITS_A_DAY)
    features_s = demand.groups * commit.at(millions)
    windows = known["windows_cpu_s"]
    windows_s = windows.at(events * demand.window_days)
    join = known["join_cpu_s"]
    side = (demand.training_rows + demand.entities * demand.ttl_days) / MILLION
    join_s = demand.groups * join.at(side)
    score, load, redis = known["score_cpu_s"], known["redis_load_cpu_s"], known["redis_bytes"]
    score_s, load_s = score.at(millions), load.at(millions)
    redis_gb = demand.groups * redis.at(millions) / GB
    busy_cores = demand.requests * known["request_cpu_s"].at(1)
    sqlite_load, sqlite, read = known["sqlite_load_cpu_s"], known["sqlite_bytes"], known["read_cpu_s"]
    sqlite_gb, sqlite_s = demand.groups * sqlite.at(millions) / GB, sqlite_load.at(millions)
    read_cores = demand.requests * read.at(1) * demand.groups / GROUPS_READ
    lake = known["lake_bytes"]
    lake_gb = demand.kept_days * (lake.at(events) + demand.groups * lake.at(millions)) / GB
    parts = [
        Need("commits of one table of events, one at a time", f"{commit_s / HOUR_S:,.2f} hours of 24", commit_s / 24 / HOUR_S,
             events / COMMITS_A_DAY / commit.largest, "a group a shard of keys", commit_s),
        Need("commits of the groups", _hours(features_s), features_s / machine_s, millions / commit.largest,
             "a machine a group", features_s),
        Need(f"windows of {demand.window_days:g} days, from the rows", _hours(windows_s), windows_s / machine_s,
             events * demand.window_days / windows.largest, "tiles", windows_s),
        Need("the join of a training dataset", _hours(join_s), join_s / machine_s, side / join.largest,
             "Spark", join_s),
        Need("batch answers for all entities", _hours(score_s), score_s / machine_s, millions / score.largest,
             "Spark", score_s),
        Need("loading one group into Redis, by one process", f"{load_s / HOUR_S:,.2f} hours of {demand.hours:g}",
             load_s / demand.hours / HOUR_S, millions / load.largest, "a group a shard of keys", load_s * demand.groups),
        Need("the groups in Redis", f"{redis_gb:,.0f} GB of memory", redis_gb / FULL / demand.memory_gb,
             millions / redis.largest, "more memory, or a cluster"),
        Need("requests over HTTP", f"{busy_cores:,.2f} cores", busy_cores / BUSY / demand.cores, 1, "more servers"),
        Need("the same keys read in a process, from SQLite", f"{read_cores:,.2f} cores", read_cores / BUSY / demand.cores, 1,
             "more processes"),
        Need("loading one group into SQLite", f"{sqlite_s / HOUR_S:,.2f} hours of {demand.hours:g}",
             sqlite_s / demand.hours / HOUR_S, millions / sqlite_load.largest, "Redis"),
        Need("the groups in SQLite", f"{sqlite_gb:,.0f} GB of disk", 0, millions / sqlite.largest, "Redis"),
        Need(f"the lake of {demand.kept_days:g} days", f"{lake_gb:,.0f} GB", 0, events / lake.largest, "a bucket"),
    ]  # fmt: skip
    return sorted(parts, key=lambda need: -need.share)


def _hours(cpu_s: float) -> str:
    return f"{cpu_s / HOUR_S:,.2f} hours of a core"


@dataclass(frozen=True)
class Machines:
    """How many machines do a day's work, and what they use."""

    batch: int
    servers: int
    redis: int
    batch_core_hours: float
    lake_gb: float
    joins_on_spark: bool

    def cost(self, demand: Demand, core_hour: float, gb_month: float) -> float:
        """What a month costs: the core hours of batches, servers and Redis all day, and the lake."""
        all_day = (self.servers + self.redis) * demand.cores * 24 * DAYS_A_MONTH
        return (self.batch_core_hours * DAYS_A_MONTH + all_day) * core_hour + self.lake_gb * gb_month


def machines(known: Mapping[str, Quantity], demand: Demand) -> Machines:
    by_name = {need.what: need for need in needs(known, demand)}
    join = by_name["the join of a training dataset"]
    cpu_s = sum(need.cpu_s for need in by_name.values())
    if join.share > 1:  # one DuckDB is one machine, and Spark takes more cores for the same rows
        cpu_s += join.cpu_s * (known["spark_to_duckdb"].at(1) - 1)
    redis, http = by_name["the groups in Redis"], by_name["requests over HTTP"]
    lake = known["lake_bytes"]
    daily = lake.at(demand.events / MILLION) + demand.groups * lake.at(demand.entities / MILLION)
    return Machines(
        batch=math.ceil(cpu_s / (demand.cores * demand.hours * HOUR_S)),
        servers=math.ceil(http.share),
        redis=math.ceil(redis.share),
        batch_core_hours=cpu_s / HOUR_S,
        lake_gb=demand.kept_days * daily / GB,
        joins_on_spark=join.share > 1,
    )


def number(least: float, most: float) -> Callable[[str], float]:
    """What reads an argument that is a number within bounds."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not least <= value <= most:  # nan is within no bounds
            raise argparse.ArgumentTypeError(f"{text} is not from {least:g} to {most:g}")
        return value

    return read


def parser() -> argparse.ArgumentParser:
    requests = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, least, most, default, what in (
        ("entities", 1, 1e12, None, "keys, each of which has a row a day in each group"),
        ("events", 1, 1e13, None, "rows of events a day"),
        ("groups", 1, 1e4, 3, "feature groups of 20 numbers"),
        ("window-days", 1, 3650, 30, "how many days of events a day's windows reach back"),
        ("training-rows", 1, 1e12, 1e8, "rows of the training dataset that is made a day"),
        ("ttl-days", 1, 3650, 30, "days of each group that its join reads"),
        ("requests", 0, 1e9, 1000, "predictions of one key a second"),
        ("kept-days", 1, 36500, 365, "days that the lake keeps"),
        ("cores", 1, 4096, 16, "cores of a machine"),
        ("memory-gb", 1, 65536, 64, "memory of a machine"),
        ("hours", 0.1, 24, 8, "hours in which a day's batches are to be done"),
    ):
        text = what if default is None else f"{what} (default {default:g})"
        requests.add_argument(
            f"--{option}", type=number(least, most), default=default, required=default is None, help=text
        )
    for price, what in (
        ("core-hour", "price of an hour of a core"),
        ("gb-month", "price of a GB of the lake for a month"),
    ):
        requests.add_argument(f"--{price}", type=number(0, 1e6), help=what)
    return requests


def main(arguments: Sequence[str] | None = None) -> int:
    requests = parser()
    options = vars(requests.parse_args(arguments))
    core_hour, gb_month = options.pop("core_hour"), options.pop("gb_month")
    if (core_hour is None) != (gb_month is None):
        requests.error("--core-hour and --gb-month go together")
    known, demand = quantities(), Demand(**options)
    print(f"{'held out':18}{'size':>28}{'measured':>14}{'predicted':>14}{'error':>8}")
    worst = 0.0
    for name, quantity in known.items():
        for error in quantity.errors():
            worst = max(worst, abs(error.relative))
            size = f"{error.size:g} {quantity.by}"
            print(f"{name:18}{size:>28}{error.measured:14,.6g}{error.predicted:14,.6g}{error.relative:+8.0%}")
    untested = [name for name, quantity in known.items() if not quantity.held_out]
    print(f"without a held-out point: {', '.join(untested)}\n")
    print(f"{'a day':50}{'takes':>24}{'of a machine':>14}{'beyond':>9}  next")
    for need in needs(known, demand):
        share = f"{need.share:,.3f}" if need.share else ""
        print(f"{need.what:50}{need.amount:>24}{share:>14}{need.beyond:8,.0f}x  {need.next}")
    of_all = machines(known, demand)
    print(
        f"\n{of_all.batch} for batches ({of_all.batch_core_hours:,.0f} core hours a day"
        f"{', joins on Spark' if of_all.joins_on_spark else ''}), {of_all.servers} for requests, {of_all.redis} for Redis, "
        f"of {demand.cores:g} cores and {demand.memory_gb:g} GB; {of_all.lake_gb:,.0f} GB in the lake"
    )
    if core_hour is not None:
        print(f"a month: {of_all.cost(demand, core_hour, gb_month):,.0f}, at the prices that you gave")
    print(json.dumps({"benchmark": "scale_model", "ratio": round(worst, 2), "goal": GOAL, "reached": worst <= GOAL}))
    return int(worst > GOAL)


if __name__ == "__main__":
    sys.exit(main())
