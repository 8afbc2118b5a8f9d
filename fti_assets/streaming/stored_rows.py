"""Which events have their rows in the lake already: a run was ahead of the service that takes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pyarrow as pa
import pyarrow.compute as pc

from fti_assets.core.sql import quote, timestamp
from fti_assets.core.times import from_microseconds
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.duckdb.nul_texts import equal_columns
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore

_PLACE = "__fti_place"


class StoredRows:
    """The rows of a group in the lake, by a connection of its own that is opened when it is first needed.

    Args:
        store: the offline store.
        group: a group with a stream.
    """

    def __init__(self, store: OfflineStore, group: FeatureGroup) -> None:
        self._store, self._group = store, group
        self._open = ExitStack()
        self._lake: Lake | None = None

    def without(self, rows: pa.Table, snapshot: int, newest_us: int) -> pa.Table:
        """The rows of events without those whose keys and times a row of a snapshot has.

        Args:
            rows: those of events, as a micro-batch has them.
            snapshot: what is compared with.
            newest_us: the greatest available-at of the rows of the snapshot, or a later one: rows after it are not looked for.

        Raises:
            StoreError: the lake cannot be read, or no longer has the snapshot.
        """
        column, names = str(self._group.available_at), self._group.identity
        available = rows[column].cast(pa.int64())
        ends = pc.min_max(available.filter(pc.less_equal(available, newest_us))).as_py()
        if ends["min"] is None:
            self.close()
            return rows
        bounds = " AND ".join(timestamp(from_microseconds(ends[end])) for end in ("min", "max"))
        with self._connected() as lake:
            places = pa.array(range(rows.num_rows))
            mine = relation_name(lake.connection.from_arrow(rows.select(names).append_column(_PLACE, places)))
            stored = relation_name(lake.rows(self._group.table, snapshot=snapshot))
            same = equal_columns(lake.connection, mine, {name: name for name in names}, rows="new", target="stored")
            within = f"(FROM {stored} WHERE {quote(column)} BETWEEN {bounds})"  # most files need not be opened
            new = lake.connection.execute(
                f"SELECT {_PLACE} FROM {mine} new WHERE NOT EXISTS (SELECT 1 FROM {within} stored WHERE {same}) ORDER BY 1"
            ).to_arrow_table()
        return rows.take(new.column(0))

    def close(self) -> None:
        """Let go of the lake until it is needed again."""
        self._lake = None
        self._open.close()
        self._open = ExitStack()

    @contextmanager
    def _connected(self) -> Iterator[Lake]:
        if self._lake is None:
            self._lake = self._open.enter_context(self._store.connect())
        try:
            yield self._lake
        except BaseException:
            self.close()
            raise
