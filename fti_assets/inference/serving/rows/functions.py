"""The functions of a build: the on-demand ones, which bring values to a row, and a composite's behind the graph."""

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.types import ColumnType
from fti_assets.core.types.columns import canonical
from fti_assets.errors import DataError
from fti_assets.inference.serving.refusals import Refusals
from fti_assets.inference.serving.requests.overrides import Override, put_overrides
from fti_assets.inference.serving.rows.columns import Columns
from fti_assets.inference.serving.rows.slots import Row, Slots
from fti_assets.stores.models.answering import combining_function

OnDemand = Callable[[Mapping[str, np.ndarray], int], list[list[Any]]]
"""An on-demand function: canonical arrays ``[n]`` by name and n to ``n`` plain values of each output."""

Inputs = list[tuple[str, int, ColumnType]]
"""What a function takes: the name of each value, its slot and its type."""


class BuildFunctions:
    """The functions of one build, and where a row has what they take.

    Args:
        manifest: the build's.
        slots: where a row has the values so far; what the on-demand functions give is added.
        import_module: gives a module by its name; Python's own by default.

    Raises:
        PredictionError: a function is not the one that the model learned from.
    """

    def __init__(
        self, manifest: ModelManifest, slots: Slots, import_module: Callable[[str], ModuleType] | None = None
    ) -> None:
        self._calls: list[tuple[OnDemand, Inputs]] = []
        for call in manifest.view.on_demand:
            # What compares a function with what the model learned from is half a dozen modules, which an app without one need not load.
            from fti_assets.core.on_demand.call import LoadedCall

            inputs = [(name, slots.of(name), slots.types[name]) for name in call.inputs]
            self._calls.append((LoadedCall(call, import_module, types=slots.types), inputs))
            for output in call.outputs:
                slots.add(output.name, output.type)
        self.combining = combining_function(manifest, slots.types, import_module)
        """A composite's function; None for a build without one."""
        combined = () if self.combining is None else self.combining.features
        self._combined: Inputs = [(name, slots.of(name), slots.types[name]) for name in combined]

    @property
    def inputs(self) -> dict[str, int]:
        """The slots by name of all that the functions take."""
        of_calls = [inputs for _, inputs in self._calls]
        return {name: slot for inputs in (*of_calls, self._combined) for name, slot, _ in inputs}

    def extend(self, row: Row, refusals: Refusals) -> None:
        """Put what the on-demand functions give behind one row.

        Raises:
            RequestError: a function cannot be given a number exactly.
            PredictionError: a function failed.
        """
        for call, inputs in self._calls:
            arrays = {name: canonical([row[slot]], kind) for name, slot, kind in inputs}
            try:
                outputs = call(arrays, 1)
            except DataError as error:
                raise refusals.of_inexact(error, lambda slot, _: row[slot], 1) from None
            for [value] in outputs:
                row.append(value)

    def extend_all(self, columns: Columns, row_overrides: Sequence[Override] | None, refusals: Refusals) -> None:
        """``extend`` for ``n`` rows in columns, whose given values stand in place of what functions give, too."""
        for call, inputs in self._calls:
            arrays = {name: columns.canonical(slot, kind) for name, slot, kind in inputs}
            try:
                outputs = call(arrays, columns.rows)
            except DataError as error:
                raise _inexact(error, columns, refusals) from None
            for values in outputs:
                columns.add(values)
            if row_overrides is not None:
                put_overrides(columns, row_overrides)

    def combine(self, answers: np.ndarray, columns: Columns, refusals: Refusals) -> np.ndarray:
        """What a composite's function makes of the graph's answers ``[n, k]``; without one these.

        Raises:
            RequestError: as ``extend``.
            PredictionError: as ``extend``.
        """
        if self.combining is None:
            return answers
        features = {name: columns.canonical(slot, kind) for name, slot, kind in self._combined}
        try:
            return self.combining(answers, features)
        except DataError as error:
            raise _inexact(error, columns, refusals) from None


def _inexact(error: DataError, columns: Columns, refusals: Refusals) -> Exception:
    return refusals.of_inexact(error, lambda slot, index: columns.plain(slot)[index], columns.rows)
