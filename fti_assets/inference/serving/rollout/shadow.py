"""A shadow: what another build would have answered, predicted behind the answer and written into the prediction log."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from fti_assets.inference.serving.rollout.arms import ServedArms

if TYPE_CHECKING:
    from fti_assets.inference.serving.log.writer import LogWriter

MARK = "~"
"""What stands between the id of a request and the arm, in the id under which a shadow's answer is logged."""

_MOST_ROWS = 5_000
_log = logging.getLogger(__name__)


class _Asked(NamedTuple):
    serving: ServedArms
    request_id: str
    requests: Sequence[Mapping[str, Any]]
    at: datetime
    log: "LogWriter"


class Shadow:
    """Asks the shadow in a thread of its own; what it cannot keep up with is dropped and counted, what fails is counted.

    It takes nothing from an answer but its share of the process's CPU: nobody waits for it, and its errors reach nobody.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """How many rows were "predicted", "dropped" and "failed"."""
        self._changed = threading.Condition()
        self._queue: deque[_Asked] = deque()
        self._rows = 0
        self._thread: threading.Thread | None = None
        self._complained = self._is_over = False

    def add(
        self,
        serving: ServedArms,
        request_id: str,
        requests: Sequence[Mapping[str, Any]],
        at: datetime,
        log: "LogWriter",
    ) -> None:
        """Hand over requests that the champion has answered."""
        with self._changed:
            if self._is_over or self._rows + len(requests) > _MOST_ROWS:
                self.counts["dropped"] += len(requests)
                return
            self._rows += len(requests)
            self._queue.append(_Asked(serving, request_id, requests, at, log))
            if self._thread is None:  # of a process that has a shadow at all, and that did not inherit one in a fork
                self._thread = threading.Thread(target=self._run, daemon=True, name="fti-shadow")
                self._thread.start()
            self._changed.notify_all()

    def wait(self, seconds: float = 30.0) -> None:
        """Wait until all that was handed over is predicted."""
        with self._changed:
            self._changed.wait_for(lambda: self._rows == 0, seconds)

    def close(self) -> None:
        """Predict what was handed over, and end the thread."""
        self.wait()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._is_over)
                if not self._queue:
                    return
                asked = self._queue.popleft()
            self._predict(asked)
            with self._changed:
                self._rows -= len(asked.requests)
                self._changed.notify_all()

    def _predict(self, asked: _Asked) -> None:
        try:
            for name, build, _, requests in asked.serving.shadow(asked.requests):
                predictions = build.predict(requests, asked.at)
                request_id = f"{asked.request_id}{MARK}{name}"
                for prediction in predictions:
                    prediction.arm, prediction.request_id = name, request_id
                asked.log.add(request_id, requests, predictions)
                self.counts["predicted"] += len(predictions)
        except Exception as error:  # whatever a new build does, its champion's answers go on
            self.counts["failed"] += len(asked.requests)
            if not self._complained:
                self._complained = True
                _log.warning(
                    "the shadow of model %r fails, which is counted from now on and not said again: %s",
                    asked.serving.manifest.model,
                    error,
                )
