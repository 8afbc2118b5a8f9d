"""Opening a Spark, and what is said where it cannot be opened or fails."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from pyspark.errors import PySparkException

from fti_assets.engines.spark import sessions
from fti_assets.engines.spark.problems import spark_problems
from fti_assets.engines.spark.sessions import spark_session
from fti_assets.errors import DeclarationError, EngineError, FtiError, MissingExtraError
from tests.support.spark import PYTHON


def opened(url: str) -> FtiError:
    with pytest.raises(FtiError) as error, spark_session(url):
        pass
    return error.value


@pytest.mark.parametrize("url", ["", "spark://host:7077", "local[2", "sc://", "SAIL"])
def test_an_address_of_no_kind_says_which_there_are(url: str) -> None:
    error = opened(url)
    assert isinstance(error, DeclarationError)
    assert "'sc://host:15002'" in str(error)
    assert "'sail'" in str(error)
    assert "'local[2]'" in str(error)


def test_a_local_spark_needs_more_than_the_client() -> None:
    error = opened("local[2]")
    assert isinstance(error, MissingExtraError)
    assert "only its client is installed: pip install 'pyspark[connect]' in place of pyspark-client" in str(error)


def test_a_local_spark_needs_java(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    monkeypatch.setattr(sessions.os.path, "isdir", lambda path: True)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert f"needs Java 17 or later, and there is none in JAVA_HOME={tmp_path}" in str(opened("local[2]"))
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is none in the PATH: install it and set JAVA_HOME, or use 'sail'" in str(opened("local[2]"))


@pytest.mark.parametrize(
    ("module", "words"), [("pyspark.sql.connect.session", "needs pyspark"), ("pysail.spark", "needs pysail")]
)
def test_a_missing_package_names_the_extra(module: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    error = opened("sail")
    assert isinstance(error, MissingExtraError)
    assert words in str(error)
    assert "pip install 'fti-assets[spark]'" in str(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Job aborted due to stage failure: Task 0 failed 4 times\nExecutorLostFailure (executor 1 exited caused by one of the tasks)\n"
            "\tat org.apache.spark.scheduler.DAGScheduler.abortStage(DAGScheduler.scala:2898)",
            "has lost a worker, and gave up after trying again: .*ExecutorLostFailure.*Look into the worker's log",
        ),
        (
            "ModuleNotFoundError: No module named 'fti_assets'",
            "lacks the Python module 'fti_assets': install on the workers",
        ),
        ("java.lang.OutOfMemoryError: Java heap space", "ran out of memory: .*Give it more"),
        ("[TABLE_OR_VIEW_NOT_FOUND] The table `x` cannot be found.", "refuses: .*TABLE_OR_VIEW_NOT_FOUND"),
    ],
)
def test_what_spark_says_becomes_a_cause_and_what_to_do(text: str, words: str) -> None:
    with pytest.raises(
        EngineError, match=rf"(Spark|worker of Spark) at sc://host:15002;\*\*\* {words}.*Nothing was stored"
    ) as error:
        fail(lambda: PySparkException(text))
    assert "DAGScheduler" not in str(error.value)
    assert "secret" not in str(error.value)


def fail(cause: Callable[[], Exception]) -> None:
    with spark_problems("sc://host:15002/;token=secret"):
        raise cause()


def test_an_error_of_anything_else_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError)


@pytest.mark.soak
def test_a_local_spark_is_started_and_stopped_with_the_step() -> None:
    program = (
        "from fti_assets.engines.spark.sessions import spark_session\n"
        "with spark_session('local[2]') as session:\n"
        "    print('rows', session.range(10).count(), session.conf.get('spark.sql.session.timeZone'))"
    )
    run = subprocess.run([PYTHON, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert "rows 10 UTC" in run.stdout
