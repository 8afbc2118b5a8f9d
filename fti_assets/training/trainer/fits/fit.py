"""One call of ``data.fit``: from a checkpoint or again, here or in processes of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fti_assets.core.extras import require
from fti_assets.errors import ModelError, one_of
from fti_assets.training.trainer.fits import loop
from fti_assets.training.trainer.fits.checkpoints import save_tensors
from fti_assets.training.trainer.fits.processes import fit_in_processes
from fti_assets.training.trainer.fits.progress import Progress, go_on_from, random_state
from fti_assets.training.trainer.fits.settings import OWN, Settings, fingerprint
from fti_assets.training.trainer.parts.batches import ALONE
from fti_assets.training.trainer.parts.feeds import Feed

STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")


def check_settings(settings: Settings) -> None:
    """Refuse what a module cannot be trained with.

    Raises:
        ModelError: a number below 1, a strategy that is none, or an argument of the trainer that is set here.
    """
    for name, number in (("epochs", settings.epochs), ("patience", settings.patience), ("devices", settings.devices)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ModelError(f"data.fit({name}={number!r}): give a whole number above 0")
    if settings.strategy not in STRATEGIES:
        raise ModelError(
            f"data.fit(strategy={settings.strategy!r}): processes train together by one of {one_of(STRATEGIES)}; train by another "
            "strategy with a Trainer of your own over data.loaders"
        )
    if clashes := [name for name in settings.options if name in OWN]:
        raise ModelError(
            f"data.fit sets {one_of(clashes)} of Lightning's trainer itself: leave it out"
            + (", and say epochs= for max_epochs=" if "max_epochs" in clashes else "")
        )


def run_fit(
    module: Any,
    train: Feed,
    validation: Feed,
    settings: Settings,
    progress: Progress,
    log: Callable[[str], None] | None,
    report: Callable[[int, float], None] | None = None,
) -> Any:
    """Train the module, or take its weights from where a killed run of the same has left them.

    Raises:
        ModelError: as ``check_settings`` and ``loop.fit``; or processes of several failed.
    """
    torch = require("torch")
    check_settings(settings)
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"data.fit trains torch modules, not {type(module).__name__}: fit others on data.train.X and data.train.y"
        )
    progress.fits += 1
    number, say = progress.fits, log or progress.say

    def note(epoch: int, metrics: dict[str, float]) -> None:
        progress.note(epoch, metrics, number)
        if report is not None and "val_loss" in metrics:
            report(epoch, metrics["val_loss"])

    checkpoint = None
    if progress.folder is not None:
        checkpoint = progress.folder / f"{progress.prefix}{number}-{fingerprint(module, settings)}.ckpt"
        if (whole := _whole(torch, checkpoint)) is not None:
            for epoch, metrics in whole["history"]:
                note(epoch, metrics)
            module.load_state_dict(whole["weights"])
            go_on_from(whole["random_state"], with_torch=False)  # torch's are put back after each fit
            say(f"fit {number} was whole when the run before was ended: its weights are taken")
            return module.cpu().eval()

    if settings.devices > 1:
        fit_in_processes(module, train, validation, settings, note=note, say=say, checkpoint=checkpoint)
    else:
        loop.fit(
            module,
            train.loader(settings.batch_size, settings.seed, ALONE),
            validation.loader(settings.batch_size, None, ALONE) if validation.rows else None,
            replace(settings, strategy="auto"),
            note=note,
            say=say,
            checkpoint=checkpoint,
        )
    if checkpoint is not None and checkpoint.exists():
        history = [(one.epoch, one.metrics) for one in progress.history if one.fit == number]
        with suppress(OSError):  # no room: the next run goes on from the checkpoint
            content = {"weights": module.state_dict(), "history": history, "random_state": random_state()}
            save_tensors(content, checkpoint.with_suffix(".whole"))
            checkpoint.unlink()
    return module.cpu().eval()


def _whole(torch: Any, checkpoint: Path) -> Any:
    """What a fit that came to its end has left."""
    path = checkpoint.with_suffix(".whole")
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # damage raises of all kinds, and costs no more than training again
        return None
