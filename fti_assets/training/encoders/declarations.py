"""Encoders as a view or a model declares them: which columns each takes, which is the default, and what is refused."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, get_args

from fti_assets.core.manifest import NUMBERS, Column
from fti_assets.core.types import CATEGORY_TYPES, NUMERIC, ColumnType
from fti_assets.errors import DeclarationError, one_of
from fti_assets.training.encoders.kinds.buckets import Bucketize
from fti_assets.training.encoders.kinds.categories import Embedding, Hashing, OneHot, Ordinal
from fti_assets.training.encoders.kinds.curves import Clip, Cyclical, Log1p, Quantile
from fti_assets.training.encoders.kinds.custom import CustomEncoder
from fti_assets.training.encoders.kinds.scales import Impute, MinMax, Passthrough, Robust, Standardize
from fti_assets.training.encoders.kinds.targets import Target
from fti_assets.training.encoders.kinds.times import Age, CalendarParts
from fti_assets.training.encoders.kinds.vectors import Vector

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

TYPES: dict[type, tuple[ColumnType, ...]] = {
    Standardize: NUMERIC,
    Passthrough: NUMERIC,
    OneHot: CATEGORY_TYPES,
    Embedding: CATEGORY_TYPES,
    Impute: NUMERIC,
    MinMax: NUMERIC,
    Robust: NUMERIC,
    Log1p: NUMERIC,
    Clip: NUMERIC,
    Quantile: NUMERIC,
    Bucketize: NUMERIC,
    Cyclical: ("number", "integer"),
    Age: ("timestamp",),
    CalendarParts: ("timestamp",),
    Ordinal: CATEGORY_TYPES,
    Hashing: CATEGORY_TYPES,
    Target: CATEGORY_TYPES,
    Vector: ("vector",),
    CustomEncoder: tuple(kind for kind in get_args(ColumnType) if kind != "vector"),
}
"""The types of column that each encoder takes."""


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
            raise DeclarationError(
                f"there is an encoder for {name!r}, which is not one of the features {one_of(names)}"
            )
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
                f"the encoder of {name!r} is the age at {encoder.at!r}, which is not among the features "
                f"{one_of(features)}: add it to them. "
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
    types = TYPES.get(type(encoder))
    if types is None:
        if isinstance(encoder, type) and encoder in TYPES:
            raise DeclarationError(
                f"the encoder of {column.name!r} is the class {_name(encoder)}: write {_name(encoder)}()"
            )
        raise DeclarationError(f"the encoder of {column.name!r} is {encoder!r}: use {_listed(TYPES)}")
    if column.type not in types:
        fitting = [one for one, other in TYPES.items() if column.type in other]
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


def _name(kind: Any) -> str:
    return f"fti.{kind.__name__}"


def _listed(kinds: Any) -> str:
    *first, last = [f"{_name(kind)}({'...' if _needs_arguments(kind) else ''})" for kind in kinds]
    return f"{', '.join(first)} or {last}" if first else last


def _needs_arguments(kind: Any) -> bool:
    return any(one.default is MISSING and one.default_factory is MISSING for one in fields(kind))
