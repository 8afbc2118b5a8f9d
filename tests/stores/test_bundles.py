"""The file of a bundle: the same bytes for the same content, and nothing else is taken for one."""

import hashlib
import io
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fti_assets.core.records import to_json
from fti_assets.errors import DamagedError, FtiError, NotMaterializedError, StoreError
from fti_assets.stores.bundles.archive import pack, unpack
from fti_assets.stores.bundles.online import BundledNamespace, pack_rows
from fti_assets.stores.bundles.record import BundleRecord
from fti_assets.stores.online.about import About, Schema
from tests.support.examples import examples

MEMBERS = {"model.onnx": b"graph" * 20, "manifest.json": b"{}", "code/features/calendar.py": b"A = 1\n"}
ABOUT = About(Schema(("text",), (), True), None, 1, 2, "", 1)


def record(members: dict[str, bytes] = MEMBERS) -> BundleRecord:
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    return BundleRecord("delay_net", "v1/x", "2013-06-01T12:00:00", 7, {"weather_v1": ABOUT}, hashes)


WHOLE = pack(record(), MEMBERS)


def zipped(
    members: list[tuple[str, bytes]], *, comment: bytes | None = None, method: int = zipfile.ZIP_STORED
) -> bytes:
    """A zip of somebody else's, by default with the comment of a bundle."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        head = dict(members).get("bundle.json", b"")
        mark = b"fti-assets bundle, sha256 of bundle.json: " + hashlib.sha256(head).hexdigest().encode()
        archive.comment = mark if comment is None else comment
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def opened(content: bytes, folder: Path) -> tuple[BundleRecord, dict[str, bytes]]:
    (folder / "a.zip").write_bytes(content)
    return unpack(folder / "a.zip")


def test_what_is_packed_comes_back(tmp_path):
    assert opened(WHOLE, tmp_path) == (record(), MEMBERS)
    assert pack(record(), dict(reversed(MEMBERS.items()))) == WHOLE
    assert zipfile.ZipFile(io.BytesIO(WHOLE)).namelist()[0] == "bundle.json"


def test_record_that_names_other_members_is_not_packed():
    with pytest.raises(StoreError, match="its members are 'model.onnx'"):
        pack(record(), {"model.onnx": b""})


MARK = zipfile.ZipFile(io.BytesIO(WHOLE)).comment
HEAD = to_json(record()).encode()
LONGER = HEAD.replace(b'"answers_for_us": 7', b'"answers_for_us": 8')
EVIL = [("bundle.json", HEAD), *MEMBERS.items()]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be read, BadZipFile"),
        (WHOLE[:-1], "has another bundle.json|cannot be read"),
        (WHOLE[: len(WHOLE) // 2], "cannot be read, BadZipFile"),
        (b"PK\x05\x06" + bytes(18), "is a zip without bundle.json"),
        (zipped([("a.txt", b"")]), "is a zip without bundle.json"),
        (zipped(EVIL, comment=b"nobody's"), "has another bundle.json than was written"),
        (zipped([("bundle.json", LONGER), *EVIL[1:]], comment=MARK), "has another bundle.json than was written"),
        (zipped([*EVIL[:-1], (EVIL[-1][0], b"A = 2\n")]), "code/features/calendar.py of the bundle .* is not what was written"),
        (zipped(EVIL[:-1]), "lacks, or has too many, of its members, 'code/features/calendar.py'"),
        (zipped([*EVIL, ("extra.py", b"")]), "lacks, or has too many, of its members, 'extra.py'"),
        (zipped([*EVIL, EVIL[1]]), "a member 'model.onnx', whose name is invalid or not unique"),
        (zipped([*EVIL, ("../../etc/cron.d/evil", b"")]), "a member '../../etc/cron.d/evil', whose name is invalid"),
        (zipped([*EVIL, ("/etc/passwd", b"")]), "whose name is invalid"),
        (zipped([*EVIL, ("code\\..\\evil.py", b"")]), "whose name is invalid"),
        (zipped([*EVIL, ("a" * 60_000, b"")]), "whose name is invalid"),
        (zipped([*EVIL, ("zeros", bytes(10_000_000))], method=zipfile.ZIP_DEFLATED), "is compressed or encrypted"),
        (zipped([("bundle.json", HEAD.replace(b'"format": 1', b'"format": 2')), *EVIL[1:]]), "was written in format 2"),
        (zipped([("bundle.json", b"{}"), *EVIL[1:]]), "cannot be read as BundleRecord"),
        (zipped([("bundle.json", HEAD.replace(b"2013-06-01T", b"noon")), *EVIL[1:]]), "does not say until when it answers"),
        (zipped([("bundle.json", HEAD.replace(b": 7,", b": 7%030d," % 0)), *EVIL[1:]]), "does not say until when it answers"),
    ],
)  # fmt: skip
def test_what_is_no_bundle_is_refused_with_file_and_remedy(tmp_path, content, problem):
    with pytest.raises((DamagedError, StoreError), match=problem) as caught:
        opened(content, tmp_path)
    assert "a.zip" in str(caught.value)
    assert len(str(caught.value)) < 2000
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_members_that_overlap_are_refused(tmp_path):
    # Each entry of the directory names the same bytes, as a zip bomb does that needs no compression.
    content = bytearray(zipped([(f"a{number}", bytes(5000) if number == 0 else b"") for number in range(9)]))
    place = content.index(b"PK\x01\x02")
    for _ in range(9):
        content[place + 20 : place + 28] = (5000).to_bytes(4, "little") * 2
        content[place + 42 : place + 46] = bytes(4)
        place = content.find(b"PK\x01\x02", place + 4)
    with pytest.raises(DamagedError, match=r"a.zip cannot be read"):
        opened(bytes(content), tmp_path)


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.lists(st.integers(0, len(WHOLE) - 1), min_size=1, max_size=3), bit=st.integers(0, 7), cut=st.booleans()
)
def test_flipped_bits_and_cuts_are_library_errors_or_the_same_content(tmp_path, places, bit, cut):
    damaged = bytearray(WHOLE)
    for place in places:
        damaged[place] ^= 1 << bit
    with suppress(FtiError):
        # Of a bit that no reader looks at, such as one of a date, nothing is lost.
        assert opened(bytes(damaged[: places[0]] if cut else damaged), tmp_path) == (record(), MEMBERS)


def test_no_file_and_a_folder_are_said_to_be_so(tmp_path):
    with pytest.raises(NotMaterializedError, match="there is no bundle .*none.zip: make it with fti bundle"):
        unpack(tmp_path / "none.zip")
    with pytest.raises(DamagedError, match="is a folder where a file belongs"):
        unpack(tmp_path)


@given(st.dictionaries(st.binary(max_size=6), st.binary(max_size=9), max_size=30), st.binary(max_size=6))
def test_every_row_is_found_and_no_other(rows, other):
    content = pack_rows(sorted(rows.items()))
    one = BundledNamespace(ABOUT, content, None, where="a.zip/online/weather_v1")
    assert {key: one.get(key) for key in rows} == rows
    assert one.get(other) == rows.get(other)
    assert list(one.rows) == sorted(rows.items())


@given(st.data())
def test_rows_of_another_length_are_damage(data):
    content = pack_rows([(b"a", b"12"), (b"b", b"345")])
    cut = data.draw(st.integers(0, len(content) - 1))
    for damaged in (content[:cut], content + b"?" * (cut + 1), b"\xff" * (cut + 8)):
        with pytest.raises(DamagedError, match="weather_v1 is not what was written"):
            BundledNamespace(ABOUT, damaged, None, where="a.zip/online/weather_v1")
