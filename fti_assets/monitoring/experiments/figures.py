"""What an experiment measures: one number an answer, whose mean over keys is compared between arms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fti_assets.core.manifest import Task, model_of
from fti_assets.core.sql import quote
from fti_assets.errors import DeclarationError, one_of

OUTCOME = "outcome"
"""The label itself, such as whether a payment was disputed: for models whose answers change what happens."""

_EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Figure:
    """A number that each answer with a label has.

    Args:
        name: a metric's, or ``outcome``.
        tasks: of which models.
        higher_is_better: None where the user has to say it.
        bounded_for: the tasks for which it lies between 0 and 1, as a bandit needs it.
    """

    name: str
    tasks: tuple[Task, ...]
    higher_is_better: bool | None
    bounded_for: tuple[Task, ...] = ()


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure(OUTCOME, ("binary", "regression"), None, ("binary",)),
        Figure("log_loss", ("binary", "multiclass"), False),
        Figure("brier", ("binary", "multiclass"), False, ("binary",)),
        Figure("accuracy", ("binary", "multiclass"), True, ("binary", "multiclass")),
        Figure("mae", ("regression",), False),
    )
}
"""What can be compared: the metrics of ``Evaluation`` that are means over rows, and the outcome."""


def figure_for(name: str, task: Task) -> Figure:
    """The figure of that name, if models of the task have it.

    >>> figure_for("log_loss", "binary").higher_is_better
    False

    Raises:
        DeclarationError: there is none.
    """
    figure = FIGURES.get(name)
    if figure is None or task not in figure.tasks:
        fitting = [one.name for one in FIGURES.values() if task in one.tasks]
        if not fitting:
            tasks = one_of(dict.fromkeys(task for one in FIGURES.values() for task in one.tasks))
            raise DeclarationError(
                f"an experiment cannot compare arms of {model_of(task)}: it compares a mean of one number an answer, which there is for "
                f"{tasks} models of one label: leave it out, and look at what a monitor of the log says of each arm"
            )
        raise DeclarationError(
            f"an experiment cannot compare arms of {model_of(task)} by {name!r}: a mean over answers is compared, such as {one_of(fitting)}"
        )
    return figure


def figure_sql(name: str, task: Task, answer: str, label: str, label_type: str) -> str:
    """The SQL of an answer's figure, null without a label. Source: scikit-learn's metrics, as ``evaluate`` computes them.

    Args:
        name: of the figure.
        task: what the model does.
        answer: the column of the answer: a number, or a map of class to probability.
        label: the column of the label.
        label_type: its type, as DuckDB names it.
    """
    p, y = quote(answer), quote(label)
    if task == "multiclass":
        return _of_classes(name, p, _class_sql(y, label_type))
    number = f"CAST({y} AS DOUBLE)"
    if name == OUTCOME:
        return number
    if name == "log_loss":
        of_label = f"CASE WHEN {number} = 1 THEN {p} WHEN {number} = 0 THEN 1 - {p} END"
        return _unless_null(of_label, f"-ln({_clip(of_label)})")
    if name == "accuracy":
        return f"CAST(({p} >= 0.5) = ({number} = 1) AS DOUBLE)"
    return f"abs({p} - {number})" if name == "mae" else f"({p} - {number}) * ({p} - {number})"


def _of_classes(name: str, p: str, y: str) -> str:
    values = f"map_values({p})"
    of_label = f"{p}[{y}]"
    if name == "log_loss":  # clipped, then made to sum to one
        total = f"list_sum(list_transform({values}, lambda one: {_clip('one')}))"
        return _unless_null(of_label, f"-ln({_clip(of_label)} / {total})")
    if name == "accuracy":
        first_best = f"map_keys({p})[list_position({values}, list_max({values}))]"
        return _unless_null(of_label, f"CAST({first_best} = {y} AS DOUBLE)")
    squares = f"list_sum(list_transform({values}, lambda one: one * one))"
    return f"{squares} - {of_label} * {of_label} + (1 - {of_label}) * (1 - {of_label})"


def _clip(probability: str) -> str:
    return f"least(greatest({probability}, {_EPSILON!r}), {1 - _EPSILON!r})"


def _unless_null(value: str, then: str) -> str:
    """DuckDB's ``least`` and ``greatest`` leave out a null."""
    return f"CASE WHEN {value} IS NOT NULL THEN {then} END"


def _class_sql(label: str, label_type: str) -> str:
    """A label as a model's ``classes`` have it: whole numbers are written without a point."""
    if label_type == "VARCHAR":
        return f"nullif({label}, '')"
    number = f"CAST({label} AS DOUBLE)"
    return f"CASE WHEN {number} = trunc({number}) THEN CAST(CAST({number} AS BIGINT) AS VARCHAR) ELSE CAST({number} AS VARCHAR) END"
