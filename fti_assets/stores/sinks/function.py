"""A user's function that takes each partition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fti_assets.core.arguments import checked_arguments
from fti_assets.stores.sinks.sink import Sink, StoredPartition

_BATCH_ROWS = 100_000


@checked_arguments()
@dataclass(frozen=True)
class FunctionSink(Sink):
    """Pass answers to your own function: to a queue, a CRM, a search index.

    It is called once per partition after the lake's commit, and again whenever the partition runs, so it must replace the earlier rows.
    An exception fails the run, which names the function and the partition.

    Args:
        function: called as ``function(rows, partition)``: a ``pyarrow.RecordBatchReader`` of the partition's rows, some at a time, and
            the partition's key.

    >>> def to_crm(rows, partition):
    ...     for batch in rows:
    ...         print(partition, batch.num_rows)
    >>> FunctionSink(to_crm).place
    'function to_crm'
    """

    function: Callable[[Any, str], Any]

    @property
    def place(self) -> str:
        return f"function {getattr(self.function, '__qualname__', repr(self.function)).rpartition('<locals>.')[2]}"

    def write(self, partition: StoredPartition) -> None:
        """Call the function."""
        with partition.rows().to_arrow_reader(_BATCH_ROWS) as reader:
            self.function(reader, partition.key)
