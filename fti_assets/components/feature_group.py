"""Feature groups in YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

import fti_assets as fti
from fti_assets.components.attributes import AssetAttributes, PythonObject, RowSchema
from fti_assets.components.declaring import ComponentTree, DeclaringComponent, components_of, names_of
from fti_assets.components.published import PublishedGroupComponent
from fti_assets.components.reference import construct, or_variable
from fti_assets.components.scaffold import FeatureGroupScaffolder
from fti_assets.errors import DeclarationError, list_some
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.table import Table
from fti_assets.orchestration.signature import annotations_of

_STREAMS = ("stores.streams.nats", "stores.streams.kafka", "stores.streams.redis")


@dg.scaffold_with(FeatureGroupScaffolder)
class FeatureGroupComponent(AssetAttributes, DeclaringComponent):
    """A feature group: a function that gives rows, and what they mean. The attributes are those of ``fti.feature_group``.

    Args:
        function: ``weather.py:weather`` in a file beside the defs.yaml, or ``my_project.features.weather``; a group of a stream alone has
            none.
        name: the group's name, by default the function's.
        schema: the path of a Pandera model, ``weather.py:WeatherSchema``.
        keep_last: the column by which the last of rows with equal keys and times is kept; they are refused by default.
        rename: the source's name of a column to the group's, for names with capitals or spaces.
        inputs: other groups for the function's ``fti.Table`` parameters: parameter to group. A parameter called as a group is
            that group.
        stream: ``{type: NatsStream, name: payments, url: {env: NATS_URL}}`` with the arguments of that class, where ``event_type`` is its
            ``type``; or the path of one that Python makes.
    """

    function: PythonObject = None
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
    stream: Mapping[str, Any] | str | None = None
    must_equal_stream: bool = False

    summary = "A feature group: rows of features, validated, versioned and joined point-in-time."

    def names(self) -> Sequence[str]:
        """``weather`` and ``weather_v1``."""
        if self.function is None and self.name is None:
            raise DeclarationError("a feature group has neither a function nor a name: give one of them")
        return names_of(self.name, self.function, self.version)

    def __repr_args__(self) -> Any:
        """What ``repr`` shows: not the stream, whose address may hold a password."""
        return [(name, "..." if name == "stream" and value else value) for name, value in super().__repr_args__()]

    def declare(self, tree: ComponentTree) -> FeatureGroup:
        """The group."""
        name = self.names()[0]
        terms: dict[str, Any] = {
            "version": self.version,
            "keys": self.keys,
            "event_time": self.event_time,
            "available_at": self.available_at,
            "serving_delay": self.serving_delay,
            "ttl": self.ttl,
            "tie_break": self.tie_break,
            "duplicates": "error" if self.keep_last is None else fti.KeepLast(self.keep_last),
            "schema": self.python(self.row_schema, what="schema"),
            "partition_by": self.partition_by,
            "lookback": self.lookback,
            "rename": self.rename,
            "must_equal_stream": self.must_equal_stream,
            "online": self.online,
            "online_history": self.online_history,
            "stream": self._stream(what=f"stream of feature group {name!r}"),
            **self.options(),
        }
        if self.function is None:
            return self._of_stream_alone(name, terms)
        function = self.function_of(
            self.function, what=f"function of feature group {name!r}", decorator="fti.feature_group"
        )
        return fti.feature_group(name=name, ins=self._groups(function, tree), **terms)(function)

    def _of_stream_alone(self, name: str, terms: dict[str, Any]) -> FeatureGroup:
        if terms["stream"] is None or self.inputs:
            problem = "but inputs, which are a function's" if self.inputs else "and no stream"
            raise DeclarationError(
                f"feature group {name!r} has no function {problem}: name a function, function: <file>.py:<name>, or give a stream alone"
            )
        return fti.stream_feature_group(name=name, **terms)

    def _stream(self, *, what: str) -> Any:
        if self.stream is None or isinstance(self.stream, str):
            return self.python(self.stream, what=what)
        arguments = dict(self.stream)
        if "url" in arguments:
            arguments["url"] = or_variable(arguments["url"], what=f"url of {what}", example="url: {env: NATS_URL}")
        kind = arguments.pop("type", None)
        if "event_type" in arguments:
            arguments["type"] = self.python(arguments.pop("event_type"), what=f"event_type of {what}")
        return construct(kind, self._context, module=_STREAMS, what=what, arguments=arguments)

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
            name: self.look_up(tree, GROUPS, inputs.get(name, name), what=f"input {name!r}")
            for name in tables
            if name in inputs or name in groups
        }


GROUPS: Mapping[type[DeclaringComponent], type[FeatureGroup]] = {
    FeatureGroupComponent: FeatureGroup,
    PublishedGroupComponent: FeatureGroup,
}
"""The components of feature groups, and what each declares."""
