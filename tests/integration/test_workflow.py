"""The workflows: the project's own is well formed, and every command of a new system's runs in it."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fti_assets.scaffold import write_system

ROOT = Path(__file__).parents[2]
INSTALL = "Install"


def steps(workflow: Path) -> list[dict[str, Any]]:
    [job] = yaml.safe_load(workflow.read_text())["jobs"].values()
    return list(job["steps"])


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_system("my_system", tmp_path_factory.mktemp("systems") / "my_system")


def run(system: Path, command: str) -> subprocess.CompletedProcess[str]:
    """A command of the workflow, in the folder of the system, with this interpreter's environment."""
    outside = {
        name: value for name, value in os.environ.items() if not name.startswith(("FTI_", "DAGSTER_", "PYTEST_"))
    }
    folder = str(Path(sys.executable).parent)
    return subprocess.run(
        shlex.split(command),
        cwd=system,
        env={**outside, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=420,
    )


def test_projects_workflow_runs_its_tests_on_python_it_supports() -> None:
    made = steps(ROOT / ".github" / "workflows" / "test.yml")
    [python] = [step["with"] for step in made if step.get("uses", "").startswith("actions/setup-python")]
    assert (python["python-version"], python["cache"]) == ("${{ matrix.python-version }}", "pip")
    assert 'python-version: ["3.11", "3.12", "3.13"]' in (ROOT / ".github" / "workflows" / "test.yml").read_text()
    [command] = [step["run"] for step in made if "run" in step]
    target = command.split()[1]
    assert f"\n{target}:" in (ROOT / "Makefile").read_text()


@pytest.mark.soak
def test_every_command_of_a_new_systems_workflow_runs(system: Path) -> None:
    commands = {step["name"]: step["run"] for step in steps(system / ".github/workflows/ml.yml") if "run" in step}
    assert commands.pop(INSTALL).startswith("python -m pip install")  # the only one that is not run here
    assert any("definitions validate" in command for command in commands.values())
    for name, command in commands.items():
        done = run(system, command)
        assert done.returncode == 0, f"{name}: {command}\n{done.stdout}"
        if command == "python -m pytest":
            assert re.search(r"\d+ passed", done.stdout), done.stdout
    described = json.loads(run(system, "fti describe --json").stdout)
    [model] = described["models"]
    assert model["registry"]["builds"] == 1
    assert model["registry"]["champion"].startswith("v1/20250201T000000Z-")

    # A model that learns nothing is turned down, and the command that trains it fails.
    training = next(command for command in commands.values() if "returns_model_v1" in command)
    (system / "weak.yaml").write_text("ops: {returns_model_v1: {config: {strength: 1.0e-12}}}")
    rejected = run(system, f"{training.replace('returns_dataset_v1,', '')} -c weak.yaml")
    assert rejected.returncode == 1, rejected.stdout
    assert "beats_baseline_log_loss" in rejected.stdout
    assert "rejected" in run(system, "fti models returns_model").stdout


def test_new_system_says_commands_of_its_readme_as_they_are(system: Path) -> None:
    """Every asset, partition and file that the README's commands name is there."""
    readme = (system / "README.md").read_text()
    workflow = (system / ".github/workflows/ml.yml").read_text()
    selected = {name for names in re.findall(r"--select (\S+)", readme) for name in names.split(",")}
    assert selected >= {name for names in re.findall(r"--select (\S+)", workflow) for name in names.split(",")}
    described = json.loads(run(system, "fti describe --json").stdout)
    assert selected <= {facts["asset"] for part in described.values() for facts in part}
    for file in re.findall(r"^    (\S+\.(?:py|yml)) ", readme, re.MULTILINE):
        assert (system / file).is_file(), file
