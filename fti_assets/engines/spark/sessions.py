"""Sessions of Spark: at a server of Spark Connect, on Sail in this process, or on a Spark of this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fti_assets.core.extras import named_extras
from fti_assets.engines.spark.problems import show_url, spark_problems
from fti_assets.errors import DeclarationError, EngineError, MissingExtraError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SAIL, LOCAL, REMOTE = "sail", "local", "sc"
"""The kinds of addresses: Sail in this process, a Spark that this process starts, a server of Spark Connect."""

_PORT, _SECONDS = 15002, 10
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    # The default of Spark is a type that other readers no longer take for a time in UTC.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
_RETRIES = {"max_retries": 5, "initial_backoff": 50, "backoff_multiplier": 4.0, "max_backoff": 10_000}
"""Spark's client asks a server that does not answer for ten minutes; this is some twenty seconds."""


def kind_of(url: str) -> str:
    """The kind of an address.

    Raises:
        DeclarationError: it is of none.

    >>> kind_of("sc://spark.example.com:15002"), kind_of("sail"), kind_of("local[4]")
    ('sc', 'sail', 'local')
    """
    if url == "sail":
        return SAIL
    if url == "local" or (url.startswith("local[") and url.endswith("]")):
        return LOCAL
    if url.startswith("sc://") and urlsplit(url.partition(";")[0]).hostname:
        return REMOTE
    raise DeclarationError(
        f"the address of Spark is {show_url(url)!r}: write 'sc://host:15002' for a server of Spark Connect, 'sail' for Sail in the step's "
        "own process, or 'local[2]' for a Spark that the step starts, which takes Java"
    )


@contextmanager
def spark_session(url: str) -> Iterator[SparkSession]:
    """A session of its own for a block, in UTC.

    Args:
        url: what ``kind_of`` knows.

    Raises:
        EngineError: nobody answers there, or it is lost within the block.
        MissingExtraError: a package that it takes is not installed.
        DeclarationError: the address is none.
    """
    kind = kind_of(url)
    with ExitStack() as stack:
        with named_extras("engine 'spark'"):
            from pyspark.sql.connect.session import SparkSession
        address = url
        if kind == SAIL:
            address = stack.enter_context(_sail())
        elif kind == LOCAL:
            _check_local(url)
        else:
            _knock(url)
        with spark_problems(url):
            session = _started_here(url) if kind == LOCAL else SparkSession.builder.remote(address).create()
            _hurry(session)
            for name, value in _SETTINGS.items():
                session.conf.set(name, value)
        try:
            with spark_problems(url):
                yield session
        finally:
            with suppress(Exception):  # it would hide the cause; a server drops a session that nobody asks
                session.stop()


@contextmanager
def _sail() -> Iterator[str]:
    """Start Sail within this process for a block, and give its address."""
    os.environ.setdefault("RUST_LOG", "error")  # it writes a line for each session to the error output
    try:
        from pysail.spark import SparkConnectServer
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "engine 'spark' at 'sail' needs pysail, which is not installed: pip install 'fti-assets[spark]'"
        ) from error
    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    try:
        host, port = server.listening_address
        yield f"sc://{host}:{port}"
    finally:
        server.stop()


def _started_here(url: str) -> SparkSession:
    """A session of a server of Spark Connect that is started in this process, and stopped with the session."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.remote(url).getOrCreate()


def _check_local(url: str) -> None:
    """Refuse a Spark of this machine where it cannot start, which Spark itself says in a page of Java.

    Raises:
        EngineError: there is no Java.
        MissingExtraError: the client alone is installed.
    """
    import shutil

    import pyspark

    if not os.path.isdir(os.path.join(os.path.dirname(pyspark.__file__), "jars")):
        raise MissingExtraError(
            f"engine 'spark' at {url!r} starts a Spark in the step's process, and only its client is installed: pip install "
            "'pyspark[connect]' in place of pyspark-client, or give the address of a server, 'sc://host:15002', or 'sail', which "
            "takes no Java"
        )
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java") if home is None else shutil.which("java", path=os.path.join(home, "bin"))
    if java is None:
        where = "the PATH" if home is None else f"JAVA_HOME={home}"
        raise EngineError(
            f"engine 'spark' at {url!r} needs Java 17 or later, and there is none in {where}: install it and set JAVA_HOME, or use "
            "'sail', which takes no Java. Nothing was stored"
        )


def _knock(url: str) -> None:
    """Refuse a server that nobody is at, at once: Spark's own client goes on trying.

    Raises:
        EngineError: no connection can be made.
    """
    parts = urlsplit(url.partition(";")[0])
    try:
        socket.create_connection((str(parts.hostname), parts.port or _PORT), timeout=_SECONDS).close()
    except OSError as error:
        raise EngineError(
            f"Spark at {show_url(url)} cannot be reached: {error.strerror or error}. Nothing was stored. Start its Connect server "
            "(sbin/start-connect-server.sh of Spark, or sail spark server), give Stores(spark=fti.SparkEngine(url=...)) another address, "
            "or let this run on DuckDB: engine='duckdb'"
        ) from error


def _hurry(session: SparkSession) -> None:
    from pyspark.sql.connect.client.retries import DefaultPolicy

    session.client.set_retry_policies([DefaultPolicy(**_RETRIES)])
