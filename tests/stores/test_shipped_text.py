"""A text beside an on-demand function is pinned by its hash, counts in what the function means, and is shipped with its module."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fti_assets.core.manifest import Column, OnDemandCall
from fti_assets.core.on_demand.call import LoadedCall, check_source
from fti_assets.core.on_demand.meaning import meaning
from fti_assets.core.on_demand.shipped import ShippedModules, sources_of
from fti_assets.errors import DeclarationError, FtiError, PredictionError
from fti_assets.features.groups.on_demand_source import check_source as check_declared_source

TEXT = "größer\nkleiner\n"
SHA256 = hashlib.sha256(TEXT.encode()).hexdigest()
MODULE = """
import numpy as np
import fti_assets as fti

WORDS = {call}.split()

@fti.on_demand(outputs={{"place": int}})
def place(word):
    return {{"place": np.array([WORDS.index(one) for one in word])}}

@fti.on_demand(outputs={{"double": int}})
def double(n):
    return {{"double": 2 * n}}
"""
CALL = f"fti.shipped_text('data/words.txt', sha256={SHA256!r})"

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the module and its text anew, as in another release of the app."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(call: str = CALL, content: bytes | None = TEXT.encode(), module: str = MODULE) -> None:
        (tmp_path / "texts_app" / "data").mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts_app" / "places.py").write_text(module.format(call=call))
        file = tmp_path / "texts_app" / "data" / "words.txt"
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        for name in [name for name in sys.modules if name.startswith("texts_app")]:
            monkeypatch.delitem(sys.modules, name)

    return write


def imported() -> Any:
    import importlib

    return importlib.import_module("texts_app.places")


def recorded(function: str = "place") -> OnDemandCall:
    own = meaning("texts_app.places", function)
    return OnDemandCall(
        function, 1, "texts_app.places", function, "", ("word",), (Column(function, "integer"),), meaning=own
    )


def test_the_text_is_that_of_the_file(write: Write) -> None:
    write()
    assert imported().WORDS == ["größer", "kleiner"]
    assert imported().place(word=np.array(["kleiner"]))["place"].tolist() == [1]
    check_declared_source("texts_app.places", what="place")


def test_line_ends_are_those_of_the_file(write: Write) -> None:
    content = b"a\r\nb\r"
    write(
        f"fti.shipped_text('data/words.txt', sha256={hashlib.sha256(content).hexdigest()!r})",
        content,
        MODULE.replace(".split()", ""),
    )
    assert imported().WORDS == "a\r\nb\r"


@pytest.mark.parametrize(
    ("call", "content", "problem"),
    [
        (CALL, None, r"data/words\.txt cannot be read: No such file or directory\. Put the file there"),
        (CALL, b"other", f"has the SHA-256 {hashlib.sha256(b'other').hexdigest()}, and the module says '{SHA256}'"),
        ("fti.shipped_text('data/words.txt', sha256='0')", b"", f"has the SHA-256 {hashlib.sha256(b'').hexdigest()}"),
        (
            f"fti.shipped_text('data/words.txt', sha256={hashlib.sha256(bytes([255])).hexdigest()!r})",
            b"\xff",
            "is not UTF-8: 'utf-8' codec",
        ),
        (CALL.replace("data/words.txt", "../words.txt"), b"", "give the path of a file in the folder of the module"),
        (CALL.replace("data/words.txt", "/etc/hosts"), b"", "give the path of a file in the folder of the module"),
        (CALL.replace("data/words.txt", "places.py"), b"", "a module is imported"),
        ("fti.shipped_text(3, sha256='')", b"", "shipped_text(.*3.*) of module 'texts_app.places'"),
    ],
)
def test_a_file_that_is_not_what_the_module_says_is_named(
    write: Write, call: str, content: bytes | None, problem: str
) -> None:
    write(call, content)
    with pytest.raises(DeclarationError, match=problem):
        imported()


def test_another_text_is_another_meaning_of_what_uses_it_alone(write: Write) -> None:
    write()
    place, double = recorded(), recorded("double")
    other = b"kleiner\n"
    write(CALL.replace(SHA256, hashlib.sha256(other).hexdigest()), other)
    check_source(double)
    with pytest.raises(PredictionError, match="means something else"):
        check_source(place)


@pytest.mark.parametrize(
    "call",
    [
        "fti.shipped_text('data/' + 'words.txt', sha256='0')",
        "fti.shipped_text('data/words.txt', sha256='0' * 64)",
        "fti.shipped_text(*['data/words.txt'], sha256='0')",
        "(lambda ask: ask('data/words.txt', sha256='0'))(fti.shipped_text)",
        "[fti.shipped_text][0]('data/words.txt', sha256='0')",
        "getattr(fti, 'shipped_text')('data/words.txt', sha256='0')",
        "(lambda of=fti: of.shipped_text('data/words.txt', sha256='0'))()",
        "(of := fti).shipped_text('data/words.txt', sha256='0')",
        "(read := fti.shipped_text)('data/words.txt', sha256='0')",
    ],
)
def test_a_file_that_cannot_be_told_before_it_runs_is_refused(write: Write, call: str) -> None:
    write(call)
    with pytest.raises(
        DeclarationError, match="asks for a file that cannot be told before it runs|hands the module 'fti_assets' on"
    ):
        check_declared_source("texts_app.places", what="place")


def test_a_second_name_of_the_package_is_not_followed(write: Write) -> None:
    write(CALL.replace("fti.", "of."), module=MODULE.replace("WORDS", "of = fti\nWORDS", 1))
    with pytest.raises(DeclarationError, match="asks for a file that cannot be told before it runs"):
        check_declared_source("texts_app.places", what="place")


def test_it_is_taken_by_its_public_name_alone(write: Write) -> None:
    inner = "from fti_assets.core.on_demand.shipped_text import shipped_text"
    write(module=MODULE.replace("import fti_assets as fti", f"import fti_assets as fti\n{inner}"))
    with pytest.raises(DeclarationError, match="takes 'fti_assets.core.on_demand.shipped_text'"):
        check_declared_source("texts_app.places", what="place")


def test_a_call_within_a_function_reads_the_same_file(write: Write) -> None:
    module = MODULE.replace("WORDS = {call}.split()", "def words():\n    return {call}.split()").replace(
        "WORDS.index", "words().index"
    )
    write(module=module)
    check_declared_source("texts_app.places", what="place")
    one = recorded()
    sources = sources_of([one])
    assert "texts_app/data/words.txt" in sources
    modules = ShippedModules(sources, where="a.zip/code")
    with modules.allow_reading():
        loaded = LoadedCall(one, modules.load, types={})
    assert loaded({"word": np.array(["kleiner"])}, 1) == [[1]]
    other = b"kleiner\n"
    write(CALL.replace(SHA256, hashlib.sha256(other).hexdigest()), other, module)
    with pytest.raises(PredictionError, match="means something else"):
        check_source(one)


@pytest.mark.parametrize("imports", ["import fti_assets as fti", "from fti_assets import shipped_text, on_demand"])
def test_a_module_that_is_shipped_has_its_text(
    write: Write, imports: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, module = CALL, MODULE
    if "shipped_text" in imports:
        call = CALL.replace("fti.", "")
        module = MODULE.replace("import fti_assets as fti", imports).replace("@fti.", "@")
    write(call, module=module)
    one = recorded()
    sources = sources_of([one])
    assert sources["texts_app/data/words.txt"] == TEXT.encode()
    write(content=None)
    (tmp_path / "texts_app" / "places.py").unlink()
    modules = ShippedModules(sources, where="a.zip/code")
    with modules.allow_reading():
        loaded = LoadedCall(one, modules.load, types={})
    assert loaded({"word": np.array(["kleiner", "größer"])}, 2) == [[1, 0]]
    assert not [name for name in sys.modules if name.startswith("texts_app")]

    del sources["texts_app/data/words.txt"]
    with pytest.raises(FtiError, match=r"a\.zip/code/texts_app/data/words\.txt did not come with the model"):
        ShippedModules(sources, where="a.zip/code").load("texts_app.places")


def test_a_text_that_has_changed_is_not_shipped(write: Write) -> None:
    write()
    one = recorded()
    write(content=b"other")
    with pytest.raises(DeclarationError, match=r"words\.txt has the SHA-256 .* put the file back as it was"):
        sources_of([one])
