"""What merges of a branch have moved to main, so that a later merge knows it for the branch's own."""

from __future__ import annotations

from dataclasses import field

from fti_assets.core.records import from_json, record, to_json
from fti_assets.stores.files import read_file, write_atomically
from fti_assets.stores.lake.branches.branch import MERGED, branch_folder
from fti_assets.stores.lake.folder import LakeFolder


@record(frozen=True)
class MergeNotes:
    """What main has got from a branch.

    ``versions`` are data versions by table and partition, ``marks`` the hashes of a model's aliases by alias, ``contracts`` those of a
    table. ``aliases`` are hashes of all aliases of a model together, which an earlier release wrote.
    """

    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    contracts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    marks: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)


def merge_notes(main: LakeFolder, name: str) -> MergeNotes:
    """The notes of a branch; empty before its first merge.

    Raises:
        DamagedError: they cannot be read.
    """
    file = branch_folder(main, name) / MERGED
    remedy = f"drop the environment, fti env drop {name}"
    content = read_file(file, remedy)
    return MergeNotes() if content is None else from_json(MergeNotes, content, what=str(file), remedy=remedy)


def write_notes(main: LakeFolder, name: str, notes: MergeNotes) -> None:
    """Keep the notes of a branch."""
    if notes != merge_notes(main, name):
        write_atomically(branch_folder(main, name) / MERGED, to_json(notes).encode())
