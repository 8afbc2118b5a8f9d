"""The writer of a prediction log: answers are handed over in memory, and a thread writes them into rotated files."""

import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from fti_assets.core import clock
from fti_assets.core.home import folder_of
from fti_assets.inference.serving.answers.prediction import Prediction
from fti_assets.inference.serving.log.limits import LogLimits
from fti_assets.inference.serving.log.lines import Redaction
from fti_assets.inference.serving.log.work import Batch, Tally, Work
from fti_assets.stores.files import guard_writes


class LogWriter:
    """Writes answers into a folder for each model, off the path of who asked, and counts those that it had to drop.

    A process that forks goes on in both: the child begins files of its own. It is closed with ``close``, or when nobody has it any more,
    or with the process; a process that is killed loses what is in memory, at most.

    Args:
        folder: the log's folder; it is made.
        redact: request fields and features that are never written in clear.
        limits: how much there may be.
        tally: told what is logged and dropped, by the thread that writes.

    Raises:
        StoreError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        redact: Collection[str] = (),
        limits: LogLimits | None = None,
        tally: Tally | None = None,
    ) -> None:
        path = folder_of(folder, what="log")
        with guard_writes(path):
            path.mkdir(parents=True, exist_ok=True)
        self._work = Work(path, Redaction.of(redact), limits or LogLimits(), tally)
        # The thread holds the work and not the writer, or the writer would never be collected.
        self._end = weakref.finalize(self, self._work.close)

    def new_id(self) -> str:
        """An id for a request that brought none."""
        return self._work.new_id()

    def add(
        self,
        request_id: str,
        requests: Sequence[Mapping[str, Any]],
        predictions: Sequence[Prediction],
        *,
        latency: float | None = None,
    ) -> None:
        """Hand over what one request was answered; it never fails and never waits for a disk.

        Answers with overridden features are left out: they are of no row that was there, and are no part of what a model did.

        Args:
            request_id: the request's id.
            requests: its ``n`` rows.
            predictions: the answer to each.
            latency: how many seconds passed from the request to its answer, None if nobody waited for it.
        """
        if any(prediction.overridden for prediction in predictions):
            pairs = [pair for pair in zip(requests, predictions, strict=True) if not pair[1].overridden]
            requests, predictions = [one for one, _ in pairs], [one for _, one in pairs]
            if not pairs:
                return
        self._work.add(Batch(request_id, [dict(one) for one in requests], predictions, clock.now(), latency))

    def count_request(self, model: str, status: int) -> None:
        """A server answered or refused a request to a model, with an HTTP status; the log will say how many there were of each."""
        self._work.count_request(model, status)

    def counts(self, model: str) -> dict[str, int]:
        """How many answers of a model were "logged", and how many dropped for each reason, in this process."""
        return dict(self._work.counts.get(model, {}))

    def flush(self, seconds: float = 30.0) -> None:
        """Wait until all that was handed over is written or dropped."""
        self._work.flush(seconds)

    def close(self) -> None:
        """Write what is left, and close the files, so that they can be taken in. What comes afterwards is dropped and counted."""
        self._end()
