"""Encoders that bend a number: its logarithm, its bounds, its rank among train's, its place in a cycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import Column, GraphInput
from fti_assets.errors import DeclarationError, excerpt
from fti_assets.training.encoders.fitted import FittedNumber, FittedSingle
from fti_assets.training.encoders.kinds.scales import finite_singles, is_single, quantiles_of
from fti_assets.training.encoders.nodes import Nodes, Places

_MOVED = 1e-3
"""How far, in radians, float32 may move a number of train in its cycle."""


@checked_arguments()
@dataclass(frozen=True)
class Log1p:
    """The natural logarithm of ``1 + x``, for number, integer and boolean columns with a long tail, such as counts and prices.

    Missing values, infinite values and values of -1 and less, which have no logarithm, get the train mean of the logarithms, or 0
    if train has none.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Log1p(), np.array([0.0, 0.0, np.nan]), "number")
    FittedLog1p(mean=0.0, kind='log1p')
    """


@checked_arguments()
@dataclass(frozen=True)
class Clip:
    """Limit a number, integer or boolean column to a lower and an upper bound.

    The bounds are given, or are quantiles of train (winsorizing). An infinite value gets its bound. A missing value, or an infinite
    one without a bound, gets the train mean of the clipped values, or 0 if train has no value.

    Args:
        least: the lower bound.
        most: the upper bound.
        quantiles: two shares between 0 and 1; the train quantiles at these shares, by linear interpolation, are the bounds.

    Raises:
        DeclarationError: there is no bound, there are both bounds and quantiles, or the lower bound is above the upper.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Clip(quantiles=(0.0, 0.5)), np.array([1.0, 2.0, 9.0]), "number")
    FittedClip(least=1.0, most=2.0, mean=1.6666666666666667, kind='clip')
    """

    least: float | None = None
    most: float | None = None
    quantiles: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        bounds = [one for one in (self.least, self.most) if one is not None]
        if (self.quantiles is None) == (not bounds):
            raise DeclarationError(
                f"{excerpt(self)} has {'bounds and quantiles' if bounds else 'no bounds'}: give least=, most= or both, or "
                "quantiles=(0.01, 0.99)"
            )
        if not all(map(is_single, bounds)) or sorted(bounds) != bounds:
            raise DeclarationError(f"{excerpt(self)}: give finite bounds, the least not above the most")
        if self.quantiles is not None and not (
            len(self.quantiles) == 2 and 0 <= self.quantiles[0] < self.quantiles[1] <= 1
        ):
            raise DeclarationError(f"{excerpt(self)}: give two shares from 0 to 1, the lower one first")


@checked_arguments()
@dataclass(frozen=True)
class Quantile:
    """The quantile rank of a number in train: 0 at the train minimum and below, 0.5 at the median, 1 at the maximum and above.

    For number, integer and boolean columns of any shape. Between quantiles the rank is interpolated; a value that equals several
    quantiles gets the middle of them. A constant is its own minimum: it and lower values give 0, higher values give 1. A missing
    value gets 0.5. Source: scikit-learn's ``QuantileTransformer`` to the uniform distribution, without sampling.

    Args:
        quantiles: how many train quantiles are kept, at least 2 and at most the number of values.

    Raises:
        DeclarationError: ``quantiles`` is not a whole number from 2 to 10,000.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Quantile(3), np.array([1.0, 2.0, 9.0]), "number")
    FittedQuantile(values=(1.0, 2.0, 9.0), below=(0.0, 0.5, 1.0), above=(0.0, 0.5, 1.0), kind='quantile')
    """

    quantiles: int = 100

    def __post_init__(self) -> None:
        if isinstance(self.quantiles, bool) or not isinstance(self.quantiles, int) or not 2 <= self.quantiles <= 10_000:
            raise DeclarationError(f"Quantile({excerpt(self.quantiles)}): give a whole number from 2 to 10000")


@checked_arguments()
@dataclass(frozen=True)
class Cyclical:
    """Two columns, the sine and the cosine of ``2 pi x / period``: 23 o'clock is as close to 0 as 1 o'clock.

    For number and integer columns such as an hour (24), a weekday (7), a month (12) or an angle (360). Missing values, infinite
    values and values beyond float32 give 0 and 0, which no time does. Whole periods are subtracted from the float32 that the graph
    gets. If float32 rounding would move the angle of a train value by more than 0.001 radians, as with seconds since 1970, the
    feature gets its own float64 input.

    Args:
        period: the length of a cycle, in units of ``x``.

    Raises:
        DeclarationError: the period is not a finite number above 0.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Cyclical(24), np.array([6.0]), "number")
    FittedCyclical(period=24.0, dtype='float32', kind='cyclical')
    """

    period: float

    def __post_init__(self) -> None:
        if not is_single(self.period) or self.period <= 0:
            raise DeclarationError(
                f"Cyclical({excerpt(self.period)}): give a finite number above 0, such as 24 for hours"
            )


@dataclass(frozen=True)
class FittedLog1p(FittedNumber):
    """The train mean of the logarithms."""

    mean: float
    kind: Literal["log1p"] = "log1p"

    @classmethod
    def block(cls, nodes: Nodes, source: str, encoders: Sequence[FittedLog1p]) -> tuple[str, Places]:
        # In float64, where a small x is not lost beside the 1.
        sums = nodes.add("Add", [nodes.cast(source, np.float64), nodes.constant(1.0, np.float64)])
        logs = nodes.cast(nodes.add("Log", [sums]), np.float32)
        return nodes.finite_or(logs, [[one.mean for one in encoders]]), [[at] for at in range(len(encoders))]


@dataclass(frozen=True)
class FittedClip(FittedNumber):
    """The bounds, None where there is none, and the train mean of what was clipped."""

    least: float | None
    most: float | None
    mean: float
    kind: Literal["clip"] = "clip"

    @classmethod
    def block(cls, nodes: Nodes, source: str, encoders: Sequence[FittedClip]) -> tuple[str, Places]:
        low = nodes.constant([[-np.inf if one.least is None else one.least for one in encoders]], np.float32)
        high = nodes.constant([[np.inf if one.most is None else one.most for one in encoders]], np.float32)
        # Comparisons are false for NaN, which Max and Min need not keep.
        raised = nodes.add("Where", [nodes.add("Less", [source, low]), low, source])
        clipped = nodes.add("Where", [nodes.add("Greater", [raised, high]), high, raised])
        return nodes.finite_or(clipped, [[one.mean for one in encoders]]), [[at] for at in range(len(encoders))]


@dataclass(frozen=True)
class FittedQuantile(FittedNumber):
    """The different quantiles of train in ascending order, and the rank of each as seen from below and from above it."""

    values: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]
    kind: Literal["quantile"] = "quantile"

    @classmethod
    def block(cls, nodes: Nodes, source: str, encoders: Sequence[FittedQuantile]) -> tuple[str, Places]:
        # One by one: each compares a row with all its quantiles, and the features' tables side by side would take the memory of all.
        columns = [one._ranks(nodes, nodes.picked(source, [at])) for at, one in enumerate(encoders)]
        block = columns[0] if len(columns) == 1 else nodes.add("Concat", columns, axis=1)
        return block, [[at] for at in range(len(encoders))]

    def _ranks(self, nodes: Nodes, source: str) -> str:
        if not self.values:
            return nodes.finite_or(nodes.add("Mul", [source, nodes.constant(np.nan, np.float32)]), 0.5)
        values, below, above = (np.array(one, dtype=np.float64) for one in (self.values, self.below, self.above))
        at = (below + above) / 2
        at[0], at[-1] = 0.0, 1.0
        rise, width = np.append(below[1:] - above[:-1], 0.0), np.append(np.diff(values), 1.0)
        low, high = (nodes.constant(bound, np.float32) for bound in (values[0], values[-1]))
        raised = nodes.add("Where", [nodes.add("Less", [source, low]), low, source])
        is_above = nodes.add("Greater", [raised, high])
        inside = nodes.add("Where", [is_above, high, raised])
        if len(values) == 1:  # the difference is 0, and NaN of NaN
            step = nodes.add("Add", [nodes.add("Sub", [inside, low]), nodes.cast(is_above, np.float32)])
            return nodes.finite_or(step, 0.5)
        reached = nodes.add("Not", [nodes.add("Less", [inside, nodes.constant([values], np.float32)])])
        ones = nodes.constant(np.ones((len(values), 1)), np.float32)
        count = nodes.add("MatMul", [nodes.cast(reached, np.float32), ones])
        # NaN is below none: its place is the last, and NaN is what the sums below make of it.
        place = nodes.cast(nodes.add("Sub", [count, nodes.constant(1.0, np.float32)]), np.int64)
        double = nodes.cast(inside, np.float64)
        start, span, height, base, exact = (
            nodes.add("Gather", [nodes.constant(table, np.float64), place])
            for table in (values, width, rise, above, at)
        )
        beyond = nodes.add("Sub", [double, start])
        share = nodes.add("Div", [beyond, span])
        between = nodes.add("Add", [base, nodes.add("Mul", [share, height])])
        after = nodes.add("Greater", [beyond, nodes.constant(0.0, np.float64)])
        rank = nodes.add("Where", [after, between, nodes.add("Add", [exact, beyond])])
        return nodes.finite_or(nodes.cast(rank, np.float32), 0.5)


@dataclass(frozen=True)
class FittedCyclical(FittedNumber):
    """The period, and the type of the input in which train's numbers keep their place."""

    period: float
    dtype: Literal["float32", "float64"] = "float32"
    kind: Literal["cyclical"] = "cyclical"

    def in_graph(self) -> FittedNumber | FittedSingle:
        return DoubleCyclical(self) if self.dtype == "float64" else self

    def names(self, feature: str) -> list[str]:
        return [f"{feature}:sin", f"{feature}:cos"]

    @classmethod
    def block(cls, nodes: Nodes, source: str, encoders: Sequence[FittedCyclical]) -> tuple[str, Places]:
        # Whole turns are taken away in float64: a float32 sine of a large angle is noise.
        turns = nodes.add(
            "Div", [nodes.cast(source, np.float64), nodes.constant([[one.period for one in encoders]], np.float64)]
        )
        fraction = nodes.add("Sub", [turns, nodes.add("Floor", [turns])])
        angle = nodes.cast(nodes.add("Mul", [fraction, nodes.constant(2 * np.pi, np.float64)]), np.float32)
        waves = nodes.add("Concat", [nodes.add("Sin", [angle]), nodes.add("Cos", [angle])], axis=1)
        return nodes.finite_or(waves, 0.0), [[at, len(encoders) + at] for at in range(len(encoders))]


@dataclass(frozen=True)
class DoubleCyclical(FittedSingle):
    """A place in a cycle whose whole turns are taken away before float32 rounds it."""

    encoder: FittedCyclical

    def source(self, column: Column) -> GraphInput:
        return GraphInput(f"double.{column.name}", "float64", (column.name,))

    def names(self, feature: str) -> list[str]:
        return self.encoder.names(feature)

    def nodes(self, nodes: Nodes, source: GraphInput) -> str:
        # What is beyond float32 is missing to every encoder of numbers, and has no place in a cycle.
        kept = nodes.cast(nodes.finite_or(nodes.cast(source.name, np.float32), np.nan), np.float64)
        lost = nodes.add("Sub", [kept, kept])
        waves, _ = FittedCyclical.block(nodes, nodes.add("Add", [source.name, lost]), [self.encoder])
        return waves


def fit_log1p(encoder: Log1p, values: np.ndarray) -> FittedLog1p:
    """The mean of train's logarithms."""
    numbers = finite_singles(values)
    logs = np.log1p(numbers[numbers > -1])
    return FittedLog1p(float(logs.mean()) if len(logs) else 0.0)


def fit_clip(encoder: Clip, values: np.ndarray) -> FittedClip:
    """The bounds, of train where they are quantiles, and the mean between them."""
    numbers = finite_singles(values)
    least, most = encoder.least, encoder.most
    if encoder.quantiles is not None:
        least, most = np.quantile(numbers, encoder.quantiles).tolist() if len(numbers) else (None, None)
    # What is beyond float32 in train is at its bound, as in the graph.
    present = values[~np.isnan(values)]
    clipped = np.clip(present, least, most) if least is not None or most is not None else present
    clipped = finite_singles(clipped)
    return FittedClip(
        None if least is None else float(least),
        None if most is None else float(most),
        float(clipped.mean()) if len(clipped) else 0.0,
    )


def fit_quantile(encoder: Quantile, values: np.ndarray) -> FittedQuantile:
    """The quantiles of train, equal ones as one."""
    numbers = finite_singles(values)
    if not len(numbers):
        return FittedQuantile((), (), ())
    steps = max(2, min(encoder.quantiles, len(numbers))) - 1
    ranks = np.arange(steps + 1) / steps
    # As float32, in which the graph compares: two that are one there are one here. Interpolation may step back by a rounding.
    with np.errstate(over="ignore", under="ignore"):
        quantiles = np.maximum.accumulate(quantiles_of(numbers, steps)).astype(np.float32).astype(np.float64)
    distinct, first = np.unique(quantiles, return_index=True)
    last = np.append(first[1:], len(quantiles)) - 1
    return FittedQuantile(tuple(distinct.tolist()), tuple(ranks[first].tolist()), tuple(ranks[last].tolist()))


def fit_cyclical(encoder: Cyclical, values: np.ndarray) -> FittedCyclical:
    """The period as declared, and float64 where train's numbers lose their place as float32."""
    with np.errstate(over="ignore", under="ignore"):
        singles = values.astype(np.float32)
    is_within = np.isfinite(singles)
    moved = np.abs(values[is_within] - singles[is_within].astype(np.float64))
    is_lost = 2 * np.pi * float(moved.max(initial=0.0)) > _MOVED * encoder.period
    return FittedCyclical(float(encoder.period), "float64" if is_lost else "float32")
