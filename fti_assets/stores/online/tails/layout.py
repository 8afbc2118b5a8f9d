"""What a key's blob holds for some windows: its parts, in order, and which of them a column is computed from."""

from __future__ import annotations

from fti_assets.core.manifest.windows import RequestWindows, WindowAggregate
from fti_assets.stores.online.tails.extremes import ExtremePart
from fti_assets.stores.online.tails.occurrences import DistinctPart
from fti_assets.stores.online.tails.percentiles import PercentilePart
from fti_assets.stores.online.tails.placed import PlacedPart
from fti_assets.stores.online.tails.sessions import SessionsPart
from fti_assets.stores.online.tails.totals import TotalsPart

Part = TotalsPart | ExtremePart | DistinctPart | PercentilePart | PlacedPart | SessionsPart


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
        return list(dict.fromkeys(part.column for part in self.parts if part.column is not None))

    def place_of(self, aggregate: WindowAggregate) -> int | None:
        """Which part an aggregate is computed from; None for one of the number of rows."""
        if aggregate.column is None and aggregate.kind != "sessions":
            return None
        what = self._what(aggregate)
        if what not in self._places:
            self._places[what] = len(self.parts)
            self.parts.append(self._part(aggregate))
        return self._places[what]

    def _what(self, aggregate: WindowAggregate) -> tuple[str, str]:
        kind = "total" if aggregate.kind in ("sum", "mean", "rate") else str(aggregate.kind)
        if aggregate.is_placed:
            kind = f"{kind} of several, different: {aggregate.distinct}"
        return str(aggregate.column), f"{kind} by {aggregate.gap_us}" if aggregate.kind == "sessions" else kind

    def _part(self, aggregate: WindowAggregate) -> Part:
        if aggregate.kind == "sessions":
            return SessionsPart(aggregate.gap_us or 0)
        column = str(aggregate.column)
        kind = self.types[column]
        match aggregate.kind:
            case "sum" | "mean" | "rate":
                return TotalsPart(column, kind, squared=False)
            case "std":
                return TotalsPart(column, kind, squared=True)
            case "distinct_count":
                return DistinctPart(column, kind)
            case "percentile":
                return PercentilePart(column)
        if aggregate.is_placed:
            alike = [one.n for one in self.windows.aggregates if self._what(one) == self._what(aggregate)]
            is_last, n = aggregate.kind == "last", max(alike)
            return PlacedPart(column, kind, last=is_last, distinct=aggregate.distinct, n=n)
        return ExtremePart(column, kind, aggregate.kind)  # type: ignore[arg-type]
