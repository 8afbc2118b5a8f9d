"""Encoders that move and stretch a number: standardize, min-max, robust, impute, and leaving it as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import Column, GraphInput
from fti_assets.errors import DeclarationError, excerpt
from fti_assets.training.encoders.fitted import FittedNumber, FittedSingle
from fti_assets.training.encoders.nodes import Nodes, Places

_MOST = float(np.finfo(np.float32).max)
_STRATEGIES = ("mean", "median", "most_frequent", "constant")


@checked_arguments()
@dataclass(frozen=True)
class Standardize:
    """Subtract the train mean and divide by the train standard deviation; a missing value gets the train mean.

    For number, integer and boolean columns. A constant encodes to 0. A value beyond float32 counts as missing.
    Source: the z-score as in scikit-learn's ``StandardScaler`` (population deviation) after ``SimpleImputer``.

    Args:
        dtype: "float32" joins the feature with all others in one input. "float64" gives it its own input, from which the mean is
            subtracted before it becomes a float32: for numbers whose differences are small relative to their size, such as seconds
            since 1970 or ids from 2**24 on.

    Raises:
        DeclarationError: ``dtype`` is neither.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Standardize(), np.array([1.0, 3.0, np.nan]), "number")
    FittedStandardize(mean=2.0, std=1.0, dtype='float32', kind='standardize')
    """

    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "float64"):
            raise DeclarationError(f"Standardize(dtype={excerpt(self.dtype)}): give 'float32' or 'float64'")


@checked_arguments()
@dataclass(frozen=True)
class Passthrough:
    """Pass a number, integer or boolean column to the model unchanged, with NaN for missing values (for trees).

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Passthrough(), np.array([1.0, np.nan]), "number")
    FittedPassthrough(kind='passthrough')
    """


@checked_arguments()
@dataclass(frozen=True)
class Impute:
    """Pass on a number, integer or boolean column unchanged, with missing values replaced by one value from train.

    If the train part has no value, missing values become 0. A value beyond float32 counts as missing. Source: scikit-learn's
    ``SimpleImputer``; among equally frequent values the smallest is used.

    Args:
        strategy: ``"mean"``, ``"median"``, ``"most_frequent"`` or ``"constant"``.
        value: the constant.

    Raises:
        DeclarationError: the strategy is unknown, or there is a value without ``"constant"`` or ``"constant"`` without a value.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Impute("median"), np.array([1.0, 3.0, 8.0, np.nan]), "number")
    FittedImpute(value=3.0, kind='impute')
    """

    strategy: Literal["mean", "median", "most_frequent", "constant"] = "mean"
    value: float | None = None

    def __post_init__(self) -> None:
        if self.strategy not in _STRATEGIES:
            raise DeclarationError(f"Impute({excerpt(self.strategy)}): give one of {', '.join(map(repr, _STRATEGIES))}")
        if (self.strategy == "constant") != (self.value is not None):
            raise DeclarationError(
                f"Impute({self.strategy!r}, value={excerpt(self.value)}): a value belongs to 'constant', and 'constant' needs "
                "one, as in fti.Impute('constant', value=0)"
            )
        if self.value is not None and not is_single(self.value):
            raise DeclarationError(f"Impute('constant', value={excerpt(self.value)}): give a finite number of float32")


@checked_arguments()
@dataclass(frozen=True)
class MinMax:
    """Subtract the train minimum and divide by the train range: 0 to 1 in train, outside this range for values outside train's.

    For number, integer and boolean columns. A missing value gets the position of the train mean. A constant encodes to 0. A value,
    or its distance from the minimum, that is beyond float32 counts as missing. Source: scikit-learn's ``MinMaxScaler``.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(MinMax(), np.array([1.0, 2.0, 6.0, np.nan]), "number")
    FittedMinMax(minimum=1.0, range=5.0, middle=0.4, kind='min_max')
    """


@checked_arguments()
@dataclass(frozen=True)
class Robust:
    """Subtract the train median and divide by the distance between the train quartiles; a missing value gets the median, so 0.

    For number, integer and boolean columns with outliers. If half of train is one value, the divisor is 1. A value, or its distance
    from the median, that is beyond float32 counts as missing. Source: scikit-learn's ``RobustScaler``, quartiles by linear
    interpolation.

    >>> from fti_assets.training.encoders.encoders import fit
    >>> fit(Robust(), np.array([1.0, 2.0, 3.0, 4.0, 100.0]), "number")
    FittedRobust(median=3.0, iqr=2.0, kind='robust')
    """


class FittedScale(FittedNumber):
    """``(x - shift) / divisor``, and ``missing`` where that is not finite; None keeps what is not."""

    @property
    def shift(self) -> float:
        return 0.0

    @property
    def divisor(self) -> float:
        return 1.0

    @property
    def missing(self) -> float | None:
        return 0.0

    @classmethod
    def together(cls) -> type[FittedNumber]:
        return FittedScale

    @classmethod
    def block(cls, nodes: Nodes, source: str, encoders: Sequence[FittedScale]) -> tuple[str, Places]:
        places = [[position] for position in range(len(encoders))]
        fills = [one.missing for one in encoders]
        if all(fill is None for fill in fills):
            return source, places
        quotient = source
        if any(one.shift != 0.0 or one.divisor != 1.0 for one in encoders):
            difference = nodes.add("Sub", [source, nodes.constant([[one.shift for one in encoders]], np.float32)])
            quotient = nodes.add("Div", [difference, nodes.constant([[one.divisor for one in encoders]], np.float32)])
        keep = nodes.add("Less", [nodes.add("Abs", [quotient]), nodes.constant(np.inf, np.float32)])
        if None in fills:
            keep = nodes.add("Or", [keep, nodes.constant([[fill is None for fill in fills]], np.bool_)])
        values = [fill or 0.0 for fill in fills]
        # Where all get 0 it is one constant, as in graphs of earlier releases.
        others = nodes.constant([values] if any(values) else 0.0, np.float32)
        return nodes.add("Where", [keep, quotient, others]), places


@dataclass(frozen=True)
class FittedStandardize(FittedScale):
    """The train mean and standard deviation, in the column's unit; the deviation is never 0."""

    mean: float
    std: float
    dtype: Literal["float32", "float64"] = "float32"
    kind: Literal["standardize"] = "standardize"

    def in_graph(self) -> FittedNumber | FittedSingle:
        return DoubleStandardize(self) if self.dtype == "float64" else self

    @property
    def shift(self) -> float:
        return self.mean

    @property
    def divisor(self) -> float:
        return self.std


@dataclass(frozen=True)
class FittedPassthrough(FittedScale):
    """Nothing was learned."""

    kind: Literal["passthrough"] = "passthrough"

    @property
    def missing(self) -> float | None:
        return None


@dataclass(frozen=True)
class FittedImpute(FittedScale):
    """What stands where a value is missing."""

    value: float
    kind: Literal["impute"] = "impute"

    @property
    def missing(self) -> float | None:
        return self.value


@dataclass(frozen=True)
class FittedMinMax(FittedScale):
    """The train minimum and range, which is never 0, and where the train mean lies between them."""

    minimum: float
    range: float
    middle: float
    kind: Literal["min_max"] = "min_max"

    @property
    def shift(self) -> float:
        return self.minimum

    @property
    def divisor(self) -> float:
        return self.range

    @property
    def missing(self) -> float | None:
        return self.middle


@dataclass(frozen=True)
class FittedRobust(FittedScale):
    """The train median and the distance between the train quartiles, which is never 0."""

    median: float
    iqr: float
    kind: Literal["robust"] = "robust"

    @property
    def shift(self) -> float:
        return self.median

    @property
    def divisor(self) -> float:
        return self.iqr


@dataclass(frozen=True)
class DoubleStandardize(FittedSingle):
    """A number that is standardized in float64: what is left after the mean is small enough for float32."""

    encoder: FittedStandardize

    def source(self, column: Column) -> GraphInput:
        return GraphInput(f"double.{column.name}", "float64", (column.name,))

    def names(self, feature: str) -> list[str]:
        return [feature]

    def nodes(self, nodes: Nodes, source: GraphInput) -> str:
        difference = nodes.add("Sub", [source.name, nodes.constant([[self.encoder.mean]], np.float64)])
        quotient = nodes.add("Div", [difference, nodes.constant([[self.encoder.std]], np.float64)])
        return nodes.finite_or(nodes.cast(quotient, np.float32), 0.0)


def is_single(value: object) -> bool:
    """Whether something is a number that is finite as float32."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return -_MOST <= value <= _MOST


def finite_singles(values: np.ndarray) -> np.ndarray:
    """The finite ones of ``[n]`` numbers as the graph sees them, which is float32, in float64."""
    with np.errstate(over="ignore", under="ignore"):
        numbers = values.astype(np.float32).astype(np.float64)
    return np.asarray(numbers[np.isfinite(numbers)])


def quantiles_of(numbers: np.ndarray, parts: int) -> np.ndarray:
    """The quantiles 0, 1/parts, ... 1 of numbers, by linear interpolation; one that is a value is that value to the last digit.

    >>> quantiles_of(np.array([5.0, 1.0, 3.0]), 4).tolist()
    [1.0, 2.0, 3.0, 4.0, 5.0]
    """
    ordered = np.sort(numbers)
    below, remainder = np.divmod(np.arange(parts + 1) * (len(ordered) - 1), parts)
    above = np.minimum(below + 1, len(ordered) - 1)
    return np.asarray(ordered[below] + (ordered[above] - ordered[below]) * (remainder / parts))


def divisor_of(spread: float) -> float:
    """What to divide by in float32: 1 instead of what is 0 there, and the greatest float32 instead of what is beyond."""
    with np.errstate(over="ignore", under="ignore"):
        single = np.float32(spread)
    if single == 0:
        return 1.0
    return float(spread) if np.isfinite(single) else float(np.finfo(np.float32).max)


def fit_standardize(encoder: Standardize, values: np.ndarray) -> FittedStandardize:
    """The mean and deviation of train."""
    dtype = encoder.dtype
    # The graph sees float32, so what it will see is what is averaged, in float64.
    with np.errstate(over="ignore", under="ignore"):
        numbers = values.astype(dtype).astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return FittedStandardize(0.0, 1.0, dtype)
    if numbers.min() == numbers.max():  # rounding would give a constant a tiny deviation
        return FittedStandardize(float(numbers[0]), 1.0, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(numbers.mean()), float(numbers.std())
    if not (np.isfinite(mean) and np.isfinite(std)):  # numbers of which the squares are none
        return FittedStandardize(0.0, 1.0, dtype)
    # Judged in the graph's own type, where a tiny deviation is 0 and would divide by nothing.
    return FittedStandardize(mean, std if np.dtype(dtype).type(std) > 0 else 1.0, dtype)


def fit_impute(encoder: Impute, values: np.ndarray) -> FittedImpute:
    """What train puts where a value is missing."""
    if encoder.value is not None:
        return FittedImpute(float(encoder.value))
    numbers = finite_singles(values)
    if not len(numbers):
        return FittedImpute(0.0)
    if encoder.strategy == "most_frequent":
        distinct, counts = np.unique(numbers, return_counts=True)
        return FittedImpute(float(distinct[counts.argmax()]))
    return FittedImpute(float(numbers.mean() if encoder.strategy == "mean" else np.median(numbers)))


def fit_min_max(encoder: MinMax, values: np.ndarray) -> FittedMinMax:
    """The least and the greatest of train."""
    numbers = finite_singles(values)
    if not len(numbers):
        return FittedMinMax(0.0, 1.0, 0.0)
    least, reach = float(numbers.min()), divisor_of(float(numbers.max() - numbers.min()))
    return FittedMinMax(least, reach, float((numbers.mean() - least) / reach))


def fit_robust(encoder: Robust, values: np.ndarray) -> FittedRobust:
    """The quartiles of train."""
    numbers = finite_singles(values)
    if not len(numbers):
        return FittedRobust(0.0, 1.0)
    low, median, high = np.percentile(numbers, [25.0, 50.0, 75.0]).tolist()
    return FittedRobust(median, divisor_of(high - low))
