"""``fti init``: what is written, and what is refused."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from fti_assets.cli import main
from fti_assets.errors import StoreError
from fti_assets.scaffold import system, write_system


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_system_has_file_a_pipeline_its_tests_and_workflow(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "my_system"]) == 0
    assert (
        "my_system is a system of its own; go on with:\n  cd my_system\n  python -m pytest\n" in capsys.readouterr().out
    )
    written = files(here / "my_system")
    assert {"my_system/features.py", "my_system/training.py", "my_system/inference.py", "definitions.py"} <= set(
        written
    )
    assert {"pyproject.toml", "README.md", ".github/workflows/ml.yml", "tests/test_features.py"} <= set(written)
    assert not [name for name in written if name.endswith(".tmpl") or "__SYSTEM__" in name]
    for name in written:
        text = (here / "my_system" / name).read_text()
        assert "__SYSTEM__" not in text
        if name.endswith(".py"):
            ast.parse(text)
    project = tomllib.loads((here / "my_system/pyproject.toml").read_text())
    assert project["project"]["name"] == "my_system"
    assert "jobs" in yaml.safe_load((here / "my_system/.github/workflows/ml.yml").read_text())
    assert files(here) == [f"my_system/{name}" for name in written]  # nothing else is left


def test_new_system_is_described_with_what_watches_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(write_system("shop_watched"))
    monkeypatch.syspath_prepend(".")
    assert main(["describe"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert {"returns_model_v1", "return_scores_v1", "return_watch_v1"} <= set(lines)
    assert "quality      roc_auc at least 0.6, log_loss measured" in lines


def test_code_of_new_system_is_formatted_and_linted(here: Path) -> None:
    write_system("my_system")
    ruff = [str(Path(sys.executable).parent / "ruff")]
    for command in (["format", "--check"], ["check", "--select", "E,F,I,B,UP,SIM"]):
        done = subprocess.run(
            [*ruff, *command, "--line-length", "120", "--isolated", "."],
            cwd="my_system",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


def test_it_is_written_into_the_folder_that_is_named(here: Path) -> None:
    (here / "empty").mkdir()
    assert main(["init", "my_system", "--folder", "empty"]) == 0
    assert main(["init", "my_system", "--folder", "deep/down"]) == 0
    assert files(here / "empty") == files(here / "deep" / "down")


@pytest.mark.parametrize("folder", ["taken", "a_file"])
def test_folder_that_holds_something_is_left_unchanged(
    here: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "taken").mkdir()
    (here / "taken" / "notes").write_text("mine")
    (here / "a_file").write_text("mine")
    assert main(["init", "my_system", "--folder", folder]) == 1
    output = capsys.readouterr()
    assert output.err.startswith(f"fti: {folder} is ")
    assert "name a new folder for the system" in output.err
    assert files(here) == ["a_file", "taken/notes"]


@pytest.mark.parametrize("name", ["My_system", "my-system", "1st", "", "class", "json", "tests", "dagster", "../up"])
def test_a_name_that_no_package_can_have_is_refused(here: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", name]) == 1
    assert capsys.readouterr().err.startswith(f"fti: {name!r} ")
    assert list(here.iterdir()) == []


def test_nothing_is_left_of_system_that_could_not_be_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = system._files

    def full_disk(name: str):  # type: ignore[no-untyped-def]
        yield next(iter(honest(name)))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(system, "_files", full_disk)
    with pytest.raises(
        StoreError, match=r"'my_system' cannot be written to my_system: .*No space left.* Nothing was written"
    ):
        write_system("my_system")
    assert list(here.iterdir()) == []
