"""The threads in which a predictor answers what an event loop must not wait for."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_THREADS = 4


class PredictionThreads:
    """A few threads, started when one is first needed.

    Args:
        model: the name that the threads have.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self.start_anew()

    def start_anew(self) -> None:
        """Forget the threads and the lock, as a forked child does: it has neither the threads nor whoever held the lock."""
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def submit(self, call: Callable[[], Any], *, while_open: Callable[[], object]) -> "Future[Any]":
        """Have a thread make a call.

        Args:
            while_open: raises if the predictor is closed, asked under the lock under which ``close`` ends the threads.
        """
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            while_open()
            if self._executor is None:
                self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"predict-{self._model}")
            return self._executor.submit(call)

    def close(self) -> None:
        """Start no more calls; those that were submitted are still made."""
        with self._lock:
            if self._executor is not None:
                self._executor.shutdown(wait=False)
                self._executor = None
