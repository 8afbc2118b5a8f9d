"""What happens at the end of each epoch of a fit: the best weights, early stopping, the history, a checkpoint."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fti_assets.core.extras import require
from fti_assets.errors import ModelError
from fti_assets.training.trainer.fits.progress import go_on_from, random_state

SECONDS = 5.0
"""A checkpoint is written at the end of an epoch if the one before is this old."""

Note = Callable[[int, dict[str, float]], None]


def epoch_end(
    lightning: Any,
    module: Any,
    *,
    epochs: int,
    patience: int,
    note: Note,
    say: Callable[[str], None],
    checkpoint: Path | None,
    name: str,
) -> Any:
    """The callback.

    Args:
        lightning: the library that the module is of.
        module: the LightningModule that is trained.
        epochs: how many there are at most.
        patience: after so many without a lower ``val_loss`` the training ends.
        note: takes an epoch's number, from 1 on, and its metrics.
        say: takes a line for the run's log.
        checkpoint: the file that holds the newest checkpoint; None for none.
        name: what the module is called in errors.
    """
    torch = require("torch")

    class EpochEnd(lightning.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.best, self.best_epoch, self.waited = float("inf"), 0, 0
            self.weights: dict[str, Any] | None = None
            self.history: list[tuple[int, dict[str, float]]] = []
            self.random_states: list[Any] = []
            self.loss: Any = None
            self.written = time.monotonic()

        def state_dict(self) -> dict[str, Any]:
            return {
                "best": self.best,
                "best_epoch": self.best_epoch,
                "waited": self.waited,
                "weights": self.weights,
                "history": self.history,
                "random_states": self.random_states,
            }

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.best, self.best_epoch, self.waited = state["best"], state["best_epoch"], state["waited"]
            self.weights, self.history = state["weights"], list(state["history"])
            self.random_states = list(state["random_states"])

        def on_train_start(self, trainer: Any, _: Any) -> None:
            if self.history:
                say(f"goes on after epoch {len(self.history)} of {epochs}, from the checkpoint of a run that was ended")
                for epoch, metrics in self.history:
                    note(epoch, metrics)
                trainer.should_stop = trainer.should_stop or self.waited >= patience

        def on_train_epoch_start(self, trainer: Any, _: Any) -> None:
            self.loss = None
            if self.random_states:  # as they were when the checkpoint was written
                go_on_from(self.random_states[trainer.global_rank])
                self.random_states = []
            loader: Any = trainer.train_dataloader
            sources: list[Any] = [getattr(loader, "dataset", None), getattr(loader, "sampler", None)]
            for source in sources:
                if hasattr(source, "set_epoch"):
                    source.set_epoch(trainer.current_epoch)

        def on_train_batch_end(self, trainer: Any, _: Any, outputs: Any, *__: Any) -> None:
            loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
            if isinstance(loss, torch.Tensor):  # added on its device: to look at each would wait for it
                self.loss = loss.detach() if self.loss is None else self.loss + loss.detach()

        def on_validation_end(self, trainer: Any, _: Any) -> None:
            val_loss = trainer.callback_metrics.get("val_loss")
            if val_loss is None:
                return
            if float(val_loss) < self.best:
                self.best, self.best_epoch = float(val_loss), trainer.current_epoch + 1
                self.weights = {name: one.detach().cpu().clone() for name, one in module.state_dict().items()}
            # In epochs, however many validations one has; it is looked at when an epoch that has one ends.
            self.waited = trainer.current_epoch + 1 - self.best_epoch

        def on_train_epoch_end(self, trainer: Any, _: Any) -> None:
            epoch = trainer.current_epoch + 1
            trainer.should_stop = trainer.should_stop or self.waited >= patience
            metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
            self.history.append((epoch, metrics))
            note(epoch, metrics)
            text = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            say(f"epoch {epoch} of {epochs}: {text or 'the module logs nothing'}")
            loss = 0.0 if self.loss is None else float(self.loss)
            # Of several processes all decide alike, or one would wait for the others.
            if trainer.strategy.reduce_boolean_decision(not math.isfinite(loss), all=False):
                self._diverged(trainer, epoch, float("nan") if math.isfinite(loss) else loss)
            elif checkpoint is not None and trainer.strategy.broadcast(time.monotonic() - self.written >= SECONDS):
                self._write(trainer, checkpoint)

        def _diverged(self, trainer: Any, epoch: int, loss: float) -> None:
            if self.weights is None:
                raise ModelError(
                    f"{name} has diverged: its training loss is {loss} in epoch {epoch} of {epochs}. Lower the learning rate, clip "
                    "gradients (gradient_clip_val=1.0), or look for numbers that are not finite in its forward and its loss"
                )
            say(
                f"the training loss is {loss} in epoch {epoch}: training ends, with the weights of epoch {self.best_epoch}"
            )
            trainer.should_stop = True

        def _write(self, trainer: Any, path: Path) -> None:
            partial = path.with_suffix(".tmp")
            try:
                self.random_states = _of_all_processes(torch, trainer.world_size, random_state())
                trainer.save_checkpoint(str(partial))
                self.random_states = []
                if trainer.is_global_zero:
                    os.replace(partial, path)
            except OSError as error:
                say(f"the checkpoint {path} could not be written: {error.strerror or error}. Training goes on without")
                with suppress(OSError):
                    partial.unlink(missing_ok=True)
            self.written = time.monotonic()

        def on_fit_end(self, *_: Any) -> None:
            if self.weights is not None:
                module.load_state_dict(self.weights)
                if self.history and self.best_epoch < len(self.history):
                    say(f"the weights are those of epoch {self.best_epoch}, val_loss {self.best:.4g}")

    return EpochEnd()


def _of_all_processes(torch: Any, count: int, own: Any) -> list[Any]:
    """What each process has, by rank: the first of them writes the checkpoint, and each draws other numbers."""
    if count == 1:
        return [own]
    gathered: list[Any] = [None] * count
    torch.distributed.all_gather_object(gathered, own)
    return gathered
