"""What the Makefile gives to the commands that it runs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_commands_of_make_keep_their_bytecode() -> None:
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    show = ["make", "--eval", "shown:\n\t@env", "shown"]
    displayed = subprocess.run(show, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "DAGSTER_HOME=" in displayed.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in displayed.stdout
