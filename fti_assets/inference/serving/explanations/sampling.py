"""What each feature contributes to an answer of whatever graph, told by asking it alone."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import factorial

import numpy as np

_EXACT = 8
_ROWS_A_RUN = 20_000
_ORDERS = 64
_SEED = 20130601

Columns = Mapping[str, np.ndarray]


class Explainer:
    """Shapley values of a graph's raw features against rows that the build keeps.

    A set of features is worth the mean answer to the background rows with these features taken from the row that is explained (the
    interventional game of Lundberg and Lee, 2017; the values are Shapley's, 1953). With up to eight features all sets are tried; with more,
    random orders and their reverses for each background row (Strumbelj and Kononenko, 2014; Mitchell et al., 2022), always the same ones.
    Either way the contributions add up to the answer less the mean answer to the background, and of a linear graph they are exact.

    Args:
        ask: what a graph answers to rows, ``[n]`` or ``[n, classes]``; several thousand rows for one explanation.
        features: what it takes.
        background: ``b`` rows, feature name to canonical array ``[b]``.
    """

    def __init__(self, ask: Callable[[Columns], np.ndarray], features: Sequence[str], background: Columns) -> None:
        self._ask_some = ask
        self.features = tuple(features)
        self._background = {name: background[name] for name in self.features}
        self.rows = len(next(iter(self._background.values()))) if self.features else 0
        self.is_exact = len(self.features) <= _EXACT
        self.base = self._ask(self._background).mean(axis=0)

    def contributions(self, row: Columns) -> np.ndarray:
        """Of each of ``k`` features its contribution, ``[k]`` or ``[k, classes]``.

        Args:
            row: feature name to canonical array ``[1]``.
        """
        return self._of_all_sets(row) if self.is_exact else self._of_orders(row)

    def _of_all_sets(self, row: Columns) -> np.ndarray:
        width = len(self.features)
        sets = [frozenset(one) for size in range(width + 1) for one in combinations(range(width), size)]
        masks = np.array([[place in one for place in range(width)] for one in sets], dtype=bool).reshape(-1, width)
        worth = dict(zip(sets, self._answers(row, masks).mean(axis=1), strict=True))
        result = np.zeros((width, *self.base.shape))
        for one, value in worth.items():
            for place in set(range(width)) - one:
                weight = factorial(len(one)) * factorial(width - len(one) - 1) / factorial(width)
                result[place] += weight * (worth[one | {place}] - value)
        return result

    def _of_orders(self, row: Columns) -> np.ndarray:
        width = len(self.features)
        pairs = max(1, min(_ORDERS, _ROWS_A_RUN // (self.rows * (width + 1))) // 2)
        random = np.random.default_rng(_SEED)
        steps = np.arange(width + 1)[:, None]
        result = np.zeros((width, *self.base.shape))
        for _ in range(pairs):
            forth = random.permuted(
                np.tile(np.arange(width), (self.rows, 1)), axis=1
            )  # the rank of each feature, by row
            for ranks in (forth, width - 1 - forth):
                masks = ranks[:, None, :] < steps  # [rows, width + 1, width]
                answers = self._answers_of_each(row, masks)
                gains = np.diff(answers, axis=1)  # of the feature of each rank
                at = ranks.reshape(*ranks.shape, *[1] * (gains.ndim - 2))
                result += np.take_along_axis(gains, at, axis=1).sum(axis=0)
        return result / (2 * pairs * self.rows)

    def _answers(self, row: Columns, masks: np.ndarray) -> np.ndarray:
        """The answers to each background row with sets of features from another row: ``[sets, b]`` or ``[sets, b, classes]``."""
        return np.moveaxis(self._answers_of_each(row, np.broadcast_to(masks, (self.rows, *masks.shape))), 0, 1)

    def _answers_of_each(self, row: Columns, masks: np.ndarray) -> np.ndarray:
        """The same with sets of its own for each background row: bool ``[b, sets, k]`` to ``[b, sets]`` or ``[b, sets, classes]``."""
        rows, sets, _ = masks.shape
        own, others = self.rows, np.arange(self.rows)[:, None]
        # By place, not by value: a vector is one object of a column, and numpy would take it apart.
        columns = {
            name: np.concatenate([self._background[name], row[name]])[
                np.where(masks[:, :, place], own, others).reshape(-1)
            ]
            for place, name in enumerate(self.features)
        }
        return self._ask(columns).reshape(rows, sets, *self.base.shape)

    def _ask(self, columns: Columns) -> np.ndarray:
        total = len(next(iter(columns.values())))
        parts: Sequence[np.ndarray] = [
            self._ask_some({name: values[start : start + _ROWS_A_RUN] for name, values in columns.items()})
            for start in range(0, total, _ROWS_A_RUN)
        ]
        return np.concatenate(parts).astype(np.float64)
