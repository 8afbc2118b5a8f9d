import copy
import inspect
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal

import pytest

from fti_assets.core.manifest import Column
from fti_assets.core.records import from_json, record, to_json
from fti_assets.errors import DamagedError


@dataclass(frozen=True)
class Part:
    name: str
    size: int | None = None


@dataclass(frozen=True)
class Whole:
    kind: Literal["a", "b"]
    parts: tuple[Part, ...]
    pair: tuple[int, str]
    rates: dict[str, float]
    anything: Any
    flag: bool = False
    either: int | str = 0
    more: dict[str, dict[str, float]] = field(default_factory=dict)


WHOLE = Whole("a", (Part("x", 1), Part("y")), (1, "z"), {"r": 0.5}, {"deep": [1, None]}, either="text")
GOOD = to_json(WHOLE)


def test_a_record_comes_back_as_it_was():
    assert from_json(Whole, GOOD, what="whole") == WHOLE
    assert from_json(Whole, GOOD.encode(), what="whole") == WHOLE


def test_fields_with_defaults_may_be_absent():
    assert from_json(Part, '{"name": "x"}', what="part") == Part("x")


def test_whole_number_is_number_but_true_is_not():
    assert from_json(Whole, GOOD.replace("0.5", "1"), what="whole").rates == {"r": 1.0}
    with pytest.raises(DamagedError, match=r"\$\.rates\.r is True, not a number"):
        from_json(Whole, GOOD.replace("0.5", "true"), what="whole")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Expecting value"),
        ("[]", r"\$ is \[\], not an object"),
        ("{}", r"missing fields \['name'\]"),
        ('{"name": "x", "colour": 1}', r"unknown fields \['colour'\]"),
        ('{"name": 1}', r"\$\.name is 1, not str"),
        ('{"name": null}', r"\$\.name is None, not str"),
        ('{"name": "x", "size": 1.5}', r"\$\.size is 1.5, not a whole number"),
        ('{"name": "x", "size": true}', r"\$\.size is True, not a whole number"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_what_is_not_record_is_damaged_and_says_where(text, problem):
    with pytest.raises(DamagedError, match=problem) as caught:
        from_json(Part, text, what="models/a/part.json")
    assert str(caught.value).startswith("models/a/part.json cannot be read as Part")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"a"', '"c"', r"\$\.kind is 'c', not one of"),
        ('"name": "y"', '"name": 5', r"\$\.parts\[1\]\.name is 5"),
        ('"rates": {', '"rates": [{', "Expecting"),
        ('"either": "text"', '"either": []', r"\$\.either is \[\]"),
        ('"flag": false', '"flag": 0', r"\$\.flag is 0, not bool"),
    ],
)
def test_a_wrong_part_is_named_by_its_path(old, new, problem):
    assert old in GOOD
    with pytest.raises(DamagedError, match=problem):
        from_json(Whole, GOOD.replace(old, new), what="whole")


def test_what_json_cannot_hold_is_not_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(Whole("a", (), (1, ""), {"r": float("nan")}, None))


@record(frozen=True)
class Point:
    """A point."""

    x: int
    y: int = 0
    tags: dict[str, int] = field(default_factory=dict)


FAST = Point


@dataclass(frozen=True)
class Point:
    """A point."""

    x: int
    y: int = 0
    tags: dict[str, int] = field(default_factory=dict)


SLOW = Point


def outcome(ask):
    try:
        return ask()
    except (TypeError, FrozenInstanceError, AttributeError) as error:
        return type(error)


def delete(point):
    del point.x


@pytest.mark.parametrize(
    "ask",
    [
        lambda kind: repr(kind(1, tags={"a": 1})),
        lambda kind: (kind(1) == kind(x=1, y=0), kind(1) == kind(2), kind(1) == 1, kind(1) != kind(1)),
        lambda kind: asdict(kind(1, 2)),
        lambda kind: repr(replace(kind(1), y=3)),
        lambda kind: vars(kind(y=2, x=1)),
        lambda kind: [list(vars(kind(y=2, x=1))), kind(1).tags is kind(1).tags],
        lambda kind: repr(copy.deepcopy(kind(1))),
        lambda kind: [(one.name, one.default) for one in fields(kind)][:1],
        lambda kind: str(inspect.signature(kind)).partition("tags")[0],
        lambda kind: hash(kind(1)),
        lambda kind: kind(),
        lambda kind: kind(1, 2, {}, 4),
        lambda kind: kind(1, z=2),
        lambda kind: kind(1, x=2),
        lambda kind: setattr(kind(1), "x", 2),
        lambda kind: delete(kind(1)),
    ],
)
def test_a_record_is_what_a_frozen_dataclass_is(ask):
    assert outcome(lambda: ask(FAST)) == outcome(lambda: ask(SLOW))


def test_a_record_is_pickled_and_hashed_by_its_fields():
    column = Column("temp", "number")
    assert pickle.loads(pickle.dumps(column)) == column
    assert hash(column) == hash(Column("temp", "number"))


def fresh() -> Any:
    """A record at which nobody has looked."""

    @record(frozen=True)
    class Fresh:
        name: str
        sizes: list[int] = field(default_factory=list)
        rate: float = 0.5

    return Fresh


def matched(kind: Any) -> Any:
    match kind("x"):
        case kind(name, sizes, rate):
            return name, sizes, rate


def sub(kind: Any) -> Any:
    @record(frozen=True)
    class Sub(kind):  # type: ignore[misc]
        more: int = 7

    one = Sub("x", more=8)
    assert asdict(one) == {"name": "x", "sizes": [], "rate": 0.5, "more": 8}
    return one.name, one.sizes, one.rate


def plain_subclass(kind: Any) -> Any:
    one = type("Plain", (kind,), {})("x")
    return tuple(getattr(one, name.name) for name in fields(one))


@pytest.mark.parametrize(
    "look",
    [
        matched,
        sub,
        plain_subclass,
        lambda kind: tuple(asdict(kind("x")).values()),
        lambda kind: tuple(vars(replace(kind("y"), name="x")).values()),
        lambda kind: tuple(vars(kind("x")).values()),
        lambda kind: is_dataclass(kind) and ("x", kind("x").sizes, kind.rate),
    ],
)
def test_whatever_looks_first_at_a_record_finds_it_whole(look):
    assert look(fresh()) == ("x", [], 0.5)


def test_threads_that_look_first_at_once_find_defaults_once():
    for _ in range(50):
        kind = fresh()
        start = threading.Barrier(4)

        def make(kind: Any = kind, start: threading.Barrier = start) -> Any:
            start.wait()
            return kind("x")

        with ThreadPoolExecutor(4) as threads:
            results = [one.result() for one in [threads.submit(make) for _ in range(4)]]
        assert results == [kind("x")] * 4
        assert len({id(one.sizes) for one in results}) == 4
