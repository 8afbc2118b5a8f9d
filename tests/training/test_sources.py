"""Whose source files decide whether work of a killed run is taken up."""

import importlib
import sys

import pytest

from fti_assets.training import sources

FILES = {
    "srcapp/__init__.py": "",
    "srcapp/model.py": "import json, numpy\nfrom srchelpers import loss\nfrom . import near\nfrom .deep.net import Net\n"
    "def train(data):\n    import srclate\n    return Net",
    "srcapp/near.py": "Y = 1",
    "srcapp/far.py": "Z = 1",
    "srcapp/deep/__init__.py": "",
    "srcapp/deep/net.py": "from ..near import Y\nclass Net: pass",
    "srchelpers.py": "import srcconstants as c\ndef loss(p, y): return p - y",
    "srcconstants.py": "import srchelpers",
    "srclate.py": "A = 1",
    "srcother.py": "B = 1",
}
COUNT = set(FILES) - {"srcapp/far.py", "srcother.py"}


@pytest.fixture
def model(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sources, "_STARTED", float("inf"))
    yield importlib.import_module("srcapp.model")
    for name in [one for one in sys.modules if one.startswith("src")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", FILES)
def test_a_change_of_an_imported_file_counts(model, tmp_path, name):
    before = sources.function_hash(model.train)
    assert sources.function_hash(model.train) == before
    (tmp_path / name).write_text(FILES[name] + "\nNEW = 1")
    assert (sources.function_hash(model.train) != before) == (name in COUNT)


def test_imported_or_not_is_the_same_hash(model):
    before = sources.function_hash(model.train)
    importlib.import_module("srclate")
    assert sources.function_hash(model.train) == before


def test_code_that_cannot_be_read_is_never_the_same(model, monkeypatch):
    scope = {"__name__": "srcconsole"}
    exec("def train(data): pass", scope)
    assert sources.function_hash(scope["train"]) != sources.function_hash(scope["train"])
    monkeypatch.setattr(sources, "_STARTED", 0.0)  # the files were saved after it
    assert sources.function_hash(model.train) != sources.function_hash(model.train)


def test_an_installed_package_is_followed_for_its_own_function(model, tmp_path, monkeypatch):
    sources._is_installed.cache_clear()
    monkeypatch.setattr(sources, "_LIBRARIES", (tmp_path,))
    try:
        function, kind = sources.function_hash(model.train), sources.source_hash(model.Net)
        (tmp_path / "srcapp/near.py").write_text("Y = 2")
        assert sources.function_hash(model.train) != function
        assert sources.source_hash(model.Net) == kind
    finally:
        sources._is_installed.cache_clear()


def test_inner_modules_and_functions_of_a_net_count(model, tmp_path):
    torch = pytest.importorskip("torch")
    inner = type("Inner", (torch.nn.Module,), {"__module__": "srcapp.far"})
    importlib.import_module("srcapp.far")
    net = torch.nn.Sequential(torch.nn.Linear(1, 1), inner())
    net.loss = importlib.import_module("srchelpers").loss
    for name in ("srcapp/far.py", "srcconstants.py"):
        before = sources.module_hash(net)
        (tmp_path / name).write_text(FILES[name] + "\nNEW = 1")
        assert sources.module_hash(net) != before
