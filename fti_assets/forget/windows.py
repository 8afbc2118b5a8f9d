"""Windows at the time of a request over the rows of an entity: what the online store holds of them is computed again."""

from __future__ import annotations

from collections.abc import Container, Sequence

from fti_assets.core.names import TableName
from fti_assets.errors import DeclarationError, one_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.online.load import load_online
from fti_assets.orchestration.declaration import Declaration
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.online.store import OnlineStore


def refuse_windows(declarations: Sequence[Declaration], group: str) -> None:
    """Raise a DeclarationError if a group has no rows of its own."""
    for one in declarations:
        if isinstance(one, FeatureGroup) and one.name == group and one.windows is not None:
            raise DeclarationError(
                f"{group!r} has no rows of its own, it counts those of {one_of(one.inputs)}: forget the key there, and what the online "
                "store holds of the windows is computed again"
            )


def load_windows(
    lake: Lake, online: OnlineStore, declarations: Sequence[Declaration], changed_tables: Container[TableName]
) -> None:
    """Bring the namespaces of windows over changed tables to the lake's newest snapshot."""
    windows = [one for one in declarations if isinstance(one, FeatureGroup) and one.windows is not None and one.online]
    for one in windows:
        if one.table in changed_tables and one.table_name in online.namespaces():
            load_online(lake, online, one)
