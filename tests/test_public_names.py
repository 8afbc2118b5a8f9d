"""The public surface, and what importing it costs."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fti_assets

ROOT = Path(__file__).parents[1]
HEAVY = ("dagster", "torch", "pandas", "pandera", "duckdb", "pyarrow", "onnx", "sklearn", "pytorch_lightning")


def declared_for_type_checkers() -> list[str]:
    """The names that the module imports under TYPE_CHECKING: what an editor offers."""
    tree = ast.parse(Path(str(fti_assets.__file__)).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [statement for statement in block.body if isinstance(statement, ast.ImportFrom)]
    return [alias.asname or alias.name for statement in imports for alias in statement.names]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_names_are_those_of_the_list() -> None:
    assert sorted(fti_assets.__all__) == sorted(declared_for_type_checkers())
    assert sorted(fti_assets.__all__) == sorted(fti_assets._MODULES)
    assert dir(fti_assets) == sorted(fti_assets.__all__)


@pytest.mark.parametrize("name", fti_assets.__all__)
def test_each_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value = getattr(fti_assets, name)
    assert value.__name__ == name
    assert (value.__doc__ or "").strip()


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'feature_grop'"):
        fti_assets.feature_grop  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = f"print([name for name in {HEAVY} if name in sys.modules])"
    assert python(f"import sys, fti_assets; {loaded}") == "[]"
    assert python(f"import sys; from fti_assets import Predictor, on_demand; {loaded}") == "[]"


@pytest.mark.parametrize(
    ("package", "name", "extra"),
    [
        ("dagster", "feature_group", "pipelines"),
        ("dagster", "build_definitions", "pipelines"),
        ("duckdb", "feature_group", "pipelines"),
        ("duckdb", "read", "pipelines"),
    ],
)
def test_a_missing_extra_is_named(package: str, name: str, extra: str) -> None:
    code = f"""
import sys
sys.modules["{package}"] = None
import fti_assets
from fti_assets.errors import MissingExtraError
try:
    fti_assets.{name}
except MissingExtraError as error:
    print(error)
"""
    expected = f"fti_assets.{name} needs {package}, which is not installed: pip install 'fti-assets[{extra}]'"
    assert python(code) == expected


STEPS = """
import os
import sys

heavy = ("pandas", "pandera", "narwhals")
for package in heavy:  # definitions load without any of them
    sys.modules[package] = None
import dagster as dg
import fti_assets as fti
from fti_assets.errors import MissingExtraError

@fti.feature_group(keys=["plane"], event_time="at")
def planes() -> object:
    return __import__("pyarrow").table({"plane": [1], "at": ["2024-05-01"], "seats": [9]})

dg.Definitions.validate_loadable(fti.build_definitions([planes]))
quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
for package in heavy:
    del sys.modules[package]
for line in sys.stdin:
    package, code = line.rstrip().split(" ", 1)
    sys.stdout.flush()
    child = os.fork()  # one process a case, all of which have imported Dagster
    if child == 0:
        sys.modules[package] = None
        try:
            exec(code)
            print("nothing is missing")
        except MissingExtraError as error:
            print(error)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""
STEP = 'dg.materialize([planes.assets_def], resources={"fti": fti.Stores()}, run_config=quiet)'


def test_what_only_a_step_needs_is_named_there(tmp_path: Path) -> None:
    cases = [
        ("pandas", STEP, "planes_v1"),
        ("pandera", STEP, "planes_v1"),
        ("narwhals", STEP, "planes_v1"),
        ("pandas", "fti.read(planes)", "as_='pandas'"),
        ("pandas", "import fti_assets.testing", "fti_assets.testing"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", STEPS],
        input="".join(f"{package} {code}\n" for package, code, _ in cases),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "FTI_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{what} needs {package}, which is not installed: pip install 'fti-assets[pipelines]'"
        for package, _, what in cases
    ], done.stderr


@pytest.mark.parametrize(
    "command", [["describe"], ["search", "x"], ["forget", "planes", "--key", "plane=1"], ["reset", "planes"]]
)
def test_a_command_names_the_missing_extra(command: list[str]) -> None:
    code = f"""
import sys
sys.modules["dagster"] = None
sys.stderr = sys.stdout
from fti_assets.cli import main
assert main({command!r}) == 1
"""
    expected = f"fti: fti {command[0]} needs dagster, which is not installed: pip install 'fti-assets[pipelines]'"
    assert python(code) == expected


@pytest.mark.parametrize(("module", "extra"), [("torch", "training"), ("onnx", "training"), ("skl2onnx", "sklearn")])
def test_missing_extra_is_named_where_it_is_first_needed(module: str, extra: str) -> None:
    code = f"""
import sys
sys.modules["{module}"] = None
from fti_assets.errors import MissingExtraError
from fti_assets.core.extras import require
try:
    require("{module}")
except MissingExtraError as error:
    print(error)
"""
    assert python(code) == f"a model needs {module}, which is not installed: pip install 'fti-assets[{extra}]'"


def test_fault_inside_package_is_not_called_missing_extra() -> None:
    code = """
import sys
sys.modules["fti_assets.training.views.view"] = None
import fti_assets
try:
    fti_assets.FeatureView
except ModuleNotFoundError as error:
    print(type(error).__name__, error.name)
"""
    assert python(code) == "ModuleNotFoundError fti_assets.training.views.view"
