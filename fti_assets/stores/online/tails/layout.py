"""What a key's blob holds for some windows: its parts, in order, and which of them a column is computed from."""

from __future__ import annotations

from fti_assets.core.manifest.windows import RequestWindows, WindowAggregate
from fti_assets.stores.online.tails.distinct import DistinctPart
from fti_assets.stores.online.tails.extremes import ExtremePart
from fti_assets.stores.online.tails.totals import TotalsPart

Part = TotalsPart | ExtremePart | DistinctPart


class TailLayout:
    """The parts of windows whose sources' types are known.

    Args:
        windows: what is computed; it names the type of each column that is aggregated.
    """

    def __init__(self, windows: RequestWindows) -> None:
        self.windows = windows
        self.types = {one.name: one.type for one in windows.sources}
        self._places: dict[tuple[str, str], int] = {}
        self.parts: list[Part] = []
        for aggregate in windows.aggregates:
            self.place_of(aggregate)

    @property
    def columns(self) -> list[str]:
        """The columns of the source that are read."""
        return list(dict.fromkeys(part.column for part in self.parts))

    def place_of(self, aggregate: WindowAggregate) -> int | None:
        """Which part an aggregate is computed from; None for one of the rows themselves."""
        if aggregate.column is None:
            return None
        what = "total" if aggregate.kind in ("sum", "mean", "rate") else str(aggregate.kind)
        if (aggregate.column, what) not in self._places:
            self._places[aggregate.column, what] = len(self.parts)
            self.parts.append(self._part(aggregate.column, what))
        return self._places[aggregate.column, what]

    def _part(self, column: str, what: str) -> Part:
        kind = self.types[column]
        match what:
            case "total":
                return TotalsPart(column, kind, squared=False)
            case "std":
                return TotalsPart(column, kind, squared=True)
            case "distinct_count":
                return DistinctPart(column, kind)
        return ExtremePart(column, kind, what)  # type: ignore[arg-type]
