"""Encoders: how a feature becomes numbers for one model. Declared, then fitted on the train part, then in the graph.

The fitted forms are records for the manifest: ``dataclasses.asdict`` gives their JSON, ``kind`` tells them apart.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.columns import whole_numbers
from fti_assets.core.manifest import NUMBERS, Column
from fti_assets.core.types import EXACT, KEY_TYPES, MISSING_INTEGER, NUMERIC, ColumnType
from fti_assets.errors import DeclarationError, ModelError, excerpt, one_of

DENSE = "dense"
"""The encoded tensor that holds every feature without an Embedding, float32 ``[n, dense_dim]``."""


@checked_arguments()
@dataclass(frozen=True)
class Standardize:
    """Subtract the train mean and divide by the train standard deviation; what is missing gets the train mean.

    For number, integer and boolean columns. A constant encodes to 0. A value beyond float32 counts as missing.
    Source: the z-score as in scikit-learn's ``StandardScaler`` (population deviation) after ``SimpleImputer``.

    Args:
        dtype: "float32" joins the feature with all others in one input. "float64" gives it an input of its own, from which the
            mean is subtracted before it becomes a float32: for numbers whose differences are small beside their size, such
            as seconds since 1970 or ids from 2**24 on.

    Raises:
        DeclarationError: ``dtype`` is neither.

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
    """Give a number, integer or boolean column to the model as it is, NaN where it is missing (for trees).

    >>> fit(Passthrough(), np.array([1.0, np.nan]), "number")
    FittedPassthrough(kind='passthrough')
    """


@checked_arguments()
@dataclass(frozen=True)
class OneHot:
    """One 0/1 column a category of a text, integer or boolean column; unknown and missing give all zeros.

    The columns stand in the order of the categories' names (whole numbers ascending), so that a retrained model keeps
    them in place. Source: one-of-K coding, as scikit-learn's ``OneHotEncoder(handle_unknown="ignore")``.

    Args:
        max_categories: keep this many categories, the most frequent in train, ties by name; by default all.

    Raises:
        DeclarationError: ``max_categories`` is not a whole number above 0.

    >>> fit(OneHot(), np.array(["JFK", "EWR", "JFK", ""], dtype=object), "text").categories
    ('EWR', 'JFK')
    """

    max_categories: int | None = None

    def __post_init__(self) -> None:
        _check_max_categories(self.max_categories, "OneHot")


@checked_arguments()
@dataclass(frozen=True)
class Embedding:
    """An integer code for a text, integer or boolean column: 1..n by train frequency, then name; unknown and missing 0.

    The model's table needs ``n + 1`` rows: ``data.cardinalities[feature]``.
    Source: entity embeddings of categorical variables (Guo and Berkhahn, 2016).

    Args:
        max_categories: keep this many categories, the most frequent in train, ties by name; by default all.

    Raises:
        DeclarationError: ``max_categories`` is not a whole number above 0.

    >>> fit(Embedding(), np.array(["UA", "AA", "UA", ""], dtype=object), "text").categories
    ('UA', 'AA')
    """

    max_categories: int | None = None

    def __post_init__(self) -> None:
        _check_max_categories(self.max_categories, "Embedding")


@dataclass(frozen=True)
class FittedStandardize:
    """The train mean and standard deviation, in the column's unit; the deviation is never 0."""

    mean: float
    std: float
    dtype: Literal["float32", "float64"] = "float32"
    kind: Literal["standardize"] = "standardize"


@dataclass(frozen=True)
class FittedPassthrough:
    """Nothing was learned."""

    kind: Literal["passthrough"] = "passthrough"


@dataclass(frozen=True)
class FittedOneHot:
    """The categories in the order of their columns."""

    categories: tuple[str, ...] | tuple[int, ...]
    kind: Literal["one_hot"] = "one_hot"


@dataclass(frozen=True)
class FittedEmbedding:
    """The categories in the order of their codes, the first is 1."""

    categories: tuple[str, ...] | tuple[int, ...]
    kind: Literal["embedding"] = "embedding"


Encoder = Standardize | Passthrough | OneHot | Embedding
FittedEncoder = FittedStandardize | FittedPassthrough | FittedOneHot | FittedEmbedding

_FITS: dict[type, tuple[ColumnType, ...]] = {
    Standardize: NUMERIC,
    Passthrough: NUMERIC,
    OneHot: KEY_TYPES,
    Embedding: KEY_TYPES,
}


def default_encoder(column: Column) -> Encoder:
    """The encoder of a feature that was given none: ``Standardize()`` for numbers, integers and booleans.

    >>> default_encoder(Column("temp", "number"))
    Standardize(dtype='float32')

    Raises:
        DeclarationError: the feature is text, which has no default, or a timestamp, which cannot be encoded.
    """
    if column.type == "text":
        raise DeclarationError(
            f"feature {column.name!r} is text and has no encoder: choose fti.OneHot() for few categories or "
            f"fti.Embedding() for many, encoders={{{column.name!r}: fti.OneHot()}}"
        )
    _reject_timestamp(column)
    return Standardize()


def check_encoders(features: Sequence[Column], encoders: Mapping[str, Encoder]) -> dict[str, Encoder]:
    """Give every feature of a view its encoder, in the view's order, the declared one or the default.

    >>> check_encoders([Column("temp", "number"), Column("origin", "text")], {"origin": OneHot()})
    {'temp': Standardize(dtype='float32'), 'origin': OneHot(max_categories=None)}

    Raises:
        DeclarationError: no features, a repeated one, an encoder for a name that is no feature, an encoder that does
            not fit its column's type, text without an encoder, a timestamp, or an Embedding under a reserved name.
    """
    names = [column.name for column in features]
    if not names:
        raise DeclarationError("the view has no features: give it at least one")
    duplicates = [name for name, times in Counter(names).items() if times > 1]
    if duplicates:
        raise DeclarationError(
            f"two features are called {one_of(duplicates)}: rename one, or prefix its group's columns"
        )
    for name in encoders:
        if name not in names:
            raise DeclarationError(f"there is an encoder for {name!r}, which is none of the features {one_of(names)}")
    of_features = {column.name: encoders.get(column.name) or default_encoder(column) for column in features}
    for column in features:
        check_encoder(column, of_features[column.name])
    return of_features


def check_encoder(column: Column, encoder: Encoder) -> None:
    """Check that an encoder can encode a feature.

    Raises:
        DeclarationError: it cannot, or an Embedding's feature is called ``dense`` or ``numbers``.
    """
    _reject_timestamp(column)
    fitting = _FITS.get(type(encoder))
    if fitting is None:
        raise DeclarationError(
            f"the encoder of {column.name!r} is {encoder!r}: use fti.Standardize(), fti.Passthrough(), fti.OneHot() or "
            "fti.Embedding()"
        )
    if column.type not in fitting:
        advice = [f"fti.{kind.__name__}()" for kind, types in _FITS.items() if column.type in types]
        raise DeclarationError(
            f"{type(encoder).__name__} does not fit {column.name!r}, a {column.type} column: use {' or '.join(advice)}"
        )
    if isinstance(encoder, Embedding) and column.name in (DENSE, NUMBERS):
        raise DeclarationError(
            f"the feature {column.name!r} cannot have an Embedding: the graph uses that name itself; rename the feature"
        )


def fit(encoder: Encoder, values: np.ndarray, column_type: ColumnType) -> FittedEncoder:
    """Learn an encoder from the train part.

    Args:
        encoder: the declaration.
        values: ``[n]``, the canonical array of the column's train rows.
        column_type: the column's type.

    Raises:
        DeclarationError: the encoder does not fit the column type.

    >>> fit(Embedding(max_categories=1), np.array([7.0, 7.0, 9.0, np.nan]), "integer")
    FittedEmbedding(categories=(7,), kind='embedding')
    """
    check_encoder(Column("column", column_type), encoder)
    if isinstance(encoder, Standardize):
        return _fit_standardize(values, encoder.dtype)
    if isinstance(encoder, Passthrough):
        return FittedPassthrough()
    by_frequency = _categories(values, column_type)[: encoder.max_categories]
    if isinstance(encoder, Embedding):
        return FittedEmbedding(by_frequency)
    # Sorted by name: with the same categories the columns stand in the same order whatever their frequencies.
    return FittedOneHot(tuple(sorted(by_frequency)))  # type: ignore[arg-type]


def fit_encoders(
    features: Sequence[Column],
    encoders: Mapping[str, Encoder],
    columns: Mapping[str, np.ndarray],
    large: Mapping[str, int] | None = None,
) -> dict[str, FittedEncoder]:
    """Learn every feature's encoder from the train part's columns, in the features' order.

    ``large`` is a stored number of each column that has one of 2**53 and more, as it was before it became float64.

    >>> fit_encoders([Column("temp", "number")], {}, {"temp": np.array([0.0, 2.0])})
    {'temp': FittedStandardize(mean=1.0, std=1.0, dtype='float32', kind='standardize')}

    Raises:
        DeclarationError: as ``check_encoders``.
        ModelError: a whole number that is to be a category is so large that others are equal to it as float64; a number that is to be
            passed through is beyond float32.
    """
    of_features = check_encoders(features, encoders)
    for column in features:
        if isinstance(of_features[column.name], OneHot | Embedding):
            _check_exact(column, columns[column.name], (large or {}).get(column.name))
        elif isinstance(of_features[column.name], Passthrough):
            _check_single(column, columns[column.name])
    return {column.name: fit(of_features[column.name], columns[column.name], column.type) for column in features}


def _check_exact(column: Column, values: np.ndarray, original: int | None) -> None:
    if column.type != "integer" or not (beyond := np.abs(values) >= EXACT).any():
        return
    example = int(values[beyond][0]) if original is None else original
    raise ModelError(
        f"feature {column.name!r} has categories such as {example}: whole numbers of 2**53 and more cannot be told "
        "from their neighbours once they are numbers of a model. Store the column as text in a new version of its group, or, if it "
        "is a quantity, as a smaller number, such as the distance from the smallest"
    )


def _check_single(column: Column, values: np.ndarray) -> None:
    with np.errstate(
        over="ignore"
    ):  # by the cast itself, which rounds what is just above the largest float32 down to it
        beyond = np.isfinite(values) & np.isinf(values.astype(np.float32))
    if beyond.any():
        raise ModelError(
            f"feature {column.name!r} has {int(beyond.sum())} of {len(values)} train values beyond 3.4e38, such as {values[beyond][0]:g}, "
            "which are infinite as the float32 that fti.Passthrough() gives a model: scale the column in a new version of its group, or "
            f"encoders={{{column.name!r}: fti.Standardize(dtype='float64')}}"
        )


def _fit_standardize(values: np.ndarray, dtype: Literal["float32", "float64"]) -> FittedStandardize:
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


def _categories(values: np.ndarray, column_type: ColumnType) -> tuple[str, ...] | tuple[int, ...]:
    if column_type == "text":
        counts = Counter(value for value in values.tolist() if value != "")
        return tuple(sorted(counts, key=lambda name: (-counts[name], name)))
    numbers, times = np.unique(whole_numbers(values), return_counts=True)
    order = np.lexsort((numbers, -times))
    return tuple(int(number) for number in numbers[order] if number != MISSING_INTEGER)


def _reject_timestamp(column: Column) -> None:
    if column.type == "timestamp":
        raise DeclarationError(
            f"feature {column.name!r} is a timestamp, which no encoder takes: give the model numbers made from it with "
            "an on-demand function, such as the hour of day"
        )


def _check_max_categories(value: object, encoder: str) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise DeclarationError(
            f"{encoder}(max_categories={excerpt(value)}): give a whole number above 0, or None for all"
        )
