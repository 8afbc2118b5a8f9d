"""What a build can do, and all that follows from it alone: what its graph's output is called, and how many numbers an answer has."""

from typing import Literal

from fti_assets.core.records import record

ModelTask = Literal["binary", "multiclass", "multilabel", "regression", "quantile", "ranking"]
"""What a model is declared to do."""

Task = Literal["binary", "multiclass", "multilabel", "regression", "multioutput", "quantile", "ranking", "composite"]
"""What a build does: ``multioutput`` is the regression of several labels; a composite answers with what several models answer."""


@record(frozen=True)
class TaskTraits:
    """What holds for every build of a task.

    ``output`` is the graph output that holds the answer. ``by_name`` is whether an answer is several numbers, each with a name.
    ``classifies`` is whether it is of probabilities. ``each`` is what is done for each label, where there are several.
    """

    output: str
    by_name: bool = False
    classifies: bool = False
    each: Task | None = None


TASKS: dict[Task, TaskTraits] = {
    "binary": TaskTraits("probability", classifies=True),
    "multiclass": TaskTraits("probabilities", by_name=True, classifies=True),
    "multilabel": TaskTraits("probabilities", by_name=True, classifies=True, each="binary"),
    "regression": TaskTraits("value"),
    "multioutput": TaskTraits("values", by_name=True, each="regression"),
    "quantile": TaskTraits("quantiles", by_name=True),
    "ranking": TaskTraits("score"),
    "composite": TaskTraits("answers", by_name=True),
}

OUTPUT_NAMES: dict[Task, str] = {task: traits.output for task, traits in TASKS.items()}
"""The graph output that holds a prediction's value, by task."""

BY_NAME: tuple[Task, ...] = tuple(task for task, traits in TASKS.items() if traits.by_name)
"""The tasks whose answer is several numbers, each with a name."""

CLASSIFIES: tuple[Task, ...] = tuple(task for task, traits in TASKS.items() if traits.classifies)
"""The tasks whose answer is of probabilities."""

VALUES: tuple[Task, ...] = tuple(task for task, traits in TASKS.items() if not traits.by_name and not traits.classifies)
"""The tasks whose answer is one number, such as what a regression of the label gives."""


def public_task(task: Task) -> str:
    """The task as a model declares it.

    >>> public_task("multioutput"), public_task("multilabel")
    ('regression', 'multilabel')
    """
    return "regression" if task == "multioutput" else task


def model_of(task: Task) -> str:
    """What does it, in words with an article.

    >>> model_of("binary"), model_of("multioutput")
    ('a binary model', 'a regression of several labels')
    """
    return "a regression of several labels" if task == "multioutput" else f"a {task} model"


def each_task(task: Task) -> Task:
    """What is done for each label alone: the task itself, where there is one.

    >>> each_task("multilabel"), each_task("multiclass")
    ('binary', 'multiclass')
    """
    return TASKS[task].each or task
