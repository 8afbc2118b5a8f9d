"""Which engine runs a plan, by its rows and the memory that it takes, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fti_assets.errors import DeclarationError, one_of

Engine = Literal["duckdb", "spark", "auto"]
"""Where a plan runs: in DuckDB within the step, on Spark, or on whichever its size asks for."""

ENGINES: tuple[Engine, ...] = ("duckdb", "spark", "auto")

_ROW_BYTES, _COLUMN_BYTES = 24, 16
_GB = 10**9


@dataclass(frozen=True)
class Speed:
    """How long an engine takes for a plan: what it takes for none, and how much CPU time for a million rows.

    Args:
        start_s: seconds before the first row.
        cpu_s: CPU seconds for a million rows.
    """

    start_s: float
    cpu_s: float

    def seconds(self, rows: int, cores: int) -> float:
        """How long a plan of some rows takes."""
        return self.start_s + self.cpu_s * rows / 1e6 / max(1, cores)


JOIN_SPEED: dict[str, Speed] = {"duckdb": Speed(0.1, 0.6), "spark": Speed(10.0, 3.5)}
SCORING_SPEED: dict[str, Speed] = {"duckdb": Speed(0.1, 0.9), "spark": Speed(10.0, 3.0)}
"""The CPU seconds are those that ``benchmarks/engines.py`` measures of ten million rows. Before its first row Spark opens a session."""


@dataclass(frozen=True)
class PlanSize:
    """How large a plan is.

    Args:
        what: what it is, such as ``weather_v1``.
        rows: the rows that it reads, of both sides of a join.
        columns: the columns that it makes of each.
        speed: how long each engine takes for it.
    """

    what: str
    rows: int
    columns: int
    speed: dict[str, Speed]

    @property
    def bytes(self) -> int:
        """About how much memory its rows take."""
        return self.rows * (_ROW_BYTES + _COLUMN_BYTES * self.columns)


@dataclass(frozen=True)
class Room:
    """What DuckDB has in the step: bytes of memory and threads."""

    memory: int
    threads: int


@dataclass(frozen=True)
class Choice:
    """The engine of a plan, and why it is that."""

    what: str
    engine: Literal["duckdb", "spark"]
    why: str


def choose(size: PlanSize, room: Room, *, cores: int | None, has_spark: bool) -> Choice:
    """Choose an engine for a plan: Spark where DuckDB would run out of memory or take longer, else DuckDB.

    Args:
        size: the plan's.
        room: what DuckDB has.
        cores: the cores that Spark has; None if nobody says, and then memory alone decides.
        has_spark: whether there is a Spark at all.

    >>> small, room = PlanSize("weather_v1", 3_000_000, 2, JOIN_SPEED), Room(4 * 10**9, 2)
    >>> choose(small, room, cores=None, has_spark=True).why
    '3,000,000 rows take about 0.2 GB, of the 4.0 GB that DuckDB has'
    """
    needs, has = size.bytes / _GB, room.memory / _GB
    rows = f"{size.rows:,} rows take about {needs:.1f} GB"
    if not has_spark:
        return Choice(size.what, "duckdb", f"there is no Spark among the stores; {rows}")
    if size.bytes > room.memory:
        return Choice(size.what, "spark", f"{rows}, more than the {has:.1f} GB that DuckDB has")
    why = f"{rows}, of the {has:.1f} GB that DuckDB has"
    if cores is None:
        return Choice(size.what, "duckdb", why)
    duckdb_seconds, spark_seconds = (
        size.speed["duckdb"].seconds(size.rows, room.threads),
        size.speed["spark"].seconds(size.rows, cores),
    )
    why += f", and about {duckdb_seconds:.1f} s on its {room.threads} threads, where Spark takes {spark_seconds:.1f} s on {cores} cores"
    return Choice(size.what, "spark" if spark_seconds < duckdb_seconds else "duckdb", why)


def checked_engine(engine: str | None, *, what: str) -> Engine | None:
    """An engine by its name; None for that of the stores.

    Raises:
        DeclarationError: there is none of that name.
    """
    if engine is None or engine in ENGINES:
        return engine  # type: ignore[return-value]
    raise DeclarationError(f"{what} has engine={engine!r}: there is {one_of(ENGINES)}")
