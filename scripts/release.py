"""Make a release: ``python -m scripts.release 0.2.0`` dates the changelog, sets the version, commits and tags it.

Nothing is pushed. It refuses a tree with uncommitted changes, a version that is not newer, and a changelog without entries.
"""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
_VERSION = re.compile(r'^version = "(\d+(?:\.\d+)*)"$', re.MULTILINE)
_UNRELEASED = re.compile(r"^## (\S+) \(unreleased\)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def release(root: Path, version: str, day: str) -> None:
    """Date the changelog, set the version, commit both and tag the commit.

    Raises:
        SystemExit: the tree has uncommitted changes, the version is not newer, or the changelog has nothing to release.
    """
    if _git(root, "status", "--porcelain"):
        raise SystemExit("there are uncommitted changes: commit or stash them first")
    project, changelog = root / "pyproject.toml", root / "CHANGELOG.md"
    text, notes = project.read_text(), changelog.read_text()
    current = _VERSION.search(text)
    unreleased = _UNRELEASED.search(notes)
    if current is None or not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise SystemExit(f"{version!r} is not a version such as 0.2.0")
    if unreleased is None or not unreleased[2].strip():
        raise SystemExit(f"{changelog.name} has no entries under a heading '## {version} (unreleased)'")
    tagged = _git(root, "tag", "--list", f"v{current[1]}")
    if _parts(version) < _parts(current[1]) or (tagged and version == current[1]):
        raise SystemExit(f"{version} is not newer than {current[1]}")
    project.write_text(_VERSION.sub(f'version = "{version}"', text, count=1))
    changelog.write_text(notes.replace(f"## {unreleased[1]} (unreleased)", f"## {version} ({day})", 1))
    _git(root, "commit", "--all", "--message", f"Release {version}")
    _git(root, "tag", "--annotate", f"v{version}", "--message", unreleased[2].strip())


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m scripts.release VERSION")
    release(ROOT, sys.argv[1], datetime.now(UTC).date().isoformat())
    print(
        f"tagged v{sys.argv[1]}: push it with 'git push --follow-tags', and build it with 'python -m pip wheel --no-deps .'"
    )
