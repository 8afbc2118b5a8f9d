"""What changes the identity of an on-demand function, and what does not."""

import ast
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fti_assets.core.on_demand import meaning as room
from fti_assets.core.on_demand.declaring import declares_on_demand
from fti_assets.core.on_demand.meaning import has_meaning, meaning
from fti_assets.core.on_demand.syntax import module as module_reading
from fti_assets.core.on_demand.syntax.source import source_file
from fti_assets.errors import DeclarationError

FIXED = "eb0342e878ed3b0c5100fbf967624edb2ebf40ca46025246537999ad45d649e4"
FORMAT = "ee2be38e67ef19533db962fc78b41f5ad76738223c023ce0d8089c1bde86e978"
Write = Callable[..., None]

SOURCE = '''"""A module."""
import numpy as np
from fti_assets import on_demand
from od_helpers import shift, unused
import od_whole

RATE = 1.5  # euros
TABLE = {"a": 1}
TABLE["b"] = 2
OTHER = 3


def _scaled(x: np.ndarray) -> np.ndarray:
    """Scale."""
    return x * RATE


@on_demand(outputs={"y": float})
def made(x: np.ndarray) -> dict:
    """Make y."""
    # a comment
    return {"y": _scaled(shift(x)) + TABLE["b"] + od_whole.ONE}


def other(x):
    return x * OTHER
'''
HELPERS = "STEP = 1\n\n\ndef shift(x):\n    return x + STEP\n\n\ndef unused(x):\n    return x\n"
WHOLE = "ONE = 1\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**sources: str) -> None:
        for name, source in sources.items():
            file = tmp_path / f"{name.replace('__in__', '/')}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(source)

    write(od_main=SOURCE, od_helpers=HELPERS, od_whole=WHOLE)
    return write


def test_the_hash_is_the_same_everywhere(write: Write) -> None:
    """Under every version of Python, so the value stands here."""
    write(
        od_fixed="from fti_assets import on_demand\nA = 1\n@on_demand(outputs={'y': int})\ndef f(x):\n    return {'y': x + A}\n"
    )
    assert meaning("od_fixed", "f") == FIXED


def test_an_empty_text_in_a_format_string_changes_nothing(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.12.1 puts one behind the field at the end of a format, as in the tree that is made by hand here."""
    write(od_format='def f(q, k):\n    return f"{q:>{k}}" + f"{q}" + \'\'\n')
    before = meaning("od_format", "f")
    parse = ast.parse

    def with_empty_texts(*arguments: Any, **named: Any) -> Any:
        tree = parse(*arguments, **named)
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                node.values.append(ast.Constant(""))
        return tree

    monkeypatch.setattr(ast, "parse", with_empty_texts)
    assert meaning("od_format", "f") == before == FORMAT


@pytest.mark.soak
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another one"),
        ("    # a comment\n", ""),
        ('"""Make y."""', '"""Make y, well."""'),
        ('"""A module."""\n', ""),
        ('    """Scale."""\n', ""),
        ("RATE = 1.5  # euros", "RATE = (\n    1.5\n)"),
        ('{"a": 1}', "{'a': 1,}"),
        ("(x: np.ndarray) -> dict", "(x)"),
        ("x * OTHER", "x / OTHER"),
        ("OTHER = 3", "OTHER = 4"),
        ("def other(x):\n    return x * OTHER\n", ""),
        ("def other", "def another"),
        ("\n\n\n", "\n\n"),
        ("import shift, unused", "import shift"),
        (
            "import numpy as np\nfrom fti_assets import on_demand\n",
            "from fti_assets import on_demand\nimport math\nimport numpy as np\n",
        ),
        ("RATE = 1.5", "def early(x):\n    return x\n\n\nRATE = 1.5"),
        ("RATE = 1.5", "RATE: float = 1.5"),
        ("RATE = 1.5", "from typing import Final\nRATE: Final[float] = 1.5"),
        ('"""Scale."""', '"""Scale."""\n    """Further."""'),
        ("OTHER = 3", "OTHER = 3\nif __name__ == '__main__':\n    TABLE['b'] = 9\n    print(RATE)"),
        ("OTHER = 3", "OTHER = 3\nif '__main__' == __name__:\n    TABLE.update(b=9)"),
        ("OTHER = 3", "OTHER = 3\ndef rows(TABLE):\n    TABLE['b'] = 9"),
        ("OTHER = 3", "OTHER = 3\ndef rows():\n    TABLE = {}\n    TABLE['b'] = 9"),
    ],
)
def test_layout_comments_and_unrelated_code_change_nothing(write: Write, old: str, new: str) -> None:
    before = meaning("od_main", "made")
    assert old in SOURCE
    write(od_main=SOURCE.replace(old, new))
    assert meaning("od_main", "made") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('+ TABLE["b"]', '- TABLE["b"]'),
        ("RATE = 1.5", "RATE = 1.6"),
        ("RATE = 1.5", "RATE = 1.5\nRATE += 1"),
        ("x * RATE", "x / RATE"),
        ('{"a": 1}', '{"a": 2}'),
        ('TABLE["b"] = 2', 'TABLE["b"] = 3'),
        ('TABLE["b"] = 2', "TABLE.update(b=2)"),
        ('TABLE["b"] = 2', 'TABLE["b"] = 2\nfor k in TABLE:\n    TABLE[k] = 0'),
        ("import shift, unused", "import unused as shift, unused"),
        ("RATE = 1.5", "np.seterr(all='ignore')\nRATE = 1.5"),
        ('outputs={"y": float}', 'outputs={"y": int}'),
        ("def _scaled", "if OTHER:\n    RATE = 2\n\n\ndef _scaled"),
        ("OTHER = 3", "def put(TABLE=TABLE):\n    TABLE['b'] = 3\n\n\n_ = put()"),
        ("OTHER = 3", "def put():\n    global TABLE\n    TABLE = {'b': 3}\n\n\n_ = put()"),
        ("OTHER = 3", "if __name__ == 'od_main':\n    TABLE['b'] = 3"),
        ("OTHER = 3", "if __name__ == '__main__':\n    pass\nelse:\n    TABLE['b'] = 3"),
        ("OTHER = 3", "__name__ = '__main__'\nif __name__ == '__main__':\n    TABLE['b'] = 3"),
        ("OTHER = 3", "def change():\n    global RATE\n    RATE = 3\n\n\nchange()"),
    ],
)
def test_whatever_the_function_reaches_changes_its_meaning(write: Write, old: str, new: str) -> None:
    before = meaning("od_main", "made")
    assert old in SOURCE
    write(od_main=SOURCE.replace(old, new))
    assert meaning("od_main", "made") != before


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ({"od_helpers": HELPERS.replace("STEP = 1", "STEP = 2")}, True),
        ({"od_helpers": HELPERS.replace("x + STEP", "x - STEP")}, True),
        ({"od_helpers": HELPERS.replace("return x\n", "return -x\n")}, False),
        ({"od_helpers": "# why\n" + HELPERS}, False),
        ({"od_whole": "ONE = 2\n"}, True),
        ({"od_whole": WHOLE + "TWO = 2\n"}, False),
        ({"od_whole": '"""Docs."""\n' + WHOLE}, False),
    ],
)
def test_modules_of_ones_own_are_followed(write: Write, changed: dict[str, str], counts: bool) -> None:
    before = meaning("od_main", "made")
    write(**changed)
    assert (meaning("od_main", "made") != before) is counts


def test_modules_of_package_are_followed_and_none_is_imported(write: Write) -> None:
    write(
        od_pack__in____init__="raise SystemExit('imported')\n",
        od_pack__in__on_demand="from . import rules\nfrom .tables import T\n\ndef f(x):\n    return rules.r(x) + T\n",
        od_pack__in__rules="def r(x):\n    return x\n",
        od_pack__in__tables="T = 1\nU = 2\n",
    )
    before = meaning("od_pack.on_demand", "f")
    write(od_pack__in__tables="T = 1\nU = 3\n")
    assert meaning("od_pack.on_demand", "f") == before
    write(od_pack__in__rules="def r(x):\n    return -x\n")
    assert meaning("od_pack.on_demand", "f") != before
    assert not {name for name in sys.modules if name.startswith("od_pack")}


MAKES = "\n\n@on_demand(outputs={'y': float})\ndef made(x):\n    return {'y': x * K}\n"
TABLE = "def made(x):\n    return TABLE['a'](x)\n"


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("def setting():\n    global K\n    K = 1\n\n_ = setting()" + MAKES, ("K = 1", "K = 2")),
        ("match 1:\n    case K:\n        pass" + MAKES, ("match 1", "match 2")),
        ("K = 1\ndef scaled(x, k=K):\n    return k\nK = 2" + MAKES.replace("K}", "scaled(x)}"), ("= 1", "= 3")),
        (
            "K = 1\ndef scaled(x, k=K):\n    return k\nK = 2" + MAKES.replace("K}", "scaled(x)}"),
            ("def scaled(x, k=K):\n    return k\nK = 2", "K = 2\ndef scaled(x, k=K):\n    return k"),
        ),
        (
            "from math import pi as K\nK = 3" + MAKES,
            ("from math import pi as K\nK = 3", "K = 3\nfrom math import pi as K"),
        ),
        (
            "TABLE = {}\ndef entry(f):\n    TABLE[f.__name__] = f\n    return f\n@entry\ndef a(x):\n    return x * 2\n"
            + TABLE,
            ("x * 2", "x * 3"),
        ),
        (
            "LIST = []\n@LIST.append\ndef a(x):\n    return x * 2\ndef made(x):\n    return LIST[0](x)\n",
            ("x * 2", "x * 3"),
        ),
    ],
)
def test_roundabout_changes_of_a_name_count(write: Write, source: str, changed: tuple[str, str]) -> None:
    assert changed[0] in source
    write(od_ways=source)
    before = meaning("od_ways", "made")
    write(od_ways=source.replace(*changed))
    assert meaning("od_ways", "made") != before


@pytest.mark.parametrize(
    "other",
    [
        "\n@on_demand(outputs={'z': float})\ndef other(x):\n    return {'z': x + 1}\n",
        "\ndef other(x):\n    return TABLE.get(x)\n",
        "\ndef other(x):\n    TABLE = {}\n    return np.add(x, 1)\n",
    ],
)
def test_neighbours_that_change_nothing_do_not_count(write: Write, other: str) -> None:
    before = meaning("od_main", "made")
    write(od_main=SOURCE + other)
    assert meaning("od_main", "made") == before


@pytest.mark.parametrize(
    ("asks", "files"),
    [
        ("from od_p import K", {"od_p__in____init__": "from .inner import *\n", "od_p__in__inner": "K = 1\n"}),
        ("from od_p import K", {"od_p__in____init__": "def __getattr__(name):\n    return 1\n"}),
        ("import od_p.inner\nK = od_p.K", {"od_p__in____init__": "K = 1\n", "od_p__in__inner": ""}),
        (
            "import od_p as p\nK = p.inner.K",
            {"od_p__in____init__": "from . import inner\n", "od_p__in__inner": "K = 1\n"},
        ),
    ],
)
def test_what_a_package_passes_on_counts(write: Write, asks: str, files: dict[str, str]) -> None:
    write(od_asks=f"{asks}\n{MAKES}", **files)
    before = meaning("od_asks", "made")
    write(**{name: text.replace("1", "2") for name, text in files.items()})
    assert meaning("od_asks", "made") != before


def test_code_that_looks_everywhere_counts_whole(write: Write) -> None:
    source = "A = 1\n\ndef f(x):\n    return globals()['A'] + x\n"
    write(od_everywhere=source)
    before = meaning("od_everywhere", "f")
    write(od_everywhere=source.replace("A = 1", "A = 2"))
    assert meaning("od_everywhere", "f") != before


def test_a_docstring_that_is_read_counts(write: Write) -> None:
    source = 'def f(x):\n    """1"""\n    return float(f.__doc__) + x\n'
    write(od_docs=source)
    before = meaning("od_docs", "f")
    write(od_docs=source.replace('"""1"""', '"""2"""'))
    assert meaning("od_docs", "f") != before


def test_a_function_that_is_not_there_is_named(write: Write) -> None:
    with pytest.raises(DeclarationError, match="module 'od_main' defines no function 'gone'"):
        meaning("od_main", "gone")
    with pytest.raises(DeclarationError, match="'nowhere_to_be_found' have no source file"):
        meaning("nowhere_to_be_found", "f")


@pytest.mark.parametrize(
    ("source", "declares"),
    [
        ("from fti_assets import on_demand\nf = on_demand(outputs={})(len)", True),
        ("import fti_assets as fti\n@fti.on_demand(outputs={})\ndef f(x): ...", True),
        ("from fti_assets import on_demand as od\n@od(outputs={})\ndef f(x): ...", True),
        ("from fti_assets import on_demand", False),
        ("def on_demand(f): return f\n@on_demand\ndef f(x): ...", False),
        ("import os", False),
    ],
)
def test_module_that_declares_on_demand_features_is_told_by_its_source(
    write: Write, source: str, declares: bool
) -> None:
    write(od_declares=source)
    assert declares_on_demand("od_declares") is declares


def test_source_of_modules_that_are_not_there_or_have_none() -> None:
    assert source_file("nowhere.to.be_found") is None
    assert source_file("math") is None
    assert source_file("json.decoder") is not None


def test_a_module_in_folders_without_init_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "od_outer" / "od_inner").mkdir(parents=True)
    (tmp_path / "od_outer" / "od_inner" / "od_last.py").write_text("def f(x):\n    return x\n")
    assert source_file("od_outer.od_inner.od_last") == tmp_path / "od_outer" / "od_inner" / "od_last.py"


def test_a_child_forked_while_a_module_is_read_reads_modules_too(write, monkeypatch):
    """A thread that promotes reads one, and is not there in the child."""
    bound_by, reading, done = module_reading.bound_by, threading.Event(), threading.Event()
    main = threading.get_ident()

    def slow(node):
        if threading.get_ident() != main:
            reading.set()
            done.wait(30)
        return bound_by(node)

    monkeypatch.setattr(module_reading, "bound_by", slow)
    promoting = threading.Thread(target=lambda: meaning("od_main", "made"))
    promoting.start()
    assert reading.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            os._exit(0 if module_reading.Module.read("od_main").binds("made") else 1)
        finally:
            os._exit(2)
    done.set()
    promoting.join()
    assert os.waitpid(child, 0)[1] == 0


RULES = """
STEP = 1
TABLE = {"a": 1}


def limit(x):
    return x + STEP


def fill():
    TABLE["a"] = 3


def other(x):
    return x
"""
USES = """
import od_rules

import fti_assets as fti


@fti.on_demand(outputs={"y": float})
def made(x):
    return {"y": od_rules.limit(x)}
"""


@pytest.mark.parametrize(
    ("uses", "old", "new", "counts"),
    [
        (USES, "x + STEP", "x - STEP", True),
        (USES, "STEP = 1", "STEP = 2", True),
        (USES, "    return x\n", "    return -x\n", False),
        (USES, "STEP = 1", "STEP = 1\nNEW = 7", False),
        (USES, "STEP = 1", "STEP = 1\nprint()", True),
        (USES.replace("import od_rules", "import od_rules as rules").replace("od_rules.l", "rules.l"), "+ STEP", "- STEP", True),
        (USES.replace("import od_rules", "import od_rules as rules").replace("od_rules.l", "rules.l"), "n x\n", "n -x\n", False),
        (USES + "\n\ndef unrelated(x):\n    return od_rules.other(x)\n", "    return x\n", "    return -x\n", False),
        (USES.replace("od_rules.limit(x)", "getattr(od_rules, 'li' + 'mit')(x)"), "x + STEP", "x - STEP", True),
        (USES + "\n\nALIAS = od_rules\n", "    return x\n", "    return -x\n", True),
        (USES.replace("od_rules.limit(x)", "od_rules.TABLE['a'] * x"), '{"a": 1}', '{"a": 2}', True),
        (USES.replace("od_rules.limit(x)", "od_rules.TABLE['a'] * x") + "\n\nod_rules.fill()\n", "= 3", "= 4", True),
        (USES.replace("od_rules.limit(x)", "od_rules.limit(x) + od_rules.TABLE['a']"), "    return x\n", "    return -x\n", False),
        (USES.replace("def made(x)", "def made(x, od_rules=od_rules)"), "    return x\n", "    return -x\n", True),
    ],
)  # fmt: skip
def test_of_an_imported_module_counts_what_is_used(write: Write, uses: str, old: str, new: str, counts: bool) -> None:
    write(od_uses=uses, od_rules=RULES)
    before = meaning("od_uses", "made")
    assert old in RULES
    write(od_rules=RULES.replace(old, new))
    assert (meaning("od_uses", "made") != before) is counts


@pytest.mark.parametrize(
    "change",
    ["od_rules.TABLE['a'] = 2", "od_rules.TABLE.update(a=2)", "t = od_rules.TABLE\nt['a'] = 2", "od_rules.STEP = 2"],
)
def test_what_changes_an_imported_module_counts(write: Write, change: str) -> None:
    uses = USES.replace("od_rules.limit(x)", "od_rules.limit(x) * od_rules.TABLE['a']")
    write(od_uses=uses, od_rules=RULES)
    before = meaning("od_uses", "made")
    write(od_uses=f"{uses}\n\n{change}\n")
    with_change = meaning("od_uses", "made")
    write(od_uses=f"{uses}\n\n{change.replace('2', '5')}\n")
    assert len({before, with_change, meaning("od_uses", "made")}) == 3


TABLES = """import numpy as np
import od_rules
RATE = 1.5
TABLE = {"a": 1, "b": 2}
LIMITS = [1, 2]


def made(x):
    return np.add(x, TABLE["a"] * RATE + sum(LIMITS))
"""


@pytest.mark.parametrize(
    "other",
    [
        "OTHER = len(TABLE)", "OTHER = sum(LIMITS)", "OTHER = max(LIMITS)", "OTHER = sorted(TABLE.items())", "OTHER = frozenset(TABLE)",
        "FIRST = LIMITS[0]", "OTHER = list(TABLE)", "OTHER = f'{RATE:.1f}'", "assert RATE > 0", "assert 1 in LIMITS",
        "ARRAY = np.asarray(LIMITS)\nARRAY[0] = 7", "ZEROS = np.zeros(3)\nZEROS[0] = 7",
        "OPS = {'a': np.add}\ndef rows(x): return OPS['a'](x, 1)",
        "def rows():\n    t = dict(TABLE)\n    t['a'] = 3", "def rows():\n    t = {**TABLE}\n    t['a'] = 3",
        "def rows():\n    t = list(LIMITS)\n    t.append(3)", "def rows():\n    t = [*LIMITS]\n    t.append(3)",
        "def rows():\n    t = sorted(LIMITS)\n    t.append(3)", "def rows():\n    t = TABLE.copy()\n    t['a'] = 3",
        "def rows():\n    out = []\n    for k in LIMITS:\n        out.append(k)",
        "SQUARES = []\nfor one in LIMITS:\n    SQUARES.append(one)",
        "COPY = dict(TABLE)\nCOPY['a'] = 7",
    ],
)  # fmt: skip
def test_what_only_reads_or_copies_a_constant_does_not_count(write: Write, other: str) -> None:
    write(od_tables=TABLES, od_rules=RULES)
    before = meaning("od_tables", "made")
    write(od_tables=f"{TABLES}\n\n{other}\n")
    assert meaning("od_tables", "made") == before
    assert has_meaning("od_tables", "made", room._meaning("od_tables", "made", "by attribute"))


@pytest.mark.parametrize(
    "other",
    [
        "SAME = LIMITS\nSAME[0] = 7", "SAME = [LIMITS]\nSAME[0][0] = 7", "SAME = LIMITS or [1]\nSAME[0] = 7", "LIMITS[0] = 7",
        "LIMITS.append(7)",
        "def rows(): return LIMITS\nrows()[0] = 7", "add = LIMITS.append\n_ = add(7)", "def rows(t=LIMITS): t.append(7)\n_ = rows()",
        "def len(t): t[0] = 7\n_ = len(LIMITS)", "from od_rules import *\n_ = len(LIMITS)", "_ = [one.append(7) for one in [LIMITS]]",
        "_ = np.copyto(LIMITS, 7)", "class C: part = LIMITS\nC.part[0] = 7", "(lambda t: t.append(7))(LIMITS)",
        "_ = LIMITS.pop(0 if 7 else 1)",
        "def rows():\n    global RATE\n    RATE = 7\n_ = rows()", "RATE = RATE * 7", "for RATE in (1, 7): pass", "LIMITS += [7]",
        "del LIMITS[7 - 6]",
        "import od_tables as me\nme.LIMITS[0] = 7", "_ = np.seterr(divide=str(7))", "np.add = np.multiply if 7 else np.add",
        "import dataclasses\nclass Puts:\n    def __eq__(self, other): other.append(7)\n_ = Puts() == LIMITS",
    ],
)  # fmt: skip
def test_whatever_may_change_a_constant_counts(write: Write, other: str) -> None:
    write(od_tables=f"{TABLES}\n\n{other}\n", od_rules="def len(t):\n    t[0] = 7\n")
    before = meaning("od_tables", "made")
    write(od_tables=f"{TABLES}\n\n{other.replace('7', '8')}\n", od_rules="def len(t):\n    t[0] = 8\n")
    assert meaning("od_tables", "made") != before


CLASS = "{more}\n\nclass Held:\n    k: int = 2\n\n\ndef made(x):\n    return {value} * x\n"


@pytest.mark.parametrize(
    ("more", "value", "counts"),
    [
        ("", "Held.k", False),
        ("", "Held.__annotations__['k'](3)", True),
        ("import typing", "typing.get_type_hints(Held)['k'](3)", True),
        ("import dataclasses", "dataclasses.fields(dataclasses.dataclass(Held))[0].type(3)", True),
        ("from dataclasses import dataclass as d", "d(Held)(3).k", True),
        ("import od_whole", "od_whole.made_of(Held)", True),
    ],
)
def test_annotation_of_a_class_counts_where_it_may_be_read(write: Write, more: str, value: str, counts: bool) -> None:
    source = CLASS.format(more=more, value=value)
    write(
        od_class=source,
        od_whole="import dataclasses\n\n\ndef made_of(one):\n    return dataclasses.dataclass(one)(3).k\n",
    )
    before = meaning("od_class", "made")
    write(od_class=source.replace("k: int = 2", "k = 2"))
    assert (meaning("od_class", "made") != before) is counts


def test_annotation_of_a_dataclass_counts(write: Write) -> None:
    source = CLASS.replace("class", "@dataclasses.dataclass\nclass").format(
        more="import dataclasses", value="Held(3).k"
    )
    write(od_class=source)
    before = meaning("od_class", "made")
    write(od_class=source.replace("k: int = 2", "k = 2"))
    assert meaning("od_class", "made") != before


@pytest.mark.parametrize("counted", ["by attribute", "whole"])
def test_a_meaning_that_took_annotations_and_the_program_still_fits(write: Write, counted: str) -> None:
    source = SOURCE.replace("RATE = 1.5", "RATE: float = 1.5") + "\n\nif __name__ == '__main__':\n    print(RATE)\n"
    write(od_main=source)
    earlier = room._meaning("od_main", "made", counted)
    assert earlier != meaning("od_main", "made")
    assert has_meaning("od_main", "made", earlier)
    write(od_main=source.replace("1.5", "1.6"))
    assert not has_meaning("od_main", "made", earlier)


def test_a_meaning_of_an_earlier_release_still_fits(write: Write) -> None:
    """It took modules that are imported as such whole."""
    write(od_uses=USES, od_rules=RULES)
    earlier = room._meaning("od_uses", "made", "whole")
    assert earlier != meaning("od_uses", "made")
    assert has_meaning("od_uses", "made", earlier)
    write(od_rules=RULES.replace("x + STEP", "x - STEP"))
    assert not has_meaning("od_uses", "made", earlier)
