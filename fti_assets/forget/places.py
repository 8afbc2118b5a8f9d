"""Where a system that is looked at from outside Dagster keeps what it stores."""

from __future__ import annotations

import dagster as dg

from fti_assets.errors import DeclarationError
from fti_assets.orchestration.resources import STORES, Stores


def stores_of(definitions: dg.Definitions, **folders: str | None) -> Stores:
    """The stores of some definitions, with the folders that are named instead of theirs.

    Raises:
        DeclarationError: the resource is not the ``Stores`` of this library, or an environment variable is not set.
    """
    stores = (definitions.resources or {}).get(STORES, Stores())
    if not isinstance(stores, Stores):
        raise DeclarationError(f"the resource {STORES!r} of the definitions is {type(stores).__name__}, not fti.Stores")
    try:
        resolved = stores.process_config_and_initialize()
    except Exception as error:
        raise DeclarationError(f"the stores of the definitions cannot be used here: {error}") from error
    known = {name: getattr(resolved, name) for name in type(stores).model_fields}
    return type(stores)(**{**known, **{name: folder for name, folder in folders.items() if folder is not None}})
