"""Platt's calibration as nodes of a graph: a line of the log odds, so that what adds up to them adds up to the calibrated ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fti_assets.stores.models.graphs.whole_graph import WholeGraph, WholeNode


class Line(NamedTuple):
    """Calibrated log odds are ``slope`` times those of ``source`` plus ``intercept``, each a number, or of several labels ``[k]``."""

    source: str
    slope: np.ndarray
    intercept: np.ndarray


def line_before(whole: WholeGraph, producers: Mapping[str, WholeNode], output: str) -> Line | None:
    """The line that ends in a graph's output; None where another thing does.

    It is read by its shape, node for node as ``training/calibration/nodes.py`` writes it.

    Args:
        whole: the graph.
        producers: the node that gives each value.
        output: the name of the output.
    """
    walk = _Walk(whole, producers)
    try:
        return walk.line(walk.before(output, "Cast")[0])
    except _OtherNode:
        return None


class _OtherNode(Exception):
    """The nodes are other ones."""


class _Walk:
    def __init__(self, whole: WholeGraph, producers: Mapping[str, WholeNode]) -> None:
        self._whole, self._producers = whole, producers

    def before(self, name: str, op: str) -> list[str]:
        """What the node takes that gives a value."""
        node = self._producers.get(name)
        if node is None or node.op != op:
            raise _OtherNode
        return node.inputs

    def number(self, name: str) -> float:
        value = self._whole.constant(name)
        if value is None or value.size != 1:
            raise _OtherNode
        return float(value.reshape(-1)[0])

    def line(self, name: str) -> Line:
        """That of one probability, or of several labels side by side."""
        if name in self._producers and self._producers[name].op == "Concat":
            lines = [self._of_one(one) for one in self._producers[name].inputs]
            picked = [self.before(one.source, "Gather") for one in lines]
            places = [self.number(place) for _, place in picked]
            if {source for source, _ in picked} != {picked[0][0]} or places != list(range(len(lines))):
                raise _OtherNode
            slopes, intercepts = (np.array([getattr(one, kind) for one in lines]) for kind in ("slope", "intercept"))
            return Line(picked[0][0], slopes, intercepts)
        return self._of_one(name)

    def _of_one(self, name: str) -> Line:
        one, denominator = self.before(name, "Div")
        other_one, power = self.before(denominator, "Add")
        scaled, intercept = self.before(self.before(power, "Exp")[0], "Sub")
        odds, negative_slope = self.before(scaled, "Mul")
        log, other_log = self.before(odds, "Sub")
        inside = self.before(log, "Log")[0]
        third_one, same = self.before(self.before(other_log, "Log")[0], "Sub")
        if same != inside or {self.number(each) for each in (one, other_one, third_one)} != {1.0}:
            raise _OtherNode
        raised = self.before(inside, "Where")[2]
        source = self.before(self.before(raised, "Where")[2], "Cast")[0]
        return Line(source, np.array(-self.number(negative_slope)), np.array(self.number(intercept)))
