"""On-demand functions that need a package beside numpy: it is named, written down with its release, and compared when it is loaded."""

import importlib.metadata
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fti_assets as fti
from fti_assets.core.manifest import OnDemandCall, OnDemandPackage
from fti_assets.core.on_demand.call import LoadedCall
from fti_assets.core.on_demand.meaning import meaning
from fti_assets.core.on_demand.shipped import ShippedModules, sources_of
from fti_assets.errors import DeclarationError, PredictionError
from fti_assets.features.groups.on_demand_source import check_source

HERE = importlib.metadata.version("msgspec")
SOURCES = {
    "required_form.py": """
import msgspec
import numpy as np
from required_helper import decode

import fti_assets as fti


@fti.on_demand(outputs={"answers": int}, requires="msgspec")
def form(answers: np.ndarray) -> dict[str, np.ndarray]:
    assert msgspec.NODEFAULT is not None
    return {"answers": np.array([len(decode(text)) for text in answers])}
""",
    "required_helper.py": "from msgspec.json import decode\n",
}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnDemandCall:
    for name, text in SOURCES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("required_form", "required_helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import required_form

    return required_form.form.call


def test_the_release_is_written_down_and_no_code_of_the_package_counts(call: OnDemandCall) -> None:
    assert call.requires == (OnDemandPackage("msgspec", "msgspec", HERE),)
    assert [one.module for one in call.imports] == ["required_helper"]
    assert set(sources_of([call])) == set(SOURCES)


def test_a_package_that_is_not_named_is_refused(call: OnDemandCall) -> None:
    check_source(call.module, what="form", requires=["msgspec"])
    with pytest.raises(
        DeclarationError, match=r"takes 'msgspec', which an app does not have.*requires=\['tokenizers'\]"
    ):
        check_source(call.module, what="form")
    with pytest.raises(DeclarationError, match="takes 'msgspec'"):
        check_source(call.module, what="form", requires=["pandas"])


def test_it_loads_with_the_release_that_the_model_learned_with(call: OnDemandCall) -> None:
    assert LoadedCall(call, types={})({"answers": np.array(["[1, 2]", "[]"], dtype=object)}, 2) == [[2, 0]]
    other = replace(call, requires=(OnDemandPackage("msgspec", "msgspec", "0.1"),))
    with pytest.raises(PredictionError) as refused:
        LoadedCall(other, types={})
    assert str(refused.value) == (
        f"on-demand function 'form' version 1 needs msgspec 0.1, with which the model learned, and msgspec {HERE} is installed: "
        "pip install 'msgspec==0.1', or serve a build that learned with what is here"
    )
    absent = replace(call, requires=(OnDemandPackage("nowhere", "no-where", "2.0"),))
    with pytest.raises(
        PredictionError, match=r"needs no-where 2\.0.*it is not installed: pip install 'no-where==2\.0'"
    ):
        LoadedCall(absent, types={})


def test_the_package_is_compared_before_the_module_runs(call: OnDemandCall, tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from dataclasses import replace
from fti_assets.core.manifest import Column, OnDemandCall, OnDemandPackage
from fti_assets.core.on_demand.call import LoadedCall
call = OnDemandCall("form", 1, "required_form", "form", "", ("answers",), (Column("answers", "integer"),), meaning={call.meaning!r},
                    requires=(OnDemandPackage("msgspec", "msgspec", "0.1"),))
try:
    LoadedCall(call, types={{}})
except Exception as error:
    print(type(error).__name__, "required_form" in sys.modules, "msgspec" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["PredictionError", "False", "False"]


def test_modules_that_come_in_one_file_mean_the_same(call: OnDemandCall, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = sources_of([call])
    monkeypatch.undo()
    modules = ShippedModules(sources, where="a.zip/code")
    with modules.allow_reading():
        loaded = LoadedCall(call, modules.load, types={})
    assert loaded({"answers": np.array(["[1]"], dtype=object)}, 1) == [[1]]


def test_the_meaning_is_the_same_where_the_app_is_an_installed_package(
    call: OnDemandCall, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from fti_assets.core.on_demand import tricks

    monkeypatch.setattr(tricks, "_SITE_PACKAGES", (Path("/"),))
    (tmp_path / "required_form.py").write_text(SOURCES["required_form.py"] + "# so that it is read again\n")
    assert meaning("required_form", "form", ["msgspec"]) == call.meaning


def test_other_code_of_the_function_is_another_meaning(call: OnDemandCall, tmp_path: Path) -> None:
    (tmp_path / "required_helper.py").write_text("from msgspec.yaml import decode\n")
    with pytest.raises(PredictionError, match="means something else"):
        LoadedCall(call, types={})


@pytest.mark.parametrize(
    ("requires", "message"),
    [
        ("scikit-learn", "imported by"),
        ("json", "there or refused"),
        ("numpy", "there or refused"),
        (["a b"], "imported by"),
    ],
)
def test_what_is_no_package_of_others_is_refused(requires: object, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        fti.on_demand(name="x", outputs={"x": int}, requires=requires)(lambda x: {"x": x})  # type: ignore[arg-type]


def test_a_package_that_nothing_installed_brings_cannot_be_written_down(call: OnDemandCall) -> None:
    import required_form

    with pytest.raises(DeclarationError, match="requires 'nowhere', and no installed distribution brings it"):
        replace(required_form.form, requires=("nowhere",)).call  # noqa: B018
