import inspect
import re

import pytest

from fti_assets import errors
from fti_assets.errors import FtiError, list_some, one_of

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, FtiError)]


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    parents: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        drawn = re.search(r"[A-Z]\w+Error\b", line)
        if drawn is None:
            continue
        while path and path[-1][0] >= drawn.start():
            path.pop()
        if path:
            parents[drawn.group()] = path[-1][1]
        path.append((drawn.start(), drawn.group()))
    assert parents == {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES if kind is not FtiError}


def test_a_missing_extra_is_an_import_error_too() -> None:
    assert issubclass(errors.MissingExtraError, ImportError)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_says_what_it_is(kind: type) -> None:
    assert kind.__doc__


@pytest.mark.parametrize(("names", "text"), [([], "nothing"), (["a"], "'a'"), (["a", "b", "c"], "'a', 'b' or 'c'")])
def test_one_of_lists_what_there_is(names: list[str], text: str) -> None:
    assert one_of(names) == text


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], "nothing"),
        (["a"], "'a'"),
        (["a", "b"], "'a' and 'b'"),
        (["a", "b", "c"], "'a', 'b' and 'c'"),
        (list("abcdefg"), "'a', 'b', 'c', 'd', 'e' and 2 more"),
    ],
)
def test_listed_names_the_first_few_and_counts_the_rest(names: list[str], text: str) -> None:
    assert list_some(names) == text
