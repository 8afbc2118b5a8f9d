"""The options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fti_assets.core.names import is_blank

if TYPE_CHECKING:
    import dagster as dg

Command = TypeVar("Command", bound=Callable[..., Any])
_STORES = {"lake": "offline store's", "models": "model store's", "online": "online store's", "log": "prediction logs'"}


def stores(*names: str, otherwise: str = "what the definitions say") -> Callable[[Command], Command]:
    """The folders of some stores, as ``--lake``, ``--models``, ``--online`` and ``--log``."""

    def add(command: Command) -> Command:
        for name in reversed(names):
            text = f"the {_STORES[name]} folder (default: {otherwise.format(name)})"
            command = click.option(f"--{name}", metavar="FOLDER", help=text)(command)
        return command

    return add


def reason_option(history: str, **more: Any) -> Callable[[Command], Command]:
    """Why something is changed, as ``--reason``, which is never blank; required unless there is a default."""
    settings = more or {"required": True}
    return click.option("--reason", help=f"kept in the history of {history}", callback=_not_blank, **settings)


def _not_blank(_: click.Context, __: click.Parameter, text: str) -> str:
    if is_blank(text):
        raise click.BadParameter("it is blank: say why in a few words, for those who read the history")
    return text


def file_to_write(path: str) -> Path:
    """A file that a command writes at its end, looked at before its work begins.

    Raises:
        UsageError: it cannot be written.
    """
    file = Path(path)
    if file.is_dir():
        raise click.UsageError(f"{path} is a folder: name a file that can be written")
    if not file.parent.is_dir():
        raise click.UsageError(f"{path} cannot be written: there is no folder {file.parent}")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise click.UsageError(f"{path} cannot be written by this user: name another file")
    return file


def write_file(file: Path, text: str) -> None:
    """Write a file.

    Raises:
        ClickException: it cannot be written, such as on a full disk.
    """
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from error


def definitions(command: Command) -> Command:
    """Where the definitions are, as ``--file`` or ``--module``."""
    command = click.option("-m", "--module", help="or the module")(command)
    return click.option("-f", "--file", help="the file with the definitions (default: definitions.py)")(command)


def load_definitions(file: str | None, module: str | None) -> dg.Definitions:
    """The definitions that ``--file`` or ``--module`` names.

    Raises:
        UsageError: both are given.
    """
    from fti_assets.describe import load_definitions

    if file is not None and module is not None:
        raise click.UsageError("--file and --module both say where the definitions are: give one of them")
    return load_definitions(file=file or "definitions.py", module=module)
