"""Fitting a torch module on whole tensors in memory, with Lightning's trainer kept quiet and nothing left on disk."""

import hashlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import BY_NAME, Task, each_task
from fti_assets.errors import ModelError
from fti_assets.stores.temporary_folders import temporary_folder
from fti_assets.training.sources import installed, module_hash
from fti_assets.training.trainer.batches import ALONE, Batches, QueryBatches, Share
from fti_assets.training.trainer.epoch_end import Note, epoch_end


class _Rows:
    """A data set that gives a whole batch for the rows asked: one index per tensor, where one row at a time is slow."""

    def __init__(self, x: Mapping[str, Any], y: Any, *weight: Any) -> None:
        self.x, self.y, self.weight = x, y, weight

    def __getitem__(self, rows: Any) -> tuple[dict[str, Any], *tuple[Any, ...]]:
        x = {name: values[rows] for name, values in self.x.items()}
        return x, self.y[rows], *(one[rows] for one in self.weight)

    def __len__(self) -> int:
        return len(self.y)


TABLES = ". An Embedding table needs a row for each code: make it with data.cardinalities[feature] rows"
"""What to do about a code beyond the rows of a table."""


def loader(
    inputs: Mapping[str, np.ndarray],
    y: np.ndarray,
    batch_size: int,
    *,
    seed: int | None,
    share: Share = ALONE,
    weight: np.ndarray | None = None,
    qid: np.ndarray | None = None,
) -> Any:
    """A torch DataLoader of batches ``(x, y)``, ``(x, y, weight)`` or ``(x, y, qid)``, shuffled anew each epoch where a seed is given.

    Args:
        inputs: name to array ``[n, ...]``, given as a dict of tensors.
        y: ``[n]``.
        batch_size: rows a batch.
        seed: the same seed gives the same batches; None keeps the rows' order.
        share: which rows of each batch this process gets.
        weight: what each row counts ``[n]``, if they do not count alike.
        qid: the number of each row's query ``[n]``, ascending, if batches are to hold whole queries.

    Raises:
        ModelError: the batch size is not a whole number above 0.
    """
    torch = require("torch")
    labels = [torch.from_numpy(one) for one in (y, weight, qid) if one is not None]
    sampler = Batches(len(y), batch_size, seed, share) if qid is None else QueryBatches(qid, batch_size, seed)
    rows = _Rows({name: torch.from_numpy(values) for name, values in inputs.items()}, *labels)
    # A generator of its own: a DataLoader draws from the global one otherwise, which changes a module's dropout.
    return torch.utils.data.DataLoader(rows, sampler=sampler, batch_size=None, generator=torch.Generator())


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
    asked = f"[{rows}] or [{rows}, 1]" if is_one else f"[{rows}, {columns or 'k'}]"
    by_label = ", a column for each of data.labels"
    more = {
        "quantile": ", a column for each of data.levels",
        "multiclass": ", a column for each of data.classes",
        "multilabel": by_label,
        "multioutput": by_label,
    }
    result = type(output).__name__ if shape is None else str(shape)
    raise ModelError(f"{what} gives {result} for {rows} rows, but a {task} model gives {asked}{more.get(task, '')}")


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


@dataclass(frozen=True)
class Settings:
    """How a module is trained: what ``data.fit`` was called with.

    ``options`` are further arguments of Lightning's trainer.
    """

    task: Task
    epochs: int
    batch_size: int
    patience: int
    seed: int
    accelerator: str = "auto"
    precision: str | int = "32-true"
    devices: int = 1
    strategy: str = "auto"
    levels: tuple[float, ...] = ()
    classes: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


OWN = (
    "max_epochs",
    "logger",
    "enable_checkpointing",
    "enable_progress_bar",
    "enable_model_summary",
    "num_sanity_val_steps",
    "default_root_dir",
)
"""The arguments of Lightning's trainer that this library sets."""


def fit(
    module: Any,
    train: Any,
    validation: Any,
    settings: Settings,
    *,
    note: Note,
    say: Callable[[str], None],
    checkpoint: Path | None = None,
    strategy: Any = None,
) -> Any:
    """Train a torch module with Lightning's trainer and give it back on the CPU in eval mode.

    A plain module gets Adam (rate 0.001) and the task's loss. The module's best weights by ``val_loss``, if it logs
    that, are the ones it ends with. The process's random state is left as it was.

    Args:
        module: the module.
        train, validation: the loaders; no ``validation`` for None.
        settings: how.
        note: takes an epoch's number and its metrics.
        say: takes a line for the run's log.
        checkpoint: the file of the newest checkpoint, from which training goes on if it is there.
        strategy: in a process of several, Lightning's own; that of the settings by default.

    Raises:
        ModelError: it is not a torch module, has diverged, an Embedding table of it is too short, or the trainer cannot be as it is
            asked for.
        MissingExtraError: torch or Lightning is not installed.
    """
    torch = require("torch")
    if not module.training:  # fitted before; parts that are frozen on purpose stay as they are otherwise
        module.train()
    lightning = _lightning_of(module)
    lightning_module = (
        module if isinstance(module, lightning.LightningModule) else _with_adam(lightning, module, settings)
    )
    cuda = torch.cuda.is_available()
    callback = epoch_end(
        lightning,
        lightning_module,
        epochs=settings.epochs,
        patience=settings.patience,
        note=note,
        say=say,
        checkpoint=checkpoint,
        name=type(module).__name__,
    )
    options = dict(settings.options)
    callbacks = [callback, *options.pop("callbacks", ())]
    with (
        temporary_folder("fti_fit_") as scratch,
        # The seed is for this fit alone: the caller's random numbers go on as if it had not been.
        torch.random.fork_rng(devices=range(torch.cuda.device_count()) if cuda else []),
        _quiet(),
    ):
        torch.manual_seed(settings.seed)
        try:
            trainer = lightning.Trainer(
                max_epochs=settings.epochs,
                accelerator=settings.accelerator,
                precision=settings.precision,
                devices=settings.devices,
                strategy=strategy or settings.strategy,
                logger=False,
                callbacks=callbacks,
                # The best weights are kept in memory by the callback, so nothing is left on the disk.
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                # The sanity check would count as a validation, and early stopping would take weights that were never
                # trained.
                num_sanity_val_steps=0,
                default_root_dir=str(scratch),
                **{"log_every_n_steps": 1, "use_distributed_sampler": False} | options,
            )
        except Exception as error:  # Lightning's own, ValueError, TypeError: it says which argument
            raise ModelError(f"data.fit cannot make Lightning's trainer: {error}") from error
        try:
            trainer.fit(lightning_module, train, validation, **_resumed(torch, checkpoint, say))
        except IndexError as error:
            if "index out of range in self" not in str(error):
                raise
            raise ModelError(f"{type(module).__name__} cannot be trained: {error}{TABLES}") from error
    # The module itself, not the trainer's wrapper: it was trained in place.
    return module.cpu().eval()


def _resumed(torch: Any, checkpoint: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """What tells the trainer to go on from a checkpoint, if there is one that can be read."""
    if checkpoint is None or not checkpoint.exists():
        return {}
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # damage raises of all kinds
        say(
            f"the checkpoint {checkpoint.name} cannot be read, training begins anew: {str(error).partition(chr(10))[0]:.200}"
        )
        return {}
    return {"ckpt_path": str(checkpoint), "weights_only": True}


def fingerprint(module: Any, settings: Settings) -> str:
    """What a fit rests on besides its rows, as hex digits: the module's code and first weights, the settings, and the libraries."""
    kind, callbacks = type(module), list(settings.options.get("callbacks", ()))
    source = module_hash(module, *map(type, callbacks))
    options = {name: value for name, value in settings.options.items() if name != "callbacks"}
    plain = replace(settings, options=options | {"callbacks": [type(one).__qualname__ for one in callbacks]})
    digest = hashlib.sha256(
        f"{kind.__module__}.{kind.__qualname__}\n{source}\n{module}\n{plain}\n{installed()}".encode()
    )
    for part in module.modules():  # such as a learning rate, which no printed module shows
        plainly = {name: value for name, value in vars(part).items() if isinstance(value, bool | int | float | str)}
        digest.update(f"{plainly} {dict(getattr(part, 'hparams', None) or {})}".encode())
    for name, values in module.state_dict().items():
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        if hasattr(values, "numpy"):
            digest.update(values.detach().cpu().contiguous().view(-1).float().numpy())
    return digest.hexdigest()[:16]


def _lightning_of(module: Any) -> Any:
    # The same library has two names, and a module of one cannot be trained by the other.
    other = sys.modules.get("lightning.pytorch")
    if other is not None and isinstance(module, other.LightningModule):
        return other
    return require("pytorch_lightning")


def _with_adam(lightning: Any, module: Any, settings: Settings) -> Any:
    torch = require("torch")
    what = f"forward of {type(module).__name__}"

    def loss_of(output: Any, y: Any, weight: Any = None) -> Any:
        return loss(settings.task, output, y, weight, settings.levels, classes=settings.classes, what=what)

    class WithAdam(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def training_step(self, batch: Any, _: int) -> Any:
            x, y, *weight = batch
            step_loss = loss_of(self.module(x), y, *weight)
            self.log("train_loss", step_loss, on_step=False, on_epoch=True, batch_size=len(y), sync_dist=True)
            return step_loss

        def validation_step(self, batch: Any, _: int) -> None:
            x, y, *weight = batch
            self.log("val_loss", loss_of(self.module(x), y, *weight), batch_size=len(y))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.module.parameters(), lr=1e-3)

    return WithAdam()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's banners, its use of deprecated torch, and its advice on workers and validation."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*validation_step.*Skipping val loop.*")
        warnings.filterwarnings(
            "ignore", message=".*IterableDataset. has .__len__. defined.*"
        )  # no worker repeats a batch
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
