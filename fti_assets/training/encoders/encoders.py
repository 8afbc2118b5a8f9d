"""Encoders: how a feature becomes numbers for one model. Declared, then fitted on the train part, then in the graph.

The fitted forms are records for the manifest: ``dataclasses.asdict`` gives their JSON, ``kind`` tells them apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fti_assets.core.manifest import Column
from fti_assets.core.types import ColumnType
from fti_assets.errors import ModelError
from fti_assets.training.encoders.declarations import Encoder, check_encoder, check_encoders
from fti_assets.training.encoders.kinds import buckets, categories, curves, custom, scales, targets, times, vectors
from fti_assets.training.encoders.kinds.buckets import Bucketize, FittedBucketize
from fti_assets.training.encoders.kinds.categories import (
    Embedding,
    FittedEmbedding,
    FittedHashing,
    FittedOneHot,
    FittedOrdinal,
    Hashing,
    OneHot,
    Ordinal,
)
from fti_assets.training.encoders.kinds.curves import (
    Clip,
    Cyclical,
    FittedClip,
    FittedCyclical,
    FittedLog1p,
    FittedQuantile,
    Log1p,
    Quantile,
)
from fti_assets.training.encoders.kinds.custom import CustomEncoder, FittedCustom
from fti_assets.training.encoders.kinds.scales import (
    FittedImpute,
    FittedMinMax,
    FittedPassthrough,
    FittedRobust,
    FittedStandardize,
    Impute,
    MinMax,
    Passthrough,
    Robust,
    Standardize,
)
from fti_assets.training.encoders.kinds.targets import FittedTarget, Target
from fti_assets.training.encoders.kinds.times import Age, CalendarParts, FittedAge, FittedCalendarParts
from fti_assets.training.encoders.kinds.vectors import FittedVector, Vector

FittedEncoder = (
    FittedStandardize
    | FittedPassthrough
    | FittedImpute
    | FittedMinMax
    | FittedRobust
    | FittedLog1p
    | FittedClip
    | FittedQuantile
    | FittedBucketize
    | FittedCyclical
    | FittedAge
    | FittedCustom
    | FittedCalendarParts
    | FittedOneHot
    | FittedEmbedding
    | FittedOrdinal
    | FittedHashing
    | FittedTarget
    | FittedVector
)


_FITS: Mapping[type, Any] = {
    Standardize: scales.fit_standardize,
    Passthrough: lambda encoder, values: FittedPassthrough(),
    OneHot: categories.fit_one_hot,
    Embedding: categories.fit_embedding,
    Impute: scales.fit_impute,
    MinMax: scales.fit_min_max,
    Robust: scales.fit_robust,
    Log1p: curves.fit_log1p,
    Clip: curves.fit_clip,
    Quantile: curves.fit_quantile,
    Bucketize: buckets.fit_bucketize,
    Cyclical: curves.fit_cyclical,
    Age: times.fit_age,
    CalendarParts: times.fit_calendar_parts,
    Ordinal: categories.fit_ordinal,
    Hashing: categories.fit_hashing,
    Target: targets.fit_target,
    Vector: vectors.fit_vector,
    CustomEncoder: custom.fit_custom,
}
"""What fits each encoder to its column's train rows."""
_OF_CATEGORIES = (OneHot, Embedding, Ordinal, Hashing, Target)


def fit(
    encoder: Encoder,
    values: np.ndarray,
    column_type: ColumnType,
    target: np.ndarray | None = None,
    name: str = "column",
    weight: np.ndarray | None = None,
) -> FittedEncoder:
    """Learn an encoder from the train part.

    Args:
        encoder: the declaration.
        values: ``[n]``, the canonical array of the column's train rows.
        column_type: the column's type.
        target: ``[n, c]``, the labels as numbers, for an encoder that learns from them.
        name: the column's, for errors.
        weight: ``[n]``, what each row counts for an encoder that learns from labels; all alike by default.

    Raises:
        DeclarationError: the encoder does not fit the column type.
        ModelError: it learns from labels, and there are none; a user's own cannot learn.

    >>> fit(Embedding(max_categories=1), np.array([7.0, 7.0, 9.0, np.nan]), "integer")
    FittedEmbedding(categories=(7,), kind='embedding')
    """
    check_encoder(Column(name, column_type), encoder)
    learn = _FITS[type(encoder)]
    if isinstance(encoder, Target):
        if target is None:
            raise ModelError("Target() learns from labels: give fit the train part's, [n, c]")
        fitted: FittedEncoder = learn(encoder, values, column_type, target, weight)
    elif isinstance(encoder, _OF_CATEGORIES):
        fitted = learn(encoder, values, column_type)
    elif isinstance(encoder, CustomEncoder):
        fitted = learn(encoder, values, name)
    else:
        fitted = learn(encoder, values)
    return fitted


def fit_encoders(
    features: Sequence[Column],
    encoders: Mapping[str, Encoder],
    columns: Mapping[str, np.ndarray],
    large: Mapping[str, int] | None = None,
    target: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> dict[str, FittedEncoder]:
    """Learn every feature's encoder from the train part's columns, in the features' order.

    ``large`` is a stored number of each column that has one of 2**53 and more, as it was before it became float64. ``weight`` is
    what each row counts in the mean labels of a category.

    >>> fit_encoders([Column("temp", "number")], {}, {"temp": np.array([0.0, 2.0])})
    {'temp': FittedStandardize(mean=1.0, std=1.0, dtype='float32', kind='standardize')}

    Raises:
        DeclarationError: as ``check_encoders``.
        ModelError: a whole number that is to be a category is so large that others are equal to it as float64; a number that is to be
            passed through is beyond float32; a vector has another length than its encoder says.
    """
    of_features = check_encoders(features, encoders)
    for column in features:
        encoder = of_features[column.name]
        if isinstance(encoder, _OF_CATEGORIES):
            categories.check_exact(column, columns[column.name], (large or {}).get(column.name))
        elif isinstance(encoder, Vector):
            vectors.check_length(column.name, encoder, columns[column.name])
        elif isinstance(encoder, Passthrough):
            _check_single(column, columns[column.name])
    return {
        column.name: fit(of_features[column.name], columns[column.name], column.type, target, column.name, weight)
        for column in features
    }


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
