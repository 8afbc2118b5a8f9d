"""Optional dependencies, imported when they are first needed."""

import importlib
from typing import Any

from fti_assets.errors import MissingExtraError


def require(module: str, extra: str) -> Any:
    """Import ``module``, which the extra ``extra`` brings.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        package = module.split(".")[0]
        raise MissingExtraError(
            f"{package} is not installed: install fti_assets[{extra}]", name=error.name, path=error.path
        ) from error
