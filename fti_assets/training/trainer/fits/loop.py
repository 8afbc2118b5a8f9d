"""The training loop: Lightning's trainer, kept quiet, and nothing left on disk."""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fti_assets.core.extras import require
from fti_assets.errors import ModelError
from fti_assets.stores.temporary_folders import temporary_folder
from fti_assets.training.trainer.fits.epoch_end import Note, epoch_end
from fti_assets.training.trainer.fits.losses import loss
from fti_assets.training.trainer.fits.settings import Settings

TABLES = ". An Embedding table needs a row for each code: make it with data.cardinalities[feature] rows"
"""What to do about a code beyond the rows of a table."""


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
            f"the checkpoint {checkpoint.name} cannot be read, training begins again: {str(error).partition(chr(10))[0]:.200}"
        )
        return {}
    return {"ckpt_path": str(checkpoint), "weights_only": True}


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
