"""Columns of a feature group as a view names them: ``airports.on(dest="airport").prefix("dest_")["late_rate_3h"]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError, one_of

if TYPE_CHECKING:
    from fti_assets.features.groups.group import FeatureGroup


@dataclass(frozen=True)
class Selection:
    """Some columns of a feature group, and how its keys are found in a spine.

    Args:
        group: the feature group.
        columns: the group's columns, or empty for every column that is neither key nor time.
        spine_keys: the spine column for each of the group's keys; a key that is not named has its own name there.
        feature_prefix: put before each column's name to make the feature's.
    """

    group: FeatureGroup
    columns: tuple[str, ...] = ()
    spine_keys: Mapping[str, str] = field(default_factory=dict)
    feature_prefix: str = ""

    def chosen(self, types: Mapping[str, object]) -> list[str]:
        """The selected columns; all of ``types`` that are neither key nor time if none was named."""
        group = self.group
        return list(self.columns) or [name for name in types if name not in group.keys and name not in group.times]

    @property
    def feature_names(self) -> list[str]:
        """The features that it makes, as far as the group's schema tells them."""
        return [self.feature_prefix + column for column in self.chosen(self.group.columns or {})]

    def __getitem__(self, columns: str | tuple[str, ...]) -> Selection:
        names = (columns,) if isinstance(columns, str) else columns
        if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
            raise DeclarationError(
                f"columns of {self.group.table} are taken by name, {self.group.name}['age'] or {self.group.name}['age', 'plan'], not "
                f"by {columns!r}"
            )
        names = tuple(names)
        self.group.refuse_unknown_columns(names)
        return replace(self, columns=names)

    @checked_arguments(method=True)
    def on(self, **spine_to_group: str) -> Selection:
        """Join where a spine column equals a group key of another name: ``.on(dest="airport")``."""
        unknown = [key for key in spine_to_group.values() if key not in self.group.keys]
        if unknown:
            raise DeclarationError(
                f"{self.group.table} has no key {one_of(unknown)} to join on: its keys are {one_of(self.group.keys)}; "
                f"write .on(<spine column>=<key of {self.group.name}>)"
            )
        return replace(self, spine_keys={key: spine for spine, key in spine_to_group.items()})

    @checked_arguments(method=True)
    def prefix(self, text: str) -> Selection:
        """Name each feature ``<text><column>``, so that one group can be joined twice."""
        return replace(self, feature_prefix=checked_name(text, what=f"prefix of {self.group.name}"))


def selection_of(feature: Selection | FeatureGroup) -> Selection:
    """A group among a view's features stands for all of its columns."""
    return feature if isinstance(feature, Selection) else Selection(feature)
