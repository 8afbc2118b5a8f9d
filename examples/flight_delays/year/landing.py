"""How files land in a rehearsal: each day's in the morning after it, some late, one wrong until it is corrected, one broken."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from examples.flight_delays.sources import DAILY, WHOLE

Spoil = Callable[[pa.Table], pa.Table | None]
"""Makes of a file what lands in its place; of None it is one that nobody can read."""


@dataclass(frozen=True)
class Fault:
    """A file that does not land as it should.

    Args:
        source: such as ``arrivals``.
        day: of the file.
        days: how much later it lands as it should.
        spoil: what is landed on time instead; nothing by default.
        what: it in words.
    """

    source: str
    day: date
    days: int
    what: str
    spoil: Spoil | None = None


@dataclass(frozen=True)
class Landings:
    """What lands on each morning of a rehearsal.

    Args:
        whole: a folder with all files as they should be.
        folder: where they land.
        faults: those that do not land as they should.
        daily: the sources that land a file a day.
        lookups: those that are one file.
    """

    whole: Path
    folder: Path
    faults: tuple[Fault, ...] = ()
    daily: tuple[str, ...] = tuple(DAILY)
    lookups: tuple[str, ...] = tuple(WHOLE)
    _of: dict[tuple[str, date], Fault] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._of.update({(one.source, one.day): one for one in self.faults})

    def of_start(self) -> None:
        """Land what is one file."""
        for source in self.lookups:
            self._land(source, source)

    def of_day(self, day: date) -> None:
        """Land a day's files, but for those that are late, and those of other days that are due on its morning."""
        for source in self.daily:
            fault = self._of.get((source, day))
            if fault is None:
                self._land(source, f"{day}")
            elif fault.spoil is not None:
                self._land(source, f"{day}", fault.spoil)
        for fault in self.due(day):
            self._land(fault.source, f"{fault.day}")

    def due(self, day: date) -> Iterator[Fault]:
        """The faults that are mended on the morning after a day."""
        yield from (one for one in self.faults if one.day + timedelta(days=one.days) == day)

    def _land(self, source: str, name: str, spoil: Spoil | None = None) -> None:
        """Put a file in its place at once, so that nobody reads half of it."""
        path = self.folder / source / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        if spoil is None:
            shutil.copyfile(self.whole / source / f"{name}.parquet", temporary)
        else:
            spoiled = spoil(pq.read_table(self.whole / source / f"{name}.parquet"))
            if spoiled is None:
                temporary.write_bytes((self.whole / source / f"{name}.parquet").read_bytes()[:-100])
            else:
                pq.write_table(spoiled, temporary)
        os.replace(temporary, path)
