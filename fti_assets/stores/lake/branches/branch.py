"""What a branch says of itself, where it lies, and which files of the main lake it reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field

from fti_assets.core.home import BRANCHES, MAIN
from fti_assets.core.records import from_json, record
from fti_assets.errors import DamagedError, NotMaterializedError, StoreError, excerpt, list_some, one_of
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.files import is_folder, paths_in, read_file
from fti_assets.stores.lake.folder import LakeFolder
from fti_assets.stores.lake.postgres.address import LakeAddress
from fti_assets.stores.models.branches import ModelBase
from fti_assets.stores.places import Place

ABOUT, HELD, MERGED = "environment.json", "held.txt", "merged.json"
FIRST_NUMBER = 10**9
"""Snapshots of the n-th branch have numbers above n times this, so that none of them is taken for one of main."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_RESERVED = frozenset({MAIN, ".", ".."})


@record(frozen=True)
class Branch:
    """A branch of a lake.

    ``main`` is the folder of the lake that it is of, ``snapshot`` the newest that this had then and ``snapshot_at`` when that was made, as
    the catalog's text. Its own snapshots are those above ``first``. ``models`` says what main had of each model.
    """

    name: str
    main: str
    number: int
    snapshot: int
    snapshot_at: str
    first: int
    made_at: str
    by: str
    models: dict[str, ModelBase] = field(default_factory=dict)
    format: int = 1


def checked_branch_name(name: str) -> str:
    """Return a branch's name.

    >>> checked_branch_name("pr-12")
    'pr-12'

    Raises:
        StoreError: it is none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
        why = (
            f"{MAIN!r} is what is no environment"
            if name == MAIN
            else "it takes 1 to 63 lower-case letters, digits, '.', '_' and '-', a letter or digit first"
        )
        raise StoreError(f"an environment cannot be called {excerpt(name)}: {why}, such as 'pr-12'")
    return name


def branch_folder(main: LakeFolder, name: str) -> Place:
    """The folder of a branch, in the bucket of a team's lake, whether it is there or not.

    Raises:
        StoreError: the name is none.
    """
    return _branches(main) / checked_branch_name(name)


def branch_names(main: LakeFolder) -> list[str]:
    """The branches of a lake, by name."""
    return [one.name for one in paths_in(_branches(main)) if _NAME.fullmatch(one.name) and is_branch(one)]


def is_branch(folder: Place) -> bool:
    """Whether a branch lies in a folder; in a bucket what it says of itself is written last, and deleted first."""
    return (folder / ABOUT).is_file() if isinstance(folder, BucketPath) else is_folder(folder)


def _branches(main: LakeFolder) -> Place:
    return main.root.data / BRANCHES if isinstance(main.root, LakeAddress) else main.folder / BRANCHES


def branch_named(main: LakeFolder, name: str) -> Branch:
    """A branch of a lake.

    Raises:
        NotMaterializedError: there is none of that name.
        DamagedError: what it says of itself cannot be read.
        StoreError: the name is none.
    """
    folder = branch_folder(main, name)
    if not is_branch(folder):
        names = branch_names(main)
        existing = f"it has {list_some(names)}" if names else "it has none"
        raise NotMaterializedError(
            f"the lake at {main.root} has no environment {name!r}: {existing}. Make it with fti env create {name}, or name another one"
        )
    return _read(folder)


def branch_of(store: LakeFolder) -> Branch | None:
    """What a lake says of itself if it is a branch; None if it is none."""
    folder = _folder_of(store)
    if folder.parent.name != BRANCHES or not (folder / ABOUT).exists():
        return None
    return _read(folder)


@contextmanager
def errors_of_dropped(store: LakeFolder) -> Iterator[None]:
    """Say of what fails because its environment was dropped meanwhile that it was.

    Raises:
        NotMaterializedError: the environment is there no more.
    """
    folder = _folder_of(store)
    was_there = folder.parent.name == BRANCHES and is_branch(folder)
    try:
        yield
    except Exception as error:
        if not was_there or is_branch(folder):
            raise
        raise NotMaterializedError(
            f"the environment {folder.name!r} was dropped while it was in use, with all that was written in it: make it again, fti env "
            f"create {folder.name}, or unset FTI_ENV to use main"
        ) from error


def refuse_branch(store: LakeFolder, what: str, instead: str) -> None:
    """Refuse what cannot be done to a lake that shares its files with another.

    Raises:
        StoreError: it is a branch.
    """
    branch = branch_of(store)
    if branch is not None:
        raise StoreError(
            f"{store.root} is the environment {branch.name!r} of the lake at {branch.main}, whose files it reads: it cannot {what}. "
            f"{instead}"
        )


def refuse_branched(store: LakeFolder, what: str) -> None:
    """Refuse what needs files to be gone that branches still read.

    Raises:
        StoreError: the lake has branches.
    """
    if names := branch_names(store):
        raise StoreError(
            f"the lake at {store.root} has the environment {one_of(names)}, which reads its files: {what}. Merge or drop it first, "
            f"fti env drop {names[0]}"
        )


def paths_of_branches(store: LakeFolder) -> set[str]:
    """The paths of a lake's files that its branches read, relative to its data folder where they lie in it.

    Raises:
        DamagedError: nobody can say what a branch reads.
    """
    return {path for name in branch_names(store) for path in paths_of_branch(store, name)}


def paths_of_branch(store: LakeFolder, name: str) -> list[str]:
    """Those that one branch reads."""
    file = branch_folder(store, name) / HELD
    content = read_file(file, f"drop the environment, fti env drop {name}")
    if content is None:
        raise DamagedError(
            f"{file} is not there, so it is unknown which files the environment {name!r} reads: nothing was deleted. Drop it, "
            f"fti env drop {name}, or restore the file from a copy"
        )
    return content.decode().splitlines()


def _folder_of(store: LakeFolder) -> Place:
    """The folder of a branch, if the lake is one."""
    return store.root.data.parent if isinstance(store.root, LakeAddress) else store.folder.parent


def _read(folder: Place) -> Branch:
    remedy = f"drop the environment, fti env drop {folder.name}"
    content = read_file(folder / ABOUT, remedy)
    if content is None:
        raise DamagedError(f"{folder / ABOUT} is not there: {remedy}, or restore it from a copy")
    return from_json(Branch, content, what=str(folder / ABOUT), remedy=remedy)
