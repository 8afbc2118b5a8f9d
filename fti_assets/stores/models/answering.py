"""What a build answers to rows of raw features: its graph's output, and of a composite with a function what that makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from fti_assets.core.manifest import OUTPUT_NAMES, ModelManifest
from fti_assets.core.types import ColumnType
from fti_assets.stores.models.graphs.graph import Graph

if TYPE_CHECKING:
    from fti_assets.core.on_demand.combining import CombiningFunction


def combining_function(
    manifest: ModelManifest,
    types: Mapping[str, ColumnType],
    import_module: Callable[[str], ModuleType] | None = None,
) -> CombiningFunction | None:
    """A composite's function; None for a build without one.

    Args:
        manifest: the build's.
        types: of the features, by name.
        import_module: gives a module by its name; Python's own by default.

    Raises:
        PredictionError: it is not the one that the composite was made with.
    """
    if manifest.composite is None or manifest.composite.function is None:
        return None
    # Not at the top: what compares a function with what was learned from is half a dozen modules, which most builds do without.
    from fti_assets.core.on_demand.combining import CombiningFunction

    return CombiningFunction(manifest.composite, types, import_module)


class Answering:
    """A build as a function of rows.

    Args:
        manifest: the build's.
        graph: the build's.

    Raises:
        PredictionError: as ``combining_function``.
    """

    def __init__(self, manifest: ModelManifest, graph: Graph) -> None:
        self.manifest = manifest
        self._graph = graph
        self._output = OUTPUT_NAMES[manifest.task]
        self._function = combining_function(manifest, {one.name: one.type for one in manifest.view.features})

    def __call__(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Answer ``n`` rows.

        Args:
            columns: canonical arrays ``[n]`` by feature, of all features of the view.

        Returns:
            ``[n]``, or ``[n, k]`` in the order of the manifest's ``classes``.

        Raises:
            DataError: a feature is not there, or has whole numbers that an on-demand function cannot be given.
            PredictionError: the function failed, or gave no number for a row.
        """
        values = self._graph.run(columns)[self._output]
        return values if self._function is None else self._function(values, columns)
