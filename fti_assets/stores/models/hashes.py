"""The SHA-256 of a build's files, without OpenSSL, which takes longer to load than a predictor's own modules of a room."""

from collections.abc import Callable
from typing import Any, cast

_LARGE = 2**20
"""From so many bytes on OpenSSL is loaded, since it reads several times as many a second."""


def sha256_of(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits.

    >>> sha256_of(b"abc")
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    """
    if len(content) < _LARGE:
        return cast(str, _own_sha256()(content).hexdigest())
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _own_sha256() -> Callable[[bytes], Any]:
    """Python's own, which ``hashlib`` falls back to; that itself where this Python has it under no name that is known."""
    # The names of Python 3.12 and 3.11.
    for name in ("_sha2", "_sha256"):
        try:
            return cast("Callable[[bytes], Any]", __import__(name).sha256)
        except (ImportError, AttributeError):
            continue
    import hashlib

    return hashlib.sha256
