"""Feature views: what one model needs, from a spine, a label and features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fti_assets.errors import DeclarationError, listed, one_of
from fti_assets.features.feature_group import FeatureGroup
from fti_assets.features.on_demand import OnDemand
from fti_assets.features.online_load import joined_group
from fti_assets.features.selection import Selection
from fti_assets.stores.columns import ColumnType
from fti_assets.stores.manifest import Column, JoinedColumn, JoinedGroup, JoinedKey, ViewRecord
from fti_assets.stores.sql import checked_name
from fti_assets.training.encoders import Encoder, check_encoders
from fti_assets.training.label import Label

Types = Callable[[FeatureGroup], Mapping[str, ColumnType | None]]
"""The types of a group's columns: as declared when the code loads, as stored when it runs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureView:
    """What one model needs. A view reads; it makes no asset of its own.

    Args:
        name: the view's name.
        version: raise it when the meaning of the view changes.
        spine: the group whose rows are predicted for, one prediction a row.
        prediction_time: when the prediction is made: the spine group's event time, which is the default.
        label: what turned out.
        features: columns of groups (``weather["temp"]``, ``airports.on(dest="airport").prefix("dest_")["late_rate"]``),
            the spine's own columns, which a request brings, and on-demand features.
        encoders: an encoder for a feature; numbers without one are standardized.

    Raises:
        DeclarationError: the view names what is not there, or cannot be joined.
    """

    name: str
    version: int = 1
    spine: FeatureGroup
    prediction_time: str | None = None
    label: Label
    features: Sequence[Selection | FeatureGroup | OnDemand]
    encoders: Mapping[str, Encoder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_version(self.version, what=f"feature view {checked_name(self.name, what='feature view')!r}")
        if self.prediction_time not in (None, self.spine.event_time):
            raise DeclarationError(
                f"view {self.name!r} predicts at {self.prediction_time!r}, but the event time of its spine {self.spine.table} "
                f"is {self.spine.event_time!r}: the prediction time is the spine's event time"
            )
        self._check_features()
        self._check_label()
        self._check_declared_types()

    @property
    def time(self) -> str | None:
        """The spine's column that says when the prediction is made; None without times."""
        return self.spine.event_time

    @property
    def on_demand(self) -> list[OnDemand]:
        return [feature for feature in self.features if isinstance(feature, OnDemand)]

    @property
    def groups(self) -> list[FeatureGroup]:
        """Every group that the view rests on: spine, label and features, each once."""
        joined = [selection.group for selection in self._selections()]
        return list(dict.fromkeys([self.spine, self.label.group, *joined]))

    @property
    def lookups(self) -> list[FeatureGroup]:
        """The joined groups without an event time, which are visible at every instant."""
        return [group for group in self.groups if group.event_time is None and group is not self.spine]

    def encoders_of(self, record: ViewRecord) -> dict[str, Encoder]:
        """The encoder of each feature, defaults included."""
        return check_encoders(record.features, self.encoders)

    def record(self, types: Types) -> ViewRecord:
        """The view as a manifest has it.

        Raises:
            DeclarationError: a column is not there, or the two sides of a key have different types.
        """
        spine_types = types(self.spine)
        self._check_label_types(types(self.label.group), spine_types)
        joins: list[JoinedGroup] = []
        features: list[Column] = []
        for feature in self.features:
            if isinstance(feature, OnDemand):
                features += feature.outputs
                continue
            selection = _selection(feature)
            group_types = types(selection.group)
            columns = [
                Column(name, self._known(selection.group, group_types, name))
                for name in _columns(selection, group_types)
            ]
            if selection.group is self.spine:
                features += columns
                continue
            keys = tuple(self._joined_key(selection, key, group_types, spine_types) for key in selection.group.keys)
            joined = [
                JoinedColumn(selection.feature_prefix + column.name, column.name, column.type) for column in columns
            ]
            joins.append(joined_group(selection.group, keys, joined))
            features += [Column(column.feature, column.type) for column in joined]
        return ViewRecord(
            name=self.name,
            version=self.version,
            spine=self.spine.name,
            spine_version=self.spine.version,
            spine_keys=self.spine.keys,
            prediction_time=self.time,
            request=tuple(Column(name, self._known(self.spine, spine_types, name)) for name in self._request(features)),
            joins=tuple(joins),
            on_demand=tuple(feature.call for feature in self.on_demand),
            features=tuple(features),
        )

    def _request(self, features: Sequence[Column]) -> list[str]:
        """The spine's columns that a request must bring: its keys, its own features, join keys, on-demand inputs."""
        made = {output.name for feature in self.on_demand for output in feature.outputs}
        joined = {name for selection in self._joined() for name in _feature_names(selection)}
        own = [column.name for column in features if column.name not in made | joined]
        keys = [selection.spine_keys.get(key, key) for selection in self._joined() for key in selection.group.keys]
        taken = [name for feature in self.on_demand for name in feature.inputs if name not in made | joined]
        names = dict.fromkeys([*self.spine.keys, *own, *keys, *taken])
        return [name for name in names if name != self.time]

    def _selections(self) -> Iterator[Selection]:
        return (_selection(feature) for feature in self.features if not isinstance(feature, OnDemand))

    def _joined(self) -> list[Selection]:
        return [selection for selection in self._selections() if selection.group is not self.spine]

    def _joined_key(
        self, selection: Selection, key: str, group_types: Mapping[str, Any], spine_types: Mapping[str, Any]
    ) -> JoinedKey:
        spine_column = selection.spine_keys.get(key, key)
        self._known(self.spine, spine_types, spine_column)
        group_type = self._known(selection.group, group_types, key)
        self._check_key_types(selection, group_types, spine_types)
        return JoinedKey(spine_column, key, group_type)

    def _check_key_types(
        self, selection: Selection, group_types: Mapping[str, Any], spine_types: Mapping[str, Any]
    ) -> None:
        """Refuse keys whose two sides are known to have different types."""
        for key in selection.group.keys:
            spine_column = selection.spine_keys.get(key, key)
            spine_type, group_type = spine_types.get(spine_column), group_types.get(key)
            if spine_type is not None and group_type is not None and spine_type != group_type:
                raise DeclarationError(
                    f"view {self.name!r} joins {selection.group.table} where {spine_column!r} = {key!r}, but {spine_column!r} "
                    f"of {self.spine.table} is {spine_type} and {key!r} of {selection.group.table} is {group_type}"
                )

    def _check_label_types(self, types: Mapping[str, Any], spine_types: Mapping[str, Any]) -> None:
        label = self.label
        if self._known(label.group, types, label.name) == "timestamp":
            raise DeclarationError(
                f"the label {label.name!r} of view {self.name!r} is a timestamp, which no model predicts: make it a number, a "
                "boolean or text"
            )
        if label.group is not self.spine:
            self._check_key_types(label.column, types, spine_types)

    def _known(self, group: FeatureGroup, types: Mapping[str, ColumnType | None], name: str) -> ColumnType:
        kind = types.get(name)
        if kind is None:
            there = [column for column, found in types.items() if found is not None]
            raise DeclarationError(
                f"view {self.name!r} needs the column {name!r} of {group.table}, which "
                f"{'has a type that no feature can have' if name in types else f'has only {one_of(there)}'}"
            )
        return kind

    def _check_declared_types(self) -> None:
        """Check encoders and key types as far as schemas declare them; the rest is known when the view is stored."""
        known: list[Column] = []
        spine_types = self.spine.columns or {}
        for feature in self.features:
            if isinstance(feature, OnDemand):
                known += feature.outputs
                continue
            selection = _selection(feature)
            types = selection.group.columns or {}
            known += [
                Column(selection.feature_prefix + name, kind)
                for name in _columns(selection, types)
                if (kind := types.get(name)) is not None
            ]
            if selection.group is not self.spine:
                self._check_key_types(selection, types, spine_types)
        if known:
            names = {column.name for column in known}
            check_encoders(known, {name: encoder for name, encoder in self.encoders.items() if name in names})
        label_types = self.label.group.columns or {}
        if label_types.get(self.label.name) is not None:
            self._check_label_types(label_types, spine_types)

    def _check_features(self) -> None:
        if not self.features:
            raise DeclarationError(f"view {self.name!r} has no features")
        wrong = [feature for feature in self.features if not isinstance(feature, Selection | FeatureGroup | OnDemand)]
        if wrong:
            raise DeclarationError(
                f"view {self.name!r}: {listed(wrong)} is not a feature; give columns of a group, as in weather['temp'], or an "
                "on-demand feature"
            )
        for selection in self._selections():
            if selection.group is self.spine and (selection.spine_keys or selection.feature_prefix):
                raise DeclarationError(
                    f"view {self.name!r} joins its spine {self.spine.table} to itself: the spine's own columns are taken as "
                    "given, without .on() or .prefix()"
                )
            if selection.group is not self.spine:
                self._check_join(selection)
            if not selection.columns and selection.group.columns is None:
                raise DeclarationError(
                    f"view {self.name!r} takes all of {selection.group.table}, which has no schema: name the columns, as in "
                    f"{selection.group.name}['...']"
                )
        names = self.feature_names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DeclarationError(
                f"view {self.name!r} has {listed(twice)} twice: give one of them a .prefix(), or leave one out"
            )
        self._check_on_demand(names)
        self._check_order()
        self._check_request()

    def _check_join(self, selection: Selection) -> None:
        group = selection.group
        if group.event_time is not None and self.time is None:
            raise DeclarationError(
                f"view {self.name!r} joins {group.table}, which has an event time, to the spine {self.spine.table}, which has "
                f"none: give {self.spine.name} an event_time, the time of the prediction"
            )
        self._check_keys(selection)

    def _check_keys(self, selection: Selection) -> None:
        """Refuse a join on a column that the spine is known not to have."""
        group, spine_columns = selection.group, self.spine.columns
        needed = {key: selection.spine_keys.get(key, key) for key in group.keys}
        missing = [key for key, column in needed.items() if spine_columns is not None and column not in spine_columns]
        if missing:
            raise DeclarationError(
                f"view {self.name!r} cannot join {group.table} on {listed(needed[key] for key in missing)}: the spine "
                f"{self.spine.table} has {one_of(spine_columns or ())}. Say which column holds it, as in "
                f"{group.name}.on(<spine column>={missing[0]!r})"
            )

    def _check_on_demand(self, names: Sequence[str]) -> None:
        if self.spine.columns is None:
            return
        known = [*names, *self.spine.columns]
        for feature in self.on_demand:
            unknown = [name for name in feature.inputs if name not in known]
            if unknown:
                raise DeclarationError(
                    f"on-demand feature {feature.name!r} of view {self.name!r} takes {listed(unknown)}, which is neither a "
                    f"feature of the view nor a column of its spine: there is {one_of(dict.fromkeys(known))}"
                )

    def _check_order(self) -> None:
        """On-demand functions run in the order of the features, so what one makes can be taken by later ones only."""
        later = {output.name: feature for feature in self.on_demand for output in feature.outputs}
        for feature in self.on_demand:
            early = [name for name in feature.inputs if name in later]
            if early:
                raise DeclarationError(
                    f"on-demand feature {feature.name!r} of view {self.name!r} takes {listed(early)} of "
                    f"{listed(dict.fromkeys(later[name].name for name in early))}, which is made after it: put that one first"
                )
            for output in feature.outputs:
                later.pop(output.name, None)

    def _check_request(self) -> None:
        """One name is one value: a feature cannot be called like something else that the request brings."""
        made = {output.name for feature in self.on_demand for output in feature.outputs}
        joined = [name for selection in self._joined() for name in _feature_names(selection)]
        keys = [selection.spine_keys.get(key, key) for selection in self._joined() for key in selection.group.keys]
        own = [
            name
            for selection in self._selections()
            if selection.group is self.spine
            for name in _feature_names(selection)
        ]
        brought = {*self.spine.keys, *own, *keys, *([self.time] if self.time is not None else [])}
        clash = sorted(brought & {*joined, *made})
        if clash:
            raise DeclarationError(
                f"view {self.name!r} has a feature called {listed(clash)}, and so is a key, time or feature of its spine "
                f"{self.spine.table}: give the feature a .prefix(), or the on-demand output another name"
            )

    def _check_label(self) -> None:
        label = self.label
        if label.horizon is not None and (label.group.event_time is None or self.time is None):
            raise DeclarationError(
                f"the label of view {self.name!r} has within=, which needs event times on both sides"
            )
        if label.maturity is not None and self.time is None:
            raise DeclarationError(
                f"the label of view {self.name!r} has a maturity, but its spine {self.spine.table} has no event time to tell a "
                "row's age by: leave out maturity, or give the spine an event_time"
            )
        if label.group is not self.spine:
            by = [label.column.spine_keys.get(key, key) for key in label.group.keys]
            if label.horizon is None and set(by) != set(self.spine.keys):
                raise DeclarationError(
                    f"the label of view {self.name!r} comes from {label.group.table} by the keys {one_of(by)}, but "
                    f"the spine {self.spine.table} has the keys {one_of(self.spine.keys)}: give the label a group with the "
                    "spine's keys, or within='30d' for the first outcome of an entity"
                )
            self._check_keys(label.column)
        taken = [feature.name for feature in self.on_demand if label.name in feature.inputs]
        if label.group is self.spine and taken:
            raise DeclarationError(
                f"view {self.name!r} gives its label {label.name!r} to the on-demand feature {listed(taken)}: what turned out "
                "is not there yet when the prediction is made"
            )
        if label.name in [*self.spine.keys, *([self.time] if self.time is not None else [])]:
            raise DeclarationError(
                f"view {self.name!r} has the label {label.name!r}, which is a key or the time of its spine {self.spine.table}: "
                "give the label a column of its own"
            )
        if label.name in self.feature_names:
            raise DeclarationError(
                f"view {self.name!r} has its label {label.name!r} among its features: leave it out, or use .prefix() if it is "
                "an earlier value that was known by then"
            )
        timeless = [
            selection.group.table
            for selection in self._joined()
            if selection.group is label.group
            and label.group.event_time is None
            and label.name in (selection.columns or _columns(selection, label.group.columns or {}))
        ]
        if timeless:
            raise DeclarationError(
                f"view {self.name!r} has its label {label.name!r} among its features: {timeless[0]} has no event time, so it is "
                "visible at every instant; leave it out"
            )
        unknown = [name for name in self.encoders if name not in self.feature_names]
        if unknown:
            raise DeclarationError(
                f"view {self.name!r} has encoders for {listed(unknown)}: its features are {one_of(self.feature_names)}"
            )

    @property
    def feature_names(self) -> list[str]:
        """The model's features, in order."""
        names: list[str] = []
        for feature in self.features:
            if isinstance(feature, OnDemand):
                names += [output.name for output in feature.outputs]
            else:
                names += _feature_names(_selection(feature))
        return names


def checked_version(version: int, *, what: str) -> int:
    """Return ``version``, or raise a DeclarationError if it is not 1, 2, 3 and so on."""
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DeclarationError(f"{what}: version is {version!r}; versions are 1, 2, 3 ...")
    return version


def _selection(feature: Any) -> Selection:
    return Selection(feature) if isinstance(feature, FeatureGroup) else feature


def _feature_names(selection: Selection) -> list[str]:
    """The features that a selection makes, as far as its group's schema tells them."""
    return [selection.feature_prefix + column for column in _columns(selection, selection.group.columns or {})]


def _columns(selection: Selection, types: Mapping[str, Any]) -> list[str]:
    """The selected columns; all that are neither key nor time if none was named."""
    group = selection.group
    return list(selection.columns) or [name for name in types if name not in group.keys and name not in group.times]
