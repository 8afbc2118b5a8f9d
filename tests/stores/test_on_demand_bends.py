"""The identity of an on-demand function against what it answers: wherever the answers differ, so does the identity."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fti_assets.core.on_demand.meaning import has_meaning, meaning
from fti_assets.errors import DeclarationError
from tests.support.examples import SOAK, examples

RECORDED = "e40c4f24b122eb4f5c11315142d4a7b533bec10847a4ff79b3724402e9d0a0b0"
SAMPLES = (0, 1, 2, 5)
READS = "def made(x):\n    return A['x'] + x\n"
TABLE = "A = {'x': 1}\n"
OTHER = "from od_b_table import A\nimport od_b_patch\n" + READS
Files = dict[str, str]


class World:
    """Modules in a folder, imported afresh at each look."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def look(self, files: Files) -> tuple[list[Any], str | None]:
        """What the function answers, and its identity, None where it is refused."""
        self._forget()
        for old in self.folder.glob("od_b_*.py"):
            old.unlink()
        for name, source in files.items():
            (self.folder / f"{name}.py").write_text(source)
        try:
            identity = meaning("od_b_main", "made")
        except DeclarationError:
            identity = None
        importlib.invalidate_caches()
        module = importlib.import_module("od_b_main")
        answers = [module.made(sample) for sample in SAMPLES]
        self._forget()
        return answers, identity

    @staticmethod
    def _forget() -> None:
        for name in [name for name in sys.modules if name.startswith("od_b_")]:
            del sys.modules[name]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return World(tmp_path)


def main(*lines: str) -> Files:
    return {"od_b_main": "\n".join(lines) + "\n" + READS}


def patched(*lines: str, **further: str) -> Files:
    return {"od_b_main": OTHER, "od_b_table": TABLE, "od_b_patch": "\n".join(lines) + "\n"} | further


REGISTRY = "class Reg:\n    all = []\n    def __init__(self, v):\n        self.all.append(v)\n"
LISTS = (
    "class Lists:\n    def __init__(self):\n        self.l = [1]\n    def __lshift__(self, v):\n        self.l.append(v)\n"
    + (
        "    def __getitem__(self, v):\n        self.l.append(v)\n    def __getattr__(self, name):\n        self.l.append(len(name))\n"
        "    def __iter__(self):\n        self.l.append(1)\n        return iter(())\n    def __enter__(self):\n        self.l.append(1)\n"
        "    def __exit__(self, *a): ...\n"
        "    def count(self):\n        self.l.append(1)\n    def total(self):\n        return sum(self.l)\n"
        "R = Lists()\n"
    )
)
ALL = "def made(x):\n    return sum(Reg.all) + x\n"
TOTALS = "def made(x):\n    return R.total() + x\n"


def of_a_list(*lines: str) -> Files:
    """The same in the module of the list and in another."""
    return {"od_b_main": "from od_b_lists import R\nimport od_b_use\n" + TOTALS, "od_b_lists": LISTS,
            "od_b_use": "from od_b_lists import R\nimport od_b_lists\n" + "\n".join(lines)}  # fmt: skip


# Each is a program whose answers depend on the 7 in it.
# fmt: off
TRICKS: dict[str, Files] = {
    "a second name": main("A = {}", "B = A", "B['x'] = 7"),
    "a third name": main("A = {}", "B = A", "C = B", "C['x'] = 7"),
    "a second name first": main("B = {}", "A = B", "B['x'] = 7"),
    "update by a second name": main("A = {}", "B = A", "B.update(x=7)"),
    "a second name in an assignment": main("A = {}", "B = A", "_ = B.setdefault('x', 7)"),
    "an unbound method": main("A = {}", "B = A", "_ = dict.update(B, x=7)"),
    "a name in a list": main("A = {}", "B = [A]", "B[0]['x'] = 7"),
    "a name in a tuple": main("A = {}", "B, C = A, 1", "B['x'] = 7"),
    "or": main("A = {'x': 1}", "B = A or {}", "B |= {'x': 7}"),
    "a loop": main("A = {}", "for K in 'x':", "    A[K] = 7"),
    "a loop over a second name": main("A = {}", "B = [A]", "for one in B:", "    one['x'] = 7"),
    "a loop elsewhere": main("A = {}", "B = A", "for one in [7]:", "    B['x'] = one"),
    "a comprehension": main("A = {}", "B = A", "_ = [B.update(x=one) for one in [7]]"),
    "an augmented assignment": main("A = {}", "A |= {'x': 7}"),
    "a default": main("A = {}", "def put(t=A):", "    t['x'] = 7", "_ = put()"),
    "an argument inside": main("A = {}", "def put(t):", "    t['x'] = 7", "def go():", "    put(A)", "_ = go()"),
    "a local name": main("A = {}", "def go():", "    t = A", "    t['x'] = 7", "_ = go()"),
    "a loop inside": main("A = {}", "def go():", "    for t in [A]:", "        t['x'] = 7", "_ = go()"),
    "what a function gives": main("A = {}", "def get():", "    return A", "get()['x'] = 7"),
    "what a function gives, kept": main("A = {}", "def get():", "    return A", "T = get()", "T['x'] = 7"),
    "a lambda": main("A = {}", "get = lambda: A", "get()['x'] = 7"),
    "an attribute of a class": main("A = {}", "class C:", "    t = A", "C.t['x'] = 7"),
    "a class body": main("A = {}", "class C:", "    A['x'] = 7"),
    "globals": main("A = {'x': 1}", "globals()['A'] = {'x': 7}"),
    "globals of a number": {"od_b_main": "K = 1\nglobals()['K'] = 7\ndef made(x):\n    return K + x\n"},
    "setattr": main("import sys", "A = {'x': 1}", "_ = setattr(sys.modules[__name__], 'A', {'x': 7})"),
    "sys.modules": main("import sys", "A = {'x': 1}", "sys.modules[__name__].A = {'x': 7}"),
    "exec in a function": main("A = {'x': 1}", "def go():", "    exec('A[\"x\"] = 7', globals())", "_ = go()"),
    "a subclass": {"od_b_main": "class Base:\n    all = []\n    def __init_subclass__(cls):\n        Base.all.append(cls)\n"
                   "class One(Base):\n    k = 7\ndef made(x):\n    return Base.all[0].k + x\n"},
    "subclasses": {"od_b_main": "class Base:\n    k = 1\nclass One(Base):\n    k = 7\n"
                   "def made(x):\n    return Base.__subclasses__()[0].k + x\n"},
    "a default of a function": {"od_b_main": "def h(x, k=1):\n    return x + k\ng = h\ng.__defaults__ = (7,)\n"
                                "def made(x):\n    return h(x)\n"},
    "a patch": patched("import od_b_table", "od_b_table.A['x'] = 7"),
    "a patch of a name": patched("from od_b_table import A", "A['x'] = 7"),
    "a patch by update": patched("from od_b_table import A", "A.update(x=7)"),
    "a patch by a second name": patched("from od_b_table import A", "B = A", "B['x'] = 7"),
    "a patch in a function": patched("import od_b_table", "def go():", "    od_b_table.A['x'] = 7", "_ = go()"),
    "a patch in a loop": patched("from od_b_table import A", "for k in A:", "    A[k] = 7"),
    "a patch by way of a third": patched("import od_b_more", od_b_more="from od_b_table import A\nA['x'] = 7\n"),
    "a patch by a registry": patched("from od_b_table import A", "import od_b_reg", "@od_b_reg.put", "def seven():", "    return 7",
                                     od_b_reg="from od_b_table import A\ndef put(f):\n    A['x'] = f()\n    return f\n"),
    "a patch by a function of another": patched("from od_b_reg import put", "X = put(7)",
                                                od_b_reg="from od_b_table import A\ndef put(k):\n    A['x'] = k\n"),
    "a patch by a subclass": patched("from od_b_reg import Base", "class One(Base):", "    k = 7",
                                     od_b_reg="from od_b_table import A\nclass Base:\n    def __init_subclass__(cls):\n"
                                     "        A['x'] = cls.k\n"),
    "a patch by a function of the module": {
        "od_b_main": "import od_b_table\nfrom od_b_help import h\nod_b_table.K = 7\ndef made(x):\n    return h(x)\n",
        "od_b_table": "K = 1\n", "od_b_help": "import od_b_table as t\ndef h(x):\n    return t.K + x\n"},
    "an import inside": {"od_b_main": "from od_b_table import A\ndef go():\n    import od_b_patch\n_ = go()\n" + READS,
                         "od_b_table": TABLE, "od_b_patch": "from od_b_table import A\nA['x'] = 7\n"},
    "an import if": {"od_b_main": "from od_b_table import A\nif A:\n    import od_b_patch\n" + READS,
                     "od_b_table": TABLE, "od_b_patch": "from od_b_table import A\nA['x'] = 7\n"},
    "import_module": {"od_b_main": "import importlib\ndef made(x):\n    return importlib.import_module('od_b_table').K + x\n",
                      "od_b_table": "K = 7\n"},
    "import_module from": {"od_b_main": "from importlib import import_module as get\nT = get('od_b_table')\n"
                           "def made(x):\n    return T.K + x\n", "od_b_table": "K = 7\n"},
    "an object of a subclass": {"od_b_main": REGISTRY + "class Sub(Reg): ...\nA = Sub(7)\ndef made(x):\n    return sum(Reg.all) + x\n"},
    "an object of a subclass of a subclass": {"od_b_main": REGISTRY + "class Sub(Reg): ...\nclass More(Sub): ...\nif True:\n    More(7)\n"
                                              "def made(x):\n    return sum(Reg.all) + x\n"},
    "an object of a class of another": {"od_b_main": "from od_b_reg import Reg\nimport od_b_use\n" + ALL,
                                        "od_b_reg": REGISTRY, "od_b_use": "from od_b_reg import Reg\nA = Reg(7)\n"},
    "an object of a subclass elsewhere": {"od_b_main": "from od_b_reg import Reg\nimport od_b_use\n" + ALL,
                                          "od_b_reg": REGISTRY, "od_b_use": "from od_b_reg import Reg\nclass Sub(Reg): ...\nA = Sub(7)\n"},
    "a metaclass": {"od_b_main": "A = []\nclass M(type):\n    def __new__(m, n, b, d):\n        A.append(d.get('k', 0))\n"
                    "        return type.__new__(m, n, b, d)\nclass C(metaclass=M):\n    k = 7\ndef made(x):\n    return sum(A) + x\n"},
    "a metaclass of a base": {"od_b_main": "A = []\nclass M(type):\n    def __init__(c, n, b, d):\n        A.append(d.get('k', 0))\n"
                              "class B(metaclass=M): ...\nclass C(B):\n    k = 7\ndef made(x):\n    return sum(A) + x\n"},
    "__set_name__": {"od_b_main": "A = []\nclass D:\n    def __init__(self, v):\n        self.v = v\n    def __set_name__(self, o, n):\n"
                     "        A.append(self.v)\nclass C:\n    k = D(7)\ndef made(x):\n    return sum(A) + x\n"},
    "a defaultdict in a function": {"od_b_main": "import collections\nO = collections.defaultdict(int)\n"
                                    "def fill(n):\n    for i in range(n):\n"
                                    "        O[i]\n_ = fill(7)\ndef made(x):\n    return len(O) + x\n"},
    "a defaultdict by another name": {"od_b_main": "from collections import defaultdict as d\nO = d(int)\nP = O\ndef fill(n):\n"
                                      "    for i in range(n):\n        P[i]\n_ = fill(7)\ndef made(x):\n    return len(O) + x\n"},
    "a defaultdict of another": {"od_b_main": "from od_b_table import O\nimport od_b_use\ndef made(x):\n    return len(O) + x\n",
                                 "od_b_table": "import collections\nO = collections.defaultdict(int)\n",
                                 "od_b_use": "from od_b_table import O\n_ = [O[i] for i in range(7)]\n"},
    "an operator": {"od_b_main": LISTS + "_ = R << 7\n" + TOTALS},
    "an operator in a function": {"od_b_main": LISTS + "def go():\n    return R << 7\n_ = go()\n" + TOTALS},
    "a method in a function": {"od_b_main": LISTS + "def go():\n    return [R.count() for _ in range(7)]\n_ = go()\n" + TOTALS},
    "an operator of a second name": {"od_b_main": LISTS + "S = R\n_ = S << 7\n" + TOTALS},
    "an operator elsewhere": of_a_list("_ = R << 7"),
    "an operator by the module": of_a_list("_ = od_b_lists.R << 7"),
    "a part elsewhere": of_a_list("_ = R[7]"),
    "an attribute elsewhere": of_a_list("_ = [R.gone for _ in range(7)]"),
    "a loop elsewhere over it": of_a_list("for _ in range(7):\n    for _ in R: ..."),
    "a with elsewhere": of_a_list("for _ in range(7):\n    with R: ..."),
    "a method that counts": of_a_list("_ = [R.count() for _ in range(7)]"),
    "a method in a function elsewhere": of_a_list("def go():\n    return [R.count() for _ in range(7)]\n_ = go()"),
    "a function that counts": {"od_b_main": "from od_b_lists import R, go\nimport od_b_use\n" + TOTALS,
                               "od_b_lists": LISTS + "def go():\n    return R.count()\n",
                               "od_b_use": "from od_b_lists import go\n_ = [go() for _ in range(7)]\n"},
    "a function that remembers": {"od_b_main": "def make():\n    s = [1]\n    def add(v):\n        s.append(v)\n    def total():\n"
                                  "        return sum(s)\n    return add, total\nadd, total = make()\ndef go():\n    add(7)\n_ = go()\n"
                                  "def made(x):\n    return total() + x\n"},
    "an operator in a class body": {"od_b_main": LISTS + "class C:\n    k = R << 7\n" + TOTALS},
    "an operator in a default": {"od_b_main": LISTS + "def h(k=R << 7): ...\n" + TOTALS},
    "an operator in a decorator": {"od_b_main": LISTS + "def d(n):\n    return lambda f: f\n@d(R << 7)\ndef h(): ...\n" + TOTALS},
    "an object in an object": {"od_b_main": LISTS + "class O:\n    def __init__(self):\n        self.r = Lists()\n"
                               "    def __lshift__(self, v):\n"
                               "        self.r << v\nO1 = O()\n_ = O1 << 7\ndef made(x):\n    return O1.r.total() + x\n"},
    "a method that gives its part away": {
        "od_b_main": "from od_b_push import push\nclass O:\n    def __init__(self):\n        self.l = [1]\n    def __lshift__(self, v):\n"
                     "        push(self.l, v)\nO1 = O()\n_ = O1 << 7\ndef made(x):\n    return sum(O1.l) + x\n",
        "od_b_push": "def push(t, v):\n    t.append(v)\n"},
    "an argument in a class body": {"od_b_main": "from od_b_push import push\nA = {}\nclass C:\n    k = push(A, 7)\n" + READS,
                                    "od_b_push": "def push(t, v):\n    t['x'] = v\n"},
    "an argument of a decorator": {"od_b_main": "from od_b_push import push\nA = {}\n@push(A, 7)\ndef h(): ...\n" + READS,
                                   "od_b_push": "def push(t, v):\n    t['x'] = v\n    return lambda f: f\n"},
    "a function that counts its calls": {"od_b_main": "def h():\n    h.n += 1\nh.n = 0\ndef go():\n    return [h() for _ in range(7)]\n"
                                         "_ = go()\ndef made(x):\n    return h.n + x\n"},
    "a further case": {"od_b_main": "import functools\n@functools.singledispatch\ndef g(v):\n    return 1\ndef go():\n"
                       "    g.register(int, lambda v: 7)\n_ = go()\ndef made(x):\n    return g(x) + x\n"},
    "a further case elsewhere": {"od_b_main": "from od_b_case import g\nimport od_b_use\ndef made(x):\n    return g(x) + x\n",
                                 "od_b_case": "from functools import singledispatch\n@singledispatch\ndef g(v):\n    return 1\n",
                                 "od_b_use": "from od_b_case import g\n@g.register(int)\ndef _(v):\n    return 7\n"},
    "map in a function": main("A = {}", "def put(t):", "    t['x'] = 7", "def go():", "    return list(map(put, [A]))", "_ = go()"),
    "sorted in a function": main("A = {}", "def go():", "    return sorted([A], key=lambda t: t.update(x=7) or 1)", "_ = go()"),
    "a method in a table": main("A = {}", "CALLS = {'put': A.update}", "def go():", "    CALLS['put'](x=7)", "_ = go()"),
    "a method as a default": main("A = {}", "def go(put=A.update):", "    put(x=7)", "_ = go()"),
    "a docstring of another": {"od_b_main": "from od_b_table import h\ndef made(x):\n    return int(h.__doc__) + x\n",
                               "od_b_table": "def h():\n    '7'\n"},
    "a docstring by getattr": {"od_b_main": "from od_b_table import h\ndef made(x):\n    return int(getattr(h, '__doc__')) + x\n",
                               "od_b_table": "def h():\n    '7'\n"},
    "a docstring by pieces": {"od_b_main": "def h():\n    '7'\nN = '__do' + 'c__'\ndef made(x):\n    return int(getattr(h, N)) + x\n"},
    "an annotation": {"od_b_main": "def h(a: 7): ...\ndef made(x):\n    return h.__annotations__['a'] + x\n"},
    "an annotation of another": {"od_b_main": "from od_b_table import h\ndef made(x):\n    return h.__annotations__['a'] + x\n",
                                 "od_b_table": "def h(a: 7): ...\n"},
    "type hints": {"od_b_main": "import typing\ndef h(a: typing.Literal[7]): ...\n"
                   "def made(x):\n    return typing.get_args(typing.get_type_hints(h)['a'])[0] + x\n"},
    "signature": {"od_b_main": "import inspect\ndef h(a: 7): ...\n"
                  "def made(x):\n    return inspect.signature(h).parameters['a'].annotation + x\n"},
    "defaults": {"od_b_main": "def h(a=7): ...\ndef made(x):\n    return h.__defaults__[0] + x\n"},
    "a docstring of the module": {"od_b_main": "'7'\nimport sys\ndef made(x):\n    return int(sys.modules[__name__].__doc__) + x\n"},
    "the module's own docstring": {"od_b_main": "'7'\ndef made(x):\n    return int(__doc__) + x\n"},
    "the globals of a function": {"od_b_main": "from od_b_table import h\ndef made(x):\n    return h.__globals__['K'] + x\n",
                                  "od_b_table": "K = 7\ndef h(): ...\n"},
    "vars": {"od_b_main": "import od_b_table as t\ndef made(x):\n    return vars(t)['K'] + x\n", "od_b_table": "K = 7\n"},
    "sys.modules of another": {"od_b_main": "import sys, od_b_table\ndef made(x):\n    return sys.modules['od_b_table'].K + x\n",
                               "od_b_table": "K = 7\n"},
    "the line of a function": {"od_b_main": "# 7".replace("7", "\n" * 7) + "\ndef made(x):\n    return made.__code__.co_firstlineno + x\n"},
}
# fmt: on


@pytest.mark.parametrize("trick", TRICKS, ids=str)
def test_trick_that_changes_answers_changes_identity_or_is_refused(world: World, trick: str) -> None:
    files = TRICKS[trick]
    answers, identity = world.look(files)
    bent, other = world.look({name: source.replace("7", "8") for name, source in files.items()})
    if trick == "the line of a function":
        assert identity is None
        return
    assert answers != bent, "the trick is none"
    assert identity != other or identity is None


@pytest.mark.soak
@pytest.mark.parametrize("trick", [*TRICKS] if SOAK else [*TRICKS][::5], ids=str)
def test_comments_and_blank_lines_never_change_the_identity(world: World, trick: str) -> None:
    files = TRICKS[trick]
    spaced = {name: "# why\n\n" + source.replace("\ndef ", "\n\n\n# so\ndef ") for name, source in files.items()}
    if trick != "a docstring of the module" and trick != "the module's own docstring":
        assert world.look(files)[1] == world.look(spaced)[1]


STATEMENTS = (
    "{a} = {b}",
    "{a} = [{b}, 7]",
    "{a} = {b} or [7]",
    "{a} = list({b})",
    "{a} = put({b})",
    "{a} = kept()",
    "{a}.append(7)",
    "{a} += [7]",
    "{a}[0] = 7",
    "{a}.extend({b})",
    "_ = put({a})",
    "_ = far()",
    "for one in {a}[:3]: {b}.append(7)",
    "tab.T[0] = 7",
    "tab.T.append({a}[0])",
    "globals()['{a}'] = [7]",
    "_ = [{a}.append(7) for one in {b}[:3]]",
    "def more(t={a}): t.append(7)",
    "_ = more()",
    "class Held: part = {a}",
    "Held.part[0] = 7",
)
HEAD = """from od_b_table import put
import od_b_table as tab
import od_b_patch
A, B, C = [1], [2], tab.T
def more(t=A): return t
def kept(): return B
def far(): C.append(3)
class Held: part = C
def from_table(): return tab.first()
"""
# Nothing of another module is changed here, so that only what is reached counts.
ALONE = """A = [1]
B = [2]
C = [3]
tab = None
def put(t):
    t.append(5)
    return t
def more(t=A): return t
def kept(): return B
def far(): C.append(3)
class Held: part = C
def from_table(): return 0
"""
TAIL = """
def deep(v): return sum(map(deep, v)) if isinstance(v, list) else v
def made(x): return deep({name}[:4]) + x + from_table()
"""
HELD = "T = [1]\ndef put(t):\n    t.append(5)\n    return t\ndef first(): return T[0]\n"
statement = st.builds(
    lambda text, a, b: text.format(a=a, b=b),
    st.sampled_from(STATEMENTS),
    st.sampled_from("ABC"),
    st.sampled_from("ABC"),
)


@pytest.mark.soak
@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(statement, min_size=1, max_size=5),
    st.sampled_from(["", "from od_b_table import T\nT.append(7)\n", "import od_b_table\nod_b_table.T[0] = 7\n"]),
    st.sampled_from("ABC"),
    st.integers(0, 4),
    st.sampled_from([("7", "8"), ("7", "8"), ("A", "C"), ("B", "A"), None]),
    st.booleans(),
)
@example(["B = A", "B[0] = 7"], "", "A", 1, ("7", "8"), True)
def test_programs_that_answer_differently_have_different_identities(
    world: World, statements: list[str], patch: str, name: str, place: int, change: tuple[str, str] | None, alone: bool
) -> None:
    def look(statements: list[str]) -> Any:
        source = (ALONE if alone else HEAD) + "\n".join(statements) + TAIL.format(name=name)
        try:
            return world.look({"od_b_main": source, "od_b_table": HELD, "od_b_patch": patch})
        except (RecursionError, IndexError, TypeError, AttributeError):
            return None  # a list in itself, or nothing in it

    place %= len(statements)
    bent = "pass" if change is None else statements[place].replace(*change)
    before, after = look(statements), look([*statements[:place], bent, *statements[place + 1 :]])
    if before is not None and after is not None and before[0] != after[0]:
        assert before[1] != after[1]


def test_identity_of_before_stays_for_program_without_tricks(world: World) -> None:
    """As manifests in stores have it: the value was recorded before second names and patches counted."""
    files = {
        "od_b_main": "import numpy as np\nfrom fti_assets import on_demand\nimport od_b_patch\nfrom od_b_table import T, h\n"
        "RATES = {'a': 1.5}\nHALF = {key: rate / 2 for key, rate in RATES.items()}\nBOTH = {**RATES}\n"
        "def _rate(k):\n    total = RATES[k]\n    total += T[0]\n    return total\n"
        "@on_demand(outputs={'y': float})\ndef made(x):\n    out = {}\n    out['y'] = h(x) * _rate('a')\n    return out\n"
        "@on_demand(outputs={'z': float})\ndef other(x):\n    row = BOTH['a']\n    row += 1\n    return {'z': row * x}\n",
        "od_b_table": "T = (1, 2)\nU = [T]\ndef h(x):\n    return x + T[1]\n",
        "od_b_patch": "import math\nfrom od_b_table import T\nV = [t * math.pi for t in T]\n",
    }
    for name, source in files.items():
        (world.folder / f"{name}.py").write_text(source)
    assert has_meaning("od_b_main", "made", RECORDED)
    table = world.folder / "od_b_table.py"
    table.write_text(table.read_text().replace("T[1]", "T[0]"))
    assert not has_meaning("od_b_main", "made", RECORDED)
