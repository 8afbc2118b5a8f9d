"""What a stored table demands of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from fti_assets.core.rules import Rule

if TYPE_CHECKING:
    import pandera.pandas as pandera

    from fti_assets.core.types import ColumnType

NOT_NULL = Rule("keys_and_times_not_null", "Keys and times are never null")
UNIQUE = Rule("rows_unique", "No two rows have the same keys and times")
IN_PARTITION = Rule("rows_in_partition", "Every row belongs to the partitions that are run")


@dataclass(frozen=True)
class Layout:
    """What a stored table demands of its rows.

    Args:
        what: the table's name, for errors.
        not_null: columns that are never null.
        unique: columns that no two rows share.
        partition_by: the column whose time says which partition a row is in, or None for a table without time partitions.
        schema: a Pandera schema.
        types: the declared type of each column; the rest keep theirs.
        times: columns that hold timestamps, whatever else is declared.
        stored_types: the DuckDB types of the table that is already there, and before it is those that the schema states, for columns of
            which no value tells the type.
        is_placeholder: whether a stored column holds no value, so that its type is no one's; asked only where types differ.
        rename: the result's name of a column to the table's.
        keep_last_by: of rows that share ``unique``, the one that is last by this column is kept; None keeps all.
    """

    what: str
    not_null: tuple[str, ...]
    unique: tuple[str, ...]
    partition_by: str | None
    schema: pandera.DataFrameSchema | None = None
    types: dict[str, ColumnType | None] = field(default_factory=dict)
    times: tuple[str, ...] = ()
    stored_types: dict[str, str] = field(default_factory=dict)
    keep_last_by: str | None = None
    is_placeholder: Callable[[str], bool] = lambda column: False
    rename: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def dims(self) -> dict[str, int]:
        """How many numbers each row of a column of vectors has, as far as the schema states it."""
        if self.schema is None or "vector" not in self.types.values():
            return {}
        from fti_assets.features.validation.schema import vector_dims

        return vector_dims(self.schema)

    @property
    def rules(self) -> list[Rule]:
        unique = [UNIQUE] if self.unique else []
        in_partition = [IN_PARTITION] if self.partition_by is not None else []
        return [NOT_NULL, *unique, *in_partition, *self.length_rules.values()]

    @property
    def length_rules(self) -> dict[str, Rule]:
        """The rule of each column of vectors whose length the schema states."""
        return {
            column: Rule(f"{column}_length", f"{column} has {dim} numbers in each row that has any")
            for column, dim in self.dims.items()
        }
