"""What keeps its results answers as of its first call: a call at import counts, with its place. So do names that classes hide."""

from collections.abc import Mapping

import pytest

from fti_assets.core.on_demand.meaning import has_meaning, meaning
from tests.stores import test_on_demand_bends
from tests.stores.test_on_demand_bends import World
from tests.support.examples import SOAK

world = test_on_demand_bends.world

OF_EARLIER = {
    "WARM": "b498fad33bc9d0a7fd823d7065e3b5f201a180bad98442811247b25105071c0a",
    "COLD": "5c2cb74281a30002ed1cfdbf403cfafecc4a2a3fefe73f963b9b620827934b5d",
    "METHOD": "d06a03fc7fe5382661ddad6951ec505c47d6e01ebf44f35bbdd81f7e3922bd25",
}
"""What an earlier release wrote down, by the source below."""
F = "from functools import lru_cache\nK = [1]\n@lru_cache\ndef f(v):\n    return v + K[0]\n"
C = "from functools import cached_property, lru_cache\nK = [1]\nclass C:\n    @{0}\n    def a(self{1}):\n        return sum(K)\nc = C()\n"
MADE = "def made(x):\n    return f(x)\n"
OF_C = "def made(x):\n    return x + c.a{0}\n"
SOURCES = {
    "WARM": F + "U = f(2)\ndef made(x):\n    return f(x) + U\n",
    "COLD": F + "K[0] = 5\n" + MADE,
    "METHOD": C.format("lru_cache(None)", "") + "U = c.a()\ndef made(x):\n    return x + c.a() + U\n",
}


def one(head: str, *bodies: str, tail: str = MADE) -> list[dict[str, str]]:
    return [{"od_b_main": head + body + tail} for body in bodies]


def elsewhere(head: str, *bodies: str, name: str = "f", tail: str = MADE) -> list[dict[str, str]]:
    """The same where another module calls, which the function's own only imports."""
    main = f"from od_b_memo import {name}\nimport od_b_use\n{tail}"
    use = f"from od_b_memo import {name}\nimport od_b_memo\n"
    return [{"od_b_main": main, "od_b_memo": head, "od_b_use": use + body} for body in bodies]


FILLS = ("U = f(1)\nK[0] = 5\n", "U = f(2)\nK[0] = 5\n", "K[0] = 5\nU = f(1)\n", "f(1)\nK[0] = 7\n")
ON_OBJECTS = ("U = c.a\nK.append(3)\n", "U = 1\nK.append(3)\n", "K.append(7)\nU = c.a\n")
CALLS = ("U = c.a()\nK.append(3)\n", "U = 1\nK.append(3)\n", "K.append(7)\nU = c.a()\n")
BY_FUNCTION = "def go(v):\n    return f(v)\n"
HIDDEN = "class C:\n    def f(self):\n        return __A{}\ndef made(x):\n    return C().f() + x\n"
REPR = "from functools import cache\n@cache\ndef f(v, k):\n    return repr(v)\n"
PROGRAMS: Mapping[str, list[dict[str, str]]] = {
    "lru_cache": one(F, *FILLS),
    "lru_cache with a size": one(F.replace("@lru_cache", "@lru_cache(maxsize=8)"), *FILLS),
    "cache": one(F.replace("lru_cache", "cache"), *FILLS),
    "of functools": one(F.replace("from functools import lru_cache", "import functools").replace("@lru", "@functools.lru"), *FILLS),
    "under another name": one(F.replace("import lru_cache", "import lru_cache as memo").replace("@lru_cache", "@memo"), *FILLS),
    "by a second name": one(F.replace("@lru_cache", "@memo").replace("K = [1]", "K = [1]\nmemo = lru_cache(maxsize=None)"), *FILLS),
    "called, not as a decorator": one(F.replace("@lru_cache\ndef f", "def g") + "f = lru_cache(g)\n", *FILLS),
    "by a function": one(F + BY_FUNCTION, *(body.replace("f(", "go(") for body in FILLS)),
    "in a comprehension": one(F, *(body.replace("U = f(1)", "U = [f(k) for k in (1,)]") for body in FILLS)),
    "a number bound again": one(F.replace("[1]", "1").replace("K[0]", "K"), *(body.replace("K[0]", "K") for body in FILLS)),
    "equal keys of other types": one(REPR, "U = f(1.0, 0)\n", "U = f(True, 0)\n", "", tail="def made(x):\n    return f(x, 0)\n"),
    "elsewhere": elsewhere(F, *(body.replace("K[0] =", "od_b_memo.K[0] =") for body in FILLS)),
    "elsewhere alone": elsewhere(F + "class Late:\n    def __init__(self):\n        K[0] = 5\n", "U = f(1)\nod_b_memo.Late()\n",
                                 "od_b_memo.Late()\n"),
    "elsewhere without a change": elsewhere(REPR, "U = f(1.0, 0)\n", "U = f(True, 0)\n", "U = 1\n",
                                            tail="def made(x):\n    return f(x, 0)\n"),
    "a method": one(C.format("lru_cache(None)", ""), *CALLS, tail=OF_C.format("()")),
    "a cached property": one(C.format("cached_property", ""), *ON_OBJECTS, tail=OF_C.format("")),
    "a cached property of a base": one(C.format("cached_property", "").replace("c = C()", "class D(C): ...\nc = D()"), *ON_OBJECTS,
                                       tail=OF_C.format("")),
    "a cached property elsewhere": elsewhere(C.format("cached_property", ""), *(body.replace("K.", "od_b_memo.K.") for body in ON_OBJECTS),
                                             name="c", tail=OF_C.format("")),
    "a method elsewhere": elsewhere(C.format("lru_cache(None)", ""), *(body.replace("K.", "od_b_memo.K.") for body in CALLS), name="c",
                                    tail=OF_C.format("()")),
    "a hidden name of an import": [
        {"od_b_main": "import od_b_memo\nclass C:\n    def f(self):\n        return od_b_memo.__A\ndef made(x):\n    return C().f() + x\n",
         "od_b_memo": f"_C__A = {value}\n"} for value in (2, 3)],
    "a hidden name that is imported": [
        {"od_b_main": "class C:\n    from od_b_memo import __A\ndef made(x):\n    return C._C__A + x\n", "od_b_memo": f"_C__A = {value}\n"}
        for value in (2, 3)],
    "a hidden function that is global": one("", *(
        f"class C:\n    global __h\n    def __h():\n        return {value}\n" for value in (2, 3)),
        tail="def made(x):\n    return _C__h() + x\n"),
    **{f"bound in {where}": one("", *(f"def d(*_):\n    return lambda f: f\n{code.format(value)}\n" for value in (3, 4)),
                                tail="def made(x):\n    return K + x\n")
       for where, code in {
           "a default": "def q(a=(K := {})): pass", "a decorator": "@d(K := {})\ndef q(): pass",
           "bases": "class Q(*([object] if (K := {}) else [])): pass", "an annotation": "def q(*, a: (K := {})): pass",
           "what it returns": "async def q() -> (K := {}): pass"}.items()},
    "a hidden name": one("__A = 1\n", "_C__A = 2\n", "_C__A = 3\n", tail=HIDDEN.format("")),
    "a hidden name of a class with a line": one("", "__A = 9\n_C__A = 2\n", "__A = 9\n_C__A = 3\n",
                                                tail=HIDDEN.format("").replace("C", "_C").replace("_C__A", "_C__A")),
    "a hidden function": one("", "def _C__A():\n    return 2\n", "def _C__A():\n    return 3\n", tail=HIDDEN.format("()")),
    "a hidden table": one("_C__A = [1]\n", "", "_C__A.append(2)\n", tail=HIDDEN.format("[-1]")),
    "a hidden import": [{"od_b_main": "from od_b_table import A as _C__A\n" + HIDDEN.format(""), "od_b_table": f"A = {k}\n"}
                        for k in (1, 2)],
    "a hidden global": one("_C__A = [1]\n",
                           *(f"class C:\n    def g(self):\n        global __A\n        __A = [{k}]\nC().g()\n" for k in (1, 2)),
                           tail="def made(x):\n    return _C__A[0] + x\n"),
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_that_answer_differently_have_other_identities(world: World, program: str) -> None:
    programs = PROGRAMS[program]
    bent, also_as_earlier = 0, SOAK or [*PROGRAMS].index(program) % 4 == 0  # which takes as long as all the rest
    for order in (programs, programs[::-1]) if SOAK else (programs,):
        looks: list[tuple[list[object], str | None]] = []
        for files in order:
            answers, identity = world.look(files)
            for others, other in looks:
                if answers != others:
                    assert identity != other or identity is None
                    assert other is None or not (also_as_earlier and has_meaning("od_b_main", "made", other))
                    bent += 1
            looks.append((answers, identity))
    assert bent


@pytest.mark.parametrize("source", SOURCES)
def test_identities_of_earlier_releases_fit(world: World, source: str) -> None:
    world.look({"od_b_main": SOURCES[source]})
    assert has_meaning("od_b_main", "made", OF_EARLIER[source])
    assert has_meaning("od_b_main", "made", meaning("od_b_main", "made"))


def test_what_is_beside_a_memo_does_not_count(world: World) -> None:
    _, identity = world.look({"od_b_main": SOURCES["WARM"]})
    _, other = world.look({"od_b_main": SOURCES["WARM"] + "OTHER = 3\ndef further(x):\n    return x * OTHER\n"})
    assert identity == other
    _, bent = world.look({"od_b_main": SOURCES["WARM"].replace("f(2)", "f(3)")})
    assert identity != bent
