"""Declaring a search over the parameters of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fti_assets.core.arguments import checked_arguments
from fti_assets.errors import DeclarationError
from fti_assets.training.tuning.pruning import Pruning, check_pruning
from fti_assets.training.tuning.spaces import Domain, check_space, names_in

MOST_TRIALS = 10_000


@checked_arguments(itself=("space", "pruning"))
@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A search for the parameters of a model, scored on validation. Method: TPE, Bergstra et al., "Algorithms for Hyper-Parameter
    Optimization" (2011), by optuna.

    The choices of each trial depend only on the seed, the trial's number and the trials before it.

    Args:
        space: what each parameter may be: ``fti.Uniform``, ``fti.LogUniform``, ``fti.Integers`` or ``fti.Choice``, by its name. A
            choice among families of models includes the parameters of each.
        trials: how many trials are run.
        metric: the metric that is tuned; by default the model's first one.
        pruning: which trials end early, based on what the function reports with ``trial.report``. ``median`` ends a trial that does
            worse at an epoch than the median of the earlier ones did, once five are complete. Optuna's other pruners are
            ``percentile``, ``halving``, ``hyperband``, ``threshold``, ``patient`` and ``wilcoxon``, with their arguments in a
            mapping: ``{"name": "percentile", "percentile": 25.0}``.
        seed: of the sampler.

    Raises:
        DeclarationError: the space is empty or impossible, or there are no trials.

    >>> Tuning(space={"depth": Choice([2, 4, 8])}, trials=3).trials  # doctest: +SKIP
    3
    """

    space: Mapping[str, Domain]
    trials: int = 20
    metric: str | None = None
    pruning: Pruning = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        check_space(self.space, what="fti.Tuning")
        if not 1 <= self.trials <= MOST_TRIALS:
            raise DeclarationError(f"fti.Tuning has trials={self.trials}: it makes 1 to {MOST_TRIALS:,}")
        check_pruning(self.pruning, what="fti.Tuning")
        if not 0 <= self.seed < 2**32:
            raise DeclarationError(f"fti.Tuning has seed={self.seed}: it is 0 to {2**32 - 1}")


def tuning_text(tuning: Tuning, metric: str) -> str:
    """A search as the page of a model tells it.

    >>> tuning_text(Tuning(space={"depth": Integers(2, 9)}, trials=3), "rmse")  # doctest: +SKIP
    '3 trials by rmse over depth'
    """
    return f"{tuning.trials} trials by {metric} over {', '.join(sorted(names_in(tuning.space)))}"
