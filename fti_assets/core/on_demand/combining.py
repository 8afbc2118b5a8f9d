"""The function of a composite: what it makes of the answers of models and of features."""

from collections.abc import Callable, Mapping
from types import ModuleType

import numpy as np

from fti_assets.core.manifest import CompositeRecord
from fti_assets.core.on_demand.call import LoadedCall
from fti_assets.core.types import ColumnType
from fti_assets.errors import PredictionError, list_some, one_of


class CombiningFunction:
    """A composite's function, found by its name in its module, and where each of its inputs comes from.

    Args:
        composite: what the composite is made of; it has a function.
        types: of the features, by name.
        import_module: gives a module by its name; Python's own by default.

    Raises:
        PredictionError: the function is not the one that the composite was made with, or an input of it comes from nowhere.
    """

    def __init__(
        self,
        composite: CompositeRecord,
        types: Mapping[str, ColumnType],
        import_module: Callable[[str], ModuleType] | None = None,
    ) -> None:
        call = composite.function
        assert call is not None  # whoever makes it has looked
        answers = parameters_of(composite)
        unknown = [name for name in call.inputs if name not in answers and name not in types]
        if unknown:
            raise PredictionError(
                f"on-demand function {call.name!r} takes {list_some(unknown)}, which is neither an answer of the composite's models nor a "
                f"feature: there is {one_of([*answers, *types])}"
            )
        self.features = tuple(name for name in call.inputs if name not in answers)
        self.names = tuple(output.name for output in call.outputs)
        self._answers = {name: answers[name] for name in call.inputs if name in answers}
        of_features = {name: types[name] for name in self.features}
        self._call = LoadedCall(call, import_module, types={**of_features, **dict.fromkeys(self._answers, "number")})
        self._name = call.name

    def __call__(self, answers: np.ndarray, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Combine the answers to ``n`` rows.

        Args:
            answers: what the graph gives, ``[n, k]``.
            features: canonical arrays ``[n]`` by name, at least ``self.features``.

        Returns:
            float64 ``[n, m]``, in the order of ``self.names``.

        Raises:
            DataError: as ``LoadedCall``.
            PredictionError: as ``LoadedCall``, or it gave no number for a row.
        """
        inputs = {name: answers[:, place].astype(np.float64) for name, place in self._answers.items()}
        inputs |= {name: features[name] for name in self.features}
        outputs = self._call(inputs, len(answers))
        matrix = np.array(
            [[np.nan if value is None else value for value in of_output] for of_output in outputs], dtype=np.float64
        )
        missing = np.argwhere(np.isnan(matrix))
        if len(missing):
            output, row = missing[0].tolist()
            what = {
                name: values[row].item() if values.dtype.kind != "O" else values[row] for name, values in inputs.items()
            }
            raise PredictionError(
                f"on-demand function {self._name!r} gave no number for {self.names[output]!r}, given {what!r:.500}: an answer is a "
                "number; let it say what is answered where a feature is missing"
            )
        return matrix.reshape(len(outputs), len(answers)).T


def parameters_of(composite: CompositeRecord) -> dict[str, int]:
    """How a composite's function names the answers of its models, and the column of each: ``delay_net``, ``species_net_setosa``."""
    parameters: dict[str, int] = {}
    place = 0
    for member in composite.members:
        for answer in member.answers:
            parameters[answer.replace(".", "_", 1)] = place
            place += 1
    return parameters
