"""The definitions of a file or a module, as Dagster's own command line finds them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from fti_assets.core.extras import named_extras
from fti_assets.errors import DeclarationError, FtiError, listed

if TYPE_CHECKING:
    import dagster as dg


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
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        loaded = importlib.import_module(module) if module is not None else _of_file(Path(str(file)))
    except FtiError:
        raise
    except Exception as error:
        raise DeclarationError(f"{what} cannot be loaded: {type(error).__name__}: {error}") from error
    results = {name: value for name, value in vars(loaded).items() if isinstance(value, dg.Definitions)}
    if len({id(value) for value in results.values()}) != 1:
        problem = (
            f"several dg.Definitions, {listed(results)}: leave one"
            if results
            else "no dg.Definitions: make one, defs = fti.build_definitions([...])"
        )
        raise DeclarationError(f"{what} holds {problem}")
    return next(iter(results.values()))


def _of_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise DeclarationError(
            f"there is no file {file}: name the file or module of the definitions, -f FILE or -m MODULE of fti"
        )
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
