"""The encoders of a view or a model: each is of a feature, and fits its type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.features.validation.schema import vector_dims
from fti_assets.training.encoders.declarations import Encoder, check_ages, check_encoder
from fti_assets.training.encoders.kinds.vectors import Vector
from fti_assets.training.views.checks.types import declared_features
from fti_assets.training.views.terms import ViewTerms


def check_view_encoders(view: ViewTerms, encoders: Mapping[str, Encoder], *, what: str) -> None:
    """Refuse encoders of a model for what is no feature of its view, or, as far as schemas tell, for a feature of another type.

    Raises:
        DeclarationError: it names the model and the feature.
    """
    refuse_unknown(view, encoders, what=what)
    for column in declared_features(view):
        if column.name in encoders:
            try:
                check_encoder(column, encoders[column.name])
            except DeclarationError as error:
                raise DeclarationError(f"{what}: {error}") from error
    try:
        types = {column.name: column.type for column in declared_features(view)}
        check_ages(encoders, {name: types.get(name) for name in view.feature_names})
        check_dims(view, encoders)
    except DeclarationError as error:
        raise DeclarationError(f"{what}: {error}") from error


def check_dims(view: ViewTerms, encoders: Mapping[str, Encoder]) -> None:
    """Refuse a vector's encoder of another length than the group's schema, or the on-demand function, states."""
    for feature in view.on_demand:
        for output, declared in feature.vectors:
            given = encoders.get(output)
            if isinstance(given, Vector) and given.dim != declared.dim:
                raise DeclarationError(
                    f"the encoder of {output!r} is fti.Vector(dim={given.dim}), but the on-demand feature {feature.name!r} declares "
                    f"{declared.dim} numbers: write fti.Vector(dim={declared.dim}), or leave the encoder out"
                )
    for selection in view.selections:
        schema = selection.group.schema
        if schema is None or "vector" not in (selection.group.columns or {}).values():
            continue
        dims = vector_dims(schema)
        for column in selection.columns_in(selection.group.columns or {}):
            of_column = encoders.get(selection.feature_prefix + column)
            if isinstance(of_column, Vector) and dims.get(column, of_column.dim) != of_column.dim:
                raise DeclarationError(
                    f"the encoder of {selection.feature_prefix + column!r} is fti.Vector(dim={of_column.dim}), but the schema of "
                    f"{selection.group.table_name} declares {dims[column]} numbers: write fti.Vector(dim={dims[column]})"
                )


def vector_encoders(features: Sequence[object]) -> dict[str, Encoder]:
    """The encoders of vectors that on-demand functions make: what these declare of them."""
    functions = [feature for feature in features if isinstance(feature, OnDemand)]
    return {output: vector for function in functions for output, vector in function.vectors}


def refuse_unknown(view: ViewTerms, encoders: Mapping[str, Encoder], *, what: str) -> None:
    unknown = [name for name in encoders if name not in view.feature_names]
    if unknown:
        raise DeclarationError(
            f"{what} has encoders for {list_some(unknown)}: its features are {one_of(view.feature_names)}"
        )
