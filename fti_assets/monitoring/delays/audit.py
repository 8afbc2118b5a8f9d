"""A delay audit: what is declared of a group's delay, what was measured, what would be honest, and what the optimism was worth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fti_assets.monitoring.delays.delays import Delays, Proposal
from fti_assets.monitoring.delays.price import Price


@dataclass(frozen=True)
class DelayAudit:
    """A group's delay, declared and measured.

    Attributes:
        table_name: the group's table.
        says: what is declared, in words.
        serving_delay: as it is declared; None if a column says when rows are available.
        delays: what was measured.
        proposal: a delay that would have been honest; None if nothing can be judged.
        prices: what the proposal costs the models whose freshness curves are there.
    """

    table_name: str
    says: str
    serving_delay: timedelta | None
    delays: Delays
    proposal: Proposal | None
    prices: tuple[Price, ...] = ()

    def plain(self) -> dict[str, Any]:
        """It as JSON has it, lengths of time in seconds."""
        delays, proposal = self.delays, self.proposal
        return {
            "table": self.table_name,
            "declared": self.says,
            "serving_delay_s": _seconds(self.serving_delay),
            "judged": delays.judged,
            "late": delays.late,
            "late_share": delays.late_share,
            "backfilled": delays.backfilled,
            "unknown": delays.unknown,
            "after_event_s": {f"{one:g}": _seconds(length) for one, length in delays.after_event.items()},
            "after_available_s": {f"{one:g}": _seconds(length) for one, length in delays.after_available.items()},
            "proposal": None
            if proposal is None
            else {
                "of": proposal.of,
                "quantile": proposal.quantile,
                "measured_s": _seconds(proposal.measured),
                "delay_s": _seconds(proposal.delay),
                "declared_holds": proposal.declared_holds,
            },
            "prices": [
                {
                    "model": price.model,
                    "metric": price.metric,
                    "delay_s": _seconds(price.delay),
                    "change": price.change,
                    "is_beyond": price.is_beyond,
                }
                for price in self.prices
            ],
        }


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()
