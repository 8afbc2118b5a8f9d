"""What a branch has changed: its ledgers beside those of its beginning, and beside those of main as it is now."""

from __future__ import annotations

from dataclasses import dataclass

from fti_assets.core.names import TILES, PartitionRecord, TableName
from fti_assets.stores.lake.branches.branch import Branch
from fti_assets.stores.lake.branches.notes import merge_notes
from fti_assets.stores.lake.reader import LakeReader


@dataclass(frozen=True)
class PartitionChange:
    """A partition that was run in a branch: what its ledger said at the beginning, what it says now, and what main's says now; None is
    nothing. ``merged`` is the data version that a merge has moved to main before, empty without any."""

    table: TableName
    partition: str
    base: PartitionRecord | None
    own: PartitionRecord
    main: PartitionRecord | None
    merged: str = ""

    @property
    def is_in_main(self) -> bool:
        """Whether main has the same rows, of the same run."""
        return self.main is not None and (self.main.data_version, self.main.run_id, self.main.run_at) == (
            self.own.data_version,
            self.own.run_id,
            self.own.run_at,
        )

    @property
    def moves_rows(self) -> bool:
        """Whether main has other rows than the branch."""
        return _version(self.main) != self.own.data_version

    @property
    def conflicts(self) -> bool:
        """Whether main has rows that are neither those of the beginning nor the branch's."""
        return _version(self.main) not in {
            _version(self.base),
            self.own.data_version,
            self.merged or _version(self.base),
        }


def partition_changes(branch: LakeReader, main: LakeReader, about: Branch) -> list[PartitionChange]:
    """The partitions that were run in a branch since it was made, by table and partition."""
    results, merged = [], merge_notes(main.store, about.name).versions
    for table in branch.tables():
        if table.schema == TILES:
            continue
        own, base = branch.ledger(table), branch.ledger(table, snapshot=about.snapshot)
        if own == base:
            continue
        mains, moved = main.ledger(table), merged.get(table.full_name, {})
        results += [
            PartitionChange(table, key, base.get(key), record, mains.get(key), moved.get(key, ""))
            for key, record in own.items()
            if record != base.get(key)
        ]
    return results


def _version(record: PartitionRecord | None) -> str | None:
    return None if record is None else record.data_version
