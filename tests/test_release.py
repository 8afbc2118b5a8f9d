"""The release script, on a repository of its own."""

import subprocess
from pathlib import Path

import pytest

from scripts.release import release

CHANGELOG = "# Changelog\n\n## 0.1.0 (unreleased)\n\n- A feature.\n"


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "ann")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "ann@example.org")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "fti-assets"\nversion = "0.1.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "start")
    return tmp_path


def test_a_release_is_dated_versioned_and_tagged(root: Path) -> None:
    release(root, "0.1.0", "2026-12-01")
    assert "## 0.1.0 (2026-12-01)" in (root / "CHANGELOG.md").read_text()
    assert git(root, "tag") == "v0.1.0"
    assert "- A feature." in git(root, "tag", "--list", "--format=%(contents)", "v0.1.0")
    with (root / "CHANGELOG.md").open("a") as file:
        file.write("\n## 0.2.0 (unreleased)\n\n- Another.\n")
    git(root, "commit", "--quiet", "--all", "--message", "another")
    release(root, "0.2.0", "2026-12-24")
    assert 'version = "0.2.0"' in (root / "pyproject.toml").read_text()
    assert git(root, "log", "-1", "--format=%s") == "Release 0.2.0"
    assert git(root, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("version", "message"),
    [("0.0.9", "is not newer than 0.1.0"), ("next", "is not a version"), ("1.0", "is not a version")],
)
def test_a_version_that_is_not_newer_is_refused(root: Path, version: str, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        release(root, version, "2026-12-01")
    assert git(root, "tag") == ""
    assert (root / "CHANGELOG.md").read_text() == CHANGELOG


def test_uncommitted_changes_are_refused(root: Path) -> None:
    (root / "note").write_text("")
    with pytest.raises(SystemExit, match="uncommitted changes"):
        release(root, "0.2.0", "2026-12-01")


def test_a_changelog_without_entries_is_refused(root: Path) -> None:
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## 0.1.0 (2026-01-01)\n\n- A feature.\n")
    git(root, "commit", "--quiet", "--all", "--message", "released")
    with pytest.raises(SystemExit, match="has no entries"):
        release(root, "0.2.0", "2026-12-01")
