"""Declaring experiments."""

from __future__ import annotations

from typing import Literal, Unpack

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError, list_some
from fti_assets.experiments.asset import experiment_asset
from fti_assets.experiments.experiment import Experiment
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitoring.experiments.figures import OUTCOME, figure_for
from fti_assets.monitoring.experiments.verdict import Terms
from fti_assets.orchestration.declaration import record_use
from fti_assets.orchestration.options import AssetOptions
from fti_assets.training.models.model import Model

_FEWEST_KEYS = 100
"""Below that, intervals of means do not hold what they say."""


@checked_arguments(options=AssetOptions)
def experiment(
    *,
    name: str,
    model: Model,
    log: PredictionLog,
    metric: str,
    better: Literal["higher", "lower"] | None = None,
    version: int = 1,
    least_keys: int = 1_000,
    looks: int = 1,
    at_least: float = 0.0,
    confidence: float = 0.95,
    least_share: float = 0.05,
    **options: Unpack[AssetOptions],
) -> Experiment:
    """Declare an experiment: a comparison of the arms of a model's rollout by the outcomes of their answers.

    Its table ``monitoring.<name>_v<version>`` has a row for each arm of each rollout. The answers come from the prediction log and
    their labels from the view's label, once they are mature. A key of the rollout counts once, with the mean over its answers.
    Means and improvements have SciPy's intervals (Student's and Welch's; for a shadow, those of paired differences).

    The verdict is ``promote``, ``stop`` or ``wait``. It is given at looks that are fixed in advance by numbers of keys, whenever
    the asset is run. At the last look it is never ``wait``, unless keys were not distributed as planned. All looks and arms share
    ``1 - confidence`` (Bonferroni): an arm that is not an improvement is promoted in at most half that share of all experiments.
    Before a look, figures are estimates.

    A model with ``promote="after_experiment"`` follows the verdict: the arm becomes champion, or the rollout is stopped, if the
    rollout is still the one that was judged. The arms of a rollout of kind ``bandit`` get shares by their chance to be best, by
    Thompson's rule, and no verdict.

    Args:
        name: the name of the experiment.
        model: the model whose rollouts are judged.
        log: the model's prediction log.
        metric: ``log_loss``, ``brier``, ``accuracy`` or ``mae``, depending on the task; or ``outcome``, the label itself, if
            answers change what happens.
        better: whether a ``"higher"`` or a ``"lower"`` outcome is better; a metric defines this itself.
        version: names the asset and its table.
        least_keys: how many keys with a label each arm has at the last look, at least 100.
        looks: how many looks there are, at equal steps of keys: with several, a clear case is decided sooner and a close one needs
            a larger difference.
        at_least: an arm is promoted if its improvement, in the metric's unit, is above this; with a value below 0, if it is worse
            by at most that much.
        confidence: the confidence that all intervals of all looks hold.
        least_share: the least share of the keys that each arm of a bandit keeps.
        options: every parameter of ``@dg.asset``, with its own meaning, except ``partitions_def``: an experiment has no partitions.

    Raises:
        DeclarationError: the declaration is impossible.

    >>> delay_arms = experiment(name="delay_arms", model=delay_net, log=delay_log, metric="log_loss")  # doctest: +SKIP
    """
    what = f"experiment {checked_name(name, what='experiment')!r}"
    checked_version(version, what=what)
    if log.model is not model:
        raise DeclarationError(
            f"{what} judges model {model.name!r}, but {log.table_name} logs {log.model.name!r}: give the model's own log"
        )
    if options.get("partitions_def") is not None:
        raise DeclarationError(
            f"{what} cannot be partitioned: its verdict is on all answers of a rollout; leave partitions_def out"
        )
    figure = figure_for(metric, model.task)
    if (better is None) == (metric == OUTCOME):
        raise DeclarationError(
            f"{what} compares outcomes: say whether better='higher' or better='lower'"
            if better is None
            else f"{what} compares {metric}, which says itself what is better: leave better out"
        )
    label = model.view.only_label
    by = [label.column.spine_keys.get(key, key) for key in label.group.keys]
    if secrets := [key for key in by if key in log.redact]:
        raise DeclarationError(
            f"{what} needs the labels of logged answers, which come by {list_some(secrets)}: leave that out of redact of {log.table_name}"
        )
    _check_numbers(what, least_keys=least_keys, looks=looks, confidence=confidence, least_share=least_share)
    result = Experiment(
        name=name,
        version=version,
        log=log,
        figure=figure,
        terms=Terms(
            better == "higher" if figure.higher_is_better is None else figure.higher_is_better,
            least_keys,
            looks,
            at_least,
            confidence,
        ),
        least_share=least_share,
        options=options,
        to_asset=experiment_asset,
    )
    record_use([model, log], f"judged_by/{result.asset_name}", result)
    return result


def _check_numbers(what: str, *, least_keys: int, looks: int, confidence: float, least_share: float) -> None:
    if least_keys < _FEWEST_KEYS:
        raise DeclarationError(
            f"{what} has least_keys={least_keys}: at least {_FEWEST_KEYS} of each arm are needed for an interval"
        )
    if not 1 <= looks <= least_keys // _FEWEST_KEYS:
        raise DeclarationError(
            f"{what} has looks={looks}: from 1 to {least_keys // _FEWEST_KEYS}, so that each has {_FEWEST_KEYS} keys more of each arm"
        )
    if not 0.5 <= confidence < 1.0:
        raise DeclarationError(f"{what} has confidence={confidence!r}: between 0.5 and 1 is expected, such as 0.95")
    if not 0.0 <= least_share <= 0.5:
        raise DeclarationError(f"{what} has least_share={least_share!r}: between 0 and 0.5 is expected, such as 0.05")
