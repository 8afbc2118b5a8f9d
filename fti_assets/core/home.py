"""The folders of the embedded stores."""

import os
from pathlib import Path

from fti_assets.core.addresses import is_address, shown
from fti_assets.errors import StoreError

DEFAULT_HOME = ".fti"


def home() -> Path:
    """``FTI_HOME``, by default ``./.fti``."""
    return Path(os.environ.get("FTI_HOME") or DEFAULT_HOME)


def folder_of(location: str | Path, *, what: str, instead: str = "a folder") -> Path:
    """The folder of a store; an address of something else, of which a folder would be made, is refused.

    >>> folder_of("stores/lake", what="offline").name
    'lake'
    """
    if isinstance(location, str) and (is_address(location) or shown(location) != location):
        raise StoreError(f"the {what} store cannot lie at {shown(location)}: name {instead}")
    return Path(location)
