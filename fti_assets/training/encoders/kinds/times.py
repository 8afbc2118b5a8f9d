"""Encoders of a timestamp: its age at another one, such as the prediction time, and its parts in the calendar. All times are UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import Column, GraphInput
from fti_assets.core.times import duration, microseconds
from fti_assets.core.types import MISSING_INTEGER
from fti_assets.errors import DeclarationError, excerpt, one_of
from fti_assets.training.encoders.fitted import FittedSingle
from fti_assets.training.encoders.kinds.scales import is_single
from fti_assets.training.encoders.nodes import Nodes

CalendarPart = Literal["minute", "hour", "weekday", "day", "month", "day_of_year", "year"]

_PERIODS: Mapping[str, float] = {"minute": 60, "hour": 24, "weekday": 7, "month": 12, "day_of_year": 365.2425}
"""What a part comes round after."""
_FIRST: Mapping[str, int] = {"month": 1, "day_of_year": 1}
_DAY_US = 86_400_000_000


@checked_arguments()
@dataclass(frozen=True)
class Age:
    """The age of a timestamp at another timestamp of the view, as a number; negative if it is later.

    For the age at the prediction time, add the spine's event time to the view's features and name it. The difference is computed in whole
    microseconds, within the graph. Nothing is learned.

    Args:
        at: the feature with the other time.
        unit: the unit of the age.
        missing: the value if one of the two times is missing; by default NaN, for models that accept it.

    Raises:
        DeclarationError: the unit is not a duration, or ``missing`` is not a float32 number.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Age("ordered_at", unit="1h", missing=0), np.array(["2025-01-01"], "datetime64[us]"), "timestamp")
    FittedAge(at='ordered_at', unit_us=3600000000, missing=0.0, kind='age')
    """

    at: str
    unit: str = "1d"
    missing: float | None = None

    def __post_init__(self) -> None:
        if not microseconds(duration(self.unit, what="Age: unit")):
            raise DeclarationError(f"Age(unit={excerpt(self.unit)}): no age is counted in nothing; write such as '1d'")
        if self.missing is not None and not is_single(self.missing):
            raise DeclarationError(
                f"Age(missing={excerpt(self.missing)}): give a finite number of float32, or None for NaN"
            )


@checked_arguments()
@dataclass(frozen=True)
class CalendarParts:
    """Calendar parts of a timestamp in UTC, one column each: the hour 0 to 23, the weekday 0 (Monday) to 6, and so on.

    ``minute`` 0 to 59, ``hour``, ``weekday``, ``day`` of the month 1 to 31, ``month`` 1 to 12, ``day_of_year`` 1 to 366, ``year``,
    as in pandas. A missing timestamp gives -1 in each. Nothing is learned.

    Args:
        parts: which parts, each once.
        cyclical: whether each part becomes two columns, ``sin`` and ``cos`` of its position in its cycle, so that hour 23 is next
            to hour 0. The cycle of ``day_of_year`` is 365.2425 days. A missing timestamp gives 0 and 0. ``day`` and ``year`` have
            no fixed cycle.

    Raises:
        DeclarationError: a part is unknown or given twice, no part is given, or a part has no cycle.

    >>> CalendarParts(["hour", "weekday"], cyclical=True).parts
    ('hour', 'weekday')
    """

    parts: Sequence[str]
    cyclical: bool = False

    def __post_init__(self) -> None:
        parts = tuple(self.parts)
        choices = _PERIODS if self.cyclical else get_args(CalendarPart)
        strange = [part for part in parts if part not in choices]
        if strange or not parts or len(set(parts)) < len(parts):
            raise DeclarationError(
                f"CalendarParts({excerpt(self.parts)}{', cyclical=True' if self.cyclical else ''}): give one or more of "
                f"{one_of(choices)}, each once"
            )
        object.__setattr__(self, "parts", parts)


@dataclass(frozen=True)
class FittedAge(FittedSingle):
    """The other time, how many microseconds a unit has, and what stands for a missing age; nothing was learned."""

    at: str
    unit_us: int
    missing: float | None
    kind: Literal["age"] = "age"

    def source(self, column: Column) -> GraphInput:
        return GraphInput(f"age.{column.name}", "int64", (column.name, self.at))

    def names(self, feature: str) -> list[str]:
        return [feature]

    def nodes(self, nodes: Nodes, source: GraphInput) -> str:
        time, other = nodes.picked(source.name, [0]), nodes.picked(source.name, [1])
        days = nodes.cast(nodes.add("Sub", [other, time]), np.float64)
        age = nodes.cast(nodes.add("Div", [days, nodes.constant(float(self.unit_us), np.float64)]), np.float32)
        is_missing = nodes.add("Or", [_is_missing(nodes, time), _is_missing(nodes, other)])
        missing = np.nan if self.missing is None else self.missing
        return nodes.add("Where", [is_missing, nodes.constant([[missing]], np.float32), age])


@dataclass(frozen=True)
class FittedCalendarParts(FittedSingle):
    """The parts; nothing was learned."""

    parts: tuple[str, ...]
    cyclical: bool
    kind: Literal["calendar_parts"] = "calendar_parts"

    def source(self, column: Column) -> GraphInput:
        return GraphInput(f"time.{column.name}", "int64", (column.name,))

    def names(self, feature: str) -> list[str]:
        waves = (":sin", ":cos") if self.cyclical else ("",)
        return [f"{feature}:{part}{wave}" for part in self.parts for wave in waves]

    def nodes(self, nodes: Nodes, source: GraphInput) -> str:
        calendar = _Calendar(nodes, source.name)
        is_missing = _is_missing(nodes, source.name)
        columns = []
        for part in self.parts:
            value = nodes.cast(calendar.part(part), np.float64)
            if not self.cyclical:
                single = nodes.cast(value, np.float32)
                columns.append(nodes.add("Where", [is_missing, nodes.constant([[-1.0]], np.float32), single]))
                continue
            place = nodes.add("Sub", [value, nodes.constant(float(_FIRST.get(part, 0)), np.float64)])
            turn = nodes.constant(2 * np.pi / _PERIODS[part], np.float64)
            angle = nodes.cast(nodes.add("Mul", [place, turn]), np.float32)
            for wave in ("Sin", "Cos"):
                zero = nodes.constant([[0.0]], np.float32)
                columns.append(nodes.add("Where", [is_missing, zero, nodes.add(wave, [angle])]))
        return columns[0] if len(columns) == 1 else nodes.add("Concat", columns, axis=1)


class _Calendar:
    """Nodes that make parts of the calendar of microseconds since 1970, int64 ``[n, 1]``.

    Source: days to dates as in Hinnant, chrono-Compatible Low-Level Date Algorithms (2014), years that begin in March.
    """

    def __init__(self, nodes: Nodes, time: str) -> None:
        self._nodes, self._time = nodes, time
        self._values: dict[str, str] = {}

    def part(self, name: str) -> str:
        if name not in self._values:
            self._values[name] = getattr(self, f"_{name}")()
        return self._values[name]

    def _minute(self) -> str:
        return self._mod(self._over(self._time, 60_000_000), 60)

    def _hour(self) -> str:
        return self._mod(self._over(self._time, 3_600_000_000), 24)

    def _days(self) -> str:
        return self._over(self._time, _DAY_US)

    def _weekday(self) -> str:
        return self._mod(self._plus(self.part("days"), 3), 7)

    def _shifted(self) -> str:
        return self._plus(self.part("days"), 719_468)  # since the first of March of the year 0

    def _day_of_era(self) -> str:
        return self._mod(self.part("shifted"), 146_097)

    def _year_of_era(self) -> str:
        day = self.part("day_of_era")
        whole = self._less(day, self._over(day, 1_460))
        whole = self._less(self._sum(whole, self._over(day, 36_524)), self._over(day, 146_096))
        return self._over(whole, 365)

    def _day_from_march(self) -> str:
        year = self.part("year_of_era")
        leaps = self._less(self._over(year, 4), self._over(year, 100))
        return self._less(self.part("day_of_era"), self._sum(self._times(year, 365), leaps))

    def _month_from_march(self) -> str:
        return self._over(self._plus(self._times(self.part("day_from_march"), 5), 2), 153)

    def _day(self) -> str:
        before = self._over(self._plus(self._times(self.part("month_from_march"), 153), 2), 5)
        return self._plus(self._less(self.part("day_from_march"), before), 1)

    def _month(self) -> str:
        return self._plus(self._mod(self._plus(self.part("month_from_march"), 2), 12), 1)

    def _year(self) -> str:
        begun = self._sum(self.part("year_of_era"), self._times(self._over(self.part("shifted"), 146_097), 400))
        # January and February, the tenth month from March on, are of the year after that of their March.
        return self._sum(begun, self._over(self.part("month_from_march"), 10))

    def _day_of_year(self) -> str:
        before = self._plus(self.part("year"), -1)
        leaps = self._sum(self._less(self._over(before, 4), self._over(before, 100)), self._over(before, 400))
        new_year = self._plus(self._sum(self._times(before, 365), leaps), -719_162)
        return self._plus(self._less(self.part("days"), new_year), 1)

    def _over(self, value: str, divisor: int) -> str:
        """The quotient, rounded down; Div rounds towards zero."""
        remainder = self._mod(value, divisor)
        return self._nodes.add("Div", [self._less(value, remainder), self._nodes.constant(divisor, np.int64)])

    def _mod(self, value: str, divisor: int) -> str:
        return self._nodes.add("Mod", [value, self._nodes.constant(divisor, np.int64)])

    def _plus(self, value: str, number: int) -> str:
        return self._nodes.add("Add", [value, self._nodes.constant(number, np.int64)])

    def _times(self, value: str, number: int) -> str:
        return self._nodes.add("Mul", [value, self._nodes.constant(number, np.int64)])

    def _sum(self, value: str, other: str) -> str:
        return self._nodes.add("Add", [value, other])

    def _less(self, value: str, other: str) -> str:
        return self._nodes.add("Sub", [value, other])


def _is_missing(nodes: Nodes, time: str) -> str:
    return nodes.add("Equal", [time, nodes.constant(MISSING_INTEGER, np.int64)])


def fit_age(encoder: Age, values: np.ndarray) -> FittedAge:
    """What was declared: nothing is learned."""
    missing = None if encoder.missing is None else float(encoder.missing)
    return FittedAge(encoder.at, microseconds(duration(encoder.unit, what="Age: unit")), missing)


def fit_calendar_parts(encoder: CalendarParts, values: np.ndarray) -> FittedCalendarParts:
    """What was declared: nothing is learned."""
    return FittedCalendarParts(tuple(encoder.parts), encoder.cyclical)
