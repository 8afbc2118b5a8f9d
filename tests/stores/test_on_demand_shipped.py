"""On-demand code that comes with a model is imported from its bytes, as Python would from files."""

import sys

import pytest

from fti_assets.core.manifest import OnDemandCall
from fti_assets.core.on_demand.call import LoadedCall, check_source
from fti_assets.core.on_demand.meaning import meaning
from fti_assets.core.on_demand.shipped import ShippedModules, sources_of
from fti_assets.core.on_demand.syntax.source import source_file
from fti_assets.errors import DamagedError, PredictionError

SOURCES = {
    "shipped_app/__init__.py": "from shipped_app.tables import HOLIDAYS\nNAME = 'app'\n",
    "shipped_app/tables.py": """
from __future__ import annotations
from dataclasses import dataclass
import shipped_app.numbers.small as small
@dataclass
class Table:
    days: int = small.DAYS
HOLIDAYS = Table()
""",
    "shipped_app/numbers/small.py": "DAYS = 3\n",
    "shipped_app/calendar.py": """
import numpy as np
import shipped_app.numbers.small
from fti_assets import on_demand
from . import HOLIDAYS, tables
from .numbers import small
from .numbers.small import *
from shipped_plain import twice

@on_demand(outputs={"days": int})
def calendar(n):
    from shipped_late import ONE
    assert tables.HOLIDAYS is HOLIDAYS and shipped_app.numbers.small is small and DAYS == 3
    return {"days": twice(n) + HOLIDAYS.days + small.DAYS + ONE}
""",
    "shipped_plain.py": "def twice(n):\n    return 2 * n\n",
    "shipped_late.py": "ONE = 1\n",
}


@pytest.fixture
def call(tmp_path, monkeypatch) -> OnDemandCall:
    """The function's record, made where its files are."""
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    from fti_assets.core.manifest import Column

    return OnDemandCall(
        "calendar", 1, "shipped_app.calendar", "calendar", "", ("n",), (Column("days", "integer"),),
        meaning=meaning("shipped_app.calendar", "calendar"),
    )  # fmt: skip


def test_every_module_that_runs_is_shipped_and_runs_alone(call, monkeypatch):
    import numpy as np

    sources = sources_of([call])
    assert {name: content.decode() for name, content in sources.items()} == SOURCES
    monkeypatch.undo()  # none of the files is on the import path any more
    modules = ShippedModules(sources, where="a.zip/code")
    with modules.allow_reading():
        loaded = LoadedCall(call, modules.load, types={})
    assert loaded({"n": np.array([1.0, 2.0])}, 2) == [[9, 11]]
    assert not [name for name in sys.modules if name.startswith("shipped_")]
    assert source_file("shipped_plain") is None


def test_edited_code_is_refused_before_it_runs(call, monkeypatch):
    sources = sources_of([call])
    sources["shipped_app/numbers/small.py"] = b"DAYS = 4\nraise SystemExit('it ran')\n"
    modules = ShippedModules(sources, where="a.zip/code")
    with (
        modules.allow_reading(),
        pytest.raises(PredictionError, match="a.zip/code/shipped_app/calendar.py, means something else"),
    ):
        LoadedCall(call, modules.load, types={})


def test_a_module_that_is_left_out_is_named(call, monkeypatch):
    sources = sources_of([call])
    del sources["shipped_app/calendar.py"]
    modules = ShippedModules(sources, where="a.zip/code")
    with (
        modules.allow_reading(),
        pytest.raises(PredictionError, match="is in module 'shipped_app.calendar', and it is not there"),
    ):
        check_source(call)
    with pytest.raises(ModuleNotFoundError, match="No module named 'shipped_app.calendar'"):
        modules.load("shipped_app.calendar")


def test_files_of_this_process_are_not_read_for_shipped_ones(call):
    with ShippedModules({}, where="a.zip/code").allow_reading():
        assert source_file("shipped_plain") is None
    assert source_file("shipped_plain") is not None


def test_a_failing_module_is_tried_again_and_leaves_nothing(call):
    modules = ShippedModules({"shipped_bad.py": b"raise ValueError('no')\n"}, where="a.zip/code")
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            modules.load("shipped_bad")
    assert "shipped_bad" not in sys.modules


@pytest.mark.parametrize("path", ["../evil.py", "a b.py", "../a.txt", ".env", "/a.py", "a//b.py", "1.py", ""])
def test_a_path_that_is_no_modules_is_refused(path):
    with pytest.raises(DamagedError, match="which is no module's path"):
        ShippedModules({path: b""}, where="a.zip/code")
