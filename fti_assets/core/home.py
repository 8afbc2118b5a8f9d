"""The folders of the embedded stores."""

import os
import re
from pathlib import Path

from fti_assets.errors import StoreError, excerpt

DEFAULT_HOME = ".fti"

_CREDENTIALS = re.compile(r":[^/\s]*@")
"""What no folder is named: a password before a host, of an address that is mistyped and whose text must not be shown."""

_OF_ADDRESSES = frozenset(":=@?&#*\"' \t\r\n")
"""What an address or a mistyped one has one of; most folders have none."""


MAIN = "main"
"""What the environment is called that is no branch."""

BRANCHES = "environments"
"""The folder beside a lake's catalog in which the lake's environments lie."""


def home() -> Path:
    """``FTI_HOME``, by default ``./.fti``."""
    return Path(os.environ.get("FTI_HOME") or DEFAULT_HOME)


def environment() -> str | None:
    """``FTI_ENV``, the environment whose stores are meant; None for the stores as they are declared."""
    name = os.environ.get("FTI_ENV")
    return None if not name or name == MAIN else name


def default_store(name: str) -> Path:
    """Where a store lies of which nobody says where: under ``FTI_HOME``, or in the environment of ``FTI_ENV`` there.

    Args:
        name: ``models``, ``online`` or ``log``.

    Raises:
        StoreError: there is no such environment.
    """
    branch = environment()
    if branch is None:
        return home() / name
    folder = home() / "lake" / BRANCHES / branch
    if "/" in branch or not folder.is_dir():
        raise StoreError(
            f"FTI_ENV is {excerpt(branch)}, and the lake at {home() / 'lake'} has no environment of that name: make it with fti env "
            "create, unset FTI_ENV, or name the stores' folders"
        )
    return folder / name


def folder_of(location: str | Path, *, what: str, instead: str = "a folder") -> Path:
    """The folder of a store; an address of something else, of which a folder would be made, is refused.

    >>> folder_of("stores/lake", what="offline").name
    'lake'

    Raises:
        StoreError: it is an address, or a mistyped one, or no path at all.
    """
    if not isinstance(location, str | os.PathLike):
        raise StoreError(f"the {what} store cannot lie at {excerpt(location)}: name {instead}")
    if "\0" in str(location):
        raise StoreError(f"the {what} store cannot lie at a path with a NUL character in it: name {instead}")
    if not isinstance(location, str) or (_OF_ADDRESSES.isdisjoint(location) and "//" not in location):
        return Path(location)
    # Not at the top: its patterns take longer to compile than all else that an app waits for here.
    from fti_assets.core.addresses import is_address, show_address

    if not is_address(location) and (is_address(location.strip(" \t\r\n'\"")) or _CREDENTIALS.search(location)):
        raise StoreError(
            f"the {what} store is named by text that looks like a mistyped address, which is not shown since it may hold a password: "
            f"write it without blanks and quotes around it and with '://', or name {instead}"
        )
    if is_address(location) or show_address(location) != location:
        raise StoreError(f"the {what} store cannot lie at {show_address(location)}: name {instead}")
    return Path(location)
