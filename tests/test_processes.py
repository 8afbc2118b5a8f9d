"""Tests that run in forks of one process: what is reported is what one process would report."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

FILES = {
    "test_one.py": """
        import os, warnings, pytest
        from tests.support.processes import shares_its_folder

        @pytest.fixture(scope="session", autouse=True)
        def finished():
            yield
            open("finished", "w").close()

        def test_passes(tmp_path):
            assert shares_its_folder() and "process" in str(tmp_path)
            warnings.warn("looked at")

        def test_prints_and_fails():
            print("what it printed")
            assert 1 == 2
    """,
    "test_two.py": """
        import os, pytest

        @pytest.mark.skip(reason="not now")
        def test_skipped(): ...

        def test_ends_its_process():
            os._exit(7)

        def test_after_it(): ...
    """,
    "test_three.py": "def test_last(): ...",
    "pytest.ini": "[pytest]",
}


def test_forks_report_failures_warnings_and_deaths(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(dedent(text))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = ["-m", "pytest", "-p", "tests.support.processes", "--processes", "2", "-p", "no:cacheprovider", "-rA"]
    run = subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "3 failed, 2 passed, 1 skipped, 1 warning" in run.stdout
    assert "what it printed" in run.stdout
    assert "assert 1 == 2" in run.stdout
    assert "Its process ended with 7 while it ran" in run.stdout
    assert "Its process ended with 7 before it ran" in run.stdout
    assert "looked at" in run.stdout
    assert (tmp_path / "finished").exists(), "session fixtures are torn down"
