"""Tests in several processes that are forks of one, which has imported and collected them: ``pytest --processes 2``.

Workers of pytest-xdist each import and collect all tests themselves. These take file after file, in the order of the tests.
"""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest

Files = list[list[pytest.Item]]

FORK = {"is this": False}


def shares_its_folder() -> bool:
    """Whether other processes have folders for tests beside this one's."""
    return FORK["is this"] or "PYTEST_XDIST_WORKER" in os.environ


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--processes", type=int, default=1, metavar="N", help="run files of tests in N forks of pytest")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    count = session.config.getoption("processes")
    if count < 2 or session.testsfailed or session.config.getoption("collectonly"):
        return None
    Forks(session, by_file(session.items)).run(count)
    return True


def by_file(items: list[pytest.Item]) -> Files:
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    return list(files.values())


class Forks:
    """The processes, seen from the one that waits for what they report."""

    def __init__(self, session: pytest.Session, files: Files) -> None:
        self.session, self.files = session, files
        self.taken = get_context("fork").Value("i", 0)
        self.base = session.config._tmp_path_factory.getbasetemp()
        self.started = 0
        self.pids: dict[Connection, int] = {}
        self.unfinished: dict[Connection, dict[str, tuple[str, int | None, str]]] = {}

    def run(self, count: int) -> None:
        try:
            for _ in range(min(count, len(self.files))):
                self.start()
            while self.pids:
                for reader in wait(list(self.pids)):
                    self.hear(reader)
                    if self.session.shouldfail:
                        raise self.session.Failed(self.session.shouldfail)
                    if self.session.shouldstop:
                        raise self.session.Interrupted(self.session.shouldstop)
        finally:
            for pid in self.pids.values():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)  # Dagster takes SIGTERM for its own
                os.waitpid(pid, 0)

    def start(self) -> None:
        reader, writer = get_context("fork").Pipe(duplex=False)
        self.started += 1
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            run_as_fork(self.session, self.files, self.take, writer, self.base / f"process{self.started}")
        writer.close()
        self.pids[reader], self.unfinished[reader] = pid, {}

    def take(self) -> int:
        """The place of a file that no process has."""
        with self.taken.get_lock():
            self.taken.value += 1
            return self.taken.value - 1

    def hear(self, reader: Connection) -> None:
        try:
            kind, value = reader.recv()
        except EOFError:
            self.end(reader)
            return
        config, unfinished = self.session.config, self.unfinished[reader]
        match kind:
            case "takes":
                unfinished.update((item.nodeid, item.location) for item in self.files[value])
            case "logstart":
                config.hook.pytest_runtest_logstart(**value)
            case "report":
                report = config.hook.pytest_report_from_serializable(config=config, data=value)
                config.hook.pytest_runtest_logreport(report=report)
            case "logfinish":
                unfinished.pop(value["nodeid"])
                config.hook.pytest_runtest_logfinish(**value)
            case "warning":
                text, file, line, options = value
                message = warnings.WarningMessage(UserWarning(text), UserWarning, file, line)
                config.hook.pytest_warning_recorded.call_historic(kwargs={"warning_message": message, **options})
            case "broken":
                raise self.session.Interrupted(value)

    def end(self, reader: Connection) -> None:
        """A process is over; what it had taken and has not finished failed, and another takes what is left."""
        reader.close()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pids.pop(reader), 0)[1])
        unfinished = self.unfinished.pop(reader)
        why = f"Its process ended with {status} while it ran."
        for name, location in unfinished.items():
            report = pytest.TestReport(name, location, {}, "failed", why, "call")
            self.session.config.hook.pytest_runtest_logreport(report=report)
            why = f"Its process ended with {status} before it ran."
        if unfinished and self.taken.value < len(self.files):
            self.start()


def run_as_fork(
    session: pytest.Session, files: Files, take: Callable[[], int], writer: Connection, folder: Any
) -> None:
    """Run files of tests until none is left, and end this process."""
    code = 1
    try:
        FORK["is this"] = True
        config = session.config
        folder.mkdir()
        config._tmp_path_factory._basetemp = folder
        config.pluginmanager.unregister(name="terminalreporter")
        config.pluginmanager.register(Teller(config, writer))
        capture_anew(config)
        run_items(session, items_taken(files, take, writer))
        code = 0
    except BaseException:
        with suppress(OSError):
            writer.send(("broken", traceback.format_exc()))
    finally:
        writer.close()
        os._exit(code)


def capture_anew(config: pytest.Config) -> None:
    """What is printed goes to a file of this process: with the other's, both would write at one place."""
    capture = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    capture.suspend_global_capture()


def items_taken(files: Files, take: Callable[[], int], writer: Connection) -> Iterator[pytest.Item]:
    while (place := take()) < len(files):
        writer.send(("takes", place))
        yield from files[place]


def run_items(session: pytest.Session, items: Iterator[pytest.Item]) -> None:
    item = next(items, None)
    while item is not None:
        following = next(items, None)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail or session.shouldstop:
            return
        item = following


class Teller:
    """Sends what this process would print to the one that prints."""

    def __init__(self, config: pytest.Config, writer: Connection) -> None:
        self.config, self.writer = config, writer

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self.writer.send(("logstart", {"nodeid": nodeid, "location": location}))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.writer.send(("report", data))

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self.writer.send(("logfinish", {"nodeid": nodeid, "location": location}))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        text = f"{warning_message.category.__name__}: {warning_message.message}"
        where = {"when": when, "nodeid": nodeid, "location": location}
        self.writer.send(("warning", (text, warning_message.filename, warning_message.lineno, where)))
