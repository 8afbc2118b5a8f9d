"""Text files beside a module of on-demand functions, such as a vocabulary: they are shipped with the module and pinned by their hash."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

from fti_assets.errors import DeclarationError, excerpt

_PATH = re.compile(r"(?!\.)[\w.-]+(/(?!\.)[\w.-]+)*")
SHIPPED = "__fti_files__"
"""The name in a shipped module under which it has the files that came with it, by their paths from its folder."""


def shipped_text(file: str, *, sha256: str) -> str:
    """The text of a file beside the module that calls this, for an on-demand function that needs more than code.

    The hash is part of the code, so it counts in what the function means: another file is another meaning, and the file of another
    release is refused when the module is imported. The app ships the file with the module; a bundle and an export contain it.

    Args:
        file: the path from the module's folder, with ``/``; written out in the call.
        sha256: the SHA-256 of the file's bytes, 64 hexadecimal digits; written out in the call.

    Raises:
        DeclarationError: the path leads elsewhere or to a module, there is no such file, its hash is another, or it is not UTF-8.
    """
    namespace = sys._getframe(1).f_globals
    what = f"shipped_text({excerpt(file)}) of module {namespace.get('__name__', '?')!r}"
    if not isinstance(file, str) or not is_text_path(file):
        raise DeclarationError(
            f"{what}: give the path of a file in the folder of the module, such as 'words.txt' or 'data/words.txt'; a module is imported"
        )
    shipped, own = namespace.get(SHIPPED), namespace.get("__file__")
    if shipped is not None:
        where = f"{str(own).rpartition('/')[0]}/{file}"
        if file not in shipped:
            raise DeclarationError(
                f"{what}: {where} did not come with the model. Make the bundle again with fti bundle"
            )
        return _text(shipped[file], sha256, f"{what}: {where}")
    if own is None:
        raise DeclarationError(
            f"{what}: the module has no file, as in a notebook. Put the function in a module of its own"
        )
    path = Path(own).parent / file
    return _text(_read(path, what), sha256, f"{what}: {path}")


def read_checked(path: Path, sha256: str, module: str) -> bytes:
    """The bytes of a file that a module asks for, to be shipped with it.

    Raises:
        DeclarationError: as ``shipped_text``.
    """
    what = f"shipped_text({path.name!r}) of module {module!r}"
    content = _read(path, what)
    _text(content, sha256, f"{what}: {path}")
    return content


def _text(content: bytes, sha256: str, what: str) -> str:
    own = hashlib.sha256(content).hexdigest()
    if not isinstance(sha256, str) or own != sha256:
        raise DeclarationError(
            f"{what} has the SHA-256 {own}, and the module says {excerpt(sha256)}. If the file was changed on purpose, write "
            "the new hash and raise the function's version; if not, put the file back as it was"
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{what} is not UTF-8: {error}. Store the text as UTF-8") from None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DeclarationError(
            f"{what}: {path} cannot be read: {error.strerror}. Put the file there; a package that is installed has to contain it, as its "
            "package data"
        ) from None


def is_text_path(file: str) -> bool:
    """Whether a path is one of a text in a folder or below it: no module's, and none that leads elsewhere."""
    return _PATH.fullmatch(file) is not None and not file.endswith((".py", ".pyc"))
