"""The environments of a lake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from fti_assets.core.home import MAIN
from fti_assets.environments.opening import refuse_other_main
from fti_assets.errors import FtiError, count_of
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.files import sized_files
from fti_assets.stores.lake.branches.branch import Branch, branch_folder, branch_named, branch_names, paths_of_branch
from fti_assets.stores.lake.branches.comparing import partition_changes
from fti_assets.stores.lake.branches.places import branch_store
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore


@dataclass(frozen=True)
class EnvironmentFacts:
    """An environment in a line: when it was made of which snapshot and by whom, how many partitions were run in it since.

    And the bytes of its own files, how many files of main it reads, and what is wrong with it, empty if nothing is.
    """

    name: str
    made_at: str
    by: str
    snapshot: int
    changed_partitions: int
    own_bytes: int
    files_of_main: int
    problem: str = ""

    @property
    def plain(self) -> dict[str, Any]:
        """It as JSON takes it."""
        return asdict(self)

    def __str__(self) -> str:
        made = f"{self.name}  made {self.made_at[:16]} of snapshot {self.snapshot}{f' by {self.by}' if self.by else ''}"
        if self.problem:
            return f"{made}: {self.problem}"
        return (
            f"{made}, {count_of(self.changed_partitions, 'partition')} run since, {self.own_bytes / 1e6:.1f} MB of its own, reads "
            f"{count_of(self.files_of_main, 'file')} of main"
        )


def environments(stores: Stores) -> list[EnvironmentFacts]:
    """The environments of the lake of main, by name; one that cannot be read says why."""
    store = stores.in_environment(MAIN).offline_store()
    names = branch_names(store)
    if not names or not store.exists():
        return []
    with store.connect() as main:
        return list(_facts(main, store, names))


def _facts(main: Lake, store: OfflineStore, names: list[str]) -> Iterator[EnvironmentFacts]:
    for name in names:
        about, changed, files, problem = Branch(name, "", 0, 0, "", 0, "", ""), 0, 0, ""
        folder = branch_folder(store, name)
        try:
            about, files = branch_named(store, name), len(paths_of_branch(store, name))
            refuse_other_main(main, about)
            with branch_store(store, name).connect() as own:
                changed = len(partition_changes(own, main, about))
        except FtiError as error:
            problem = str(error)
        own_bytes = sum(size for _, size, _ in sized_files(folder / "lake"))
        yield EnvironmentFacts(name, about.made_at, about.by, about.snapshot, changed, own_bytes, files, problem)
