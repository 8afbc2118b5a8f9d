"""The attributes that every component takes for its asset, with the names and the meaning of ``@dg.asset``'s own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal, cast

import dagster as dg
from pydantic import ConfigDict, Field

from fti_assets.errors import DeclarationError
from fti_assets.orchestration.options import AssetOptions

_PARTITIONS: Mapping[str, Any] = {
    "hourly": dg.HourlyPartitionsDefinition,
    "daily": dg.DailyPartitionsDefinition,
    "weekly": dg.WeeklyPartitionsDefinition,
    "monthly": dg.MonthlyPartitionsDefinition,
    "static": dg.StaticPartitionsDefinition,
}


PythonObject = Annotated[Any, dg.Resolver.default(model_field_type=str)]
"""An attribute that YAML gives as a path, and Python as the object itself."""

RowSchema = Annotated[
    Any,
    dg.Resolver.default(model_field_type=str | None),
    Field(default=None, alias="schema"),  # pydantic has a `schema`
]


class Partitions(dg.Model):  # type: ignore[misc]
    """Partitions by kind; the other fields are the parameters of Dagster's definition of that kind."""

    type: Literal["hourly", "daily", "weekly", "monthly", "static"]
    start_date: str | date | None = None
    end_date: str | date | None = None
    end_offset: int | None = None
    timezone: str | None = None
    minute_offset: int | None = None
    hour_offset: int | None = None
    day_offset: int | None = None
    partition_keys: Sequence[str] | None = None


def _partitions(context: dg.ResolutionContext, partitions: Partitions) -> Any:
    values = context.resolve_value(partitions.model_dump(exclude_none=True))
    kind = values.pop("type")
    parameters = {name: str(value) if isinstance(value, date) else value for name, value in values.items()}
    try:
        return _PARTITIONS[kind](**parameters)
    except TypeError as error:
        raise DeclarationError(f"partitions_def of type {kind!r} with {parameters!r}: {error}") from error


def _tags(context: dg.ResolutionContext, tags: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in context.resolve_value(dict(tags)).items()}


def template_attribute(description: str) -> Any:
    """An attribute that only a template gives: ``"{{ dg.AutomationCondition.eager() }}"``."""
    return dg.Resolver.default(model_field_type=str | None, description=description)


class AssetAttributes(dg.Model):  # type: ignore[misc]
    """What YAML says of an asset. What is left out keeps the declaration's own default."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    description: str | None = None
    group_name: str | None = None
    owners: Sequence[str] | None = None
    tags: Annotated[
        Mapping[str, str] | None, dg.Resolver(_tags, model_field_type=Mapping[str, str | int | float | bool])
    ] = None
    metadata: Mapping[str, Any] | None = None
    kinds: Sequence[str] | None = None
    key_prefix: str | Sequence[str] | None = None
    deps: Sequence[dg.ResolvedAssetKey] | None = None
    code_version: str | None = None
    pool: str | None = None
    op_tags: Mapping[str, Any] | None = None
    partitions_def: Annotated[Any, dg.Resolver(_partitions, model_field_type=Partitions)] = None
    automation_condition: Annotated[Any, template_attribute("when Dagster materializes the asset on its own")] = None
    freshness_policy: Annotated[Any, template_attribute("how old the asset may become")] = None
    backfill_policy: Annotated[Any, template_attribute("how many partitions one run takes")] = None
    retry_policy: Annotated[Any, template_attribute("how a failed step is tried again")] = None

    def options(self) -> AssetOptions:
        """What YAML says, as ``@dg.asset`` takes it."""
        options = {name: getattr(self, name) for name in AssetAttributes.model_fields if name in self.model_fields_set}
        if options.get("kinds") is not None:
            options["kinds"] = set(options["kinds"])
        return cast(AssetOptions, options)
