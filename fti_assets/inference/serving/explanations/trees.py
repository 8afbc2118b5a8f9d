"""Trees as an ONNX node holds them, and the exact Shapley values of what they add up to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

MOST_CONDITIONS = 2_000_000
"""How many conditions stand on the ways to all leaves of trees that are explained exactly; larger forests would take seconds a row."""

_COMPARE: Mapping[str, Any] = {
    "BRANCH_LEQ": np.less_equal,
    "BRANCH_LT": np.less,
    "BRANCH_GTE": np.greater_equal,
    "BRANCH_GT": np.greater,
    "BRANCH_EQ": np.equal,
    "BRANCH_NEQ": np.not_equal,
}


class _Pairs(NamedTuple):
    """The features on the way to each leaf: the leaf and the feature of each, ``[pairs]``, and which of them each condition is of.

    ``shares`` are those of a leaf's worth, by how many features must be taken from one of the rows and how many from the other.
    """

    leaf: np.ndarray
    feature: np.ndarray
    of_condition: np.ndarray
    shares: np.ndarray


class Trees:
    """The trees of a ``TreeEnsembleClassifier`` or ``TreeEnsembleRegressor`` (ai.onnx.ml 1 to 3).

    Args:
        attributes: of the node, by name.
        kind: ``class`` or ``target``, as the node's attributes begin that say what its leaves are worth.

    Raises:
        ValueError: it holds what is not read here, or more conditions than ``MOST_CONDITIONS``.
    """

    def __init__(self, attributes: Mapping[str, Any], kind: str) -> None:
        if any(name.endswith("_as_tensor") for name in attributes):
            raise ValueError("its numbers are float64")
        modes = np.array(attributes["nodes_modes"])
        keys = list(zip(attributes["nodes_treeids"].tolist(), attributes["nodes_nodeids"].tolist(), strict=True))
        place = {key: at for at, key in enumerate(keys)}
        self._column = attributes["nodes_featureids"]
        self._threshold = attributes["nodes_values"]
        missing = attributes.get("nodes_missing_value_tracks_true")
        self._missing = np.zeros(len(keys), dtype=bool) if missing is None else missing.astype(bool)
        self._by_mode = {mode: np.flatnonzero(modes == mode) for mode in set(modes.tolist()) - {"LEAF"}}
        if strange := set(self._by_mode) - set(_COMPARE):
            raise ValueError(f"its nodes have the modes {sorted(strange)}")
        is_leaf = modes == "LEAF"
        children = [
            (-1, -1) if leaf else (place[tree, true], place[tree, false])
            for leaf, (tree, _), true, false in zip(
                is_leaf.tolist(),
                keys,
                attributes["nodes_truenodeids"].tolist(),
                attributes["nodes_falsenodeids"].tolist(),
                strict=True,
            )
        ]
        self._pairs: tuple[bytes, _Pairs] | None = None
        self._join_chains(children, modes)
        self._walk(children)
        self._read_leaves(attributes, kind, place)

    def _join_chains(self, children: list[tuple[int, int]], modes: np.ndarray) -> None:
        """Make one node of each chain of tests for equality that lead to the same node below.

        That is how a test of several categories is exported. Each of its tests would be a way of its own to all leaves below.
        """
        parents = np.bincount([child for pair in children for child in pair if child >= 0], minlength=len(children))
        is_equal = modes == "BRANCH_EQ"
        nexts = {
            at: false
            for at, (true, false) in enumerate(children)
            if is_equal[at]
            and is_equal[false]
            and parents[false] == 1
            and self._column[false] == self._column[at]
            and children[false][0] == true
        }
        heads: list[int] = []
        members: list[int] = []
        for at in set(nexts) - set(nexts.values()):
            last = at
            while last in nexts:
                last = nexts[last]
                heads.append(at)
                members.append(last)
            children[at] = children[last]
        self._heads, self._members = np.array(heads, dtype=np.int64), np.array(members, dtype=np.int64)

    def _walk(self, children: list[tuple[int, int]]) -> None:
        """The conditions on the way to each leaf, leaf after leaf."""
        below = {child for pair in children for child in pair} | set(self._members.tolist())
        leaves: list[int] = []
        nodes: list[int] = []
        sides: list[bool] = []
        lengths: list[int] = []
        ways: list[tuple[int, tuple[tuple[int, bool], ...]]] = [
            (at, ()) for at in range(len(children)) if at not in below
        ]
        while ways:
            at, way = ways.pop()
            true, false = children[at]
            if true >= 0:
                ways += [(true, (*way, (at, True))), (false, (*way, (at, False)))]
                continue
            leaves.append(at)
            lengths.append(len(way))
            nodes += [node for node, _ in way]
            sides += [side for _, side in way]
            if len(nodes) > MOST_CONDITIONS:
                raise ValueError(f"more than {MOST_CONDITIONS} conditions lead to its leaves")
        self._leaves = np.array(leaves, dtype=np.int64)
        self._condition_leaf = np.repeat(np.arange(len(leaves)), lengths)
        self._condition_node = np.array(nodes, dtype=np.int64)
        self._condition_side = np.array(sides, dtype=bool)

    def _read_leaves(self, attributes: Mapping[str, Any], kind: str, place: Mapping[tuple[int, int], int]) -> None:
        targets = attributes[f"{kind}_ids"]
        self.targets = tuple(sorted(set(targets.tolist())))
        """What the columns of the scores are of, as the node counts them."""
        pairs = zip(attributes[f"{kind}_treeids"].tolist(), attributes[f"{kind}_nodeids"].tolist(), strict=True)
        rows = [place[pair] for pair in pairs]
        worth = np.zeros((len(self._column), len(self.targets)))
        columns = np.searchsorted(self.targets, targets)
        np.add.at(worth, (rows, columns), attributes[f"{kind}_weights"].astype(np.float64))
        # A test of several categories is a chain of nodes that lead to the same one below, so several ways reach a leaf.
        self._worth = worth[self._leaves]
        aggregate = attributes.get("aggregate_function") or "SUM"
        if aggregate == "AVERAGE":
            self._worth /= len(set(attributes["nodes_treeids"].tolist()))
        elif aggregate != "SUM":
            raise ValueError(f"its trees are taken together by {aggregate}")

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """What the leaves of float32 rows ``[n, k]`` add up to: ``[n, targets]``, without base values."""
        result = np.zeros((len(rows), len(self.targets)))
        for at, tests in enumerate(self._tests(rows)):
            wrong = tests[self._condition_node] != self._condition_side
            alive = np.ones(len(self._leaves), dtype=bool)
            alive[self._condition_leaf[wrong]] = False
            result[at] = self._worth[alive].sum(axis=0)
        return result

    def contributions(self, row: np.ndarray, background: np.ndarray, features: np.ndarray, count: int) -> np.ndarray:
        """The Shapley values of features against rows of the background, their mean: ``[count, targets]``.

        A leaf is reached by a set of features if each of them, taken from the row, keeps to the conditions on its way, and each other one
        does, taken from the background. So of each leaf the features that must be taken from the row and those that must not are
        counted, which gives its part of all Shapley values. Source: interventional TreeSHAP, Lundberg et al., From local explanations
        to global understanding with explainable AI for trees (2020); the features here are of the raw row.

        Args:
            row: float32 ``[k]``.
            background: float32 ``[b, k]``.
            features: of each column the feature that it is made of, ``[k]``, from 0 on; -1 for one that is the same in all rows.
            count: how many features there are.
        """
        pairs = self._pairs_of(features, count)
        [own_broken] = self._broken(row[None], pairs)
        result = np.zeros((count + 1, len(self.targets)))
        for broken in self._broken(background, pairs):
            is_reached = np.ones(len(self._leaves), dtype=bool)
            is_reached[pairs.leaf[own_broken & broken]] = False
            telling = np.flatnonzero((own_broken != broken) & is_reached[pairs.leaf])
            leaf, player, is_inside = pairs.leaf[telling], pairs.feature[telling], broken[telling]
            inside = np.bincount(leaf[is_inside], minlength=len(self._leaves))[leaf]
            outside = np.bincount(leaf[~is_inside], minlength=len(self._leaves))[leaf]
            weight = np.where(is_inside, pairs.shares[inside, outside], -pairs.shares[outside, inside])
            for target in range(len(self.targets)):
                worth = weight * self._worth[leaf, target]
                result[:, target] += np.bincount(player, weights=worth, minlength=count + 1)
        return result[:count] / len(background)

    def _pairs_of(self, features: np.ndarray, count: int) -> _Pairs:
        if self._pairs is None or self._pairs[0] != features.tobytes():
            feature = np.where(features < 0, count, features)[self._column[self._condition_node]]
            keys, inverse = np.unique(self._condition_leaf * (count + 1) + feature, return_inverse=True)
            leaf, player = np.divmod(keys, count + 1)
            shares = _shares(int(np.bincount(leaf).max(initial=0)) + 1)
            self._pairs = features.tobytes(), _Pairs(leaf, player, inverse.reshape(-1), shares)
        return self._pairs[1]

    def _broken(self, rows: np.ndarray, pairs: _Pairs) -> Iterator[np.ndarray]:
        """Of each row and each leaf's feature whether it breaks a condition on the way, bool ``[pairs]``."""
        for tests in self._tests(rows):
            wrong = tests[self._condition_node] != self._condition_side
            violations = np.zeros(len(pairs.leaf), dtype=bool)
            violations[pairs.of_condition[wrong]] = True
            yield violations

    def _tests(self, rows: np.ndarray) -> np.ndarray:
        """Whether each node's test holds in each of ``n`` rows, bool ``[n, nodes]``."""
        result = np.zeros((len(rows), len(self._column)), dtype=bool)
        for mode, nodes in self._by_mode.items():
            values = rows[:, self._column[nodes]]
            with np.errstate(invalid="ignore"):
                holds = _COMPARE[mode](values, self._threshold[nodes])
            result[:, nodes] = holds | (np.isnan(values) & self._missing[nodes])
        for at, row in enumerate(result):
            result[at, self._heads[row[self._members]]] = True
        return result


def _shares(most: int) -> np.ndarray:
    """``(own - 1)! others! / (own + others)!`` by both counts, 0 where there are none of its own."""
    result = np.zeros((most, most))
    result[1:, 0] = 1.0 / np.arange(1, most)
    for others in range(1, most):
        own = np.arange(1, most)
        result[1:, others] = result[1:, others - 1] * others / (own + others)
    return result
