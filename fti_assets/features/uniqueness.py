"""Keys and times are unique in a whole table: rows that are to be stored beside the rows that are."""

from __future__ import annotations

from fti_assets.features.feature_group import FeatureGroup
from fti_assets.stores.lake import Lake


def comparable(lake: Lake, group: FeatureGroup, staged: str) -> bool:
    """Whether a staged table's keys and times can be those of stored rows.

    Where a type differs, nothing is stored yet and the table is made anew, or the rows are refused when they are to be stored.
    """
    stored, given = lake.types(group.table_name), lake.staged_types(staged)
    return all(stored.get(name) == given[name] for name in group.identity)
