"""What lies where a file belongs and is none."""

import os
import socket
from collections.abc import Callable
from pathlib import Path


def folder(path: Path) -> None:
    path.mkdir()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        # The path of a socket has at most 107 bytes; by a descriptor of its folder it is short.
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            one.bind(f"/proc/self/fd/{descriptor}/{path.name}")
        finally:
            os.close(descriptor)


def nowhere(path: Path) -> None:
    path.symlink_to(path.with_name("no such file"))


def circle(path: Path) -> None:
    path.symlink_to(path.name)


ODD_FILES: dict[str, Callable[[Path], None]] = {
    "a folder": folder,
    "a FIFO": fifo,
    "a device": device,
    "a socket": listening,
    "a link that leads nowhere": nowhere,
    "a link that leads in a circle": circle,
}
"""How each kind is made, by what errors call it."""
