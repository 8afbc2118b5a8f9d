"""Which files of a folder a process has open."""

import os
from contextlib import suppress


def open_files(folder: object) -> list[str]:
    """The open files of this process that lie in a folder."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            links.append(os.readlink(f"/proc/self/fd/{number}"))
    return [link for link in links if link.startswith(str(folder))]
