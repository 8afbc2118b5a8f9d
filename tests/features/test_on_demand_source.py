"""What the source of an on-demand function may not say."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fti_assets.errors import DeclarationError
from fti_assets.features.groups.on_demand_source import check_source, imported_modules, module_sha256

Written = Callable[..., str]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Writes modules into a folder on the import path, and gives the name of the first."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**sources: str) -> str:
        for name, source in sources.items():
            file = tmp_path / f"{name.replace('__in__', '/')}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(source)
        return next(iter(sources)).replace("__in__", ".")

    return write


ALLOWED = """
from __future__ import annotations
import math, datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING
import numpy as np
import numpy.typing
import fti_assets as fti
from fti_assets import on_demand
from fti_assets.errors import DataError
if TYPE_CHECKING:
    import pandas as pd
EPOCH = dt.datetime(1970, 1, 1)
@fti.on_demand(outputs={"x": float})
def made(t): return {"x": np.sin(t) + dt.timedelta(1).total_seconds() + np.datetime64("2013-01-01").astype(int)}
"""


def test_numpy_the_library_and_what_is_deterministic_is_fine(written: Written) -> None:
    check_source(written(od_allowed=ALLOWED), what="on-demand feature 'made'")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import pandas as pd", "line 1 of module 'od' says 'import pandas as pd', which takes 'pandas', which an app"),
        ("import pandas.api.types", "'pandas', which an app does not have"),
        ("def made(x):\n    from dagster import asset", "line 2 of module 'od' says 'from dagster import asset', which"),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None", "line 2 .*'import torch', which"),
        ("import nowhere_to_be_found", "'nowhere_to_be_found', which is not there"),
        ("import importlib\nm = importlib.import_module('pandas')", "line 2 .*import_module\\('pandas'\\)., which takes 'pandas'"),
        ("from importlib import import_module as im\nim('dagster')", "line 2 .* says .im\\('dagster'\\)., which takes 'dagster'"),
        ("__import__('pandas')", "which takes 'pandas'"),
        ("n = 'pandas'\n__import__(n)", "line 2 .*whose name cannot be told"),
        ("from fti_assets import feature_group", "takes 'fti_assets.feature_group', which needs Dagster or pandas"),
        ("import fti_assets as fti\nx = fti.read", "line 2 .*takes 'fti_assets.read', which needs Dagster"),
        ("from fti_assets.training.views.view import FeatureView", "takes 'fti_assets.training.views.view', which needs Dagster"),
        ("import os", "takes 'os', which depends on the machine"),
        ("from urllib.request import urlopen", "takes 'urllib', which depends on the machine"),
        ("import random", "takes 'random', which is another in training than when it serves"),
        ("from time import time", "takes 'time', which is another in training"),
        ("import numpy as np\ndef made(x):\n    return np.random.rand(3)", "line 3 .*'np.random', which draws at random"),
        ("from numpy import random", "draws at random"),
        ("import numpy.random as r", "draws at random"),
        ("from datetime import datetime\ndatetime.now()", "line 2 .*'datetime.now\\(\\)', which asks for the clock"),
        ("import datetime as dt\ndt.datetime.utcnow()", "asks for the clock.*: take the prediction time as an input"),
        ("from datetime import date as d\nd.today()", "asks for the clock"),
        ("import numpy as np\nnp.datetime64('now')", "asks for the clock"),
        ("import numpy as np\nT = np.load('t.npy')", "line 2 .*np.load.*, which reads a file, which is not part of the source"),
        ("import numpy as np\nread = np.load\nT = read('t.npy')", "line 2 .*np.load.*, which reads a file"),
        ("from numpy import load\nT = list(map(load, ['t.npy']))", "line 2 .*load.*, which reads a file"),
        ("from numpy import loadtxt\nT = loadtxt('t')", "which reads a file"),
        ("def made(x):\n    return open('t').read()", "line 2 .*which reads a file"),
        ("T = eval('__import__(\"h\").T')", "line 1 .*runs a text.*: write the code out"),
        ("def made(x):\n    exec('y = 1')", "line 2 .*runs a text"),
        ("run = eval\nT = run('1')", "line 1 .*runs a text"),
        ("T = compile('1', 'x', 'eval')", "line 1 .*runs a text"),
        ("import numpy as np\nT = getattr(np, 'lo' + 'ad')('b')", "line 2 .*cannot be told before it runs: write the name out"),
        ("import numpy as np\ndef made(n):\n    return getattr(np.lib, n)", "line 3 .*write the name out"),
        ("import numpy as np\nm = np\nT = getattr(m, 'lo' + 'ad')('b')", "line 3 .*write the name out"),
        ("import numpy as np\nT = getattr(np, 'load')('b')", "line 2 .*reads a file"),
        ("x = hash('a')", "takes hash\\(\\), which gives text another number in each process"),
        ("x = (", "module 'od' cannot be read"),
    ],
)  # fmt: skip
def test_what_app_cannot_run_to_same_result_is_refused(written: Written, source: str, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        check_source(written(od=source), what="on-demand feature 'made'")


def test_the_error_says_what_to_do(written: Written) -> None:
    with pytest.raises(
        DeclarationError, match="'made': .*only numpy and fti_assets.*move the function to a module of its own"
    ):
        check_source(written(od="import pandas"), what="on-demand feature 'made'")


def test_function_called_like_forbidden_one_is_fine(written: Written) -> None:
    check_source(written(od_named="def hash(x): return x\nclass C:\n    now = 1\ny = hash(C.now)"), what="f")


def test_parts_named_and_patterns_compiled_are_fine(written: Written) -> None:
    source = "import re\nimport numpy as np\nP = re.compile('a')\nf = getattr(np, 'sin')\ndef g(row): return getattr(row, 'a', None)"
    check_source(written(od_parts=source), what="f")


def test_what_a_module_imports_is_read_too(written: Written) -> None:
    first = written(od_first="from od_second import f", od_second="def f():\n    import od_third", od_third="import os")
    with pytest.raises(DeclarationError, match="line 1 of module 'od_third' says 'import os'"):
        check_source(first, what="f")


def test_relative_imports_and_the_package_itself_are_read(written: Written) -> None:
    name = written(
        od_package__in__on_demand="from . import rules\nfrom .tables import T",
        od_package__in__rules="import math",
        od_package__in__tables="import pandas\nT = 1",
        od_package__in____init__="",
    )
    with pytest.raises(DeclarationError, match="line 1 of module 'od_package.tables' says 'import pandas'"):
        check_source(name, what="f")
    written(od_package__in__tables="T = 1", od_package__in____init__="import dagster")
    with pytest.raises(DeclarationError, match="line 1 of module 'od_package' says 'import dagster'"):
        check_source(name, what="f")
    written(od_package__in____init__='"""A package."""')
    check_source(name, what="f")
    assert imported_modules(name) == ["od_package.rules", "od_package.tables"]


def test_a_circle_of_imports_ends(written: Written) -> None:
    first = written(od_round="import od_about", od_about="import od_round")
    check_source(first, what="f")
    assert imported_modules(first) == ["od_about"]


def test_module_without_source_is_skipped_and_has_no_hash() -> None:
    check_source("nowhere_to_be_found", what="f")
    with pytest.raises(DeclarationError, match="'nowhere_to_be_found' have no source file"):
        module_sha256("nowhere_to_be_found")


SERVE = """
import hashlib, sys
from pathlib import Path
import numpy as np
from fti_assets.core.manifest import Column, OnDemandCall, OnDemandModule
from fti_assets.core.on_demand.call import LoadedCall
def sha(name): return hashlib.sha256(Path(name).read_bytes()).hexdigest()
call = OnDemandCall("calendar", 1, "od_served", "calendar", sha("od_served.py"), ("t", "late"),
                    (Column("hour", "integer"), Column("risky", "boolean")), (OnDemandModule("od_rules", sha("od_rules.py")),))
print(LoadedCall(call, types={})({"t": np.array(["2013-07-04T17:30"], "datetime64[us]"), "late": np.array([0.7])}, 1))
print([name for name in ("pandas", "dagster", "duckdb", "pyarrow") if name in sys.modules])
"""
SERVED = """
import numpy as np
import fti_assets as fti
from od_rules import RISKY
@fti.on_demand(outputs={"hour": int, "risky": bool})
def calendar(t, late):
    return {"hour": t.astype("datetime64[h]").astype(np.int64) % 24, "risky": late > RISKY}
"""


def test_one_row_is_served_without_pandas(written: Written, tmp_path: Path) -> None:
    written(od_served=SERVED, od_rules="RISKY = 0.5")
    code = [sys.executable, "-c", SERVE]
    root = Path(__file__).parents[2]
    result = subprocess.run(
        code, cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[[17], [True]]\n[]\n"
