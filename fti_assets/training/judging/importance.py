"""Permutation importance: by how much the exported graph does worse with one feature of the test split shuffled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import FeatureImportance, ImportanceRecord
from fti_assets.core.mixing import shuffled
from fti_assets.errors import DeclarationError, excerpt, list_some, one_of
from fti_assets.training.judging.metrics.registry import metric_named

MOST_ANSWERS = 1_000_000
"""How many rows a graph answers for one build's importance: of wide models fewer rows are taken."""

_FEWEST_ROWS = 100

Columns = Mapping[str, np.ndarray]


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class Importance:
    """How the permutation importance of a model's features is measured on the test split.

    A feature's values are shuffled among the rows, and the exported graph answers again: the importance is how much worse the
    metric gets. The mean and the standard deviation of several shuffles are in the manifest, on the model's page and on its card.
    Features with the same information share their importance, because each can stand in for the other; give them as a group. Rows
    and shuffles depend on hashes, so measuring a build again gives the same numbers. Source: Breiman, Random Forests (2001);
    Fisher, Rudin and Dominici (2019).

    Args:
        metric: the metric; by default the first one of the model's ``Evaluation``.
        rows: how many rows of the test split are used, chosen by the hash of their position. There are fewer if the split has
            fewer, or if the number of features would require more than a million answers from the graph.
        repeats: how often each feature is shuffled.
        groups: names, each with features that are shuffled together, in addition to each alone.

    Raises:
        DeclarationError: a number is below 1, or a group has fewer than two features or one twice.

    >>> Importance(repeats=3, groups={"weather": ["temp", "wind_speed"]}).groups
    {'weather': ('temp', 'wind_speed')}
    """

    metric: str | None = None
    rows: int = 2_000
    repeats: int = 5
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.metric is not None:
            metric_named(self.metric)
        for name in ("rows", "repeats"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise DeclarationError(f"Importance({name}={excerpt(number)}): give a whole number above 0")
        for name, members in self.groups.items():
            if isinstance(members, str) or len(members) < 2 or len(set(members)) < len(members):
                raise DeclarationError(
                    f"Importance(groups={{{name!r}: {excerpt(members)}}}): give two features or more, each once"
                )
        object.__setattr__(self, "groups", {name: tuple(members) for name, members in self.groups.items()})

    def check(self, features: Sequence[str], metrics: Sequence[str], *, what: str) -> None:
        """Check it against a model's features and metrics.

        Raises:
            DeclarationError: a group has another feature or the name of one, or the metric is not evaluated.
        """
        if self.metric is not None and self.metric not in metrics:
            raise DeclarationError(
                f"{what} has importance by {self.metric!r}, but evaluates {list_some(metrics)}: add it to Evaluation(metrics=[...])"
            )
        for name, members in self.groups.items():
            if name in features:
                raise DeclarationError(f"{what} has importance with the group {name!r}, which is a feature: rename it")
            strange = [one for one in members if one not in features]
            if strange:
                raise DeclarationError(
                    f"{what} has importance with the group {name!r} of {list_some(strange)}: its features are {one_of(features)}"
                )


def sampled_rows(rows: int, most: int) -> np.ndarray:
    """The places of at most so many of ``n`` rows, ascending, chosen by hash."""
    return np.sort(shuffled(rows, "importance rows")[:most])


def sampled_queries(queries: np.ndarray, most: int) -> np.ndarray:
    """The places of the rows of some whole queries, ascending: at least of one, and of as many as have at most so many rows together.

    Args:
        queries: the number of each row's query ``[n]``, ascending from 0 on.
        most: how many rows.

    >>> sampled_queries(np.array([0, 0, 1, 1, 1]), 3).tolist()
    [2, 3, 4]
    """
    sizes = np.bincount(queries)
    order = shuffled(len(sizes), "importance queries")
    sample = order[: max(1, int(np.searchsorted(np.cumsum(sizes[order]), most, side="right")))]
    return np.flatnonzero(np.isin(queries, sample))


def permutation_importance(
    settings: Importance,
    columns: Columns,
    score: Callable[[np.ndarray, Columns], float | None],
    *,
    metric: str,
    features: Sequence[str],
    together: np.ndarray | None = None,
) -> ImportanceRecord | None:
    """Shuffle each feature and each group, and score the rows again.

    Args:
        settings: the declaration.
        columns: feature name to canonical array ``[n]`` of the test split.
        score: the metric of some rows, from their places ``[m]`` and their columns ``[m]``; None where it is undefined.
        metric: what is scored.
        features: those that the graph takes; any other has no importance.
        together: ``[n]``, the number of each row's query, ascending: rows are chosen by whole queries.

    Returns:
        None where the metric is undefined on the rows.
    """
    total = len(next(iter(columns.values()))) if columns else 0
    sets = {name: (name,) for name in columns} | {name: tuple(members) for name, members in settings.groups.items()}
    runs = max(1, settings.repeats * len(sets))
    most = min(settings.rows, max(_FEWEST_ROWS, MOST_ANSWERS // runs))
    rows = sampled_rows(total, most) if together is None else sampled_queries(together, most)
    sample = {name: values[rows] for name, values in columns.items()}
    before = score(rows, sample) if len(rows) else None
    if before is None:
        return None
    sign = 1.0 if metric_named(metric).higher_is_better else -1.0

    def losses(name: str, members: Sequence[str]) -> FeatureImportance | None:
        if not any(member in features for member in members):
            return FeatureImportance(0.0, 0.0)
        results = []
        for repeat in range(settings.repeats):
            order = shuffled(len(rows), "importance", name, repeat)
            after = score(rows, sample | {member: sample[member][order] for member in members})
            if after is None:
                return None
            results.append(sign * (before - after))
        return FeatureImportance(float(np.mean(results)), float(np.std(results)))

    by_name = {name: losses(name, members) for name, members in sets.items()}
    ordered = sorted(((name, one) for name, one in by_name.items() if one is not None), key=lambda pair: -pair[1].mean)
    return ImportanceRecord(
        metric=metric,
        score=before,
        rows=len(rows),
        repeats=settings.repeats,
        features={name: one for name, one in ordered if name in columns},
        groups={name: one for name, one in ordered if name not in columns},
    )
