"""The definitions of a file or a module, as Dagster's own command line finds them, and where they keep what they store."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from fti_assets.core.extras import named_extras
from fti_assets.errors import DeclarationError, FtiError, NotMaterializedError, list_some

if TYPE_CHECKING:
    import dagster as dg

    from fti_assets.orchestration.resources import Stores
    from fti_assets.stores.lake.store import OfflineStore


def load_definitions(*, file: str | Path | None = None, module: str | None = None) -> dg.Definitions:
    """Load the one ``dg.Definitions`` of a file or a module, with the working directory on the import path.

    Raises:
        DeclarationError: there is no such file or module, it cannot be loaded, or holds no or several definitions.
        MissingExtraError: Dagster is not installed.
    """
    what = module if module is not None else str(file)
    with named_extras(f"loading {what}"):
        import dagster as dg
    here = str(Path.cwd())
    # As Dagster's own command line does, so that a file that loads there loads here.
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        namespace = importlib.import_module(module) if module is not None else _of_file(Path(str(file)))
    except FtiError:
        raise
    except Exception as error:
        raise DeclarationError(f"{what} cannot be loaded: {type(error).__name__}: {error}") from error
    by_name = {name: value for name, value in vars(namespace).items() if isinstance(value, dg.Definitions)}
    if len(set(map(id, by_name.values()))) != 1:
        problem = "no dg.Definitions: make one, defs = fti.build_definitions([...])"
        if by_name:
            problem = f"several dg.Definitions, {list_some(by_name)}: leave one"
        raise DeclarationError(f"{what} holds {problem}")
    return next(iter(by_name.values()))


def stores_of(definitions: dg.Definitions, **folders: str | None) -> Stores:
    """The stores of some definitions, with the folders that are named instead of theirs.

    Raises:
        DeclarationError: the resource is not the ``Stores`` of this library, or an environment variable is not set.
    """
    from fti_assets.orchestration.resources import STORES, Stores

    stores = (definitions.resources or {}).get(STORES, Stores())
    if not isinstance(stores, Stores):
        raise DeclarationError(f"the resource {STORES!r} of the definitions is {type(stores).__name__}, not fti.Stores")
    try:
        instance = stores.process_config_and_initialize()
    except Exception as error:
        raise DeclarationError(f"the stores of the definitions cannot be used here: {error}") from error
    places = {name: getattr(instance, name) for name in type(stores).model_fields}
    return type(stores)(**{**places, **{name: folder for name, folder in folders.items() if folder is not None}})


def existing_store(stores: Stores) -> OfflineStore:
    """The offline store of some stores, which must be there: nothing is made by looking at it."""
    store = stores.offline_store()
    if not store.exists():
        raise NotMaterializedError(f"there is no offline store at {store.root}: name the lake's folder, --lake FOLDER")
    return store


def _of_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise DeclarationError(
            f"there is no file {file}: name the file or module of the definitions, -f FILE or -m MODULE of fti"
        )
    # A name of its own, since another definitions.py may be imported already.
    spec = importlib.util.spec_from_file_location(f"__fti_described_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise DeclarationError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where annotations that are text are looked up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module
