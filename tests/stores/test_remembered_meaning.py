"""What an on-demand function means is remembered for as long as every source that it was read from is the same."""

import os
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest

from fti_assets.core.manifest import Column, OnDemandCall
from fti_assets.core.on_demand import meaning as room
from fti_assets.core.on_demand import reach
from fti_assets.core.on_demand.meaning import meaning
from fti_assets.errors import DeclarationError
from fti_assets.training.views import union

MODULE = """
from mem_rules import limit

import fti_assets as fti


@fti.on_demand(outputs={"y": float})
def capped(x):
    return {"y": limit(x)}
"""
RULES = "def limit(x):\n    return x.clip(0, 7)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mem_module.py").write_text(MODULE)
    (tmp_path / "mem_rules.py").write_text(RULES)
    return tmp_path


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were followed, which are none where a meaning was remembered."""
    followed: list[str] = []
    name: Callable[..., None] = reach.Reach.name
    monkeypatch.setattr(reach.Reach, "name", lambda self, *one: followed.append(one[1]) or name(self, *one))
    return followed


def test_a_second_look_reads_no_tree(folder: Path, readings: list[str]) -> None:
    first = meaning("mem_module", "capped")
    assert "limit" in readings
    readings.clear()
    assert meaning("mem_module", "capped") == first
    assert readings == []


def test_a_changed_helper_of_the_same_size_and_time_counts(folder: Path) -> None:
    first = meaning("mem_module", "capped")
    path = folder / "mem_rules.py"
    before = path.stat()
    path.write_text(RULES.replace("7", "8"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert meaning("mem_module", "capped") != first
    path.write_text(RULES)
    assert meaning("mem_module", "capped") == first


def test_a_module_that_becomes_a_package_counts(folder: Path) -> None:
    first = meaning("mem_module", "capped")
    (folder / "mem_rules").mkdir()
    (folder / "mem_rules" / "__init__.py").write_text(RULES.replace("7", "8"))
    assert meaning("mem_module", "capped") != first  # a package goes before a module


def test_a_comment_changes_no_meaning_and_a_lost_module_is_told(folder: Path) -> None:
    first = meaning("mem_module", "capped")
    (folder / "mem_rules.py").write_text(f"# a limit\n{RULES}")
    assert meaning("mem_module", "capped") == first
    (folder / "mem_module.py").unlink()
    with pytest.raises(DeclarationError, match="mem_module"):
        meaning("mem_module", "capped")


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    folder: Path, readings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reach.Module.read
    texts = iter([RULES, RULES.replace("7", "8")])

    def changing(name: str) -> reach.Module:
        if name == "mem_rules":
            (folder / "mem_rules.py").write_text(next(texts))
            read(name)
            (folder / "mem_rules.py").write_text(next(texts))
        return read(name)

    monkeypatch.setattr(reach.Module, "read", changing)
    meaning("mem_module", "capped")
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(folder))
    readings.clear()
    monkeypatch.setattr(reach.Reach, "name", _noting(readings))
    meaning("mem_module", "capped")
    assert readings


def _noting(followed: list[str]) -> Callable[..., None]:
    name = reach.Reach.name
    return lambda self, *one: followed.append(one[1]) or name(self, *one)


def test_identities_of_two_releases_that_fit_the_source_are_one_function(folder: Path) -> None:
    (folder / "mem_module.py").write_text(f"{MODULE}\nSCALE: int = 3\nSHOWN = [limit]\n")
    known = [room._meaning("mem_module", "capped", counts) for counts in ("what is read", "by attribute", "whole")]
    calls = [
        OnDemandCall("capped", 1, "mem_module", "capped", f"sha {place}", ("x",), (Column("y", "number"),), (), one)
        for place, one in enumerate([*known, "0" * 64])
    ]
    now, *earlier, other = (union._function(one) for one in calls)
    assert earlier == [now, now]
    assert other != now
    assert other.meaning == "0" * 64
    (folder / "mem_rules.py").unlink()
    assert union._function(calls[0]).meaning == known[0]


CIRCLE = """
import fti_assets as fti

MADE = []
SEEN = {}


def grow(rows, left):
    shrink(rows, left - 1) if left else None
    rows.append(left)


def shrink(rows, left):
    grow(rows, left) if left else None


class Tree:
    def leaf(self):
        return Leaf(self)


class Leaf:
    def __init__(self, tree):
        SEEN[tree] = self

    def up(self):
        return Tree()


@fti.on_demand(outputs={"y": float})
def first(x):
    shrink(MADE, 3)
    return {"y": x + len(MADE)}


@fti.on_demand(outputs={"y": float})
def second(x):
    grow(MADE, 3)
    return {"y": x + len(SEEN) + len(MADE)}


@fti.on_demand(outputs={"y": float})
def third(x):
    return {"y": x if Tree().leaf() else -x}
"""


def test_functions_of_one_module_share_its_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = MODULE[MODULE.index("@") :].replace("capped", "halved").replace("limit(x)", "x / 2")
    (folder / "mem_module.py").write_text(MODULE + other)
    read, names = reach.Module.read, list[str]()
    monkeypatch.setattr(reach.Module, "read", lambda name: names.append(name) or read(name))
    first = meaning("mem_module", "capped")
    assert meaning("mem_module", "halved") != first
    assert names == ["mem_module", "mem_rules"]
    (folder / "mem_rules.py").write_text(RULES.replace("7", "8"))
    assert meaning("mem_module", "capped") != first
    assert names == ["mem_module", "mem_rules"] * 2


@pytest.mark.parametrize("counts", room._READINGS)
def test_which_function_is_asked_of_first_makes_no_difference(folder: Path, counts: str) -> None:
    """Where names lead to each other in a circle, what is learned of one rests on where the circle was entered."""
    (folder / "mem_module.py").write_text(CIRCLE)
    alone = {}
    for function in ("first", "second", "third"):
        (folder / "mem_module.py").write_text(f"{CIRCLE}# {function}\n")  # read again
        alone[function] = room._meaning("mem_module", function, counts)
    for end, functions in enumerate(permutations(alone)):
        (folder / "mem_module.py").write_text(f"{CIRCLE}# {end}\n")
        assert {one: room._meaning("mem_module", one, counts) for one in functions} == alone
