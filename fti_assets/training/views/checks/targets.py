"""The label of a spine of targets that lie ahead: it comes by the target, once the last of them can be there."""

from __future__ import annotations

from datetime import timedelta

from fti_assets.core.times import microseconds
from fti_assets.errors import DeclarationError
from fti_assets.training.views.terms import Label, ViewTerms

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def check_targets(view: ViewTerms, name: str, label: Label) -> None:
    """Refuse a label of targets that lie ahead which may be judged before the last of them has come.

    Raises:
        DeclarationError: it says how long to wait.
    """
    schedule = view.spine.schedule
    if schedule is None:
        return
    if label.horizon is not None:
        raise DeclarationError(
            f"the label {name!r} of view {view.name!r} has within=, the first outcome after the prediction, but its spine "
            f"{view.spine.table_name} says which instant is predicted: leave within= out, and join the label on {schedule.target!r}"
        )
    delay = label.group.serving_delay or timedelta(0)
    if label.age < schedule.farthest + delay:
        raise DeclarationError(
            f"the label {name!r} of view {view.name!r} has a maturity of {label.age}, but its spine {view.spine.table_name} predicts up to "
            f"{schedule.farthest} ahead, and {label.group.table_name} is known {delay} later: the rows of near targets alone would have "
            f"labels; write maturity={_text_of(schedule.farthest + delay)!r} or more"
        )


def _text_of(span: timedelta) -> str:
    """A duration as it is declared."""
    seconds = -(-microseconds(span) // 1_000_000)
    unit, name = next(one for one in _UNITS if not seconds % one[0])
    return f"{seconds // unit}{name}"
