"""Graphs whose scores are a sum, of trees or of weights times columns: the exact Shapley values of such a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import numpy as np
import onnxruntime

from fti_assets.inference.serving.explanations.platt import Line, line_before
from fti_assets.inference.serving.explanations.trees import Trees
from fti_assets.stores.models.graphs.execution import new_session
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.graphs.whole_graph import WholeGraph, WholeNode, with_outputs

Link = Literal["identity", "sigmoid", "softmax"]
"""How an answer is made of the scores."""

TOLERANCE = 1e-4
"""How far the answer that is made of the scores may be from the graph's own, relative to it where it is above 1."""

_ROWS_A_RUN = 5_000
"""How many rows are encoded at once."""

_AFTER = frozenset(
    ["Cast", "Clip", "Gather", "Identity", "Mul", "Normalizer", "Reshape", "Sigmoid", "Softmax", "Squeeze"]
)
"""What may stand between the scores and the answer; whether it makes the answer of them as a link does is tried."""

_ONLY_THESE = onnxruntime.RunOptions()
_ONLY_THESE.only_execute_path_to_fetches = True

Columns = Mapping[str, np.ndarray]


class Sum(Protocol):
    """What adds up to scores, of encoded rows."""

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """The scores of float32 ``[n, k]``: float64 ``[n, targets]``."""
        ...

    def contributions(self, row: np.ndarray, background: np.ndarray, features: np.ndarray, count: int) -> np.ndarray:
        """Shapley values ``[count, targets]``, as those of ``Trees``."""
        ...


class Weights:
    """Columns times weights, float64 ``[k, targets]``."""

    def __init__(self, weights: np.ndarray) -> None:
        self._weights = weights.astype(np.float64)

    def scores(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(rows.astype(np.float64) @ self._weights)

    def contributions(self, row: np.ndarray, background: np.ndarray, features: np.ndarray, count: int) -> np.ndarray:
        distance = row.astype(np.float64) - background.astype(np.float64).mean(axis=0)
        result = np.zeros((count + 1, self._weights.shape[1]))
        np.add.at(result, np.where(features < 0, count, features), distance[:, None] * self._weights)
        return result[:count]


class AdditiveGraph:
    """A graph whose answer is made, by a link, of scores that are a sum over encoded columns, each of one feature.

    Which feature a column is made of is seen from rows: it changes with that feature and no other.

    Args:
        graph: of the build.
        output: that is explained.
        background: rows of the data, feature name to canonical array.

    Raises:
        ValueError: it is no such graph; it says why.
    """

    def __init__(self, graph: Graph, output: str, background: Columns) -> None:
        if graph.source is None:
            raise ValueError("its bytes are not here")
        whole = WholeGraph(graph.source)
        self._sum, self._base, self._matrix, self._line = _deciding_sum(whole, output)
        self._session = (
            None if self._matrix in whole.inputs else new_session(with_outputs(graph.source, [self._matrix]))
        )
        self._graph, self._output = graph, output
        self.features = tuple(name for one in graph.inputs for name in one.features)
        self._background = {name: background[name] for name in self.features}
        self._rows = self._encode(self._background)
        self._of_column = np.full(self._rows.shape[1], -1, dtype=np.int64)
        self._learn_columns(self._background, {name: np.roll(values, 1) for name, values in self._background.items()})
        self._column, self.link = _link_of(self._scores(self._rows), graph.run(self._background)[output], self._line)
        self.base = self._scores_of_answer(self._rows).mean(axis=0)

    @property
    def rows(self) -> int:
        """How many rows the background has."""
        return len(self._rows)

    def contributions(self, row: Columns) -> np.ndarray:
        """The Shapley values of the features, ``[features]`` or ``[features, classes]``; with ``base`` they add up to the score.

        Args:
            row: feature name to canonical array ``[1]``.

        Raises:
            ValueError: a column is made of more than one feature, or the values do not add up to the graph's own answer.
        """
        own = {name: row[name] for name in self.features}
        self._learn_columns({name: values[:1] for name, values in self._background.items()}, own)
        encoded = self._encode(own)
        self._try_mixtures(own, encoded)
        shares = self._in_terms_of_answer(
            self._sum.contributions(encoded[0], self._rows, self._of_column, len(self.features))
        )
        total, score = (self.base + shares.sum(axis=0))[None], self._scores_of_answer(encoded)
        answer = self._graph.run(own)[self._output]
        if not (_is_close(total, score) and _is_close(_LINKS[self.link](total), answer)):
            raise ValueError("its answer is not what the contributions add up to")
        return shares

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._sum.scores(rows) + self._base)

    def _scores_of_answer(self, rows: np.ndarray) -> np.ndarray:
        scores = self._in_terms_of_answer(self._scores(rows))
        return scores if self._line is None else scores + self._line.intercept

    def _in_terms_of_answer(self, scores: np.ndarray) -> np.ndarray:
        """What the answer tells of scores ``[n, targets]``: one of them, their difference, or all, of a softmax less their mean; times
        the slope of a calibration."""
        if self._column is not None:
            scores = np.asarray(scores @ np.array(self._column))
        elif self.link == "softmax":
            scores = np.asarray(scores - scores.mean(axis=1, keepdims=True))
        return scores if self._line is None else np.asarray(scores * self._line.slope)

    def _encode(self, columns: Columns) -> np.ndarray:
        feeds = self._graph.feeds(columns)
        if self._session is None:
            matrix = feeds[self._matrix]
        else:
            [matrix] = self._session.run([self._matrix], feeds, _ONLY_THESE)
        if matrix.ndim != 2 or matrix.dtype.kind != "f":
            raise ValueError(f"its columns are {matrix.dtype} of the shape {list(matrix.shape)}")
        return np.asarray(matrix)

    def _try_mixtures(self, own: Columns, encoded: np.ndarray) -> None:
        """Whether each column is as its feature's row has it, in mixtures of a row and each of the background.

        One feature is of the one and all others of the other: a column of two features that seldom move, such as their product, may be
        the same in all that ``_learn_columns`` has seen.
        """
        if not _is_same(self._rows, encoded)[:, self._of_column < 0].all():
            raise ValueError("a column of it changes with no feature alone")
        if self._session is None:
            return  # The features are the columns.
        full = {name: np.repeat(own[name], self.rows) for name in self.features}
        # Many features at once, since a run takes longer than its rows.
        step = max(1, _ROWS_A_RUN // self.rows)
        for start in range(0, len(self.features), step):
            few = range(start, min(start + step, len(self.features)))
            is_of = self._of_column == np.array(few)[:, None, None]
            for one, other, of_one, of_other in (
                (full, self._background, encoded, self._rows),
                (self._background, full, self._rows, encoded),
            ):
                mixture = {
                    name: np.concatenate([(one if place == at else other)[name] for at in few])
                    for place, name in enumerate(self.features)
                }
                mixed = self._encode(mixture).reshape(len(few), self.rows, -1)
                if not _is_same(mixed, np.where(is_of, of_one, of_other)).all():
                    raise ValueError("a column of it is made of two features")

    def _learn_columns(self, rows: Columns, others: Columns) -> None:
        """Note which columns change where one feature of ``rows`` is taken from ``others``."""
        before = self._encode(rows)
        for at, name in enumerate(self.features):
            after = self._encode({**rows, name: others[name]})
            changed = np.flatnonzero(~((before == after) | (np.isnan(before) & np.isnan(after))).all(axis=0))
            if not np.isin(self._of_column[changed], (-1, at)).all():
                raise ValueError("a column of it is made of two features")
            self._of_column[changed] = at


def _deciding_sum(whole: WholeGraph, output: str) -> tuple[Sum, np.ndarray, str, Line | None]:
    """The sum that alone decides an output, what is added to it, ``[targets]``, the columns that it takes, and the line of a calibration
    behind it."""
    producers = {name: node for node in whole.nodes for name in node.outputs}
    line = line_before(whole, producers, output)
    name, added = output if line is None else line.source, np.zeros(1)
    while (node := producers.get(name)) is not None:
        if node.op in _SUMS:
            if node.op.endswith("Classifier") and name != node.outputs[1]:
                raise ValueError("the label decides, not the scores")
            own, base = _SUMS[node.op](whole, node)
            return own, base + added, node.inputs[0], line
        values = [one for one in node.inputs if one and whole.constant(one) is None]
        if len(values) != 1 or (node.op != "Add" and node.op not in _AFTER):
            raise ValueError(f"{node.op} stands behind whatever adds up")
        if node.op == "Add":
            constants = [whole.constant(one) for one in node.inputs]
            added = added + sum(one.reshape(-1) for one in constants if one is not None)
            if producers.get(values[0]) is None or producers[values[0]].op != "MatMul":
                raise ValueError("Add stands behind whatever adds up")
        name = values[0]
    raise ValueError("nothing of it adds up")


def _of_trees(kind: str) -> Callable[[WholeGraph, WholeNode], tuple[Sum, np.ndarray]]:
    def read(whole: WholeGraph, node: WholeNode) -> tuple[Sum, np.ndarray]:
        attributes = node.attributes()
        trees, base = Trees(attributes, kind), attributes.get("base_values")
        if base is None:
            return trees, np.zeros(1)
        return trees, np.asarray(base if len(base) == len(trees.targets) else base[-1:], dtype=np.float64)

    return read


def _of_weights(whole: WholeGraph, node: WholeNode) -> tuple[Sum, np.ndarray]:
    attributes = node.attributes()
    intercepts = np.asarray(attributes.get("intercepts", np.zeros(1)), dtype=np.float64)
    targets = attributes.get("targets", len(intercepts)) if node.op == "LinearRegressor" else len(intercepts)
    return Weights(attributes["coefficients"].reshape(targets, -1).T), intercepts


def _of_product(whole: WholeGraph, node: WholeNode) -> tuple[Sum, np.ndarray]:
    attributes, weights = node.attributes(), whole.constant(node.inputs[1])
    if weights is None or weights.ndim != 2 or attributes.get("transA"):
        raise ValueError("its weights are computed")
    weights = weights.T if attributes.get("transB") else weights
    if node.op == "MatMul" or len(node.inputs) < 3:
        return Weights(attributes.get("alpha", 1.0) * weights), np.zeros(1)
    base = whole.constant(node.inputs[2])
    if base is None:
        raise ValueError("its weights are computed")
    return Weights(attributes.get("alpha", 1.0) * weights), attributes.get("beta", 1.0) * base.reshape(-1).astype(
        np.float64
    )


_SUMS: Mapping[str, Callable[[WholeGraph, WholeNode], tuple[Sum, np.ndarray]]] = {
    "TreeEnsembleClassifier": _of_trees("class"),
    "TreeEnsembleRegressor": _of_trees("target"),
    "LinearClassifier": _of_weights,
    "LinearRegressor": _of_weights,
    "Gemm": _of_product,
    "MatMul": _of_product,
}


_OF_ONE_ANSWER: Mapping[int, tuple[tuple[float, ...], ...]] = {1: ((1.0,),), 2: ((0.0, 1.0), (-1.0, 1.0))}
"""By how many scores there are, what of them may make one answer: the last one, or of two their difference."""


def _link_of(scores: np.ndarray, answers: np.ndarray, line: Line | None) -> tuple[tuple[float, ...] | None, Link]:
    """What of scores ``[n, targets]`` makes the answers ``[n]`` or ``[n, k]``: weights for them, None for all, and the link.

    With a calibration's line behind it the link is a sigmoid.
    """
    columns: tuple[tuple[float, ...] | None, ...] = (None,)
    links: tuple[Link, ...] = ("identity", "softmax", "sigmoid")
    if answers.ndim == 1:
        links = ("identity", "sigmoid")
        columns = _OF_ONE_ANSWER.get(scores.shape[1], ())
    for column in columns:
        for link in links if line is None else links[-1:]:
            totals = scores if column is None else scores @ np.array(column)
            if line is not None:
                totals = totals * line.slope + line.intercept
            estimates = _LINKS[link](totals)
            if estimates.shape == answers.shape and _is_close(estimates, answers):
                return column, link
    raise ValueError("its answers are no function of the scores that is tried")


def _is_close(estimates: np.ndarray, answers: np.ndarray) -> bool:
    return bool((np.abs(estimates - answers) <= TOLERANCE * np.maximum(1.0, np.abs(answers))).all())


def _is_same(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Where encoded rows are the same, but for what the number of rows that are encoded at once does to the last bits."""
    return np.asarray(np.isclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True))


def _softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


_LINKS: Mapping[Link, Callable[[np.ndarray], np.ndarray]] = {
    "identity": np.asarray,
    "sigmoid": lambda scores: np.exp(-np.logaddexp(0.0, -scores)),
    "softmax": _softmax,
}
