"""A path in a bucket, which the rooms of the stores use as they use a folder's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import total_ordering
from pathlib import PurePosixPath
from stat import S_IFREG
from typing import Any, NamedTuple

from fti_assets.errors import StoreError
from fti_assets.stores.buckets.client import bucket_errors, client_of

SCHEME = "s3://"


_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class ObjectStatus(NamedTuple):
    """What a store says of an object: its size in bytes, when it was written by the store's clock, in seconds since 1970, and the tag
    that changes with its content."""

    st_size: int
    st_mtime: float
    tag: str

    @property
    def st_mode(self) -> int:
        """As of a file."""
        return S_IFREG


@total_ordering
class BucketPath:
    """``s3://<bucket>/<key>``, an object or what lies below.

    It has of ``pathlib.Path`` what the stores use. It is no ``os.PathLike``, so that nothing takes it for a file of this machine.

    >>> path = BucketPath.of("s3://team/models") / "delay" / "aliases.json"
    >>> str(path), path.name, path.parent.name
    ('s3://team/models/delay/aliases.json', 'aliases.json', 'delay')
    """

    __slots__ = ("_at", "bucket")

    def __init__(self, bucket: str, at: PurePosixPath) -> None:
        self.bucket = bucket
        self._at = at

    @classmethod
    def of(cls, address: str, *, what: str = "store") -> BucketPath:
        """The path that an address names.

        Raises:
            StoreError: it names no bucket.
        """
        bucket, _, key = address.removeprefix(SCHEME).partition("/")
        parts = [part for part in key.split("/") if part]
        if not address.startswith(SCHEME) or _BUCKET.fullmatch(bucket) is None or not all(map(_is_plain, parts)):
            raise StoreError(f"the {what} cannot lie at that address: write it as s3://bucket/folder")
        return cls(bucket, PurePosixPath(*parts))

    @property
    def key(self) -> str:
        """Its name in the bucket; empty for the bucket itself."""
        return "" if self._at == PurePosixPath() else str(self._at)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}".rstrip("/")

    def __repr__(self) -> str:
        return f"BucketPath({str(self)!r})"

    def __truediv__(self, part: str | PurePosixPath) -> BucketPath:
        return BucketPath(self.bucket, self._at / part)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BucketPath) and str(self) == str(other)

    def __lt__(self, other: BucketPath) -> bool:
        return str(self) < str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def name(self) -> str:
        return self._at.name or self.bucket

    @property
    def suffix(self) -> str:
        return self._at.suffix

    @property
    def parent(self) -> BucketPath:
        return BucketPath(self.bucket, self._at.parent)

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.bucket, *self._at.parts)

    def with_name(self, name: str) -> BucketPath:
        return BucketPath(self.bucket, self._at.with_name(name))

    def relative_to(self, other: BucketPath) -> PurePosixPath:
        return self._at.relative_to(other._at)

    def is_relative_to(self, other: BucketPath) -> bool:
        return self.bucket == other.bucket and self._at.is_relative_to(other._at)

    def stat(self) -> ObjectStatus:
        """What the store says of the object; raises as ``read_bytes``."""
        import obstore

        with bucket_errors(str(self)):
            try:
                return _status(obstore.head(client_of(self.bucket), self.key))
            except obstore.exceptions.PermissionDeniedError:
                obstore.get(client_of(self.bucket), self.key)  # whose refusal has a text, which says why
                raise

    def is_file(self) -> bool:
        """Whether there is an object; raises as ``read_bytes``."""
        try:
            return self.stat() is not None
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Whether anything lies below; raises as ``read_bytes``."""
        return next(self._objects(), None) is not None

    def exists(self) -> bool:
        """Whether there is an object, or anything below; raises as ``read_bytes``."""
        return self.is_file() or self.is_dir()

    def read_bytes(self) -> bytes:
        """The object's content.

        Raises:
            FileNotFoundError: there is none.
            BucketError: the store cannot be reached, or refuses it.
        """
        return self.read_tagged()[0]

    def read_tagged(self) -> tuple[bytes, str]:
        """The object's content, and the tag that changes with it; raises as ``read_bytes``."""
        import obstore

        with bucket_errors(str(self)):
            result = obstore.get(client_of(self.bucket), self.key)
            return bytes(result.bytes()), str(result.meta["e_tag"])

    def read_end(self, size: int) -> bytes:
        """The last bytes of the object; raises as ``read_bytes``."""
        import obstore

        whole = self.stat().st_size
        with bucket_errors(str(self)):
            at = max(0, whole - size)
            return bytes(obstore.get_range(client_of(self.bucket), self.key, start=at, end=whole)) if whole else b""

    def write_bytes(self, content: bytes) -> str:
        """Put an object in the place of what is there, whole or not at all, and give its tag; raises as ``read_bytes``."""
        return self._put(content, "overwrite")

    def write_new(self, content: bytes) -> str:
        """Put an object where none is, and give its tag.

        Raises:
            ChangedError: there is one.
            BucketError: the store cannot be reached, or refuses it.
        """
        return self._put(content, "create")

    def replace_tagged(self, content: bytes, tag: str) -> str:
        """Put an object in the place of the one that has a tag, and give its own.

        Raises:
            ChangedError: it is another one by now, or gone.
            BucketError: the store cannot be reached, or refuses it.
        """
        return self._put(content, {"e_tag": tag})

    def _put(self, content: bytes, mode: Any) -> str:
        import obstore

        with bucket_errors(str(self)):
            # In one part: a store takes an object whole or not at all.
            result = obstore.put(client_of(self.bucket), self.key, content, mode=mode, use_multipart=False)
            return str(result["e_tag"])

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object; raises as ``read_bytes``."""
        import obstore

        if not missing_ok:
            self.stat()
        with bucket_errors(str(self)):
            obstore.delete(client_of(self.bucket), self.key)

    def iterdir(self) -> Iterator[BucketPath]:
        """The objects and folders right below, by name; raises as ``read_bytes``."""
        import obstore

        with bucket_errors(str(self)):
            result = obstore.list_with_delimiter(client_of(self.bucket), self.key or None)
        names = [*result["common_prefixes"], *(one["path"] for one in result["objects"])]
        yield from (BucketPath(self.bucket, PurePosixPath(name)) for name in sorted(names))

    def files(self) -> Iterator[tuple[BucketPath, ObjectStatus]]:
        """Every object below, with what the store says of it; raises as ``read_bytes``."""
        for one in self._objects():
            yield BucketPath(self.bucket, PurePosixPath(one["path"])), _status(one)

    def _objects(self) -> Iterator[Any]:
        import obstore

        with bucket_errors(str(self)):
            for batch in obstore.list(client_of(self.bucket), self.key or None):
                yield from batch


def _status(about: Any) -> ObjectStatus:
    return ObjectStatus(int(about["size"]), about["last_modified"].timestamp(), str(about["e_tag"]))


def _is_plain(part: str) -> bool:
    """Whether a part of an address can be a folder's name: the signs of passwords, signatures and patterns are none."""
    return part not in (".", "..") and part.isprintable() and not set(part) & set("?#@&:*\\\"'")
