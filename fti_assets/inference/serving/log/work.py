"""The work of a prediction log's thread: answers wait in memory, become lines, and are appended to a file for each model."""

import logging
import os
import secrets
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fti_assets.inference.serving.answers.prediction import Prediction
from fti_assets.inference.serving.log.files import finish
from fti_assets.inference.serving.log.limits import LogLimits
from fti_assets.inference.serving.log.lines import (
    Redaction,
    answer_line,
    drops_line,
    footer,
    header,
    instant_of,
    usage_line,
)
from fti_assets.inference.serving.log.open_file import OpenFile
from fti_assets.inference.serving.log.service import UsageTally
from fti_assets.stores.files import reason

Reason = Literal["queue", "disk", "size", "form"]
"""Why an answer was not logged: too many waited in memory, the disk took none, the files waiting to be taken in have reached
their limit, or it has a value that JSON cannot hold."""

Tally = Callable[[str, str, int], None]
"""Told of a model, of "logged" or a reason, and of how many answers."""

_GATHER_SECONDS = 0.2
"""How long answers are gathered before they are written together."""
_MOST_HOURS = 200
_log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """A request's id, its rows, what they were answered, when, and how many seconds that took, None if nobody measured."""

    request_id: str
    requests: Sequence[Mapping[str, Any]]
    predictions: Sequence[Prediction]
    now: datetime
    latency: float | None


@dataclass
class _Drops:
    """Answers of a model that were dropped and that no line says so far."""

    at: datetime
    number: int = 0


class Work:
    """What the thread has, and the writer that it must not keep alive."""

    def __init__(self, folder: Path, redaction: Redaction, limits: LogLimits, tally: Tally | None) -> None:
        self._folder = folder
        self._redaction = redaction
        self._limits = limits
        self._tally = tally
        self.writing = threading.Lock()
        self.counts: dict[str, Counter[str]] = {}
        self._files: dict[str, OpenFile] = {}
        self._begin()
        _works.add(self)

    def _begin(self) -> None:
        """Nothing waits, nothing is open, and no thread is there: at first, and in a child."""
        self._queueing = threading.Lock()
        self._queue: list[Batch] = []
        self._waiting = 0
        self._drops: dict[tuple[str, Reason], _Drops] = {}
        self._measured: dict[str, tuple[float, int]] = {}
        self.usage = UsageTally()
        self._wake, self._over = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._complained = 0.0
        self._id = secrets.token_hex(6)
        # A number behind one random part is cheaper than a random id for each request.
        self._numbers = count(1)

    def new_id(self) -> str:
        return f"{self._id}-{next(self._numbers)}"

    def add(self, batch: Batch) -> None:
        predictions = batch.predictions
        with self._queueing:
            room = 0 if self._over.is_set() else self._limits.waiting_rows - self._waiting
            if room < len(predictions):
                self._drop(predictions[max(room, 0) :], "queue")  # the lock is held
            if room > 0:
                self._queue.append(batch._replace(predictions=predictions[:room]))
                self._waiting += min(room, len(predictions))
        self._start()
        if not self._wake.is_set():
            self._wake.set()

    def _start(self) -> None:
        if self._thread is None:
            with self._queueing:
                if self._thread is None and not self._over.is_set():
                    self._thread = threading.Thread(target=self._run, daemon=True, name="fti-prediction-log")
                    self._thread.start()

    def count_request(self, model: str, status: int) -> None:
        """A request was answered or refused; the thread says so later."""
        self.usage.count(model, status)
        if status >= 400:  # of which no answer wakes the thread
            self._start()
            self._wake.set()

    def flush(self, seconds: float) -> None:
        self._write_out(seconds=seconds)

    def close(self) -> None:
        with self._queueing:
            self._over.set()
        self._write_out()
        with self.writing:
            for model in {model for model, _ in self._drops} | self.usage.models():
                self._write(model, [], last=True)
            for model in list(self._files):
                self._close(model)
        self._wake.set()

    def lose(self) -> None:
        """In a child: what waits and what is open is the parent's; its locks must not last as long as the child."""
        for file in self._files.values():
            with suppress(OSError):
                os.close(file.descriptor)
        was_over = self._over.is_set()
        self.writing, self.counts, self._files = threading.Lock(), {}, {}
        self._begin()
        if was_over:
            self._over.set()

    def _run(self) -> None:
        wake, over = self._wake, self._over
        while not over.is_set():
            wake.wait(self._seconds_to_next())
            over.wait(_GATHER_SECONDS)
            try:
                self._write_out()
            except Exception:  # a thread that ends would drop all that comes, and count it only at the end
                _log.exception("the prediction log could not be written")

    def _seconds_to_next(self) -> float | None:
        """Until a file is to be closed, or a line of usage is due; None while there is neither."""
        now = time.monotonic()
        waits = [max(0.0, file.began + self._limits.file_seconds - now) for file in list(self._files.values())]
        waits += [self.usage.seconds_to_line(model) for model in self.usage.models()]
        return min(waits, default=None)

    def _write_out(self, seconds: float = -1) -> None:
        """Write what waits, and close the files that are long or old enough."""
        if not self.writing.acquire(timeout=seconds):
            return
        try:
            with self._queueing:
                self._wake.clear()
                batches, self._queue, self._waiting = self._queue, [], 0
            lines: dict[str, list[bytes]] = {}
            for request_id, requests, predictions, now, latency in batches:
                for row, (request, prediction) in enumerate(zip(requests, predictions, strict=False)):
                    try:
                        line = answer_line(prediction, request, request_id, row, now, latency, self._redaction)
                    except Exception:  # whatever a value of a client raises when it is looked at
                        with self._queueing:
                            self._drop([prediction], "form")
                    else:
                        lines.setdefault(prediction.model, []).append(line)
            for model, of_model in lines.items():
                self._write(model, of_model)
            for model in {model for model, _ in self._drops} | self.usage.models():
                self._write(model, [])
            now_s = time.monotonic()
            for model, file in list(self._files.items()):
                if file.size >= self._limits.file_bytes or now_s - file.began >= self._limits.file_seconds:
                    self._close(model)
        finally:
            self.writing.release()

    def _write(self, model: str, lines: list[bytes], *, last: bool = False) -> None:
        """Write answers of a model, how many were dropped and what the process used; answers that cannot be written are dropped.

        Args:
            last: whether the file ends, so that there is no later time to say what is to be said beside the answers, beyond the limit, too.
        """
        content = b"".join(lines)
        if not last and self._total(model) + len(content) >= self._limits.total_bytes:
            self._drop_lines(model, lines, "size")
            self.usage.postpone(model)
            return
        with self._queueing:
            drops = {key: one for key, one in self._drops.items() if key[0] == model}
            for key in drops:
                del self._drops[key]
        other_lines = b"".join(drops_line(one.at, why, one.number) for (_, why), one in drops.items())
        if lines:
            self.usage.note_answer(model, datetime.fromisoformat(instant_of(lines[-1]) or ""))
        usage = self.usage.take(model) if last or not self.usage.seconds_to_line(model) else None
        at_usage = self.usage.instant(model)
        if usage is not None:
            other_lines += usage_line(at_usage, usage)
        if not (content or other_lines):
            return
        try:
            file = self._files.get(model)
            if file is None:
                file = self._files[model] = OpenFile.begin(self._folder / model, header(model, self._redaction))
            file.write(content + other_lines)
        except OSError as error:
            self._complain(error)
            self._give_up_torn(model)
            self._drop_lines(model, lines, "disk")
            for (_, why), one in drops.items():
                self._again(model, why, one)
            if usage is not None:
                self.usage.give_back(model, usage)
            return
        file.rows += len(lines)
        if len(file.hours) <= _MOST_HOURS:
            file.hours.update(line[7:20].decode() for line in lines)
            file.hours.update(f"{one.at:%Y-%m-%dT%H}" for one in drops.values())
            file.hours.update([] if usage is None else [f"{at_usage:%Y-%m-%dT%H}"])
        at, total = self._measured.get(model, (0.0, 0))
        self._measured[model] = (at, total + len(content) + len(other_lines))
        self._count(model, "logged", len(lines))

    def _close(self, model: str) -> None:
        self._write(model, [], last=True)
        file = self._files.pop(model, None)
        if file is None:  # given up
            return
        try:
            file.write(footer(file.rows, file.hours if len(file.hours) <= _MOST_HOURS else None))
        except OSError as error:  # the hours are then read from its lines
            self._complain(error)
        try:
            finish(file.descriptor, file.path)
        except OSError as error:
            self._complain(error)
        finally:
            os.close(file.descriptor)

    def _give_up_torn(self, model: str) -> None:
        """Let go of a file that ends within a line, and of its lock: who takes it in cuts that line off."""
        file = self._files.get(model)
        if file is not None and os.fstat(file.descriptor).st_size != file.size:
            os.close(self._files.pop(model).descriptor)

    def _total(self, model: str) -> int:
        """Bytes of a model's files, those of other processes too, which are measured once a second."""
        at, total = self._measured.get(model, (0.0, 0))
        if time.monotonic() - at < 1.0 and at:
            return total
        total = 0
        with suppress(OSError), os.scandir(self._folder / model) as entries:
            for entry in entries:
                with suppress(OSError):
                    total += entry.stat().st_size
        self._measured[model] = (time.monotonic(), total)
        return total

    def _drop(self, predictions: Sequence[Prediction], why: Reason) -> None:
        """Count answers of one model that never became lines; the caller holds the queue's lock."""
        last = predictions[-1]
        drops = self._drops.setdefault((last.model, why), _Drops(last.at))
        drops.at, drops.number = last.at, drops.number + len(predictions)
        self._count(last.model, why, len(predictions))

    def _drop_lines(self, model: str, lines: list[bytes], why: Reason) -> None:
        if lines:
            at = datetime.fromisoformat(instant_of(lines[-1]) or "")
            self._again(model, why, _Drops(at, len(lines)))
            self._count(model, why, len(lines))

    def _again(self, model: str, why: Reason, drops: _Drops) -> None:
        with self._queueing:
            total = self._drops.setdefault((model, why), _Drops(drops.at))
            total.number += drops.number

    def _count(self, model: str, what: str, number: int) -> None:
        if number:
            self.counts.setdefault(model, Counter())[what] += number
            if self._tally is not None:
                self._tally(model, what, number)

    def _complain(self, error: OSError) -> None:
        if time.monotonic() - self._complained >= 60 or not self._complained:
            self._complained = time.monotonic()
            _log.warning(
                "answers are dropped from the prediction log in %s, which cannot be written: %s. They are answered all the same, "
                "and the log will say how many; make room there",
                self._folder,
                reason(error),
            )


_works: "weakref.WeakSet[Work]" = weakref.WeakSet()
_forks = threading.Lock()
_work_at_fork: list[Work] = []
_WAIT_SECONDS = 10.0


def _hold() -> None:
    """Before a fork: no file is open that the child would not know of. A disk that hangs keeps nobody from forking for ever."""
    _forks.acquire()
    deadline = time.monotonic() + _WAIT_SECONDS
    _work_at_fork.extend(
        work for work in list(_works) if work.writing.acquire(timeout=max(0.0, deadline - time.monotonic()))
    )


def _release() -> None:
    for work in _work_at_fork:
        work.writing.release()
    _work_at_fork.clear()
    _forks.release()


def _lose() -> None:
    global _forks
    _forks = threading.Lock()
    _work_at_fork.clear()
    for work in list(_works):
        work.lose()


os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_lose)
