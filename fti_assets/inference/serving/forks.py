"""A fork waits for the predictions of other threads: what they hold locked would stay locked in the child for ever.

onnxruntime and SQLite have locks that a child cannot know of, and that a thread which is not there cannot release.
"""

import os
import threading
import time
import weakref

from fti_assets.core.logs import late_logger

_WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.0005
_log = late_logger(__name__)


class _Flight:
    """How deep a thread is in predictions: one may call an on-demand function that predicts."""

    __slots__ = ("__weakref__", "depth")

    def __init__(self) -> None:
        self.depth = 0


class Flights:
    """The predictions under way in a process, as a context that costs a prediction a tenth of a microsecond or two.

    It takes no lock: a thread first says that it flies and then looks whether a fork waits, the fork first says that it waits
    and then looks who flies, and the interpreter's own lock puts the four in an order.
    """

    def __init__(self) -> None:
        self._open()

    def _open(self) -> None:
        self._local = threading.local()
        self._flights: weakref.WeakSet[_Flight] = weakref.WeakSet()
        self._registration = threading.Lock()
        self._forks = threading.RLock()
        self._gate = threading.Event()
        self._gate.set()
        self._waiting = False

    def __enter__(self) -> None:
        try:
            flight = self._local.flight
        except AttributeError:
            flight = self._register()
        # The depth is raised before the gate is looked at, so that a fork sees this thread or this thread sees the
        # fork.
        flight.depth += 1
        while self._waiting and flight.depth == 1:
            flight.depth = 0
            self._gate.wait()
            flight.depth = 1

    def __exit__(self, *_: object) -> None:
        self._local.flight.depth -= 1

    def _register(self) -> _Flight:
        flight = self._local.flight = _Flight()
        with self._registration:
            self._flights.add(flight)
        return flight

    def hold(self) -> None:
        """Before a fork: let no prediction begin, and wait for those under way in other threads."""
        self._forks.acquire()
        self._gate.clear()
        # The gate is closed before the flag is set: who sees the flag has to find the gate closed.
        self._waiting = True
        # Held over the fork, so that no thread registers between the look at the flights and the fork itself.
        self._registration.acquire()
        own = getattr(self._local, "flight", None)
        other_flights = [flight for flight in self._flights if flight is not own]
        deadline = time.monotonic() + _WAIT_SECONDS
        while any(flight.depth for flight in other_flights):
            if time.monotonic() > deadline:
                _log.warning(
                    "a process forks while a prediction takes over %g s: the child may hang if it predicts",
                    _WAIT_SECONDS,
                )
                break
            time.sleep(_POLL_SECONDS)

    def release(self) -> None:
        """After a fork, in the parent."""
        self._registration.release()
        self._waiting = False
        self._gate.set()
        self._forks.release()

    def restart(self) -> None:
        """After a fork, in the child, which has the one thread."""
        depth = getattr(getattr(self._local, "flight", None), "depth", 0)
        self._open()
        if depth:
            self._register().depth = depth


flights = Flights()
"""The one of this process."""

os.register_at_fork(before=flights.hold, after_in_parent=flights.release, after_in_child=flights.restart)
