"""The file of a bundle: a zip whose members are stored as they are, each with its hash, the same bytes for the same content.

Nothing of it is ever unpacked onto a disk. Compressed members are refused, so that none is larger than the file itself.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path

from fti_assets.core.records import from_json, to_json
from fti_assets.errors import DamagedError, NotMaterializedError, StoreError, excerpt, list_some
from fti_assets.stores.bundles.record import BundleRecord
from fti_assets.stores.files import read_file

RECORD = "bundle.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_MARK = "fti-assets bundle, sha256 of bundle.json: "
_NAME = re.compile(r"\w[\w-]*(\.\w[\w-]*)*(/\w[\w-]*(\.\w[\w-]*)*)*")
_LONGEST = 1000
_UTF8 = 0x800
_REMEDY = "copy it again from where it was made, or make it again with fti bundle"


def pack(record: BundleRecord, members: Mapping[str, bytes]) -> bytes:
    """The bytes of a bundle.

    Args:
        record: which names all members.
        members: the content of each by its name.

    Raises:
        StoreError: the record names others, or other content.
    """
    import zipfile  # not at the top: a predictor that opens no bundle starts without it

    if record.members != {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}:
        raise StoreError(
            f"the record of a bundle names {list_some(record.members)}: its members are {list_some(members)}"
        )
    head = to_json(record).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = (_MARK + hashlib.sha256(head).hexdigest()).encode()
        for name, content in [(RECORD, head), *sorted(members.items())]:
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system, member.external_attr = 3, 0o644 << 16  # wherever it is made
            archive.writestr(member, content)
    return buffer.getvalue()


def unpack(path: Path, *, sha256: str | None = None) -> tuple[BundleRecord, dict[str, bytes]]:
    """What a bundle says of itself, and its members, each compared with its hash.

    Args:
        path: the file, which is read once.
        sha256: of the whole file, from whoever made it; None not to compare it.

    Raises:
        NotMaterializedError: there is no file.
        StoreError: it cannot be read, or was written by another release.
        DamagedError: it is not the file that was written, or no bundle at all.
    """
    content = read_file(path, _REMEDY)
    if content is None:
        raise NotMaterializedError(f"there is no bundle {path}: make it with fti bundle")
    if sha256 is not None and (result := hashlib.sha256(content).hexdigest()) != sha256.strip().lower():
        raise DamagedError(
            f"the bundle {path} has sha256 {result}, where {excerpt(sha256)} is expected: it is another file than the one whose hash "
            f"you have; {_REMEDY}"
        )
    return _unpack(content, str(path))


def _unpack(content: bytes, where: str) -> tuple[BundleRecord, dict[str, bytes]]:
    try:
        members, mark = _members(content)
    except Exception as error:  # zipfile raises whatever the damage makes of it
        problem = str(error) if isinstance(error, DamagedError) else f"{type(error).__name__}: {error}"
        raise DamagedError(f"the bundle {where} cannot be read, {problem:.300}: {_REMEDY}") from error
    head = members.pop(RECORD, None)
    if head is None:
        raise DamagedError(f"{where} is a zip without {RECORD}, and so no bundle: make one with fti bundle")
    if hashlib.sha256(head).hexdigest() != mark.removeprefix(_MARK):
        raise DamagedError(f"the bundle {where} has another {RECORD} than was written: {_REMEDY}")
    record = from_json(BundleRecord, head, what=f"{where}/{RECORD}", remedy=_REMEDY)
    try:
        record.answers_until  # noqa: B018 - refuses what is no time
    except (ValueError, OverflowError) as error:
        raise DamagedError(f"the bundle {where} does not say until when it answers, {error}: {_REMEDY}") from error
    if members.keys() != record.members.keys():
        odd = sorted(members.keys() ^ record.members.keys())
        raise DamagedError(f"the bundle {where} lacks, or has too many, of its members, {list_some(odd)}: {_REMEDY}")
    for name, part in members.items():
        if (result := hashlib.sha256(part).hexdigest()) != record.members[name]:
            raise DamagedError(
                f"{name} of the bundle {where} is not what was written: its sha256 is {result}, {RECORD} says "
                f"{record.members[name]:.80}; {_REMEDY}"
            )
    return record, members


def _members(content: bytes) -> tuple[dict[str, bytes], str]:
    """The members of a zip that is written as ``pack`` writes it, and its comment."""
    import zipfile

    members: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        remaining_bytes = len(content)
        for one in archive.infolist():
            if len(one.filename) > _LONGEST or not _NAME.fullmatch(one.filename) or one.filename in members:
                raise DamagedError(f"it has a member {excerpt(one.filename)}, whose name is invalid or not unique")
            if one.compress_type != zipfile.ZIP_STORED or one.file_size != one.compress_size or one.flag_bits & ~_UTF8:
                raise DamagedError(
                    f"its member {one.filename!r} is compressed or encrypted, which none is that was written"
                )
            remaining_bytes -= one.file_size  # members that overlap come to more than there is
            if remaining_bytes < 0:
                raise DamagedError(f"its members are larger than the {len(content)} bytes of the file")
            members[one.filename] = archive.read(one)
        return members, archive.comment.decode("ascii", errors="replace")
