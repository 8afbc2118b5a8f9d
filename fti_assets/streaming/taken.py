"""Rows of events told apart by a position."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from fti_assets.features.events.reading import SEQUENCE, SHARD
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.lake.appends import Positions


def identities(group: FeatureGroup, rows: pa.Table) -> list[tuple[object, ...]]:
    """What no two rows of a group share, of each of some rows."""
    columns = []
    for name in group.identity:
        column = rows.column(name)
        columns.append((column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist())
    return list(zip(*columns, strict=True))


def behind(rows: pa.Table, positions: Positions) -> pa.Table:
    """The rows of events that come after a position; all of a shard that has none."""
    if not positions:
        return rows
    keep = None
    for shard, sequence in positions.items():
        is_new = pc.or_(pc.not_equal(rows[SHARD], shard), pc.greater(rows[SEQUENCE], sequence))
        keep = is_new if keep is None else pc.and_(keep, is_new)
    return rows.filter(keep)
