"""Feature groups in YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

import fti_assets as fti
from fti_assets.components.attributes import AssetAttributes, PythonObject, RowSchema
from fti_assets.components.declaring import ComponentTree, DeclaringComponent, components_of, names_of
from fti_assets.components.scaffold import FeatureGroupScaffolder
from fti_assets.errors import DeclarationError, list_some
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.table import Table
from fti_assets.orchestration.signature import annotations_of


@dg.scaffold_with(FeatureGroupScaffolder)
class FeatureGroupComponent(AssetAttributes, DeclaringComponent):
    """A feature group: a function that gives rows, and what they mean. The attributes are those of ``fti.feature_group``.

    Args:
        function: ``weather.py:weather`` in a file beside the defs.yaml, or ``my_project.features.weather``.
        name: the group's name, by default the function's.
        schema: the path of a Pandera model, ``weather.py:WeatherSchema``.
        keep_last: the column by which the last of rows with equal keys and times is kept; they are refused by default.
        rename: the source's name of a column to the group's, for names with capitals or spaces.
        inputs: other groups for the function's ``fti.Table`` parameters: parameter to group. A parameter called as a group is
            that group.
    """

    function: PythonObject
    keys: Sequence[str]
    name: str | None = None
    version: int = 1
    event_time: str | None = None
    available_at: str | None = None
    serving_delay: str | None = None
    ttl: str | None = None
    tie_break: str | None = None
    keep_last: str | None = None
    row_schema: RowSchema
    partition_by: str | None = None
    lookback: str | None = None
    online: bool = False
    online_history: str | None = None
    rename: Mapping[str, str] | None = None
    inputs: Mapping[str, Any] | None = None

    summary = "A feature group: rows of features, validated, versioned and joined point-in-time."

    def names(self) -> Sequence[str]:
        """``weather`` and ``weather_v1``."""
        return names_of(self.name, self.function, self.version)

    def declare(self, tree: ComponentTree) -> FeatureGroup:
        """The group."""
        what = f"function of feature group {self.names()[0]!r}"
        function = self.function_of(self.function, what=what, decorator="fti.feature_group")
        return fti.feature_group(
            name=self.names()[0],
            version=self.version,
            keys=self.keys,
            event_time=self.event_time,
            available_at=self.available_at,
            serving_delay=self.serving_delay,
            ttl=self.ttl,
            tie_break=self.tie_break,
            duplicates="error" if self.keep_last is None else fti.KeepLast(self.keep_last),
            schema=self.python(self.row_schema, what="schema"),
            partition_by=self.partition_by,
            lookback=self.lookback,
            online=self.online,
            online_history=self.online_history,
            rename=self.rename,
            ins=self._groups(function, tree),
            **self.options(),
        )(function)

    def _groups(self, function: Any, tree: ComponentTree) -> dict[str, FeatureGroup]:
        """The groups of the function's ``fti.Table`` parameters; those of its own module are found by the declaration."""
        annotations = annotations_of(function, {})
        tables = [name for name, annotation in annotations.items() if annotation is Table and name != "return"]
        inputs = dict(self.inputs or {})
        unknown = [name for name in inputs if name not in tables]
        if unknown:
            raise DeclarationError(
                f"inputs gives a group for {list_some(unknown)}, which is not a parameter of {function.__name__!r} annotated fti.Table; "
                f"there is {list_some(tables)}"
            )
        groups = {name for component in components_of(tree, FeatureGroupComponent) for name in component.names()}
        in_module = {name for name in tables if isinstance(function.__globals__.get(name), FeatureGroup)}
        missing = [name for name in tables if name not in {*inputs, *groups, *in_module}]
        if missing:
            raise DeclarationError(
                f"parameter {missing[0]!r} of {function.__name__!r} is an fti.Table, but no feature group has that name; there is "
                f"{list_some(sorted(groups))}. Name its group, as in inputs: {{{missing[0]}: <group>}}"
            )
        return {
            name: self.look_up(
                tree, {FeatureGroupComponent: FeatureGroup}, inputs.get(name, name), what=f"input {name!r}"
            )
            for name in tables
            if name in inputs or name in groups
        }
