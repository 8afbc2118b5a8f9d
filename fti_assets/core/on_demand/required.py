"""The packages that an on-demand function needs beside numpy: the releases that are here, and those that the model learned with."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

from fti_assets.core.manifest import OnDemandCall, OnDemandPackage
from fti_assets.errors import DeclarationError, PredictionError, list_some


def packages_here(requires: Sequence[str], *, what: str) -> tuple[OnDemandPackage, ...]:
    """Packages, by the names that they are imported by, as they are installed.

    Args:
        requires: the names.
        what: the function that needs them, for errors.

    Raises:
        DeclarationError: one is not installed, or several distributions bring it.
    """
    if not requires:
        return ()
    brought_by = importlib.metadata.packages_distributions()
    results = []
    for name in requires:
        distributions = sorted(set(brought_by.get(name, ())))
        if len(distributions) != 1:
            why = f"{list_some(distributions)} bring it" if distributions else "no installed distribution brings it"
            raise DeclarationError(f"{what} requires {name!r}, and {why}: its release cannot be written down")
        results.append(OnDemandPackage(name, distributions[0], importlib.metadata.version(distributions[0])))
    return tuple(results)


def check_packages(call: OnDemandCall) -> None:
    """Compare the packages that a function needs with those that are here; none of them is imported.

    Raises:
        PredictionError: one is not installed, or another release of it is.
    """
    for package in call.requires:
        try:
            version = importlib.metadata.version(package.distribution)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if version != package.version:
            here = f"{package.distribution} {version} is installed" if version else "it is not installed"
            raise PredictionError(
                f"on-demand function {call.name!r} version {call.version} needs {package.distribution} {package.version}, with which the "
                f"model learned, and {here}: pip install '{package.distribution}=={package.version}', or serve a build that learned with "
                "what is here"
            )
