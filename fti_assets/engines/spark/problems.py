"""What goes wrong on Spark, in words: the cause and what to do, without pages of Java."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from fti_assets.core.addresses import show_address
from fti_assets.errors import EngineError, FtiError

_FRAME = re.compile(r"^\s*(at [\w.$]+\(|\.\.\. \d+ more|JVM stacktrace:)")
_LOST = ("ExecutorLostFailure", "Lost executor", "MetadataFetchFailedException", "worker lost")
_AWAY = ("StatusCode.UNAVAILABLE", "failed to connect", "Connection refused", "Socket closed", "RetriesExceeded")
_MEMORY = ("OutOfMemoryError", "Resources exhausted", "exceeds the memory limit")
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
_STORED = "Nothing was stored"


def show_url(url: str) -> str:
    """An address without what is secret in it.

    >>> show_url("sc://spark:15002/;token=abc;user_id=me"), show_url("local[2]")
    ('sc://spark:15002;***', 'local[2]')
    """
    if "://" not in url:
        return url
    address, sign, _ = url.partition(";")
    return show_address(address.rstrip("/")) + (f"{sign}***" if sign else "")


@contextmanager
def spark_problems(url: str) -> Iterator[None]:
    """Say what went wrong on Spark within a block.

    Raises:
        EngineError: in place of what Spark's client raises. Errors of anything else are raised as they are.
    """
    try:
        yield
    except FtiError:
        raise
    except Exception as error:
        if not _is_of_spark(error):
            raise
        raise EngineError(f"{_problem(error, show_url(url))}. {_STORED}") from error


def _is_of_spark(error: BaseException) -> bool:
    return any(base.__module__.partition(".")[0] in ("pyspark", "grpc") for base in type(error).__mro__)


def _problem(error: Exception, url: str) -> str:
    text = "\n".join(_texts(error))
    first = _words(text)
    if module := _NO_MODULE.search(text):
        return (
            f"a worker of Spark at {url} lacks the Python module {module[1]!r}: install on the workers what the function imports; to score "
            "and for on-demand code they need fti-assets of the same version, pyarrow and pandas"
        )
    if any(sign in text for sign in _LOST):
        return (
            f"Spark at {url} has lost a worker, and gave up after trying again: {first}. Look into the worker's log, often it is out of "
            "memory; then run it again, which begins again"
        )
    if any(sign in text for sign in _MEMORY):
        return f"Spark at {url} ran out of memory: {first}. Give it more, or run fewer partitions at a time"
    if any(sign in text for sign in _AWAY):
        return (
            f"Spark at {url} does not answer any more: {first}. Look whether its Connect server still runs; then run it again, which "
            "begins again"
        )
    return f"Spark at {url} refuses: {first}"


def _texts(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{type(error).__name__}: {error}"
        error = error.__cause__


def _words(text: str) -> str:
    """The first lines of a message without the frames of Java and Python."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _FRAME.match(line)]
    return " ".join(lines)[:800].rstrip(". ")
