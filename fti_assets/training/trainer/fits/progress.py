"""What a training says of itself while it goes on, the seed that it rests on, and where it may keep checkpoints."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, cast

import numpy as np

from fti_assets.core.manifest.learning import EpochRecord
from fti_assets.errors import ModelError

MOST_EPOCHS = 10_000
"""Of a history; a function that notes more than these keeps the last ones."""


@dataclass
class Progress:
    """The progress of one build.

    Args:
        seed: of everything that a training draws.
        tell: takes a line for the run's log.
        folder: where checkpoints may lie until the build is published; None keeps none.
    """

    seed: int = 0
    tell: Callable[[str], None] | None = None
    folder: Path | None = None
    history: list[EpochRecord] = field(default_factory=list)
    fits: int = 0
    about: str = ""
    _trials: dict[int, list[EpochRecord]] = field(default_factory=dict)

    def begin(self, trial: int, parameters: object) -> None:
        """What follows belongs to a trial; checkpoints of other trials, which are written down or failed, go."""
        self.about, self.fits, self.history = f"trial {trial}: {parameters!r}", 0, []
        self._trials[trial] = self.history
        if self.folder is not None:
            for file in self.folder.glob("fit-*"):
                if not file.name.startswith(self.prefix):
                    file.unlink(missing_ok=True)

    def choose(self, trial: int) -> None:
        """The history is that of a trial."""
        self.history = self._trials.get(trial, [])

    @property
    def prefix(self) -> str:
        """What the checkpoints of now begin with."""
        return f"fit-{hashlib.sha256(self.about.encode()).hexdigest()[:8]}-"

    def say(self, line: str) -> None:
        """A line for the run's log."""
        if self.tell is not None:
            self.tell(line)

    def note(self, epoch: int, metrics: dict[str, float], fit: int = 0) -> None:
        """Keep an epoch's metrics; those of an epoch that is trained once more take the place of the earlier ones."""
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self.history[:] = [one for one in self.history if (one.fit, one.epoch) != (fit, epoch)][-MOST_EPOCHS + 1 :]
        self.history.append(EpochRecord(fit, epoch, finite))

    def log(self, epoch: int, metrics: dict[str, object]) -> None:
        """Note an epoch of a loop of the user's own, and say it.

        Raises:
            ModelError: the epoch is not a whole number from 0 on, or a metric is no number.
        """
        if isinstance(epoch, bool) or not isinstance(epoch, int | np.integer) or epoch < 0:
            raise ModelError(f"data.log(epoch={epoch!r}): give the number of the epoch, a whole number from 0 on")
        numbers = {}
        for name, value in metrics.items():
            try:
                numbers[name] = float(value)  # type: ignore[arg-type]
            except (TypeError, ValueError) as error:
                raise ModelError(
                    f"data.log({name}={type(value).__name__}): give a number, such as loss.item(), not {value!r:.100}"
                ) from error
        self.note(int(epoch), numbers)
        self.say(f"epoch {epoch}: {words_of(numbers) or 'nothing was given'}")


def words_of(metrics: dict[str, float]) -> str:
    """Metrics for a line of the log.

    >>> words_of({"val_loss": 0.25, "auc": 0.75})
    'auc 0.75, val_loss 0.25'
    """
    return ", ".join(f"{name} {value:.4g}" for name, value in sorted(metrics.items()))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's random numbers for a block; the first two go on afterwards as before.

    Torch is not imported for that, which costs seconds; if the block is what imports it, it is seeded then.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    finder = _SeedOnImport(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    else:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        finder.leave()
        random.setstate(of_python)
        np.random.set_state(of_numpy)


class _SeedOnImport:
    """Finds torch as the others do, and seeds it once it is loaded: its own first seed is another in each process."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        self.leave()
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_seed(module: Any) -> None:
            load(module)
            module.manual_seed(self._seed)

        spec.loader.exec_module = load_and_seed  # type: ignore[method-assign]
        return spec

    def leave(self) -> None:
        """Find nothing any more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)  # type: ignore[arg-type]


def random_state() -> dict[str, Any]:
    """Where Python's, numpy's and, where it is loaded, torch's random numbers are now, as plain values and tensors."""
    kind, keys, *others = cast("tuple[Any, ...]", np.random.get_state(legacy=True))
    state: dict[str, Any] = {"python": random.getstate(), "numpy": (str(kind), keys.tolist(), *others)}
    if (torch := sys.modules.get("torch")) is not None:
        state |= {"torch": torch.get_rng_state(), "cuda": []}
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def go_on_from(state: dict[str, Any], *, with_torch: bool = True) -> None:
    """Let random numbers go on from a ``random_state``; those of GPUs only if there are as many as there were."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch = sys.modules.get("torch")
    if with_torch and torch is not None and "torch" in state:
        torch.set_rng_state(state["torch"])
        if state["cuda"] and torch.cuda.is_available() and torch.cuda.device_count() == len(state["cuda"]):
            torch.cuda.set_rng_state_all(state["cuda"])
