"""When a model is trained again: its triggers, and how long they wait after one of them has fired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.core.times import duration
from fti_assets.errors import DeclarationError, excerpt, list_some
from fti_assets.training.triggers.trigger import Trigger

DEFAULT_COOLDOWN = timedelta(days=7)

RETRAIN = "fti/retrain"
"""The tag of a run that a trigger asked for: the reasons, in words."""


@dataclass(frozen=True)
class Retraining:
    """A model's triggers.

    Args:
        triggers: at least one, of different names.
        cooldown: how long after a request of theirs none but a schedule fires.
    """

    triggers: tuple[Trigger, ...]
    cooldown: timedelta = DEFAULT_COOLDOWN

    @property
    def texts(self) -> list[str]:
        """What starts the training, a line a trigger."""
        return [
            f"{one!r}, at most once in {_length(self.cooldown)}" if not hasattr(one, "cron") else repr(one)
            for one in self.triggers
        ]


def checked_retraining(
    triggers: Sequence[Any] | None, cooldown: str | timedelta | None, automation_condition: object, *, what: str
) -> Retraining | None:
    """A model's triggers, None if it declares none.

    Args:
        automation_condition: what the user said of it, and False for nothing.

    Raises:
        DeclarationError: there is none among ``[...]``, one is no trigger, two have one name, or something else starts the model as well.
    """
    if triggers is None:
        if cooldown is not None:
            raise DeclarationError(
                f"{what} has cooldown= and no triggers: give it retrain=[fti.OnNewData(partitions=7)]"
            )
        return None
    example = "write retrain=[fti.OnSchedule('0 6 * * 1'), fti.OnNewData(partitions=7)]"
    if not triggers:
        raise DeclarationError(f"{what} has retrain=[], with no trigger: {example}, or leave it out")
    strange = [one for one in triggers if isinstance(one, type) or not (hasattr(one, "cause") and hasattr(one, "name"))]
    if strange:
        raise DeclarationError(
            f"{what} has the trigger {excerpt(strange[0])}: {example}, or another one of fti.OnDrift and fti.OnDegradation"
        )
    names = [one.name for one in triggers]
    if len(set(names)) < len(names):
        raise DeclarationError(f"{what} has the same trigger twice: {list_some(names)}; join them into one")
    if automation_condition is not False:
        raise DeclarationError(
            f"{what} has retrain= and automation_condition=, which both say when it is trained: leave one of them out"
        )
    if cooldown is None:
        return Retraining(tuple(triggers))
    return Retraining(tuple(triggers), duration(cooldown, what=f"{what}: cooldown"))


def _length(value: timedelta) -> str:
    return f"{value.days} d" if not value.seconds and value.days else f"{value.total_seconds() / 3600:g} h"


def asked_by(run: dg.DagsterRun) -> str:
    """Why a run trains, if a trigger asked for it; empty if not."""
    return str(run.tags.get(RETRAIN, ""))
