"""Fitting a torch module on whole tensors in memory, with Lightning's trainer kept quiet and nothing left on disk."""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import Task
from fti_assets.errors import ModelError
from fti_assets.stores.temporary_folders import temporary_folder
from fti_assets.training.trainer.batches import ALONE, Batches, Share


class _Rows:
    """A data set that gives a whole batch for the rows asked: one index per tensor, where one row at a time is slow."""

    def __init__(self, x: Mapping[str, Any], y: Any) -> None:
        self.x, self.y = x, y

    def __getitem__(self, rows: Any) -> tuple[dict[str, Any], Any]:
        return {name: values[rows] for name, values in self.x.items()}, self.y[rows]

    def __len__(self) -> int:
        return len(self.y)


TABLES = ". An Embedding table needs a row for each code: make it with data.cardinalities[feature] rows"
"""What to do about a code beyond the rows of a table."""


def loader(
    inputs: Mapping[str, np.ndarray], y: np.ndarray, batch_size: int, *, seed: int | None, share: Share = ALONE
) -> Any:
    """A torch DataLoader of batches ``(x, y)``, shuffled anew each epoch where a seed is given.

    Args:
        inputs: name to array ``[n, ...]``, given as a dict of tensors.
        y: ``[n]``.
        batch_size: rows a batch.
        seed: the same seed gives the same batches; None keeps the rows' order.
        share: which rows of each batch this process gets.

    Raises:
        ModelError: the batch size is not a whole number above 0.
    """
    torch = require("torch")
    rows = _Rows({name: torch.from_numpy(values) for name, values in inputs.items()}, torch.from_numpy(y))
    # A generator of its own: a DataLoader draws from the global one otherwise, which changes a module's dropout.
    return torch.utils.data.DataLoader(
        rows, sampler=Batches(len(y), batch_size, seed, share), batch_size=None, generator=torch.Generator()
    )


def loss(task: Task, output: Any, y: Any) -> Any:
    """The task's loss of a module's output: cross entropy of logits, or the mean squared error of values."""
    functional = require("torch.nn.functional")
    if task == "multiclass":
        return functional.cross_entropy(output, y)
    if task == "binary":
        return functional.binary_cross_entropy_with_logits(output.reshape(-1), y)
    return functional.mse_loss(output.reshape(-1), y)


def fit(
    module: Any,
    train: Any,
    validation: Any,
    *,
    task: Task,
    epochs: int,
    patience: int,
    seed: int,
    log: Callable[[str], None] | None,
) -> Any:
    """Train a torch module with Lightning's trainer and give it back on the CPU in eval mode.

    A plain module gets Adam (rate 0.001) and the task's loss. The module's best weights by ``val_loss``, if it logs
    that, are the ones it ends with. The process's random state is left as it was.

    Raises:
        ModelError: it is not a torch module, or an Embedding table of it is too short.
        MissingExtraError: torch or Lightning is not installed.
    """
    torch = require("torch")
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"data.fit trains torch modules, not {type(module).__name__}: fit others on data.train.X and data.train.y"
        )
    if not module.training:  # fitted before; parts that are frozen on purpose stay as they are otherwise
        module.train()
    lightning = _lightning_of(module)
    lightning_module = module if isinstance(module, lightning.LightningModule) else _with_adam(lightning, module, task)
    cuda = torch.cuda.is_available()
    with (
        temporary_folder("fti_fit_") as scratch,
        # The seed is for this fit alone: the caller's random numbers go on as if it had not been.
        torch.random.fork_rng(devices=range(torch.cuda.device_count()) if cuda else []),
        _quiet(),
    ):
        torch.manual_seed(seed)
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cuda" if cuda else "cpu",
            devices=1,
            logger=False,
            callbacks=[_best_weights(lightning, lightning_module, epochs, patience, log)],
            # The best weights are kept in memory by the callback, so nothing is left on the disk.
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            # The sanity check would count as a validation, and early stopping would take weights that were never
            # trained.
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            default_root_dir=str(scratch),
        )
        try:
            trainer.fit(lightning_module, train, validation)
        except IndexError as error:
            if "index out of range in self" not in str(error):
                raise
            raise ModelError(f"{type(module).__name__} cannot be trained: {error}{TABLES}") from error
    # The module itself, not the trainer's wrapper: it was trained in place.
    return module.cpu().eval()


def _lightning_of(module: Any) -> Any:
    # The same library has two names, and a module of one cannot be trained by the other.
    other = sys.modules.get("lightning.pytorch")
    if other is not None and isinstance(module, other.LightningModule):
        return other
    return require("pytorch_lightning")


def _with_adam(lightning: Any, module: Any, task: Task) -> Any:
    torch = require("torch")

    class WithAdam(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def training_step(self, batch: Any, _: int) -> Any:
            x, y = batch
            step_loss = loss(task, self.module(x), y)
            self.log("train_loss", step_loss, on_step=False, on_epoch=True, batch_size=len(y))
            return step_loss

        def validation_step(self, batch: Any, _: int) -> None:
            x, y = batch
            self.log("val_loss", loss(task, self.module(x), y), batch_size=len(y))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.module.parameters(), lr=1e-3)

    return WithAdam()


def _best_weights(lightning: Any, module: Any, epochs: int, patience: int, log: Callable[[str], None] | None) -> Any:
    class BestWeights(lightning.Callback):  # type: ignore[misc]
        """Early stopping that keeps the best weights in memory and puts them back at the end."""

        def __init__(self) -> None:
            self.best, self.waited = float("inf"), 0
            self.weights: dict[str, Any] | None = None

        def on_validation_end(self, trainer: Any, _: Any) -> None:
            val_loss = trainer.callback_metrics.get("val_loss")
            if val_loss is None:
                return
            if float(val_loss) < self.best:
                self.best, self.waited = float(val_loss), 0
                self.weights = {name: one.detach().cpu().clone() for name, one in module.state_dict().items()}
            else:
                self.waited += 1
                trainer.should_stop = trainer.should_stop or self.waited >= patience

        def on_train_epoch_end(self, trainer: Any, _: Any) -> None:
            if log is not None:
                metrics = sorted(trainer.callback_metrics.items())
                metrics_text = ", ".join(f"{name} {float(value):.4g}" for name, value in metrics)
                log(f"epoch {trainer.current_epoch + 1} of {epochs}: {metrics_text or 'the module logs nothing'}")

        def on_fit_end(self, *_: Any) -> None:
            if self.weights is not None:
                module.load_state_dict(self.weights)

    return BestWeights()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's banners, its use of deprecated torch, and its advice on workers and validation."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*validation_step.*Skipping val loop.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
