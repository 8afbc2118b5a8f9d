"""What runs in processes of its own beside a test."""

import os
import signal
import threading
from itertools import count
from multiprocessing.connection import Connection

from dagster._core.storage.event_log import SqliteEventLogStorage

from tests.event_log.events import events_of_a_run, materialized, numbers
from tests.event_log.files import open_files


def write(kind: type[SqliteEventLogStorage], base: str, run: str, shared: str, events: int) -> None:
    """Store events in a run of one's own and in one that another writes to as well."""
    storage = kind(base)
    for number in range(events):
        storage.store_event(materialized(run, number, asset=run))
        storage.store_event(materialized(shared, number))
    for event in events_of_a_run(f"planned_{run}", days=40):
        storage.store_event(event)
    storage.dispose()


def write_until_killed(kind: type[SqliteEventLogStorage], base: str, run: str, first: int, said: Connection) -> None:
    """Store events from a number on, saying each that is stored."""
    storage = kind(base)
    for number in count(first):
        storage.store_event(materialized(run, number))
        said.send(number)


def fork_while_writing(kind: type[SqliteEventLogStorage], base: str, children: int, said: Connection) -> None:
    """Fork children that store events while a thread of the parent stores its own; say what went wrong."""
    storage = kind(base)
    storage.store_event(materialized("parent", 0))
    stop, problems = threading.Event(), []

    def keep_writing() -> None:
        for number in count(1):
            if stop.is_set():
                return
            storage.store_event(materialized("parent", number))

    thread = threading.Thread(target=keep_writing)
    thread.start()
    for child in range(children):
        pid = os.fork()
        if not pid:
            signal.alarm(60)  # a lock that nobody holds any more would be waited for
            inherited = open_files(base)
            for number in range(3):
                storage.store_event(materialized(f"child_{child}", number))
                storage.store_event(materialized("children", 3 * child + number))
            os._exit(1 if inherited else 2 if numbers(storage, f"child_{child}") != [0, 1, 2] else 0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            problems.append(f"child {child} ended with {code}")
    stop.set()
    thread.join()
    if numbers(storage, "parent") != list(range(len(numbers(storage, "parent")))):
        problems.append("the parent lost events")
    said.send(problems)
