"""One of the processes that train together: ``python -m torch.distributed.run ... -m fti_assets.training.trainer.fits.worker FOLDER``."""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from fti_assets.core.mixing import mixed
from fti_assets.errors import ModelError
from fti_assets.training.trainer.fits import loop
from fti_assets.training.trainer.fits.checkpoints import save_tensors
from fti_assets.training.trainer.fits.processes import ERROR, JOB, PROGRESS, RESULT, Job
from fti_assets.training.trainer.fits.progress import seeded
from fti_assets.training.trainer.fits.settings import Settings
from fti_assets.training.trainer.parts.batches import ALONE, Share

_WATCH_SECONDS = 1.0


def main(folder: Path) -> None:
    """Train on the own share of each batch; the first process writes the weights."""
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        job = _taken_over(folder / JOB)
        _watch(job)
        _train(job, folder, Share(rank, count))
    except BaseException as error:
        own = isinstance(error, ModelError)
        message = str(error) if own else f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.500}"
        (folder / ERROR.format(rank)).write_text(json.dumps({"rank": rank, "own": own, "message": message}))
        raise


def _taken_over(path: Path) -> Job:
    """What the step has handed over, in a folder that is its own.

    Raises:
        ModelError: a class of the module cannot be imported here.
    """
    try:
        job: Job = pickle.loads(path.read_bytes())
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"the module cannot be trained in several processes, which import its classes by name: {error}. Define it at the top of a "
            "module that lies on the Python path"
        ) from error
    return job


def _train(job: Job, folder: Path, share: Share) -> None:
    settings, is_first = job.settings, share.rank == 0

    def tell(entry: dict[str, Any]) -> None:
        if is_first:
            with (folder / PROGRESS).open("a") as file:
                file.write(json.dumps(entry) + "\n")

    # Torch's are seeded alike in each process, and these apart: what is drawn for a row differs from process to process.
    [own_seed] = mixed(np.array([settings.seed + share.rank], dtype=np.uint64)).tolist()
    with seeded(own_seed):
        loop.fit(
            job.module,
            job.train.loader(settings.batch_size, settings.seed, share),
            # Whole in each process: all of them see the same loss, and end in the same epoch.
            job.validation.loader(settings.batch_size, None, ALONE) if job.validation.rows else None,
            settings,
            note=lambda epoch, metrics: tell({"epoch": epoch, "metrics": metrics}),
            say=lambda line: tell({"say": line}),
            checkpoint=job.checkpoint,
            strategy=_strategy(settings),
        )
    if is_first:
        save_tensors(job.module.state_dict(), folder / RESULT)


def _strategy(settings: Settings) -> str:
    return "ddp" if settings.strategy == "auto" else settings.strategy


def _watch(job: Job) -> None:
    threading.Thread(target=_end_with, args=(job.step, os.getppid()), daemon=True).start()


def _end_with(step: int, launcher: int) -> None:
    """End this process when the step or the launcher has ended, however they did."""
    while os.getppid() == launcher:
        try:
            os.kill(step, 0)
        except ProcessLookupError:
            break
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
