"""The tables of tiles that are kept of a source: a cache, of which windows make again what they need."""

from __future__ import annotations

import re

from fti_assets.core.names import TILES, TableName
from fti_assets.stores.lake.catalog import tables_at_any_snapshot
from fti_assets.stores.lake.lake import Lake


def tiles_of(lake: Lake, source: TableName) -> list[TableName]:
    """The tables of tiles of a source, those included that only old snapshots have: its name, then a hash."""
    # The whole name: the tiles of a source orders_v1 are not those of orders_v10.
    pattern = re.compile(rf"{re.escape(source.name)}_[0-9a-f]{{16}}")
    return [table for table in tables_at_any_snapshot(lake, TILES) if pattern.fullmatch(table.name)]
