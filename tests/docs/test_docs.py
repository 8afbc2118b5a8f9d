"""What the documentation shows works as it stands: each page's blocks, the reference's names, the site."""

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

import fti_assets as fti
from fti_assets import components, errors, testing
from fti_assets.cli import main
from fti_assets.orchestration import addresses
from scripts import reference
from tests.docs.pages import Reader, blocks_of
from tests.support.instances import dagster_home

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.md"
REFERENCE = DOCS / "reference"
PAGES = sorted(DOCS.rglob("*.md"))
HOW_TO = [page for page in PAGES if page.parent.name in ("how-to", "examples", "coming-from")]

# The YAML of components is read so by Dagster itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.parse_obj_as. is deprecated"),
    pytest.mark.filterwarnings("ignore:Class `.*Code.*` is currently in beta"),
    pytest.mark.filterwarnings("ignore:Parameter `use_user_code_server`"),
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of somebody who has followed the tutorial."""
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        _sit_in(folder, patch)
        Reader(TUTORIAL).follow()
    return folder


@pytest.fixture
def place(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, to change."""
    folder = tmp_path / "payments"
    shutil.copytree(done, folder, ignore=shutil.ignore_patterns(".dagster", "__pycache__", ".tmp_dagster_home*"))
    _sit_in(folder, monkeypatch)
    return folder


def _sit_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(folder)
    patch.setenv("PWD", str(folder))  # as a shell would set it
    patch.syspath_prepend(str(folder))
    patch.setattr(sys, "dont_write_bytecode", True)
    for name in ("DAGSTER_HOME", "FTI_HOME", "FTI_ENV"):
        patch.setenv(name, "")  # so that what a page exports is taken back
        patch.delenv(name)
    patch.setattr(addresses, "_whole", {})  # else an address of another test gets a second number
    patch.setenv("FTI_NOW", "2025-04-01T09:00:00Z")
    patch.setenv("PYTHONPATH", str(ROOT))
    patch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    shutil.copy(dagster_home(folder / ".dagster") / "dagster.yaml", folder)  # for the instance of one command


def test_tutorial_works_from_its_first_line_to_its_last(done: Path) -> None:
    assert (done / ".fti" / "models" / "dispute_model" / "aliases.json").exists()


def test_the_tutorials_system_has_fewer_than_80_lines() -> None:
    code = "".join(block.text for block in blocks_of(TUTORIAL) if (block.title or "").endswith(".py"))
    assert 40 < len([line for line in code.splitlines() if line.strip()]) < 80


@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.stem)
def test_a_how_to_works_on_the_tutorials_system(page: Path, place: Path) -> None:
    Reader(page).follow()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    for block in blocks_of(page):
        if page in (TUTORIAL, *HOW_TO):
            assert block.not_run is None or len(block.not_run) > 10, f"{page.name}, line {block.line}: say why"
        else:
            runs = block.language in ("python", "console")
            assert not runs or block.not_run, (
                f"{page.name}, line {block.line}: only tutorial, how-tos and examples are run"
            )


def _referred() -> dict[str, list[str]]:
    """The names of the reference, by module."""
    results: dict[str, list[str]] = {}
    for file, page in reference.PAGES.items():
        below = {name.rpartition(".")[2] for name in page.names if "." in name}
        headings = re.findall(r"^## (\w+)$", (REFERENCE / file).read_text(), flags=re.MULTILINE)
        results.setdefault(page.module, []).extend(name for name in headings if name not in below)
    return results


def test_the_reference_has_every_public_name_once() -> None:
    referred = _referred()
    assert sorted(referred["fti_assets"]) == sorted(fti.__all__)
    assert sorted(referred["fti_assets.testing"]) == sorted(testing.__all__)
    assert sorted(referred["fti_assets.components"]) == sorted(components.__all__)
    raised = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert sorted(referred["fti_assets.errors"]) == sorted(raised)


def test_the_reference_is_what_the_code_says() -> None:
    for file, text in reference.pages().items():
        assert (REFERENCE / file).read_text() == text, (
            f"docs/reference/{file} is not what the code says: make reference"
        )


def test_the_reference_says_how_each_argument_is_called() -> None:
    """The arguments that a page shows are those that Python itself sees."""
    for file, page in reference.PAGES.items():
        text = (REFERENCE / file).read_text()
        module = importlib.import_module(page.module)
        for name in page.names:
            if "." in name:
                continue
            value = getattr(module, name)
            if isinstance(value, type) and issubclass(value, Exception | BaseModel):
                continue
            block = re.search(rf"^## {name}$.*?```py\n(.*?)```", text, re.DOTALL | re.MULTILINE)
            assert block is not None, name
            wanted = [parameter for parameter in inspect.signature(value).parameters if not parameter.startswith("_")]
            missing = [parameter for parameter in wanted if not re.search(rf"\b{parameter}\b", block[1])]
            assert not missing, f"{file} shows {name} without {missing}"


def test_every_command_of_the_promoting_workflow_is_run_on_its_page() -> None:
    blocks = list(blocks_of(DOCS / "how-to" / "ci-cd.md"))
    run = {
        line for block in blocks if block.language == "console" for line in re.findall(r"^\$ (.+)$", block.text, re.M)
    }
    [workflow] = [yaml.safe_load(block.text) for block in blocks if block.language == "yaml"]
    steps = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    commands = [line.removesuffix(" | sh -e") for step in steps for line in step.splitlines()]
    ours = [re.sub(r"\$NAME|\bstaging\b", "pr-12", line) for line in commands if line.startswith(("fti ", "dagster "))]
    assert len(ours) > 10
    assert [line for line in ours if line not in run] == []


def test_every_link_to_file_of_repository_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_how_to_is_named_on_first_page_and_in_navigation() -> None:
    first, navigation = (DOCS / "index.md").read_text(), (DOCS.parent / "mkdocs.yml").read_text()
    pages = [f"how-to/{page.name}" for page in (DOCS / "how-to").glob("*.md")]
    assert [page for page in pages if f"({page})" not in first or f": {page}\n" not in navigation] == []


def test_the_command_line_is_shown_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    displayed = list(blocks_of(REFERENCE / "command-line.md"))
    assert {block.text.split("\n")[0] for block in displayed} >= {
        "$ fti --help",
        *(f"$ fti {name} --help" for name in ("init", "describe", "search", "forget", "reset", "models", "promote", "rollback")),
        *(f"$ fti lake {name} --help" for name in ("check", "repair", "delete-unnamed")),
    }  # fmt: skip
    for block in displayed:
        command, _, output = block.text.partition("\n")
        assert main(command.split()[2:]) == 0
        assert " ".join(capsys.readouterr().out.split()) == " ".join(output.split())


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("mkdocs", "material", "griffe")),
    reason="mkdocs is not installed: pip install 'fti-assets[docs]' lets this test build the site",
)
def test_site_builds_without_warning_and_asks_nobody_for_anything(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    offline = {
        **os.environ,
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "NO_MKDOCS_2_WARNING": "1",
    }
    built = subprocess.run(build, cwd=ROOT, env=offline, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        loaded = re.findall(r'<(?:script|img)[^>]+src="(https?://[^"]+)"', page.read_text())
        loaded += re.findall(r'<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="(https?://[^"]+)"', page.read_text())
        assert not loaded, f"{page.name} loads {loaded}"
