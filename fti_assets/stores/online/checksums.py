"""The checksum at the end of a blob: a crc32 of its key and its content."""

from collections.abc import Sequence
from zlib import crc32

CRC_OF_CHECKED = 0x2144DF1C
"""The crc32 of any bytes followed by their own crc32."""
CHECKSUM_BYTES = 4
_BACK_TO_START = b"\x81\xd5\x9d\x4c"
"""The bytes after which a crc32 that was ``CRC_OF_CHECKED`` is 0, as at the start."""


def is_whole(key: object, blob: object) -> bool:
    """Whether a key and its blob are what was written together."""
    return isinstance(key, bytes) and isinstance(blob, bytes) and crc32(blob, crc32(key)) == CRC_OF_CHECKED


def are_whole(keys: Sequence[bytes], blobs: Sequence[bytes]) -> bool:
    """Whether ``n`` keys and their blobs are all what was written together, found by one crc32 in a quarter of the time of n.

    After each pair that is whole the crc32 is the same, and behind it goes back to the start. What it is off by after one that is not
    stays, in other bits, to the end: no single pair passes here that would not pass alone.
    """
    pieces = [_BACK_TO_START] * (3 * len(keys))
    pieces[::3] = keys
    pieces[1::3] = blobs
    return crc32(b"".join(pieces)) == 0


def with_checksum(key: bytes, content: bytes) -> bytes:
    """The content with its checksum behind it."""
    return content + crc32(content, crc32(key)).to_bytes(CHECKSUM_BYTES, "little")
