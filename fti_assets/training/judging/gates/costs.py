"""Gates on what a challenger's graph costs: how long it takes to answer, and its size."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.concise import Concise
from fti_assets.core.manifest import GateVerdict
from fti_assets.core.times import duration
from fti_assets.errors import DeclarationError, ModelError, excerpt, one_of
from fti_assets.training.judging.graph_cost import GraphCost
from fti_assets.training.judging.scores import Scores

Over = Literal["median", "p95"]


@checked_arguments()
@dataclass(frozen=True, repr=False)
class GraphLatency(Concise):
    """Pass a challenger whose graph answers one row within a time limit, on the training machine.

    Up to 50 test rows are answered one by one, seven times each, and the fastest counts, so other load hardly matters. The time is that
    of the graph with its encoders, without look-ups and network. The reason also states its CPU time.

    Args:
        at_most: such as ``"2ms"`` or a ``timedelta``.
        over: whether the ``median`` or the 95th percentile of the rows (``p95``) is judged.

    Raises:
        DeclarationError: ``at_most`` is not a time above zero, or ``over`` is neither.

    >>> GraphLatency(at_most="2ms").name
    'graph_latency'
    """

    at_most: str | timedelta
    over: Over = "median"

    def __post_init__(self) -> None:
        if not duration(self.at_most, what="GraphLatency: at_most"):
            raise DeclarationError(
                f"GraphLatency(at_most={self.at_most!r}): no answer takes no time; write such as '2ms'"
            )
        if self.over not in get_args(Over):
            raise DeclarationError(f"GraphLatency(over={excerpt(self.over)}): it is {one_of(get_args(Over))}")

    @property
    def name(self) -> str:
        """``graph_latency``."""
        return "graph_latency"

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger's graph; the verdict's value and bound are milliseconds.

        Raises:
            ModelError: there is no graph to judge.
        """
        latency, bound = _graph(self.name, scores).latency, duration(self.at_most, what=self.name).total_seconds()
        seconds = latency.median if self.over == "median" else latency.p95
        passes = seconds <= bound
        reason = (
            f"one row takes {latency.median * 1000:.3g} ms (median; p95 {latency.p95 * 1000:.3g} ms, CPU time "
            f"{latency.cpu * 1000:.3g} ms), {'at most' if passes else 'more than'} {bound * 1000:g} ms"
        )
        return GateVerdict(self.name, passes, reason, value=seconds * 1000, bound=bound * 1000)


@checked_arguments()
@dataclass(frozen=True, repr=False)
class GraphSize(Concise):
    """Pass a challenger whose graph file is at most this large.

    Args:
        at_most: bytes, such as ``5_000_000``.

    Raises:
        DeclarationError: ``at_most`` is below 1.

    >>> GraphSize(at_most=5_000_000).name
    'graph_size'
    """

    at_most: int

    def __post_init__(self) -> None:
        if isinstance(self.at_most, bool) or not 1 <= self.at_most < 2**63:
            raise DeclarationError(f"GraphSize(at_most={excerpt(self.at_most)}): give bytes, 1 or more")

    @property
    def name(self) -> str:
        """``graph_size``."""
        return "graph_size"

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger's graph; the verdict's value and bound are bytes.

        Raises:
            ModelError: there is no graph to judge.
        """
        size = _graph(self.name, scores).bytes
        passes = size <= self.at_most
        reason = f"the graph has {size:,} bytes, {'at most' if passes else 'more than'} {self.at_most:,}"
        return GateVerdict(self.name, passes, reason, value=float(size), bound=float(self.at_most))


def _graph(gate: str, scores: Scores) -> GraphCost:
    if scores.graph is None:
        raise ModelError(f"the gate {gate} needs a graph, Scores(graph=...)")
    return scores.graph
