"""The stores of main and of an environment, from those that some definitions name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fti_assets.core.home import MAIN
from fti_assets.errors import DamagedError, StoreError
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.branches.branch import Branch, branch_named, refuse_branch
from fti_assets.stores.lake.branches.notes import merge_notes
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.branches import ModelBase, marks_before


@dataclass(frozen=True)
class OpenEnvironment:
    """An environment and main, both open."""

    about: Branch
    main: Lake
    own: Lake
    main_stores: Stores
    own_stores: Stores

    def alias_marks(self, model: str) -> dict[str, set[str]]:
        """The hashes of each alias of a model that main has from before the environment was made, or from it."""
        base, notes = self.about.models.get(model, ModelBase((), "")), merge_notes(self.main.store, self.about.name)
        stores = self.main_stores.model_store(), self.own_stores.model_store()
        return marks_before(*stores, model, base, notes.aliases.get(model, ()), notes.marks.get(model, {}))


def stores_of_main(stores: Stores, what: str) -> Stores:
    """The stores of main.

    Raises:
        StoreError: an environment is meant.
    """
    if stores.environment_name is not None:
        raise StoreError(
            f"the environment {stores.environment_name!r} is chosen, and {what}: unset FTI_ENV, or Stores(environment=...)"
        )
    refuse_branch(stores.offline_store(), what, "Name the lake of main, --lake FOLDER")
    return stores.in_environment(MAIN)


@contextmanager
def open_environment(stores: Stores, name: str) -> Iterator[OpenEnvironment]:
    """Open an environment and its main for a block.

    Raises:
        NotMaterializedError: there is none of that name.
        DamagedError: main is another lake than it is of.
    """
    main_stores = stores.in_environment(MAIN)
    store = main_stores.offline_store()
    about = branch_named(store, name)
    own_stores = stores.in_environment(name)
    with store.connect() as main, own_stores.offline_store().connect() as own:
        refuse_other_main(main, about)
        yield OpenEnvironment(about, main, own, main_stores, own_stores)


def refuse_other_main(main: Lake, about: Branch) -> None:
    """Refuse a main that was begun again since the environment was made, or put back to an earlier state.

    Raises:
        DamagedError: it is so.
    """
    newest, at = main.snapshot(), main.snapshot_at(about.snapshot)
    if newest < about.snapshot or (at is not None and at != about.snapshot_at):
        raise DamagedError(
            f"the environment {about.name!r} was made of snapshot {about.snapshot}, of {about.snapshot_at}, and the lake at "
            f"{main.store.root} has "
            f"{f'that of {at}' if at else f'{newest} as its newest'}: it was reset or put back since, so nothing can be compared or "
            f"merged. Drop "
            f"the environment and make it again: fti env drop {about.name}"
        )
