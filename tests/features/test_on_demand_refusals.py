"""Which functions the identity of an on-demand function can cover: ordinary ones pass, what cannot be followed is refused."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fti_assets.core.on_demand.syntax.names import Names
from fti_assets.errors import DeclarationError
from fti_assets.features.groups.on_demand_problems import problems_of
from fti_assets.features.groups.on_demand_source import check_source

Check = Callable[..., None]
HEAD = """
import collections, dataclasses, datetime as dt, functools, importlib, itertools, json, math, operator, re, types, typing
import numpy as np
import numpy.lib.stride_tricks
from functools import partial
from numpy import lib
"""

ORDINARY = [
    "def f(x): return np.where(np.isnan(x), 0.0, np.log1p(x))",
    "def f(x): return np.clip(x, *np.percentile([1, 2, 3], [5, 95]))",
    "from numpy import sin, cos\ndef f(x): return sin(x) + cos(x)",
    "from numpy import linalg as la\ndef f(x): return la.norm(x)",
    "import numpy.linalg\ndef f(x): return numpy.linalg.det(x)",
    "m = np\ndef f(x): return m.sin(x)",
    "def f(x):\n    m = np\n    return m.sin(x)",
    "def f(x): return (m := np).sin(x) + m.cos(x)",
    "sin, cos = np.sin, np.cos\ndef f(x): return sin(x) + cos(x)",
    "root = math.sqrt if hasattr(math, 'sqrt') else np.sqrt\ndef f(x): return root(4)",
    "area = np.trapezoid if hasattr(np, 'trapezoid') else np.sum\ndef f(x): return area(x)",
    "def f(x, log=np.log): return log(x)",
    "def f(x): return np.vectorize(lambda one: math.floor(one))(x)",
    "OPS = {'sin': np.sin, 'cos': np.cos}\ndef f(x): return sum(op(x) for op in OPS.values())",
    "def f(x): return [op(x) for op in (np.sin, np.cos)]",
    "def f(x): return functools.reduce(np.add, [x, x, x])",
    "double = partial(np.multiply, 2)\ndef f(x): return double(x)",
    "@functools.lru_cache\ndef table(): return np.arange(10)\ndef f(x): return table()[x.astype(int)]",
    "EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)\ndef f(x): return (dt.datetime(2020, 1, 1) - EPOCH.replace(tzinfo=None)).days",
    "def f(x): return x.astype('datetime64[h]').astype(np.int64) % 24",
    "def f(x): return (x - np.datetime64('2020-01-01')) / np.timedelta64(1, 's')",
    "def f(mode): return np.where(mode == 'now', 1, 0)",
    "WORDS = {'now': 1, 'today': 2}\ndef f(mode): return np.array([WORDS.get(one, 0) for one in mode])",
    "def f(x, t): return np.where(x == 'today', t.astype('datetime64[D]').astype(int), 0)",
    "KINDS = ['today', 'later']\ndef f(x): return np.array(KINDS)[x.astype('datetime64[D]').astype(int) % 2]",
    "def f(x): return np.take(['today', 'later'], x.astype('datetime64[D]').astype(int) % 2)",
    "def f(x): return np.where(np.is_busday(x.astype('M8[D]')), 'today', 'later')",
    "def f(x): return np.isin(x, ['now', 'today']) | (x == np.array('now'))",
    "def f(x, days): return np.busday_count('2020-01-01', days) + np.busday_offset('2020-01-04', 0, roll='forward').astype(int)",
    "TIMES = {'today': 1}\ndef f(x): return np.full(3, '2020-01-01', dtype='M8[D]').astype(int) + TIMES['today']",
    "def f(x):\n    days = np.zeros(3, 'M8[D]')\n    days[0] = '2020-01-01'\n    return days.astype(int)",
    "def f(x: np.ndarray): return isinstance(x, np.ndarray)",
    "def f(x): return np.zeros_like(x) + np.full(3, 1.0)",
    "def f(x): return np.divide(1, x, out=np.zeros_like(x), where=x != 0) + np.sum(x, where=x > 0)",
    "def f(x):\n    done = np.zeros(3)\n    np.sqrt(x, done, where=x > 0)\n    return np.log(x, where=True) + np.sqrt(x, **{})",
    "import zoneinfo\nZONE = zoneinfo.ZoneInfo('Europe/Paris')\ndef f(x): return x",
    "def f(x): return [len(f'{one:.2f}') + len('{0.real:>4} {1[a]}'.format(2.0, {'a': 1})) for one in x]",
    "def f(x): return len('{0.__class__.__name__}'.format(x)) + len(f.__name__) + len(__name__)",
    "__version__ = '1'\n__author__ = 'me'\n__all__ = ['f']\ndef f(x): return len(__version__ + __author__) + len(__all__)",
    "P = re.compile('[a-z]+')\ndef f(text): return np.array([bool(P.match(one)) for one in text])",
    "RULES = json.loads('[1, 2]')\ndef f(x): return x * RULES[0]",
    "@dataclasses.dataclass(frozen=True)\nclass Rule:\n    low: float\n    def __call__(self, x): return x > self.low\n"
    "    def __len__(self): return 1\n"
    "rule = Rule(1.0)\ndef f(x): return rule(x)",
    "class Base:\n    def __init__(self): self.n = 1\nclass Child(Base):\n    def __init__(self): super().__init__()\n"
    "def f(x): return Child().n + x",
    "def f(x): return {name: getattr(x, 'real') for name in ('a', 'b')}",
    "by = operator.itemgetter(1)\ndef f(x): return sorted(x, key=by)",
    "real = operator.attrgetter('real')\ndef f(x): return real(x)",
    "shout = operator.methodcaller('upper')\ndef f(text): return np.array([shout(one) for one in text])",
    "def f(np): return np.load",
    "def f(x): return [one for one in sorted({'a', 'b'})]",
    "VIP = {'a', 'b'}\ndef f(x): return np.array([one in VIP for one in x])",
    "VIP = frozenset(['a', 'b'])\ndef f(x): return np.isin(x, list(VIP))",
    "def f(x): return np.array([len(set(one)) for one in x])",
    "def f(x): return np.array([any(w in one for w in {'a', 'b'}) for one in x])",
    "def f(x): return sum(1 for w in {'a', 'b'}) + max(set(x)) + len({'a'} | {'b'})",
    "def f(x): return sum(k * x for k in {1, 2, -3})",
    "def f(x): return [k for k in set(range(3))] + [k for k in {int(one) for one in x}]",
    "WORDS = {'a': 1, 'b': 2}\ndef f(x): return [WORDS[k] for k in WORDS] + list(WORDS.keys())",
    "def f(x): return [one | 3 for one in x]",
    "def f(s): return np.array([dt.datetime.fromtimestamp(one, dt.timezone.utc).hour for one in s])",
    "def f(s): return [dt.datetime.fromtimestamp(one, tz=dt.timezone.utc).astimezone(dt.timezone.utc).timestamp() for one in s]",
    "def f(s): return dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc).timestamp() + s",
    "class Zone:\n    def astimezone(self): return 1\ndef f(x): return Zone().astimezone() + x",
    "def f(t): return [one.strftime('%Y %%s') for one in t]",
    "def f(x):\n    hash = np.zeros(3)\n    return hash + x",
    "def hash(x): return x\ndef f(x): return hash(x)",
    "def open(x): return x\ndef f(x): return open(x)",
    "def f(input): return input + 1",
    "class Clock:\n    def now(self): return 1\ndef f(x): return Clock().now() + x",
    "def f(x):\n    with np.errstate(divide='ignore'):\n        return 1 / x",
    "def f(x):\n    for i, one in enumerate(itertools.chain(x, x)):\n        x[i % 2] += one\n    return x",
    "def f(x): return collections.Counter(x.tolist()).most_common(1)[0][0]",
    "T = typing.TypeVar('T')\ndef f(x: np.ndarray) -> 'np.ndarray': return typing.cast(np.ndarray, x)",
    "def f(x): return numpy.lib.stride_tricks.sliding_window_view(x, 3)",
    "def f(x): return lib.stride_tricks.sliding_window_view(x, 3)",
    "POINT = types.SimpleNamespace(load=2.0)\ndef f(x): return x * POINT.load",
    "def f(x): return x.load()",
    "def f(x): return f.__name__ + type(x).__name__",
    "def f(x):\n    def scaled(y, k=2.0):\n        nonlocal_free = k * y\n        return nonlocal_free\n    return scaled(x)",
    "def f(x):\n    match x:\n        case [one, *rest]: return one\n        case {'a': a, **others}: return a\n        case _: return x",
    "if typing.TYPE_CHECKING:\n    import pandas as pd\ndef f(x: 'pd.Series'): return x",
    "import importlib\nm = importlib.import_module('math')\ndef f(x): return m.sqrt(4)",
    "def f(x): return np.random_like if False else x",
    "def f(a, b, c):\n    a, b = b, a\n    b, c = c, b\n    a, c = c, a\n    a = a or b or c\n    return a",
]  # fmt: skip

REFUSED = [
    ("T = vars(np)['load']('t')", "looks names up"),
    ("T = np.__dict__['load']('t')", "'__dict__'"),
    ("T = operator.attrgetter('load')(np)('t')", "hands the module 'numpy' on"),
    ("from operator import attrgetter as get\nT = get('load')(np)('t')", "hands the module 'numpy' on"),
    ("T = operator.methodcaller('load', 't')(np)", "hands the module 'numpy' on"),
    ("m = np\nT = m.load('t')", "line 8 .*reads a file"),
    ("m = a = b = np\nT = b.load('t')", "reads a file"),
    ("from numpy import load as read\nT = read('t')", "reads a file"),
    ("from numpy.lib import npyio as io\nT = io.DataSource()", "reads a file"),
    ("import numpy._core.multiarray as m\nT = m.fromfile('t')", "keeps to itself"),
    ("T = importlib.import_module('numpy').load('t')", "reads a file"),
    ("T = importlib.import_module('nu' + 'mpy').load('t')", "cannot be told before"),
    ("NAME = 'numpy'\nT = importlib.import_module(NAME).load('t')", "cannot be told before"),
    ("find = importlib.import_module\nT = find('numpy').load('t')", "reads a file"),
    ("T = list(map(importlib.import_module, ['numpy']))[0].load('t')", "cannot be told before"),
    ("T = __import__('numpy').load('t')", "reads a file"),
    ("T = list(map(__import__, ['os']))", "cannot be told before"),
    ("T = importlib.import_module('.a', 'b')", "cannot be told before"),
    ("T = importlib.util.find_spec('a')", "imports what is installed"),
    ("from importlib import resources\nT = resources.files('a')", "installed"),
    ("read = np.load\ndef g(): return globals()['read']('t')", "line 7 .*reads a file"),
    ("def load(): return 1\nT = globals()['load']()", "looks names up"),
    ("def f(x): return locals()['x']", "looks names up"),
    ("import sys\nT = sys.modules['numpy'].load('t')", "takes 'sys'"),
    ("import warnings\nT = warnings.sys.modules['numpy']", "takes 'sys'"),
    ("T = dataclasses.inspect.getsource(f)", "takes 'inspect'"),
    ("import enum\nT = enum.bltns.eval('1')", "takes 'builtins'"),
    ("T = partial(np.load, 't')()", "reads a file"),
    ("T = functools.partial(getattr, np)('load')('t')", "line 7 "),
    ("def f(x): return functools.reduce(getattr, ['__globals__'], f)", "cannot be told before"),
    ("if (m := np): T = m.load('t')", "hands the module 'numpy' on"),
    ("T = [m.load('t') for x in [1] if (m := np)]", "reads a file"),
    ("T = [(m := np), m.load('t')]", "hands the module 'numpy' on|reads a file"),
    ("for m in (np, math): T = m.load('t')", "hands the module '(numpy|math)' on"),
    ("with np as m: T = m.load('t')", "hands the module 'numpy' on"),
    ("a, m = 1, np\nT = m.load('t')", "reads a file"),
    ("[a, (m, b)] = 1, (np, 2)\nT = m.load('t')", "reads a file"),
    ("a, *m = 1, np\nT = m[0].load('t')", "hands the module 'numpy' on"),
    ("def f(x, m=np): return m.load('t')", "line 7 .*hands the module 'numpy' on"),
    ("def f(x, *, read=np.load): return read('t')", "reads a file"),
    ("f = lambda m=np: m.load('t')", "hands the module 'numpy' on"),
    ("T = (lambda m: m.load('t'))(np)", "hands the module 'numpy' on"),
    ("T = (lambda: np)().load('t')", "hands the module 'numpy' on"),
    ("T = [m.load('t') for m in [np]]", "hands the module 'numpy' on"),
    ("T = {'m': np}['m'].load('t')", "hands the module 'numpy' on"),
    ("T = (np if math.pi else math).load('t')", "reads a file"),
    ("T = (np or math).load('t')", "reads a file"),
    ("m = np if math.pi else math\ndef f(x): return m.load('t')", "line 8 .*reads a file"),
    ("class C:\n    m = np\nT = C.m.load('t')", "line 8 .*hands the module 'numpy' on"),
    ("class C:\n    import numpy as m\nT = C.m.load('t')", "line 8 .*imports inside a class"),
    ("class C:\n    (m := np)\nT = C.m.load('t')", "hands the module 'numpy' on"),
    ("class C:\n    take = getattr\nT = C.take(f, '__globals__')", "cannot be told before"),
    ("class C: pass\nC.m = np\nT = C.m.load('t')", "hands the module 'numpy' on"),
    ("def f(x):\n    global m\n    m = np\ndef g(): return m.load('t')", "line 10 .*reads a file"),
    ("def f(x):\n    m = None\n    def g():\n        nonlocal m\n        m = np\n    return m.load('t')", "line 12 .*reads a file"),
    ("def f(x):\n    import numpy as m\n    return m.load('t')", "line 9 .*reads a file"),
    ("def f(x): yield np", "hands the module 'numpy' on"),
    ("def f(x):\n    match np:\n        case y: return y.load('t')", "hands the module 'numpy' on"),
    ("T = getattr(np, 'load')('t')", "reads a file"),
    ("take = getattr\nT = take(np, 'load')('t')", "reads a file"),
    ("take = getattr\nT = take(np, 'lo' + 'ad')('t')", "write the name out"),
    ("T = getattr(f, '__globals__')['np']", "'__globals__'"),
    ("T = f.__globals__['np'].load('t')", "'__globals__'"),
    ("T = operator.attrgetter('real.__globals__')(f)", "'__globals__'"),
    ("NAMES = ['load']\nT = operator.attrgetter(*NAMES)(f)", "write the name out"),
    ("T = len.__self__.eval('1')", "'__self__'"),
    ("T = ().__class__.__base__.__subclasses__()", "'__subclasses__'|'__base__'"),
    ("T = __builtins__['open']('t')", "cannot be followed"),
    ("def f(x): return (i for i in x).gi_frame.f_back", "'f_back'|'gi_frame'"),
    ("def g(x): return x\nT = g(open)('t').read()", "reads a file"),
    ("read = open\nT = read('t')", "reads a file"),
    ("def f(x): return list(map(hash, x))", "hash\\(\\), which gives text another"),
    ("def f(x): return x.__hash__()", "'__hash__'"),
    ("def f(x): return id(x)", "id\\(\\), which gives everything another"),
    ("now = dt.datetime.now\nT = now()", "asks for the clock"),
    ("def f(x): return [one for one in {'a', 'b'}]", "values of a set one after another"),
    ("VIP = {'a', 'b'}\ndef f(x):\n    for one in VIP: x = x + one\n    return x", "line 9 .*of a set"),
    ("VIP = set(['a'])\ndef f(x): return list(VIP)", "of a set"),
    ("VIP = set(['a'])\nNAMES = VIP | {'b'}\ndef f(x): return enumerate(NAMES)", "of a set"),
    ("def f(x): return ' '.join(set(x))", "of a set"),
    ("def f(x): return next(iter(set(x)))", "of a set"),
    ("def f(x): return set(x).pop()", "of a set"),
    ("def f(x): return [*set(x)]", "of a set"),
    ("def f(x):\n    a, b = {'a', 'b'}\n    return a", "of a set"),
    ("def f(x): return {w: i for i, w in enumerate({'a', 'b'})}", "of a set"),
    ("def f(x): return np.array([w for w in {'a', 'b'}.union(x)])", "of a set"),
    ("WEIGHTS = {'a': .1, 'b': .2}\ndef f(x): return sum(WEIGHTS[w] for w in set(x))", "of a set"),
    ("def f(x): return sorted(set(x), key=len)", "of a set"),
    ("def f(x): return f'{set(x)}'", "of a set"),
    ("def f(x): return str(frozenset(x))", "of a set"),
    ("def f(a, b): return [one for one in a.keys() & b.keys()]", "of a set"),
    ("def f(x): return dict.fromkeys(set(x))", "of a set"),
    ("def f(x): return list(itertools.chain(set(x)))", "of a set"),
    ("def f(x): return functools.reduce(operator.add, set(x))", "of a set"),
    ("def f(x): yield from set(x)", "of a set"),
    ("def f(s): return [dt.datetime.fromtimestamp(one).hour for one in s]", "machine's time zone"),
    ("def f(s): return dt.datetime.fromtimestamp(s, tz=None)", "machine's time zone"),
    ("def f(s): return dt.date.fromtimestamp(s)", "machine's time zone"),
    ("from datetime import datetime as D\nmake = D.fromtimestamp\ndef f(s): return make(s)", "machine's time zone"),
    ("def f(s): return list(map(dt.datetime.fromtimestamp, s))", "machine's time zone"),
    ("def f(t): return [one.astimezone().hour for one in t]", "machine's time zone"),
    ("def f(t): return t.astimezone(None)", "machine's time zone"),
    ("def f(t): return dt.datetime.astimezone(t)", "machine's time zone"),
    ("def f(x): return x - dt.datetime(2020, 1, 1).timestamp()", "machine's time zone"),
    ("def f(x): return dt.datetime(2020, 1, 1).astimezone(dt.timezone.utc)", "machine's time zone"),
    ("def f(t): return t.strftime('%s')", "machine's time zone"),
    ("def f(t): return np.datetime_as_string(t, timezone='local')", "machine's time zone"),
    ("D = dt.datetime\ndef f(x): return D.now()", "asks for the clock"),
    ("def f(x, D=dt.datetime): return D.utcnow()", "asks for the clock"),
    ("import calendar\nT = calendar.datetime.date.today()", "asks for the clock"),
    ("D = np.datetime64\nT = D('now')", "asks for the clock"),
    ("TEXT = 'now'\nT = np.datetime64(TEXT)", "asks for the clock"),
    ("T = np.array(['today']).astype('datetime64[D]')", "asks for the clock"),
    ("T = np.array(['now'], dtype='M8[s]')", "asks for the clock"),
    ("T = np.datetime64('NOW', 's')", "asks for the clock"),
    ("T = np.busday_count('2020-01-01', 'today')", "asks for the clock, .* take the prediction time"),
    ("T = np.busday_count(['today'], '2020-01-01')", "asks for the clock"),
    ("T = np.is_busday('today')", "asks for the clock"),
    ("T = np.is_busday('2020-01-01', holidays=['Today'])", "asks for the clock"),
    ("T = np.busday_offset('now', 1, roll='forward')", "asks for the clock"),
    ("T = np.busdaycalendar(holidays=['today'])", "asks for the clock"),
    ("count = np.busday_count\nT = count('today', '2020-01-01')", "asks for the clock"),
    ("from numpy import is_busday as works\nT = works('today')", "asks for the clock"),
    ("DAYS = ['today']\nT = np.is_busday(DAYS)", "asks for the clock"),
    ("DAY = {'a': 'today'}\nT = np.datetime64(DAY['a'])", "asks for the clock"),
    ("T = np.datetime64('2020-01-01' if 1 else 'now')", "asks for the clock"),
    ("def f(x, day='today'): return np.datetime64(day)", "asks for the clock"),
    ("def f(x, *, day='today'): return np.is_busday(day)", "asks for the clock"),
    ("fold = lambda day='today': np.datetime64(day)\nT = fold()", "asks for the clock"),
    ("T = np.array(['today'], 'M8')", "asks for the clock"),
    ("KIND = 'M8[D]'\nT = np.asarray(['today'], KIND)", "asks for the clock"),
    ("KIND = np.dtype('M8[D]')\nT = np.asarray(['today'], dtype=KIND)", "asks for the clock"),
    ("T = np.asarray(['today'], dtype=np.datetime64)", "asks for the clock"),
    ("T = np.array([b'today']).astype('<M8[D]')", "asks for the clock"),
    ("TEXTS = np.array(['today'])\nT = TEXTS.astype('datetime64[D]')", "asks for the clock"),
    ("T = np.array([('today', 1)], dtype=[('day', 'M8[D]'), ('n', 'i4')])", "asks for the clock"),
    ("T = np.full(3, 'today', dtype='M8[D]')", "asks for the clock"),
    ("T = np.fromiter(['today'], dtype='M8[D]')", "asks for the clock"),
    ("T = np.arange('2020-01-01', 'today', dtype='M8[D]')", "asks for the clock"),
    ("DAYS = np.zeros(3, 'M8[D]')\nDAYS[0] = 'today'", "asks for the clock"),
    ("DAYS = np.zeros(3, 'M8[D]')\nDAYS.fill('today')", "asks for the clock"),
    ("DAYS = np.zeros(3, 'M8[D]')\nT = np.insert(DAYS, 0, 'today')", "asks for the clock"),
    ("DAYS = np.zeros(3, 'M8[D]')\nnp.put(DAYS, 0, 'today')", "asks for the clock"),
    ("T = np.empty(3)", "'np.empty', which gives what happens to be in memory: take np.zeros"),
    ("make = np.empty_like\nT = make([1.0])", "in memory"),
    ("T = np.ma.empty(3)", "in memory"),
    ("T = np.ndarray((3,))", "in memory"),
    ("T = np.ndarray.__new__(np.ndarray, (3,))", "in memory"),
    ("T = np.recarray((3,), dtype=[('a', 'f8')])", "in memory"),
    ("def f(x): return np.divide(1, x, where=x != 0)", "where `where` is false: tell it what to give there"),
    ("def f(x): return np.log(x, where=x > 0, out=None)", "where `where` is false"),
    ("def f(x): return np.clip(x, 0, 1, where=x > 0)", "where `where` is false"),
    ("def f(x): return x.clip(0, 1, where=x > 0)", "where `where` is false"),
    ("import zoneinfo\nT = zoneinfo.available_timezones()", "tells of the machine that it runs on"),
    ("import zoneinfo\nT = zoneinfo.TZPATH", "tells of the machine"),
    ("from zoneinfo import TZPATH as places\nT = places[0]", "tells of the machine"),
    ("import hashlib\nT = hashlib.algorithms_available", "tells of the machine"),
    ("T = np.get_include()", "tells of the machine"),
    ("T = np.show_config()", "tells of the machine"),
    ("T = __file__", "'__file__', which Python sets"),
    ("def f(x): return len(__path__)", "'__path__', which Python sets"),
    ("def f(x): return x * __debug__", "'__debug__', which Python sets"),
    ("RATE: int = 2\ndef f(x): return str(__annotations__)", "'__annotations__', which Python sets"),
    ("def f(x): return '{0.__globals__}'.format(f)", "'__globals__', through which"),
    ("def f(x): return '{0.__code__.co_firstlineno}'.format(f)", "'__code__', through which"),
    ("FORM = '{f.__defaults__[0]:>{n}}'\ndef f(x, y=1): return FORM.format(f=f, n=3)", "'__defaults__', through which"),
    ("def f(x): return '{0.__annotations__}'.format(f)", "'__annotations__', through which"),
    ("from numpy import *\nT = load('t')", "takes all names of 'numpy'"),
    ("T = typing.get_type_hints(f)", "runs a text"),
    ("T = np.testing.measure('1')", "runs a text"),
    ("r = np.random\nT = r.rand(3)", "line 7 .*draws at random"),
    ("T = np.ctypeslib.load_library('a', '.')", "reads a file"),
    ("TYPE_CHECKING = True\nif TYPE_CHECKING:\n    import os\n    T = os.getpid()", "takes 'os'"),
]  # fmt: skip


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Writes modules into a folder on the import path, and checks the first."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def checked(**sources: str) -> None:
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
        check_source(next(iter(sources)), what="on-demand feature 'f'")

    return checked


@pytest.mark.parametrize("source", ORDINARY)
def test_ordinary_functions_are_taken(check: Check, source: str) -> None:
    check(od_ordinary=HEAD + source)


@pytest.mark.parametrize(("source", "why"), REFUSED)
def test_what_cannot_be_followed_is_refused_with_its_line(check: Check, source: str, why: str) -> None:
    with pytest.raises(DeclarationError, match="'f': line [0-9]+ of module 'od_refused' says ") as refused:
        check(od_refused=HEAD + source)
    assert re.search(why, str(refused.value))
    line = int(re.search("line ([0-9]+)", str(refused.value))[1])  # type: ignore[index]
    assert line > HEAD.count("\n")  # a line of the case itself


@pytest.mark.soak
@pytest.mark.parametrize(("source", "why"), [case for case in REFUSED if "import *" not in case[0]])
def test_a_function_is_read_as_its_module_is(check: Check, source: str, why: str) -> None:
    inside = "def reached(y):\n" + "".join(f"    {line}\n" for line in source.splitlines()) + "    return y\n"
    with pytest.raises(DeclarationError, match="'f': line [0-9]+ of module 'od_inside' says "):
        check(od_inside=HEAD + inside)


@pytest.mark.soak
@pytest.mark.parametrize("source", ORDINARY)
def test_an_ordinary_body_inside_a_function_is_taken(check: Check, source: str) -> None:
    inside = "def reached(y):\n" + "".join(f"    {line}\n" for line in source.splitlines()) + "    return y\n"
    check(od_inside_too=HEAD + inside)


@given(second=st.lists(st.sampled_from(["{0} = {1}", "({0} := {1})", "{0}, z = {1}, 1", "{0} = {1} if z else {1}", "{0}: object = {1}"]),
                       min_size=1, max_size=6), inside=st.booleans(), loads=st.booleans())  # fmt: skip
def test_any_chain_of_second_names_is_followed(second: list[str], inside: bool, loads: bool) -> None:
    lines = [step.format(f"m{number + 1}", f"m{number}") for number, step in enumerate(second)]
    lines.append(f"T = m{len(second)}.{'load' if loads else 'log'}(z)")
    indent = "    " if inside else ""
    source = "import numpy as m0\nz = 1\n" + "def f():\n" * inside + "".join(f"{indent}{line}\n" for line in lines)
    tree = ast.parse(source)
    problems = list(problems_of(tree, Names(tree, ""), lambda module: None))
    assert [problem.line for problem in problems] == [len(source.splitlines())] * loads


@pytest.mark.parametrize(
    ("source", "other"),
    [
        ("from od_other import np\nT = np.load('t')", "import numpy as np"),
        ("import od_other\nT = od_other.np.load('t')", "import numpy as np"),
        ("import od_other as o\nm = o.np\nT = m.load('t')", "import numpy as np"),
        ("from od_other import read\nT = read('t')", "from numpy import load as read"),
        ("from od_other import *\nT = np.load('t')", "import numpy as np"),
        ("from od_other import *\nT = hidden('t')", "hidden = getattr\nimport numpy as np\nhidden = np.load"),
        ("import od_other\nT = list(map(str, [od_other]))", "X = 1"),
        ("from od_other import take\nT = take(T, 'lo' + 'ad')", "take = getattr"),
        ("from od_other import VIP\nT = list(VIP)", "VIP = {'a', 'b'}"),
        ("import od_other\nT = list(od_other.VIP)", "VIP = {'a', 'b'}"),
    ],
)
def test_names_are_followed_into_modules_of_the_users_own(check: Check, source: str, other: str) -> None:
    with pytest.raises(DeclarationError, match="line [0-9]+ of module 'od_(here|other)' says"):
        check(od_here=source, od_other=other)


def test_what_module_of_users_own_defines_is_its_own(check: Check) -> None:
    check(
        od_mine="import od_its\nfrom od_its import *\nfrom od_its import open, clock\n"
        "x = hash(1) + open(2) + od_its.load(3) + od_its.now() + clock.now()",
        od_its="def hash(x): return x\ndef open(x): return x\ndef load(x): return x\ndef now(): return 1\n"
        "class Clock:\n    def now(self): return 2\nclock = Clock()",
    )


@pytest.mark.parametrize(
    "step", ["m = m | (x > {i})", "m = np.maximum(m, np.add(m, {i}))", "m = (m - {i}) if m is x else (m & x)"]
)
def test_a_name_that_is_bound_many_times_is_looked_through_once(check: Check, step: str) -> None:
    steps = "".join(f"    {step.format(i=i)}\n" for i in range(60))
    body = f"def f(x):\n    m = x\n{steps}    return [one for one in m]\n"
    check(od_many_times=HEAD + body)
    with pytest.raises(DeclarationError, match="of a set"):
        check(od_many_sets=HEAD + body.replace("m = x\n", "m = {'a', 'b'}\n"))
