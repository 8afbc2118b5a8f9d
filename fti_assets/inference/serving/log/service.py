"""What a process did to answer: statuses of requests, its processor time and its memory, as lines between the answers."""

import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fti_assets.core import clock

LINE_SECONDS = 5.0
"""So often a line says it: what a process that is killed has not said of itself is of so many seconds."""
_LAST_SECONDS = 60.0


@dataclass
class Usage:
    """What a process used, and how it answered, in a stretch of time.

    Args:
        seconds: how long that was.
        cpu_seconds: of processor time, of all its threads and whatever it did.
        peak_memory_bytes: the most that was resident since it began.
        requests: how many requests to the model a server answered, by HTTP status; none of an app, which has no server.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    requests: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_memory_bytes, other.peak_memory_bytes),
            dict(sorted((Counter(self.requests) + Counter(other.requests)).items())),
        )


class UsageTally:
    """What no line of a process says so far, by model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[str, Counter[str]] = {}
        self._answers: dict[str, tuple[float, datetime]] = {}
        self._next: dict[str, float] = {}
        self._since: dict[str, tuple[float, float]] = {}
        self._begun = (time.monotonic(), time.process_time())

    def count(self, model: str, status: int) -> None:
        """One request more, from any thread."""
        with self._lock:
            counts = self._requests.get(model)
            if counts is None:
                counts = self._requests[model] = Counter()
            counts[str(status)] += 1

    def note_answer(self, model: str, at: datetime) -> None:
        """There is something to say of a model, of which nobody may count requests; its last answer was as of ``at``."""
        self._answers[model] = time.monotonic(), at
        with self._lock:
            self._requests.setdefault(model, Counter())

    def instant(self, model: str) -> datetime:
        """When a line is said to be of: as of the last answer's time, so that it goes where that goes, or now if there is none."""
        answered, at = self._answers.get(model, (0.0, None))
        return clock.now() if at is None or time.monotonic() - answered > _LAST_SECONDS else at

    def models(self) -> set[str]:
        """Those of which there is something to say."""
        with self._lock:
            return set(self._requests)

    def seconds_to_line(self, model: str) -> float:
        """After how long the next line is due; 0 if it is now."""
        return max(0.0, self._next.get(model, 0.0) - time.monotonic())

    def postpone(self, model: str) -> None:
        """The next line is due after a while, whether this one can be written or not."""
        self._next[model] = time.monotonic() + LINE_SECONDS

    def take(self, model: str) -> Usage | None:
        """What there is to say, once; None if there is nothing."""
        with self._lock:
            requests = self._requests.pop(model, None)
        if requests is None:
            return None
        self.postpone(model)
        at, cpu = self._since.get(model, self._begun)
        self._since[model] = now, now_cpu = time.monotonic(), time.process_time()
        return Usage(now - at, now_cpu - cpu, peak_memory(), dict(requests))

    def give_back(self, model: str, usage: Usage) -> None:
        """What could not be written is said with the next line."""
        with self._lock:
            self._requests.setdefault(model, Counter()).update(usage.requests)
        at, cpu = self._since.get(model, self._begun)
        self._since[model] = at - usage.seconds, cpu - usage.cpu_seconds


def peak_memory() -> int:
    """The most memory in bytes that was resident of this process since it began; 0 where the system does not tell."""
    # Not of getrusage alone: a process that was forked begins there with the peak of the one that forked it.
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_bytes().splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return 0
