"""Encoders: how a feature becomes numbers for one model. Declared, then fitted on the train part, then in the graph.

The fitted forms are records for the manifest: ``dataclasses.asdict`` gives their JSON, ``kind`` tells them apart.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, NamedTuple, get_args

import numpy as np

from fti_assets.core.manifest import NUMBERS, Column
from fti_assets.core.types import KEY_TYPES, NUMERIC, ColumnType
from fti_assets.errors import DeclarationError, ModelError, one_of
from fti_assets.training.encoders import buckets, categories, curves, custom, scales, targets, times, vectors
from fti_assets.training.encoders.buckets import Bucketize, FittedBucketize
from fti_assets.training.encoders.categories import (
    Embedding,
    FittedEmbedding,
    FittedHashing,
    FittedOneHot,
    FittedOrdinal,
    Hashing,
    OneHot,
    Ordinal,
)
from fti_assets.training.encoders.curves import (
    Clip,
    Cyclical,
    FittedClip,
    FittedCyclical,
    FittedLog1p,
    FittedQuantile,
    Log1p,
    Quantile,
)
from fti_assets.training.encoders.custom import CustomEncoder, FittedCustom
from fti_assets.training.encoders.scales import (
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
from fti_assets.training.encoders.targets import FittedTarget, Target
from fti_assets.training.encoders.times import Age, CalendarParts, FittedAge, FittedCalendarParts
from fti_assets.training.encoders.vectors import FittedVector, Vector

__all__ = [
    "DENSE",
    "Encoder",
    "FittedEncoder",
    "check_encoder",
    "check_encoders",
    "default_encoder",
    "fit",
    "fit_encoders",
    "loses_nulls",
    "needs_target",
]

DENSE = "dense"
"""The encoded tensor that holds every feature without a code of its own, float32 ``[n, dense_dim]``."""

Encoder = (
    Standardize
    | Passthrough
    | Impute
    | MinMax
    | Robust
    | Log1p
    | Clip
    | Quantile
    | Bucketize
    | Cyclical
    | Age
    | CustomEncoder
    | CalendarParts
    | OneHot
    | Embedding
    | Ordinal
    | Hashing
    | Target
    | Vector
)
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


class _Kind(NamedTuple):
    """Which columns an encoder takes, and what fits it."""

    types: tuple[ColumnType, ...]
    fit: Any


_KINDS: dict[type, _Kind] = {
    Standardize: _Kind(NUMERIC, scales.fit_standardize),
    Passthrough: _Kind(NUMERIC, lambda encoder, values: FittedPassthrough()),
    OneHot: _Kind(KEY_TYPES, categories.fit_one_hot),
    Embedding: _Kind(KEY_TYPES, categories.fit_embedding),
    Impute: _Kind(NUMERIC, scales.fit_impute),
    MinMax: _Kind(NUMERIC, scales.fit_min_max),
    Robust: _Kind(NUMERIC, scales.fit_robust),
    Log1p: _Kind(NUMERIC, curves.fit_log1p),
    Clip: _Kind(NUMERIC, curves.fit_clip),
    Quantile: _Kind(NUMERIC, curves.fit_quantile),
    Bucketize: _Kind(NUMERIC, buckets.fit_bucketize),
    Cyclical: _Kind(("number", "integer"), curves.fit_cyclical),
    Age: _Kind(("timestamp",), times.fit_age),
    CalendarParts: _Kind(("timestamp",), times.fit_calendar_parts),
    Ordinal: _Kind(KEY_TYPES, categories.fit_ordinal),
    Hashing: _Kind(KEY_TYPES, categories.fit_hashing),
    Target: _Kind(KEY_TYPES, targets.fit_target),
    Vector: _Kind(("vector",), vectors.fit_vector),
    CustomEncoder: _Kind(tuple(kind for kind in get_args(ColumnType) if kind != "vector"), custom.fit_custom),
}
_OF_CATEGORIES = (OneHot, Embedding, Ordinal, Hashing, Target)


def default_encoder(column: Column) -> Encoder:
    """The encoder of a feature that was given none: ``Standardize()`` for numbers, integers and booleans.

    >>> default_encoder(Column("temp", "number"))
    Standardize(dtype='float32')

    Raises:
        DeclarationError: the feature is text, a timestamp or a vector, which have no default.
    """
    if column.type == "text":
        raise DeclarationError(
            f"feature {column.name!r} is text and has no encoder: choose fti.OneHot() for few categories or "
            f"fti.Embedding() for many, encoders={{{column.name!r}: fti.OneHot()}}"
        )
    if column.type == "timestamp":
        raise DeclarationError(
            f"feature {column.name!r} is a timestamp and has no encoder: choose its parts in the calendar, or its age at another time, "
            f"encoders={{{column.name!r}: fti.CalendarParts(['hour', 'weekday'])}} or fti.Age(at='...'), or make numbers of it with an "
            "on-demand function"
        )
    if column.type == "vector":
        raise DeclarationError(
            f"feature {column.name!r} is a list of numbers and has no encoder: say how many it has if it is a vector of one length, "
            f"such as an embedding, encoders={{{column.name!r}: fti.Vector(dim=384)}}; else leave it out of the features, or store "
            "what is to be learned of it as columns of their own"
        )
    return Standardize()


def check_encoders(
    features: Sequence[Column], encoders: Mapping[str, Encoder], *, untyped: Sequence[str] = ()
) -> dict[str, Encoder]:
    """Give every feature of a view its encoder, in the view's order, the declared one or the default.

    ``untyped`` are features besides whose type is not known yet.

    >>> check_encoders([Column("temp", "number"), Column("origin", "text")], {"origin": OneHot()})
    {'temp': Standardize(dtype='float32'), 'origin': OneHot(max_categories=None)}

    Raises:
        DeclarationError: no features, a repeated one, an encoder for a name that is no feature, an encoder that does
            not fit its column's type, text, a timestamp or a vector without an encoder, an age at what is no timestamp, or a code under a
            reserved name.
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
    check_ages(of_features, dict.fromkeys(untyped) | {column.name: column.type for column in features})
    return of_features


def check_ages(encoders: Mapping[str, Encoder], features: Mapping[str, ColumnType | None]) -> None:
    """Check that each age is at a timestamp among the features; a type that is not known yet is None.

    Raises:
        DeclarationError: one is not.
    """
    for name, encoder in encoders.items():
        if not isinstance(encoder, Age):
            continue
        if encoder.at not in features:
            raise DeclarationError(
                f"the encoder of {name!r} is the age at {encoder.at!r}, which is none of the features {one_of(features)}: add it to them. "
                "For the age at the prediction time that is the spine's event time"
            )
        if features[encoder.at] not in (None, "timestamp") or encoder.at == name:
            raise DeclarationError(
                f"the encoder of {name!r} is the age at {encoder.at!r}, which is {'the same' if encoder.at == name else 'no'} timestamp: "
                "name another feature that is a time"
            )


def check_encoder(column: Column, encoder: Encoder) -> None:
    """Check that an encoder can encode a feature.

    Raises:
        DeclarationError: it cannot, or a feature with a code of its own is called ``dense`` or ``numbers``.
    """
    kind = _KINDS.get(type(encoder))
    if kind is None:
        if isinstance(encoder, type) and encoder in _KINDS:
            raise DeclarationError(
                f"the encoder of {column.name!r} is the class {_name(encoder)}: write {_name(encoder)}()"
            )
        raise DeclarationError(f"the encoder of {column.name!r} is {encoder!r}: use {_listed(_KINDS)}")
    if column.type not in kind.types:
        fitting = [one for one, other in _KINDS.items() if column.type in other.types]
        raise DeclarationError(
            f"{type(encoder).__name__} does not fit {column.name!r}, a {column.type} column: use {_listed(fitting)}"
        )
    if isinstance(encoder, Ordinal) and encoder.order is not None:
        is_text = isinstance(encoder.order[0], str)
        if is_text != (column.type == "text"):
            raise DeclarationError(
                f"Ordinal({encoder.order!r}) does not fit {column.name!r}, a {column.type} column: give its categories as "
                f"{'text' if column.type == 'text' else 'whole numbers'}"
            )
    if isinstance(encoder, Embedding | Hashing) and column.name in (DENSE, NUMBERS):
        raise DeclarationError(
            f"the feature {column.name!r} cannot have an {type(encoder).__name__}: the graph uses that name itself; rename the feature"
        )


def loses_nulls(encoder: Encoder) -> bool:
    """Whether of one value and null it makes one."""
    if isinstance(encoder, Impute):
        return encoder.strategy != "constant"
    return isinstance(encoder, Standardize | MinMax | Robust | Log1p | Clip)


def has_categories(encoder: Encoder) -> bool:
    """Whether it takes what train does not have as unknown."""
    return isinstance(encoder, OneHot | Embedding | Ordinal | Target)


def needs_target(encoders: Mapping[str, Encoder]) -> bool:
    """Whether an encoder learns from the labels."""
    return any(isinstance(encoder, Target) for encoder in encoders.values())


def fit(
    encoder: Encoder,
    values: np.ndarray,
    column_type: ColumnType,
    target: np.ndarray | None = None,
    name: str = "column",
) -> FittedEncoder:
    """Learn an encoder from the train part.

    Args:
        encoder: the declaration.
        values: ``[n]``, the canonical array of the column's train rows.
        column_type: the column's type.
        target: ``[n, c]``, the labels as numbers, for an encoder that learns from them.
        name: the column's, for errors.

    Raises:
        DeclarationError: the encoder does not fit the column type.
        ModelError: it learns from labels, and there are none; a user's own cannot learn.

    >>> fit(Embedding(max_categories=1), np.array([7.0, 7.0, 9.0, np.nan]), "integer")
    FittedEmbedding(categories=(7,), kind='embedding')
    """
    check_encoder(Column(name, column_type), encoder)
    learn = _KINDS[type(encoder)].fit
    if isinstance(encoder, Target):
        if target is None:
            raise ModelError("Target() learns from labels: give fit the train part's, [n, c]")
        fitted: FittedEncoder = learn(encoder, values, column_type, target)
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
) -> dict[str, FittedEncoder]:
    """Learn every feature's encoder from the train part's columns, in the features' order.

    ``large`` is a stored number of each column that has one of 2**53 and more, as it was before it became float64.

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
        column.name: fit(of_features[column.name], columns[column.name], column.type, target, column.name)
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


def _name(kind: Any) -> str:
    return f"fti.{kind.__name__}"


def _listed(kinds: Any) -> str:
    *first, last = [f"{_name(kind)}({'...' if _needs_arguments(kind) else ''})" for kind in kinds]
    return f"{', '.join(first)} or {last}" if first else last


def _needs_arguments(kind: Any) -> bool:
    return any(one.default is MISSING and one.default_factory is MISSING for one in fields(kind))
