"""The explanations of one build's answers, against the rows of its data that it keeps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core.columns import canonical
from fti_assets.core.types import ColumnType
from fti_assets.inference.serving.answers.explanation import Explainer
from fti_assets.inference.serving.answers.prediction import Explanation
from fti_assets.stores.models.graphs.graph import Graph

if TYPE_CHECKING:
    from fti_assets.core.on_demand.combining import CombiningFunction


class BuildExplanations:
    """Explains answers of a graph, and of a composite's function behind it.

    Args:
        graph: of the build.
        output: of the graph, that is explained.
        function: a composite's.
        background: rows of the data, feature name to canonical array.
        types: of the features.
        classes: that an answer has numbers of.
    """

    def __init__(
        self,
        graph: Graph,
        output: str,
        function: "CombiningFunction | None",
        background: Mapping[str, np.ndarray],
        *,
        types: Mapping[str, ColumnType],
        classes: Sequence[str] | None,
    ) -> None:
        names = [name for one in graph.inputs for name in one.features]

        def ask(columns: Mapping[str, np.ndarray]) -> np.ndarray:
            values = graph.run(columns)[output]
            return values if function is None else function(values, columns)

        features = dict.fromkeys([*names, *(() if function is None else function.features)])
        self._explainer = Explainer(ask, list(features), background)
        self._types, self._classes = types, classes

    def explain(self, raw: Mapping[str, Any]) -> Explanation:
        """What each feature contributes to the answer to some raw features."""
        explainer = self._explainer
        columns = {name: canonical([raw[name]], self._types[name]) for name in explainer.features}
        shares = explainer.contributions(columns)
        base: Any = explainer.base.tolist()
        if self._classes is None:
            contributions: dict[str, Any] = dict(zip(explainer.features, shares.tolist(), strict=True))
        else:
            base = dict(zip(self._classes, base, strict=True))
            contributions = {
                name: dict(zip(explainer.features, of_class, strict=True))
                for name, of_class in zip(self._classes, shares.T.tolist(), strict=True)
            }
        return Explanation(base, contributions, explainer.rows, explainer.is_exact)
