"""The loss of each task, of what a torch module gives."""

from collections.abc import Sequence
from typing import Any

from fti_assets.core.extras import require
from fti_assets.core.manifest import BY_NAME, Task, each_task, model_of
from fti_assets.errors import ModelError


def loss(
    task: Task,
    output: Any,
    y: Any,
    weight: Any = None,
    levels: Sequence[float] = (),
    *,
    classes: int = 0,
    what: str = "the module",
) -> Any:
    """The task's loss of a module's output, each row by its weight: cross entropy of logits, the mean squared error of values, the
    pinball loss of quantiles, of several labels the mean of theirs; ListNet's loss of scores, of which ``weight`` are the queries.

    Raises:
        ModelError: the output of ``what`` has another shape than the task, its levels or as many ``classes`` ask for.
    """
    functional = require("torch.nn.functional")
    columns = {"quantile": len(levels), "multiclass": classes}.get(task, y.shape[1] if y.ndim == 2 else 1)
    _check_output(task, output, len(y), columns, what=what)
    if task == "ranking":
        if weight is None:
            raise ModelError(
                "data.loss of a ranking model needs the third of a batch, each row's query: data.loss(model(x), y, qid)"
            )
        return _listwise(output.reshape(-1), y, weight)
    if (each := each_task(task)) != task:  # of several labels
        losses = {"binary": functional.binary_cross_entropy_with_logits}
        by_label = losses.get(each, functional.mse_loss)(output, y, reduction="none").mean(dim=1)
        return by_label.mean() if weight is None else (by_label * weight).mean()
    if task == "quantile":
        above, level = y[:, None] - output, output.new_tensor(levels)
        each = require("torch").maximum(level * above, (level - 1) * above).mean(dim=1)
        return each.mean() if weight is None else (each * weight).mean()
    if weight is not None:
        output = output if task == "multiclass" else output.reshape(-1)
        losses = {"multiclass": functional.cross_entropy, "binary": functional.binary_cross_entropy_with_logits}
        each = losses.get(task, functional.mse_loss)(output, y, reduction="none")
        return (each * weight).mean()
    if task == "multiclass":
        return functional.cross_entropy(output, y)
    if task == "binary":
        return functional.binary_cross_entropy_with_logits(output.reshape(-1), y)
    return functional.mse_loss(output.reshape(-1), y)


def _check_output(task: Task, output: Any, rows: int, columns: int, *, what: str) -> None:
    """A ModelError unless it is ``[rows, columns]``, or so many numbers where one is asked for: torch names neither."""
    shape = list(output.shape) if hasattr(output, "shape") else None
    is_one = columns == 1 and task not in BY_NAME
    if shape is not None and (output.numel() == rows if is_one else shape == [rows, columns or shape[-1]]):
        return
    expectation = f"[{rows}] or [{rows}, 1]" if is_one else f"[{rows}, {columns or 'k'}]"
    by_label = ", a column for each of data.labels"
    more = {
        "quantile": ", a column for each of data.levels",
        "multiclass": ", a column for each of data.classes",
        "multilabel": by_label,
        "multioutput": by_label,
    }
    result = type(output).__name__ if shape is None else str(shape)
    raise ModelError(
        f"{what} gives {result} for {rows} rows, but {model_of(task)} gives {expectation}{more.get(task, '')}"
    )


def _listwise(scores: Any, y: Any, queries: Any) -> Any:
    """The cross entropy between the softmax of a query's labels and that of its scores, the mean over queries."""
    torch = require("torch")
    _, places, rows = torch.unique(queries, return_inverse=True, return_counts=True)

    def log_softmax(values: Any) -> Any:
        nothing = values.new_zeros(len(rows))
        most = nothing.scatter_reduce(0, places, values.detach(), "amax", include_self=False)
        shifted = values - most[places]
        return shifted - nothing.index_add(0, places, shifted.exp()).log()[places]

    return -(log_softmax(y.to(scores.dtype)).exp() * log_softmax(scores)).sum() / len(rows)
