"""Whether one more request can be answered within the latency goal of its model; if not, it is better told so at once."""

_WEIGHT = 0.1
"""How much of what a request takes is that of the newest one."""


class ServiceLevel:
    """What answering a model's requests takes in one worker, and what became of its goal.

    A request waits in two queues: in the socket until the event loop reads it, and in the loop, or before the threads, until it is
    answered. Only the second can be measured. A loop takes from the socket whatever came while it answered the requests before, so
    the first wait is about as long as the second, which therefore counts twice.

    Args:
        threads: how many requests are answered at the same time.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._usual = 0.0

    def is_out_of_reach(self, goal: float, wait: float, active: int) -> bool:
        """Whether a request cannot be answered within its goal.

        A server without a queue answers whatever it takes, so that a model that has become slow is asked again, and becomes known to be
        fast: what a request takes itself counts for half of the goal at most.

        Args:
            goal: in seconds.
            wait: how long the request has waited since it was read, in seconds.
            active: how many requests are being answered, or wait for a thread.
        """
        before = active // self._threads * self._usual
        return 2 * wait + before + min(self._usual, goal / 2) > goal

    def observe(self, seconds: float) -> None:
        """Take into account what the look-ups and the graph of one request took, in seconds."""
        self._usual += _WEIGHT * (seconds - self._usual) if self._usual else seconds
