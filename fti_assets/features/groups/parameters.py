"""What a feature function asks for: other groups by name, and what Dagster itself provides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fti_assets.errors import DeclarationError, one_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.table import Table
from fti_assets.orchestration.signature import parameters_of


def _is_no_more(hints: Mapping[str, Any], parameter: str) -> bool:
    """Whether an annotation says no more than that the parameter is rows of some kind: no resource, no config."""
    hint = hints.get(parameter)
    return hint is None or getattr(hint, "__name__", "") in (
        "Any",
        "DataFrame",
        "Table",
        "DuckDBPyRelation",
        "FeatureGroup",
    )


def group_inputs(
    function: Callable[..., Any], hints: Mapping[str, Any], ins: Mapping[str, Any], caller_names: Mapping[str, Any]
) -> tuple[dict[str, FeatureGroup], dict[str, Any]]:
    """The groups that a function's ``fti.Table`` parameters name, and the ``ins`` that are Dagster's own.

    Raises:
        DeclarationError: a parameter names no group.
    """
    names = {**function.__globals__, **caller_names}
    groups: dict[str, FeatureGroup] = {}
    for parameter in parameters_of(function):
        if hints.get(parameter) is not Table:
            if (
                isinstance(names.get(parameter), FeatureGroup)
                and parameter not in ins
                and _is_no_more(hints, parameter)
            ):
                raise DeclarationError(
                    f"parameter {parameter!r} of {function.__name__!r} is called like a feature group, but is not annotated as "
                    f"one: write {parameter}: fti.Table, whose rows are {parameter}.df() or {parameter}.relation"
                )
            continue
        result = ins.get(parameter, names.get(parameter))
        if not isinstance(result, FeatureGroup):
            known = sorted(name for name, value in names.items() if isinstance(value, FeatureGroup))
            raise DeclarationError(
                f"parameter {parameter!r} of {function.__name__!r} is an fti.Table, but no feature group has that name here; "
                f"there is {one_of(known)}. Import the group, or give it in ins={{{parameter!r}: the_group}}"
            )
        groups[parameter] = result
    misplaced = [name for name, value in ins.items() if isinstance(value, FeatureGroup) and name not in groups]
    if misplaced:
        raise DeclarationError(
            f"ins of {function.__name__!r} gives a feature group for {one_of(misplaced)}, which is not a parameter annotated "
            "fti.Table"
        )
    return groups, {name: value for name, value in ins.items() if name not in groups}
