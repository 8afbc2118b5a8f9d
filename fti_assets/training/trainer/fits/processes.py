"""Training in several processes, which torch's own launcher starts as children of the step and watches."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fti_assets.core.extras import require
from fti_assets.errors import ModelError
from fti_assets.stores.files import guard_writes
from fti_assets.stores.temporary_folders import temporary_folder
from fti_assets.training.trainer.fits.epoch_end import Note
from fti_assets.training.trainer.fits.settings import Settings
from fti_assets.training.trainer.parts.feeds import Feed

JOB, RESULT, PROGRESS, OUTPUT, ERROR = "job.pickle", "weights.pt", "progress.jsonl", "output.txt", "error-{}.json"
_POLL_SECONDS, _GRACE_SECONDS = 0.1, 10.0


@dataclass(frozen=True, eq=False)
class Job:
    """What the processes are to do. ``step`` is the process that asked."""

    module: Any
    train: Feed
    validation: Feed
    settings: Settings
    checkpoint: Path | None
    step: int


def fit_in_processes(
    module: Any,
    train: Feed,
    validation: Feed,
    settings: Settings,
    *,
    note: Note,
    say: Callable[[str], None],
    checkpoint: Path | None,
) -> None:
    """Train the module in place in ``settings.devices`` processes of this machine, each on its share of every batch.

    They talk over 127.0.0.1. If one of them fails or is killed, all end, and the module is as it was.

    Raises:
        ModelError: the module cannot be handed over, or a process failed.
        StoreError: there is no room for what they are handed.
    """
    torch = require("torch")
    count = settings.devices
    with temporary_folder("fti_fit_") as folder:
        job = Job(
            module, train.spilled(folder, "train"), validation.spilled(folder, "validation"), settings, checkpoint, os.getpid()
        )  # fmt: skip
        _hand_over(job, folder / JOB)
        follower = _Follower(folder / PROGRESS, note, say)
        process = _launch(folder, count)
        try:
            while process.poll() is None:
                follower.follow()
                time.sleep(_POLL_SECONDS)
        finally:
            _end(process)
        follower.follow()
        if process.returncode or not (folder / RESULT).exists():
            raise _failure(folder, type(module).__name__, count, process.returncode)
        module.load_state_dict(torch.load(folder / RESULT, map_location="cpu", weights_only=True))


def _hand_over(job: Job, path: Path) -> None:
    name = type(job.module).__name__
    strange = sorted({type(one).__qualname__ for one in job.module.modules() if type(one).__module__ == "__main__"})
    if strange:
        raise ModelError(
            f"{name} cannot be trained in several processes: {strange[0]} is defined in the program itself, which they cannot import. Put "
            "it into a module beside it"
        )
    try:
        content = pickle.dumps(job)
    except Exception as error:  # whatever the parts of a user's module raise
        raise ModelError(
            f"{name} cannot be handed to several processes: {str(error).partition(chr(10))[0]:.300}. Define its classes and functions at "
            "the top of a module, and keep open files, locks and lambdas out of it"
        ) from error
    with guard_writes(path):
        path.write_bytes(content)


def _launch(folder: Path, count: int) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={count}",
        "--max-restarts=0", "-m", "fti_assets.training.trainer.fits.worker", str(folder),
    ]  # fmt: skip
    own = {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), "MASTER_ADDR": "127.0.0.1"}
    threads = (
        {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    )
    environment = {"GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0"} | dict(os.environ) | own | threads
    with (folder / OUTPUT).open("wb") as output:
        # A group of its own, so that a signal for the step does not reach it twice.
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the launcher and with it the processes, if they still run."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)  # it ends the others
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Follower:
    """Reads what the first process says of its progress, line by line."""

    def __init__(self, path: Path, note: Note, say: Callable[[str], None]) -> None:
        self.path, self.note, self.say, self.place = path, note, say, 0

    def follow(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.place)
            whole = file.read().rpartition(b"\n")[0]
        self.place += len(whole) + bool(whole)
        for line in whole.splitlines():
            entry = json.loads(line)
            if "say" in entry:
                self.say(entry["say"])
            else:
                self.note(entry["epoch"], entry["metrics"])


def _failure(folder: Path, name: str, count: int, code: int | None) -> ModelError:
    """What ended the processes, in one sentence."""
    errors = [
        json.loads(path.read_text())
        for path in sorted(folder.glob(ERROR.format("*")), key=lambda path: path.stat().st_mtime_ns)
    ]
    output = (folder / OUTPUT).read_text(errors="replace")
    whole = f"{name} was not trained in {count} processes"
    if own := next((one for one in errors if one["own"]), None):
        return ModelError(own["message"])
    # Before what the others say, which is that they lost it; the launcher itself ends these with SIGTERM.
    signals = [-int(code) for code in re.findall(r"exitcode\s*:\s*(-\d+)", output)]
    if killed := next((one for one in signals if one != signal.SIGTERM), None):
        return ModelError(
            f"{whole}: one was ended by signal {killed} ({signal.Signals(killed).name}). Look whether memory ran out, and train with "
            "fewer processes or smaller batches if it did"
        )
    ended = re.findall(r"rank\s*:\s*(\d+) .*?\n\s*exitcode\s*:\s*(\d+)", output)
    ranks = {one["rank"] for one in errors}  # of itself, where it could
    if silent := next(((int(rank), code) for rank, code in ended if code != "0" and int(rank) not in ranks), None):
        return ModelError(
            f"{whole}: process {silent[0] + 1} ended by itself with exit code {silent[1]} and without an error. Look for what "
            "calls os._exit in its code and in its libraries"
        )
    if errors:
        return ModelError(f"{whole}: process {errors[0]['rank'] + 1} failed: {errors[0]['message']}")
    return ModelError(f"{whole}: the launcher ended with {code}: {_tail(output.splitlines())}")


def _tail(lines: Sequence[str]) -> str:
    return " ".join(line.strip() for line in [one for one in lines if one.strip()][-3:])[:600] or "it said nothing"
