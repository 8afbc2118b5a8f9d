"""The explanations of one build's answers, against the rows of its data that it keeps."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core.types import ColumnType
from fti_assets.core.types.columns import canonical
from fti_assets.inference.serving.answers.prediction import Explain, Explanation
from fti_assets.inference.serving.explanations.additive import AdditiveGraph
from fti_assets.inference.serving.explanations.sampling import Explainer
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
        has_scores: whether the answer is of probabilities, which have scores.
        are_labels: whether several probabilities are of labels, each a yes or no, and not of classes.
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
        has_scores: bool = False,
        are_labels: bool = False,
    ) -> None:
        names = [name for one in graph.inputs for name in one.features]

        def ask(columns: Mapping[str, np.ndarray]) -> np.ndarray:
            values = graph.run(columns)[output]
            return values if function is None else function(values, columns)

        self._ask, self._background, self._has_scores = ask, background, has_scores
        self._scores = _log_shares if classes and not are_labels else _log_odds
        self._features = list(dict.fromkeys([*names, *(() if function is None else function.features)]))
        self._types, self._classes = types, classes
        self._sampled: dict[bool, Explainer] = {}
        self._additive: AdditiveGraph | None = None
        if function is None:
            # Most graphs do not add up, and whatever else is strange about one, it can be asked.
            with suppress(Exception):
                additive = AdditiveGraph(graph, output, background)
                # The score of a class is told beside the others', which log odds of its own are not.
                if not (classes and not are_labels and additive.link == "sigmoid"):
                    self._additive = additive

    def explain(self, raw: Mapping[str, Any], explain: Explain = True) -> Explanation:
        """What each feature contributes to the answer to some raw features, or to its score."""
        of_score = explain == "score" and self._has_scores
        columns = {name: canonical([raw[name]], self._types[name]) for name in self._features}
        additive = self._additive
        if additive is not None and (additive.link != "identity") == of_score:
            with suppress(ValueError):
                shares = additive.contributions(columns)
                return self._explanation(additive.base, shares, additive.rows, is_exact=True, of_score=of_score)
        if of_score not in self._sampled:
            ask = (lambda some: self._scores(self._ask(some))) if of_score else self._ask
            self._sampled[of_score] = Explainer(ask, self._features, self._background)
        sampled = self._sampled[of_score]
        shares = sampled.contributions(columns)
        return self._explanation(sampled.base, shares, sampled.rows, is_exact=sampled.is_exact, of_score=of_score)

    def _explanation(
        self, mean: np.ndarray, shares: np.ndarray, rows: int, *, is_exact: bool, of_score: bool
    ) -> Explanation:
        base: Any = mean.tolist()
        if self._classes is None:
            contributions: dict[str, Any] = dict(zip(self._features, shares.tolist(), strict=True))
        else:
            base = dict(zip(self._classes, base, strict=True))
            contributions = {
                name: dict(zip(self._features, of_class, strict=True))
                for name, of_class in zip(self._classes, shares.T.tolist(), strict=True)
            }
        return Explanation(base, contributions, rows, is_exact, "score" if of_score else "answer")


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    """The log odds of ``[n]`` or ``[n, k]``, a float32 epsilon away from 0 and 1."""
    bounded = _bounded(probabilities)
    return np.asarray(np.log(bounded) - np.log1p(-bounded))


def _log_shares(probabilities: np.ndarray) -> np.ndarray:
    """The logarithms of the probabilities of classes ``[n, k]`` less their mean, as far away."""
    logarithms = np.log(_bounded(probabilities))
    return np.asarray(logarithms - logarithms.mean(axis=1, keepdims=True))


def _bounded(probabilities: np.ndarray) -> np.ndarray:
    epsilon = float(np.finfo(np.float32).eps)
    return np.clip(probabilities.astype(np.float64), epsilon, 1 - epsilon)
