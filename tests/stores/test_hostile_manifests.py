"""A model store that somebody else has written into: nothing but declared on-demand functions is imported or called."""

import hashlib
import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fti_assets.core.manifest import Column, OnDemandCall, OnDemandModule
from fti_assets.core.on_demand.call import LoadedCall
from fti_assets.core.on_demand.meaning import meaning
from fti_assets.core.on_demand.syntax.source import source_file
from fti_assets.errors import FtiError
from fti_assets.stores.models.store import ModelStore
from tests.stores.test_models import GRAPH, made

TOUCHED = "od_hostile_touched"
BODY = f"import sys\nsys.modules[{TOUCHED!r}] = sys\n"
DECLARED = "from fti_assets import on_demand\n@on_demand(outputs={'y': float})\ndef made(x):\n    return {'y': x}\n"


def program_of(file: Path) -> ModuleType:
    """The program that runs, an app; that of the tests imports much, all of which its meaning would rest on."""
    spec = spec_from_file_location("__main__", file)
    assert spec is not None
    return module_from_spec(spec)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Modules on the app's import path, most of which say that they ran."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, TOUCHED, raising=False)
    program = tmp_path / "od_hostile_app.py"
    program.write_text("from fti_assets.core.on_demand.meaning import meaning\n")
    monkeypatch.setitem(sys.modules, "__main__", program_of(program))
    package = tmp_path / "od_hostile_pack"
    package.mkdir()
    (package / "__init__.py").write_text(BODY)
    (package / "inner.py").write_text("def made(x):\n    return {'y': x}\n")
    (tmp_path / "od_hostile_plain.py").write_text(BODY + "def made(x):\n    return {'y': x}\n")
    (tmp_path / "od_hostile_good.py").write_text(
        DECLARED
        + "import functools\n\nclass Called:\n    def __call__(self, x):\n        raise SystemExit\n\n"
        + "def other(x):\n    raise SystemExit\n\n\ninstance = Called()\npartial = functools.partial(other, 1)\n"
        + "class Held:\n    function = other\n"
    )
    return tmp_path


def call(module: str, function: str = "made", **changed: Any) -> OnDemandCall:
    inputs = OnDemandCall("f", 1, module, function, "0" * 64, ("x",), (Column("y", "number"),))
    return replace(inputs, **changed)


HOSTILE = [
    call("od_hostile_plain"),
    call("od_hostile_pack.inner"),
    call("od_hostile_pack"),
    call("..od_hostile_plain"),
    call("od_hostile_pack..inner"),
    call(".od_hostile_plain"),
    call(""),
    call("."),
    call("__main__"),
    call("__main__", "meaning"),
    call("builtins", "exec"),
    call("os", "system"),
    call("subprocess", "run"),
    call("../od_hostile_plain"),
    call("/tmp/od_hostile_plain"),
    call("od_hostile_plain\x00"),
    call("od_hostile_plain\ud800"),
    call("od_hostile_plain.py"),
    call("antigravity"),
    call("this"),
    call("a." * 100_000 + "b"),
    call("od_hostile_good", "made.__wrapped__"),
    call("od_hostile_good", "Held.function"),
    call("od_hostile_good", "__builtins__"),
    call("od_hostile_good", "on_demand"),
    call("od_hostile_good", "Called"),
    call("od_hostile_good", "instance"),
    call("od_hostile_good", "partial"),
    call("od_hostile_good", "other"),
    call("od_hostile_good", ""),
    call("od_hostile_good", "__getattr__"),
    call("od_hostile_good", imports=(OnDemandModule("od_hostile_plain", ""),)),
    call("od_hostile_good", imports=(OnDemandModule("od_hostile_pack.inner", "0" * 64),)),
    call("od_hostile_good", imports=(OnDemandModule("..", ""), OnDemandModule("\x00", ""))),
]


@pytest.mark.parametrize("with_meaning", [False, True])
@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_a_hostile_call_is_one_error_and_runs_nothing(folder: Path, place: int, with_meaning: bool) -> None:
    """Also where the attacker knows the source of the app, and so its hashes."""
    hostile = HOSTILE[place]
    if with_meaning:
        try:
            known = meaning(hostile.module, hostile.function)
        except FtiError:
            known = "0" * 64
        hostile = replace(hostile, meaning=known)
    try:
        file = source_file(hostile.module)
    except (ValueError, OSError):
        file = None
    if file is not None:
        hostile = replace(hostile, module_sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    before = set(sys.modules)
    is_good = hostile.function == "made" and hostile.module == "od_hostile_good"
    if is_good and with_meaning:
        LoadedCall(hostile, types={})  # what else it names is neither imported nor run
    else:
        with pytest.raises(FtiError):
            LoadedCall(hostile, types={})
    ran = set(sys.modules) - before
    assert not {name for name in ran if name.startswith(("od_hostile_p", TOUCHED, "antigravity", "this"))}
    sys.modules.pop("od_hostile_good", None)


def test_names_made_by_module_getattr_are_never_asked(folder: Path) -> None:
    source = (
        DECLARED
        + f"def __getattr__(name):\n    import sys\n    sys.modules[{TOUCHED!r}] = sys\n    return made.function\n"
    )
    (folder / "od_hostile_lazy.py").write_text(source)
    own = hashlib.sha256(source.encode()).hexdigest()
    with pytest.raises(FtiError, match="'od_hostile_plain' of module 'od_hostile_lazy' is no function declared"):
        LoadedCall(call("od_hostile_lazy", "od_hostile_plain", module_sha256=own), types={})
    assert TOUCHED not in sys.modules
    sys.modules.pop("od_hostile_lazy")


EDITS = {
    "deep lists": ('"encoders": {}', '"encoders": {"a": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "deep objects": ('"encoders": {}', '"encoders": ' + '{"a":' * 100_000 + "1" + "}" * 100_000),
    "NaN for a version": ('"version": 1,', '"version": NaN,'),
    "a huge version": ('"version": 1,', '"version": ' + "9" * 4_000 + ","),
    "a version of more digits than are read": ('"version": 1,', '"version": ' + "9" * 10_000 + ","),
    "a fraction": ('"snapshot": 1', '"snapshot": 1e400'),
    "a cutoff beyond": ("2013-05-01T00:00:00", "99999-05-01T00:00:00"),
    "another model's name": ('"model": "delay_net"', '"model": "../delay_net"'),
    "another build's": ('"build": "', '"build": "../'),
    "an unknown task": ('"task": "binary"', '"task": "exec"'),
    "a field more": ('"model": ', '"__class__": "os.system", "model": '),
    "text of half a character": ('"task": "binary"', '"task": "\\ud800"'),
    "another format": ('"format": 1', '"format": 1e999'),
    "a list": ('"model": ', '["x"], "model": '),
}


@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_a_hostile_manifest_is_damage(tmp_path: Path, edit: str) -> None:
    store, (old, new) = ModelStore(tmp_path / "models"), EDITS[edit]
    manifest = made(5)
    store.publish(manifest, GRAPH, "# card")
    path = store.folder(manifest) / "manifest.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(FtiError) as caught:
        store.load("delay_net", manifest.reference)
    assert len(str(caught.value)) < 2_000
