"""A trial: the parameters that a model's function is called with, and what it says of its progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.errors import ModelError, excerpt, one_of


class TrialPruned(Exception):
    """A trial ends early, since it does worse than earlier ones did by then."""


@checked_arguments()
class Trial(Mapping[str, Any]):
    """The parameters of one trial by name, as a mapping: ``trial["alpha"]``, ``Ridge(**trial)``.

    Args:
        parameters: their values.
        number: of the trial, from 1 on.
        report: receives each epoch's value, and raises ``TrialPruned`` to end the trial; none by default.
        higher_is_better: of the tuned metric, for ``report_loss``.

    >>> trial = Trial({"alpha": 0.5, "family": "ridge"})
    >>> trial["alpha"], dict(trial)
    (0.5, {'alpha': 0.5, 'family': 'ridge'})
    """

    def __init__(
        self,
        parameters: Mapping[str, Any],
        *,
        number: int = 1,
        report: Callable[[int, float], None] | None = None,
        higher_is_better: bool = False,
    ) -> None:
        self._parameters = dict(parameters)
        self._report = report
        self._epoch = -1
        self._loss_counts = -1.0 if higher_is_better else 1.0
        self.number = number

    def report(self, epoch: int, value: float) -> None:
        """Report the trial's value after an epoch or a number of trees: on validation, in the direction of the tuned metric.

        With ``pruning=`` a trial ends here if it does badly compared with the earlier ones: with ``"median"``, if it is worse than
        half of them by then.

        Args:
            epoch: a whole number from 0 on, greater each time.
            value: such as the tuned metric.

        Raises:
            ModelError: the value is not a number, or not finite, so that the training diverged; or the epoch is not a whole number
                from 0 on, or does not come after the last one.
        """
        if isinstance(epoch, bool) or not isinstance(epoch, int | np.integer) or epoch < 0:
            raise ModelError(
                f"trial.report(epoch={excerpt(epoch)}): give the number of the epoch, a whole number from 0 on"
            )
        try:
            epoch, value = int(epoch), float(value)
        except (TypeError, ValueError) as error:
            raise ModelError(f"trial.report({epoch}, {excerpt(value)}): the value is no number") from error
        if not math.isfinite(value):
            raise ModelError(f"trial.report({epoch}, {value}): the value is not finite, so the training diverged")
        if epoch <= self._epoch:
            raise ModelError(
                f"trial.report({epoch}, {value}): epoch {self._epoch} was reported before: count them upwards"
            )
        self._epoch = epoch
        if self._report is not None:
            self._report(epoch, value)

    def report_loss(self, epoch: int, loss: float) -> None:
        """The same for a loss, for which lower is better, whichever way the tuned metric goes.

        >>> data.fit(net, report=trial.report_loss)  # doctest: +SKIP

        Args:
            epoch: as for ``report``.
            loss: such as ``val_loss``.

        Raises:
            ModelError: as ``report``.
        """
        self.report(epoch, self._loss_counts * float(loss))

    def __getitem__(self, name: str) -> Any:
        try:
            return self._parameters[name]
        except KeyError:
            raise KeyError(f"this trial has no parameter {name!r}: it has {one_of(self._parameters)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __repr__(self) -> str:
        return f"Trial({self._parameters!r})"
