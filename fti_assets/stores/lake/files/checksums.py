"""Checksums of the lake's files: what their bytes were when they were written.

A flipped bit of a Parquet file's footer can end DuckDB's process; one of a Bloom filter or a statistic leaves rows out, one of a page
changes them. So the bytes are compared before DuckDB opens a file, once a process as long as the file stays as it is.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass

SMALL_BYTES = 1 << 16
"""A file of so many bytes is compared whole always: to open it costs as much."""
_AT_ONCE = 1 << 20
_TRAILER_BYTES = 8  # the length of the footer, and the last magic bytes

Identity = tuple[int, ...]
_compared: dict[str, tuple[Identity, Checksum, bool]] = {}
"""What this process has compared already: the file as it was then, with what, and whether that was all of it."""


@dataclass(frozen=True)
class Checksum:
    """The CRC-32 of a file, and of its end by itself.

    Args:
        start: where its end begins, which is what lies behind the last page: Bloom filters and footer. 0 of a small file.
        end: of the end.
        whole: of all bytes.
    """

    start: int
    end: int
    whole: int


def checksum_of(path: str, bloom_filters: int | None = None) -> Checksum:
    """The checksum of a file as it is, with which this process need not compare it again.

    Args:
        path: a Parquet file.
        bloom_filters: where the first Bloom filter begins, if there is one.
    """
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        size, start = status.st_size, 0
        if size > SMALL_BYTES:
            trailer = os.pread(file.fileno(), _TRAILER_BYTES, size - _TRAILER_BYTES)
            footer = size - _TRAILER_BYTES - int.from_bytes(trailer[:4], "little")
            start = max(0, footer if bloom_filters is None else min(footer, bloom_filters))
        before = _crc(file.fileno(), 0, start)
        end = _crc(file.fileno(), start, size)
        checksum = Checksum(start, end, _crc(file.fileno(), start, size, before) if start else end)
        if _identity(os.fstat(file.fileno())) == _identity(status):
            _compared[path] = (_identity(status), checksum, True)
        return checksum


def is_as_written(path: str, size: int, checksum: Checksum, *, whole: bool) -> bool:
    """Whether a file, or its end, has the bytes that it was written with.

    Raises:
        OSError: it cannot be read.
    """
    status = os.stat(path)
    identity = _identity(status)
    if status.st_size != size:
        return False
    whole = whole or checksum.start == 0
    match _compared.get(path):
        case (before, same, all_of_it) if before == identity and same == checksum and all_of_it >= whole:
            return True
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        is_same = (
            _crc(descriptor, 0, size) == checksum.whole
            if whole
            else _crc(descriptor, checksum.start, size) == checksum.end
        )
    finally:
        os.close(descriptor)
    if is_same:
        _compared[path] = (identity, checksum, whole)
    return is_same


def _identity(status: os.stat_result) -> Identity:
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


def _crc(descriptor: int, start: int, stop: int, crc: int = 0) -> int:
    while start < stop:
        read = os.pread(descriptor, min(_AT_ONCE, stop - start), start)
        if not read:
            break
        crc = zlib.crc32(read, crc)
        start += len(read)
    return crc
