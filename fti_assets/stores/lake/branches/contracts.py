"""What the owner of a table promises of it: in a branch, in main, and when the branch was made."""

from __future__ import annotations

import json
from typing import Any

from fti_assets.core.names import TableName
from fti_assets.stores.lake.branches.branch import Branch
from fti_assets.stores.lake.branches.notes import merge_notes
from fti_assets.stores.lake.reader import LakeReader

_WORDS = frozenset({"description", "owners", "release"})
"""What a contract says of a table that changes no row and no answer."""


def contract_differences(main: LakeReader, branch: LakeReader, about: Branch, table: TableName) -> list[str]:
    """The fields in which a contract that main has changed since the branch was made differs from the branch's."""
    mains = main.contract(table)
    if mains in _contracts_of_origin(main, branch, about, table):
        return []
    own, of_main = _terms(branch.contract(table)), _terms(mains)
    return sorted(name for name in {*own, *of_main} if own.get(name) != of_main.get(name))


def contract_to_state(main: LakeReader, branch: LakeReader, about: Branch, table: TableName) -> str:
    """The contract that main gets with a branch's rows; empty where main's own stays."""
    own = branch.contract(table)
    is_unchanged = own == branch.contract(table, snapshot=about.snapshot)
    return "" if is_unchanged and main.contract(table) not in _contracts_of_origin(main, branch, about, table) else own


def _contracts_of_origin(main: LakeReader, branch: LakeReader, about: Branch, table: TableName) -> set[str]:
    """Main's contracts that are from before the branch was made, or from it."""
    merged = merge_notes(main.store, about.name).contracts.get(table.full_name, ())
    return {branch.contract(table, snapshot=about.snapshot), *merged}


def _terms(contract: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(contract or "{}").items() if name not in _WORDS}
