"""A shadow: what another build would have answered, predicted behind the answer and written into the prediction log."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from fti_assets.core.logs import late_logger
from fti_assets.core.rollouts.rollout import MARK
from fti_assets.inference.serving.rollout.arms import ServedArms
from fti_assets.inference.serving.rollout.disagreement import Disagreement, disagreement

if TYPE_CHECKING:
    from fti_assets.inference.serving.log.writer import LogWriter

_MOST_ROWS = 5_000
_log = late_logger(__name__)


class ShadowReport(NamedTuple):
    """What became of rows that were handed over.

    Args:
        model: whose they are.
        arm: the shadow's name.
        result: "predicted", "failed" or "dropped".
        rows: how many.
        seconds: that the predictions took, features included.
        disagreement: of the answers with the champion's.
    """

    model: str
    arm: str
    result: str
    rows: int
    seconds: float = 0.0
    disagreement: Disagreement = Disagreement()


Count = Callable[[ShadowReport], object]


class _ShadowRequest(NamedTuple):
    serving: ServedArms
    request_id: str
    requests: Sequence[Mapping[str, Any]]
    at: datetime
    answers: Sequence[Any]
    log: "LogWriter | None"
    tell: Count | None


class Shadow:
    """Asks the shadow in a thread of its own; what it cannot keep up with is dropped and counted, what fails is counted.

    It takes nothing from an answer but its share of the process's CPU: nobody waits for it, and its errors reach nobody.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """How many rows were "predicted", "dropped" and "failed"."""
        self._changed = threading.Condition()
        self._queue: deque[_ShadowRequest] = deque()
        self._rows = 0
        self._thread: threading.Thread | None = None
        self._complained = self._is_over = False

    def add(
        self,
        serving: ServedArms,
        request_id: str,
        requests: Sequence[Mapping[str, Any]],
        at: datetime,
        answers: Sequence[Any],
        *,
        log: "LogWriter | None" = None,
        count: Count | None = None,
    ) -> None:
        """Hand over requests that the champion has answered.

        Args:
            serving: the champion and its shadow.
            request_id: of the requests.
            requests: theirs.
            at: the prediction time.
            answers: the champion's values.
            log: where the shadow's answers are written.
            count: told what became of the rows, in the shadow's thread; of dropped ones at once.
        """
        with self._changed:
            is_dropped = self._is_over or self._rows + len(requests) > _MOST_ROWS
            if not is_dropped:
                self._queue.append(_ShadowRequest(serving, request_id, requests, at, answers, log, count))
                self._begin(len(requests))
        if is_dropped:
            self._note(
                count, ShadowReport(serving.manifest.model, serving.rollout.arms[0].name, "dropped", len(requests))
            )

    def _begin(self, rows: int) -> None:
        self._rows += rows
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
        self.end()

    def end(self) -> None:
        """Have the thread end once all that was handed over is predicted, and wait for nothing."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._is_over)
                if not self._queue:
                    return
                work = self._queue.popleft()
            self._predict(work)
            with self._changed:
                self._rows -= len(work.requests)
                self._changed.notify_all()

    def _predict(self, work: _ShadowRequest) -> None:
        model = work.serving.manifest.model
        arm, due = work.serving.rollout.arms[0].name, len(work.requests)
        try:
            for arm, build, places, requests in work.serving.shadow(work.requests):
                due, start = len(requests), perf_counter()
                predictions = build.predict(requests, work.at)
                seconds = perf_counter() - start
                request_id = f"{work.request_id}{MARK}{arm}"
                for prediction in predictions:
                    prediction.arm, prediction.request_id = arm, request_id
                if work.log is not None:
                    work.log.add(request_id, requests, predictions)
                pairs = [(work.answers[place], one.value) for place, one in zip(places, predictions, strict=True)]
                differs = disagreement(work.serving.manifest.task, pairs)
                self._note(work.tell, ShadowReport(model, arm, "predicted", due, seconds, differs))
        except Exception as error:  # whatever a new build does, its champion's answers go on
            self._note(work.tell, ShadowReport(model, arm, "failed", due))
            if not self._complained:
                self._complained = True
                _log.warning(
                    "the shadow of model %r fails, which is counted from now on and not said again: %s", model, error
                )

    def _note(self, tell: Count | None, what: ShadowReport) -> None:
        with self._changed:
            self.counts[what.result] += what.rows
        if tell is not None:
            try:
                tell(what)
            except Exception as error:  # it may be the thread of an answer
                _log.warning("the shadow of model %r is not counted: %s", what.model, error)
