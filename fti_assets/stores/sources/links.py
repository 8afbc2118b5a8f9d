"""Links among the files of a source behind which rows would be missed, or by which they would come twice, without a word."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from fti_assets.errors import DamagedError, StoreError
from fti_assets.stores.file_kinds import FOLDER, kind_of
from fti_assets.stores.files import files_under, is_folder, readable
from fti_assets.stores.sources.put_aside import is_put_aside

_ANY_DEPTH = "**"


@dataclass(frozen=True)
class _Link:
    """A link that a pattern finds or goes through, what it leads to, and whether it lies below a ``**``."""

    path: Path
    kind: str | None
    is_below: bool


def refuse_dangling_links(folder: str, pattern: str) -> None:
    """Refuse a link in a folder that leads nowhere, or in a circle, where a file or a folder of files would be.

    Args:
        folder: the folder that is searched, which may be there.
        pattern: what is searched for in it, such as ``**/*.parquet``.

    Raises:
        DamagedError: there is one.
        StoreError: a folder cannot be looked into.
    """
    last = pattern.rpartition("/")[2].lower()
    for link in _links(Path(folder or "."), pattern):
        name = link.path.name
        may_be_meant = not link.is_below or fnmatchcase(name.lower(), last) or "=" in name or not link.path.suffix
        if (link.kind or "").startswith("a link") and may_be_meant:
            raise DamagedError(
                f"{link.path} is {link.kind}, so rows would be missed: put back what it leads to, or remove the link"
            )


def check_folders(folder: str, pattern: str) -> None:
    """Look into every folder that a pattern goes through: one that may not be read would be left out with its files.

    Args:
        folder: the folder that is searched, which may be there.
        pattern: what is searched for in it.

    Raises:
        StoreError: a folder cannot be looked into.
    """
    for _ in _links(Path(folder or "."), pattern):
        pass


def refuse_unread_folders(folder: str, pattern: str) -> None:
    """Refuse a linked folder below a ``**``, which DuckDB does not go through, unless its files lie in the folder itself.

    Args:
        folder: the folder that is searched, which may be there.
        pattern: what is searched for in it.

    Raises:
        StoreError: files would be left out.
    """
    root, last = Path(folder or "."), pattern.rpartition("/")[2].lower()
    for link in _links(root, pattern):
        if not (link.is_below and link.kind == FOLDER):
            continue
        target = Path(os.path.realpath(link.path))
        if target.is_relative_to(os.path.realpath(root)):
            continue
        for file in sorted(files_under(target)):
            if fnmatchcase(file.name.lower(), last) and not is_put_aside(os.path.relpath(file, target), pattern):
                raise StoreError(
                    f"{link.path} is a link to the folder {target}, and files behind such a link are not read, as {file.name} there: "
                    "move the folder to where the link is, or write a pattern whose * finds the link"
                )


def refuse_repeated_files(files: Iterable[str]) -> None:
    """Refuse a link to one of some files, or to the folder of one, by which its rows would come twice. A hard link is a file.

    Args:
        files: local files, all of them there.

    Raises:
        StoreError: two of them are one.
    """
    alike: defaultdict[tuple[int, int], list[Path]] = defaultdict(list)
    for file in map(Path, dict.fromkeys(files)):
        with readable(file):
            stat = file.stat()
        alike[stat.st_dev, stat.st_ino].append(file)
    for paths in alike.values():
        # Hard links share a file's number, too.
        targets = [os.path.realpath(path) for path in paths]
        for target in (one for one in targets if targets.count(one) > 1):
            same = [path for path, other in zip(paths, targets, strict=True) if other == target]
            file, other = sorted(same, key=lambda path: len(_links_of(path)))[:2]
            link = next(iter(one for one in _links_of(other) if one not in _links_of(file)), other)
            named = f"{link} is a link" if link == other else f"{other} is there by the link {link}"
            raise StoreError(
                f"{named} to a file that is read as {file} too, so its rows would come twice: remove the link, or move it to where it "
                "is not read"
            )


def _links_of(path: Path) -> list[Path]:
    return [one for one in (path, *path.parents) if one.is_symlink()]


def _links(root: Path, pattern: str) -> Iterator[_Link]:
    if is_folder(root):
        with readable(root):
            yield from _links_in(root, pattern.split("/"), pattern)


def _links_in(folder: Path, parts: Sequence[str], pattern: str) -> Iterator[_Link]:
    is_below = parts[0] == _ANY_DEPTH
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_put_aside(entry.name, pattern) or not (is_below or fnmatchcase(entry.name, parts[0])):
                continue
            path = folder / entry.name
            if entry.is_symlink():
                yield _Link(path, kind_of(path), is_below)
            if is_below and entry.is_dir(follow_symlinks=False):
                yield from _links_in(path, parts, pattern)
            elif not is_below and len(parts) > 1 and path.is_dir():
                yield from _links_in(path, parts[1:], pattern)
