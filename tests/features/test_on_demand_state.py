"""Code of an on-demand function's modules that sets the state of a library when it is imported or called."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fti_assets.core.on_demand.meaning import meaning
from fti_assets.errors import DeclarationError
from fti_assets.features.groups.on_demand_source import check_source

Write = Callable[..., None]
MAIN = """
import od_side, warnings, decimal, numpy as np
from fti_assets import on_demand
@on_demand(outputs={"y": float})
def made(x):
    with np.errstate(divide="ignore"), decimal.localcontext() as context, warnings.catch_warnings():
        context.prec = 5
        warnings.simplefilter("ignore")
        return {"y": np.divide(np.pi, x) * float(decimal.Decimal(1) / 3)}
"""
IMPORTS = """
import calendar, contextlib, decimal, functools, json, math, operator, warnings
import numpy as np
from decimal import getcontext
from numpy import seterr as change
"""
# Each sets state to what the 7 in it says.
SETTING = [
    "getcontext().prec = 7",
    "CONTEXT = getcontext()\nCONTEXT.prec = 7",
    "_ = decimal.setcontext(decimal.Context(prec=7))",
    "decimal.DefaultContext.prec = 7",
    "def setup():\n    getcontext().prec = 7\n    return 1\nZ = setup()",
    "def setup():\n    def inner():\n        getcontext().prec = 7\n    inner()\ndef outer(): setup()\nZ = outer()",
    "class S:\n    getcontext().prec = 7",
    "def o(a=setattr(getcontext(), 'prec', 7)): return a",
    "_ = np.seterr(divide='raise' if 7 == 6 + 1 else 'ignore')",
    "if True:\n    np.seterr(divide=str(7))",
    "class S:\n    np.seterr(divide=str(7))",
    "def o(a=np.seterr(divide=str(7))): return a",
    "def o(a: np.seterr(divide=str(7))): return a",
    "def o(a) -> change(divide=str(7)): return a",
    "class S:\n    def o(self, *, a: np.seterr(divide=str(7))): return a",
    "def deco(f):\n    np.seterr(divide=str(7))\n    return f\n@deco\ndef o(a): return a",
    "_ = change(divide=str(7))",
    "more = change\n_ = more(divide=str(7))",
    "m = np\n_ = m.seterr(divide=str(7))",
    "_ = [one(divide=str(7)) for one in [np.seterr]]",
    "_ = functools.partial(np.seterr, divide=str(7))()",
    "_ = (lambda: np.seterr(divide=str(7)))()",
    "_ = np.errstate(divide=str(7)).__enter__()",
    "_ = contextlib.ExitStack().enter_context(np.errstate(divide=str(7)))",
    "class S:\n    def __init__(self): np.seterr(divide=str(7))\n_ = S()",
    "class S:\n    def put(self): np.seterr(divide=str(7))\n_ = S().put()",
    "class S:\n    def __init_subclass__(cls): np.seterr(divide=str(7))\nclass T(S): ...",
    "class S:\n    def __lshift__(self, other): np.seterr(divide=str(7))\n_ = S() << 1",
    "_ = np.set_printoptions(precision=7)",
    "_ = warnings.simplefilter(str(7))",
    "with warnings.catch_warnings():\n    _ = change(divide=str(7))",
    "_ = warnings.filters.insert(0, 7)",
    "_ = calendar.setfirstweekday(7)",
    "np.pi = 7",
    "math.pi = 7",
    "m = np\nm.pi = 7",
    "def go(): np.pi = 7\n_ = go()",
    "json.JSONEncoder.item_separator = '7'",
    "_ = setattr(json.JSONEncoder, 'item_separator', '7')",
    "for np.pi in [7]: ...",
]
FINE = [
    "def o():\n    with np.errstate(divide='raise'):\n        return 7",
    "@np.errstate(divide='raise')\ndef o(): return 7",
    "with decimal.localcontext() as context:\n    context.prec = 7\n    K = decimal.Decimal(1) / 3",
    "with warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n    K = np.float64(7)",
    "CONTEXT = decimal.Context(prec=7)\nCONTEXT.rounding = decimal.ROUND_UP",
    "def later(): np.seterr(divide=str(7))",
    "if __name__ == '__main__':\n    np.seterr(divide=str(7))",
    "class P: ...\nP.seterr = 7\nT = np.zeros(3)\nT[0] = 7\nT.shape = (3, 1)",
    "table = dict\ntable = table()\ntable['a'] = 7",
]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**sources: str) -> None:
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)

    return write


@pytest.mark.parametrize("code", SETTING)
@pytest.mark.parametrize("elsewhere", [True, False])
def test_state_that_is_set_at_import_is_refused_and_counts(write: Write, code: str, elsewhere: bool) -> None:
    def say(code: str) -> str:
        write(od_side=IMPORTS + code if elsewhere else "", od_main=MAIN if elsewhere else IMPORTS + code + MAIN)
        return meaning("od_main", "made")

    assert say(code) != say(code.replace("7", "8"))
    with pytest.raises(
        DeclarationError, match="line [0-9]+ of module 'od_(main|side)' says .*, which sets a state of '"
    ):
        check_source("od_main", what="on-demand feature 'made'")


@pytest.mark.parametrize("code", FINE)
@pytest.mark.parametrize("elsewhere", [True, False])
def test_state_of_a_block_or_of_a_later_call_is_fine(write: Write, code: str, elsewhere: bool) -> None:
    write(od_side=IMPORTS + code if elsewhere else "", od_main=MAIN if elsewhere else IMPORTS + code + MAIN)
    check_source("od_main", what="on-demand feature 'made'")


def test_setter_in_another_module_is_followed_to_where_it_is_called(write: Write) -> None:
    write(
        od_main=MAIN,
        od_side="from od_setup import setup as begin\nZ = begin()\n",
        od_setup="from decimal import getcontext as get\ndef setup():\n    get().prec = 7\n",
    )
    before = meaning("od_main", "made")
    with pytest.raises(
        DeclarationError, match="line 3 of module 'od_setup' says 'get' where it is imported, .*state of 'decimal'"
    ):
        check_source("od_main", what="on-demand feature 'made'")
    write(od_setup="from decimal import getcontext as get\ndef setup():\n    get().prec = 8\n")
    assert meaning("od_main", "made") != before


CALLED = """
from fti_assets import on_demand
@on_demand(outputs={"y": float})
def made(x):
    %s
    return {"y": x}
"""
BODIES = [
    "np.seterr(divide='raise')",
    "getcontext().prec = 7",
    "warnings.simplefilter('ignore')",
    "np.pi = 3",
    "helper()",
    "later = helper; later()",
    "Setting()",
    "(lambda: change(divide='raise'))()",
    "functools.partial(np.seterr, divide='raise')()",
    "np.errstate(divide='raise').__enter__()",
]
HELPERS = """
def helper(): inner()
def inner(): change(divide='raise')
class Setting:
    def __init__(self): warnings.filters.insert(0, 7)
def unused(): np.seterr(divide='raise')
"""
BLOCKS = [
    "with np.errstate(divide='raise'): x = np.divide(1, x)",
    "with decimal.localcontext() as context: context.prec = 7",
    "with warnings.catch_warnings(): warnings.simplefilter('ignore')",
    "table = {}; table['a'] = x; x = x + 0; x[0] = 1",
    "numbers = np.zeros(3); numbers.shape = (3, 1); np.setdiff1d(x, numbers)",
]


@pytest.mark.parametrize("elsewhere", [True, False])
@pytest.mark.parametrize("body", BODIES)
def test_state_that_a_call_sets_is_refused(write: Write, body: str, elsewhere: bool) -> None:
    """It stays set for whatever the process runs next, and a thread of a server may not have it."""
    taken = IMPORTS + "from od_side import *\n" if elsewhere else IMPORTS + HELPERS
    write(od_side=IMPORTS + HELPERS, od_main=taken + CALLED % body)
    with pytest.raises(DeclarationError, match="says .* in an on-demand function, which sets a state of '"):
        check_source("od_main", what="on-demand feature 'made'")


@pytest.mark.parametrize("body", BLOCKS)
def test_state_for_a_block_of_a_call_is_fine(write: Write, body: str) -> None:
    write(od_main=IMPORTS + HELPERS + CALLED % body)
    check_source("od_main", what="on-demand feature 'made'")
